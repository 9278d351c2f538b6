//! Asks either server: clients on threads of their own, each with one connection, each request sent when the last is answered.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// server.py as a process, ended when this is dropped.
pub struct Python {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Python {
    /// Starts the server, or says why not.
    pub fn start() -> std::io::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("gil/server.py");
        let mut process = Command::new("python3")
            .arg(script)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut port = String::new();
        let out = process.stdout.take().expect("its output is piped");
        BufReader::new(out).read_line(&mut port)?;
        let port = port.trim().parse().map_err(std::io::Error::other);
        let address = port.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        // The process must be ended even if it said nothing.
        let mut python = Self {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        python.address = address?;
        Ok(python)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection that is kept.
pub struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let connection = TcpStream::connect(address)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self(BufReader::new(connection)))
    }

    /// The body of the answer to `GET path`.
    pub fn get(&mut self, path: &str) -> std::io::Result<String> {
        write!(
            self.0.get_mut(),
            "GET {path} HTTP/1.1\r\nHost: local\r\n\r\n"
        )?;
        let (mut len, mut line) = (0, String::new());
        loop {
            line.clear();
            if self.0.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                len = value.trim().parse().map_err(std::io::Error::other)?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; len];
        self.0.read_exact(&mut body)?;
        String::from_utf8(body).map_err(std::io::Error::other)
    }
}

/// Requests a second that `clients` clients have answered, over about `time`; every answer is held to `expected`.
pub fn requests_a_second(
    address: SocketAddr,
    clients: usize,
    steps: u64,
    expected: &str,
    time: Duration,
) -> f64 {
    let start = Instant::now();
    let answered: usize = std::thread::scope(|scope| {
        let ask = || {
            let mut client = Client::connect(address).expect("the server listens");
            let mut answered = 0;
            while start.elapsed() < time {
                let answer = client
                    .get(&format!("/work?n={steps}"))
                    .expect("the server answers");
                assert_eq!(answer, expected);
                answered += 1;
            }
            answered
        };
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(ask)).collect();
        clients
            .into_iter()
            .map(|it| it.join().expect("no client fails"))
            .sum()
    });
    answered as f64 / start.elapsed().as_secs_f64()
}

/// Times in ns of `pings` pings, a millisecond apart, while `clients` others have the server compute.
pub fn ping_ns(address: SocketAddr, clients: usize, steps: u64, pings: usize) -> Vec<f64> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = Client::connect(address).expect("the server listens");
                while !done.load(Ordering::Relaxed) {
                    client
                        .get(&format!("/work?n={steps}"))
                        .expect("the server answers");
                }
            });
        }
        let mut client = Client::connect(address).expect("the server listens");
        let ping = |_| {
            std::thread::sleep(Duration::from_millis(1));
            let start = Instant::now();
            assert_eq!(client.get("/ping").expect("the server answers"), "pong");
            start.elapsed().as_nanos() as f64
        };
        let times = (0..pings).map(ping).collect();
        done.store(true, Ordering::Relaxed);
        times
    })
}
