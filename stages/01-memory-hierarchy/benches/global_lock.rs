//! What a global lock does to a server: requests that compute, on as many cores as there are, under an interpreter's lock, under a lock
//! in Rust, and without one.
//!
//! A step of the work takes far longer in Python, so each server gets as many steps as take about [`REQUEST`] there, and what is compared
//! is each server with itself: two clients against one. `python3` must be there; `RECORD=1` writes the record.

#[path = "../gil/client.rs"]
mod client;
#[path = "../gil/server.rs"]
mod server;

use benches::Bench;
use client::{Client, Python, ping_ns, requests_a_second};
use memory_hierarchy::probe::fastest;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a request computes.
const REQUEST: Duration = Duration::from_millis(4);
/// Samples of a series.
const ROUNDS: usize = 7;
/// Time for a sample.
const SAMPLE: Duration = Duration::from_millis(400);

fn main() {
    // Cargo also starts benches to see that they run; that is what the test of the servers is for.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let python = match Python::start() {
        Ok(python) => python,
        Err(error) => return println!("nothing was measured: python3 does not start: {error}"),
    };
    let mut bench = Bench::new(
        "stage-01 --bench global_lock",
        "01-global-lock",
        "Servers whose requests compute, with and without a global lock",
        &[
            "stages/01-memory-hierarchy/gil",
            "stages/01-memory-hierarchy/benches/global_lock.rs",
        ],
    );
    let locked = server::serve(Some(Arc::new(Mutex::new(())))).expect("a port is free");
    let free = server::serve(None).expect("a port is free");
    let servers = [
        ("python", python.address),
        ("rust-locked", locked),
        ("rust", free),
    ]
    .map(|(name, address)| {
        let steps = steps_in(address, REQUEST);
        (name, address, steps, server::work(steps).to_string())
    });
    let cores = memory_hierarchy::pool::allowed_cores().len();
    bench.count("cores", "cores", cores as f64);
    let clients = [1, cores, 4 * cores];
    let mut samples = vec![[const { Vec::new() }; 3]; servers.len()];
    for _ in 0..ROUNDS {
        for ((_, address, steps, expected), samples) in servers.iter().zip(&mut samples) {
            for (clients, samples) in clients.iter().zip(samples) {
                samples.push(requests_a_second(
                    *address, *clients, *steps, expected, SAMPLE,
                ));
            }
        }
    }
    for ((name, address, steps, _), samples) in servers.iter().zip(samples) {
        for (clients, samples) in clients.iter().zip(samples) {
            let best = samples.iter().copied().fold(0.0, f64::max);
            println!("{name:<12} {clients:>3} clients {best:>8.1} requests/s at most");
            bench.push(&format!("requests-{name}/{clients}"), "requests/s", samples);
        }
        // A ping computes nothing. What it waits for is the others' work.
        for (state, busy) in [("idle", 0), ("busy", 4 * cores)] {
            let mut times = ping_ns(*address, busy, *steps, 200);
            times.sort_by(f64::total_cmp);
            let (median, slow) = (times[times.len() / 2], times[times.len() * 99 / 100]);
            println!("{name:<12} {state} ping {median:>12.0} ns, 99th of 100 {slow:>12.0} ns");
            bench.count(&format!("ping-{state}-p99/{name}"), "ns", slow);
            bench.push(&format!("ping-{state}/{name}"), "ns", times);
        }
    }
    bench.finish();
}

/// Steps that a server computes in about that time, undisturbed.
fn steps_in(address: SocketAddr, time: Duration) -> u64 {
    let mut client = Client::connect(address).expect("the server listens");
    let mut steps = 1000u64;
    loop {
        let path = format!("/work?n={steps}");
        let ns = fastest(Duration::ZERO, || {
            client.get(&path).expect("the server answers");
        });
        // The second condition ends the search if a compiler found a way to compute nothing.
        if ns >= time.as_nanos() as f64 || steps >= 1 << 40 {
            return (steps as f64 * time.as_nanos() as f64 / ns).ceil() as u64;
        }
        steps *= 2;
    }
}
