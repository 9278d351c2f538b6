//! The servers of the experiment on global locks do the same work; what the lock costs is for the record.

#[path = "../gil/client.rs"]
mod client;
#[path = "../gil/server.rs"]
mod server;

use client::{Client, Python, ping_ns, requests_a_second};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Worked out by hand for one step and two; the third by the definition in 128 bits.
fn answers_are_right(address: SocketAddr) {
    let mut client = Client::connect(address).unwrap();
    let step = |state: u128| (state * 1_103_515_245 + 12_345) % (1 << 31);
    for (steps, state) in [(0, 1), (1, 1_103_527_590), (2, 377_401_575)] {
        assert_eq!(
            client.get(&format!("/work?n={steps}")).unwrap(),
            state.to_string()
        );
    }
    let thousandth = (0..1000).fold(1, |state, _| step(state)).to_string();
    assert_eq!(client.get("/work?n=1000").unwrap(), thousandth);
    assert_eq!(client.get("/ping").unwrap(), "pong");
    // Several at once, each on a connection of its own; the clients hold every answer to the one expected.
    assert!(requests_a_second(address, 4, 1000, &thousandth, Duration::from_millis(50)) > 0.0);
    let pings = ping_ns(address, 2, 1000, 5);
    assert!(pings.len() == 5 && pings.iter().all(|ns| *ns > 0.0));
}

#[test]
fn the_server_in_rust_answers_with_and_without_a_lock() {
    answers_are_right(server::serve(None).unwrap());
    answers_are_right(server::serve(Some(Arc::new(Mutex::new(())))).unwrap());
}

#[test]
fn a_held_lock_stops_the_work_and_not_the_ping() {
    let lock = Arc::new(Mutex::new(()));
    let address = server::serve(Some(lock.clone())).unwrap();
    let held = lock.lock().unwrap();
    let waiting = std::thread::spawn(move || Client::connect(address).unwrap().get("/work?n=1"));
    assert_eq!(
        Client::connect(address).unwrap().get("/ping").unwrap(),
        "pong"
    );
    std::thread::sleep(Duration::from_millis(20));
    assert!(!waiting.is_finished());
    drop(held);
    assert_eq!(
        waiting.join().unwrap().unwrap(),
        server::work(1).to_string()
    );
}

#[test]
#[ignore = "needs python3"]
fn the_server_in_python_answers_alike() {
    answers_are_right(Python::start().unwrap().address);
}
