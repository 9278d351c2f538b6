//! Measures the machine: what its memories, arithmetic units, launches and links do, beside what was predicted.
//!
//! `RECORD=1 cargo bench -p kernels --bench micro` runs every probe, prints one line a point and writes
//! `benches/records/micro-h200.json`; words after `--` choose probes by parts of their names. A probe whose result is wrong fails;
//! what it had measured and checked before stays.
//!
//! The probes run in a second process of this program, since an illegal access ends everything that a process has on the GPU, and a
//! kernel that hangs would hang its process: then that process is ended, the probe is reported, and another goes on with the rest.

#[path = "micro/host.rs"]
mod host;
#[path = "micro/lab.rs"]
mod lab;
#[path = "micro/memory.rs"]
mod memory;
#[path = "micro/multiprocessor.rs"]
mod multiprocessor;
#[path = "micro/rates.rs"]
mod rates;

use lab::{Lab, Outcome, Point};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

type Probe = fn(&mut Lab) -> Outcome;

const PROBES: &[(&str, Probe)] = &[
    ("copy", memory::copy),
    ("read", memory::read),
    ("coalescing", memory::coalescing),
    ("pointer_chase", memory::pointer_chase),
    ("l2_bandwidth", memory::l2_bandwidth),
    ("cp_async", memory::cp_async),
    ("shared_bandwidth", multiprocessor::shared_bandwidth),
    ("bank_conflicts", multiprocessor::bank_conflicts),
    ("occupancy_ilp", multiprocessor::occupancy_ilp),
    ("divergence", multiprocessor::divergence),
    ("shuffle_reduce", multiprocessor::shuffle_reduce),
    ("register_pressure", multiprocessor::register_pressure),
    ("fma_rate", rates::fma_rate),
    ("hmma_rate", rates::hmma_rate),
    ("wgmma_rate", rates::wgmma_rate),
    ("launches", host::launches),
    ("transfers", host::transfers),
    ("overlap", host::overlap),
];

/// Everything that the record's figures depend on.
const SOURCES: &[&str] = &[
    "kernels/micro",
    "kernels/include/gpu.h",
    "kernels/include/micro.h",
    "kernels/benches/micro.rs",
    "kernels/benches/micro",
];

const ALL: Duration = Duration::from_secs(85);
const ONE: Duration = Duration::from_secs(25);
/// The first word of a line from the process that runs the probes.
const WORKER: &str = "--worker";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let words: Vec<String> = arguments.by_ref().collect();
    if words.first().is_some_and(|word| word == WORKER) {
        return work(&words[1..]);
    }
    let wanted: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(*word));
    let names = PROBES.iter().map(|(name, _)| *name);
    let mut run = Run::new(names.filter(|name| chosen(name)).collect());
    run.everything();
    run.finish()
}

