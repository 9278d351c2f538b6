//! The server of server.py in Rust: one thread a connection, the same work. Given a lock, it holds it while it computes, which is what an
//! interpreter lock does to a server in any language.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The state of a small generator after so many steps: `work` of server.py.
pub fn work(steps: u64) -> u64 {
    (0..steps).fold(1, |state, _| (state * 1_103_515_245 + 12_345) & 0x7fff_ffff)
}

/// Starts a server on a free port of this machine; it ends with the process. With `lock`, one request computes at a time.
pub fn serve(lock: Option<Arc<Mutex<()>>>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let lock = lock.clone();
            // A client that goes away ends its thread, and nothing else.
            std::thread::spawn(move || answer(connection, lock.as_deref()));
        }
    });
    Ok(address)
}

/// Answers the requests of a connection until it is closed.
fn answer(mut connection: TcpStream, lock: Option<&Mutex<()>>) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    // "GET /work?n=1000 HTTP/1.1", headers, an empty line.
    while let Some(request) = lines.next().transpose()? {
        while lines
            .next()
            .transpose()?
            .is_some_and(|header| !header.is_empty())
        {}
        let steps = request
            .split_once("?n=")
            .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        let body = match steps {
            Some(steps) => {
                let _held = lock.map(|lock| lock.lock().expect("no holder panics"));
                work(steps).to_string()
            }
            None => "pong".to_owned(),
        };
        write!(
            connection,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
    Ok(())
}