/// The second process: runs the probes of these names and says on its standard output what they measured.
fn work(names: &[String]) -> ExitCode {
    let mut lab = match Lab::open() {
        Ok(lab) => lab,
        Err(error) => {
            println!("fatal {}", one_line(&*error));
            return ExitCode::FAILURE;
        }
    };
    println!("device {}\t{}", lab.device.name(), lab.toolchain());
    for (name, probe) in PROBES {
        if !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        println!("begin {name}");
        let outcome = probe(&mut lab);
        for point in lab.points.drain(..) {
            println!("point {}", point.to_json());
        }
        match outcome {
            Ok(()) => println!("end {name}"),
            Err(error) => println!("fail {}", one_line(&*error)),
        }
        // After some errors every further call fails: the process that waits starts another one for the rest.
        if lab.device.synchronize().is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn one_line(error: &dyn std::error::Error) -> String {
    error.to_string().replace('\n', " | ")
}

/// The first process: what is still to run, and what is known.
struct Run {
    remaining: Vec<&'static str>,
    points: Vec<Point>,
    failures: Vec<String>,
    device: Option<(String, String)>,
    began: Instant,
}

impl Run {
    fn new(remaining: Vec<&'static str>) -> Self {
        println!(
            "{:<34} {:>11} {:>11} {:<11} {:>9}",
            "probe", "predicted", "measured", "unit", "ratio"
        );
        Self {
            remaining,
            points: Vec::new(),
            failures: Vec::new(),
            device: None,
            began: Instant::now(),
        }
    }

    fn fail(&mut self, probe: &str, why: &str) {
        println!("{probe:<34} FAILED: {why}");
        self.failures.push(format!("{probe}: {why}"));
    }

    fn everything(&mut self) {
        while !self.remaining.is_empty() {
            if self.began.elapsed() > ALL {
                for name in std::mem::take(&mut self.remaining) {
                    self.fail(name, "not run: the time is used up");
                }
                return;
            }
            let program = std::env::current_exe().expect("this program has a path");
            let child = Command::new(program)
                .arg(WORKER)
                .args(&self.remaining)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn();
            let mut child = match child {
                Ok(child) => child,
                Err(error) => {
                    self.remaining.clear();
                    return self.fail("start", &error.to_string());
                }
            };
            let before = self.remaining.len();
            self.listen(&lines(&mut child));
            end(&mut child);
            // A process that ends before its first probe would end so again.
            if self.remaining.len() == before && !self.remaining.is_empty() {
                self.remaining.clear();
                return self.fail("start", "no probe could be run");
            }
        }
    }

    /// Takes in what one process says, until it is done, has failed for good, or says nothing for too long.
    fn listen(&mut self, lines: &Receiver<String>) {
        let mut current: Option<String> = None;
        loop {
            let left = ALL.saturating_sub(self.began.elapsed()) + Duration::from_millis(10);
            let (kind, rest) = match lines.recv_timeout(left.min(ONE)) {
                Ok(line) => match line.split_once(' ') {
                    Some((kind, rest)) => (kind.to_owned(), rest.to_owned()),
                    None => continue,
                },
                Err(error) => {
                    if let Some(name) = current {
                        self.remaining.retain(|other| *other != name);
                        let ended = "its process ended";
                        let late = "it took too long and was ended";
                        let hung = error == RecvTimeoutError::Timeout;
                        self.fail(&name, if hung { late } else { ended });
                    }
                    return;
                }
            };
            match kind.as_str() {
                "device" => {
                    let (name, toolchain) = rest.split_once('\t').unwrap_or((&rest, ""));
                    self.device = Some((name.to_owned(), toolchain.to_owned()));
                }
                "begin" => current = Some(rest),
                "point" => match Point::from_json(&rest) {
                    Ok(point) => {
                        println!("{point}");
                        self.points.push(point);
                    }
                    Err(error) => self.fail("a point", &error.to_string()),
                },
                "end" | "fail" => {
                    let name = current.take().unwrap_or_default();
                    self.remaining.retain(|other| *other != name);
                    if kind == "fail" {
                        self.fail(&name, &rest);
                    }
                }
                "fatal" => {
                    self.remaining.clear();
                    return self.fail("start", &rest);
                }
                _ => println!("{kind} {rest}"),
            }
        }
    }

    /// Writes the record if asked to. Fails if any probe did: what did not run must not read as passed.
    fn finish(self) -> ExitCode {
        let seconds = self.began.elapsed().as_secs_f64();
        let (points, failures) = (self.points.len(), self.failures.len());
        println!("{points} points, {failures} failures, {seconds:.1} s");
        if let (true, Some((device, toolchain))) =
            (std::env::var_os("RECORD").is_some(), self.device)
        {
            let mut record = benches::gpu::record(
                "micro-h200",
                "What the machine does, beside what was predicted",
                "RECORD=1 cargo bench -p kernels --bench micro",
                &device,
                &toolchain,
                SOURCES,
            );
            record.series = self.points.iter().flat_map(Point::series).collect();
            match record.save(&benches::gpu::root()) {
                Ok(path) => println!("wrote {}", path.display()),
                Err(error) => {
                    // The samples cost device time: they are not lost with the file.
                    println!("{error}; the record:");
                    println!("{}", serde_json::to_string(&record).expect("plain data"));
                    return ExitCode::FAILURE;
                }
            }
        }
        ExitCode::from(u8::from(failures > 0))
    }
}

/// The lines of a process, read by a thread so that waiting for them can end.
fn lines(child: &mut Child) -> Receiver<String> {
    let (send, receive) = channel();
    let output = child.stdout.take().expect("the output is piped");
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

/// Ends a process if it has not ended; does not wait for one that the driver holds on to.
fn end(child: &mut Child) {
    for attempt in 0..50 {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        if attempt == 10 {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
