//! The machine under the engine: latencies, bandwidths, peaks, pages, sharing, threads. Copies between a host and a GPU are probed with
//! the kernels, in `kernels/benches/micro/host.rs`, since they need one.
//!
//! Each sample is the best of many passes (or their median, where threads hinder one another), and what is to be compared is sampled in turn, so that a disturbance meets all alike.

use benches::Bench;
use memory_hierarchy::probe::bandwidth::{Traffic, WorkingSet, beyond_caches};
use memory_hierarchy::probe::latency::{Chase, knees};
use memory_hierarchy::probe::pages::{PageSize, Pages};
use memory_hierarchy::probe::{intensity, machine, numa, peak, sharing, threads, tlb};
use memory_hierarchy::topology::Topology;
use memory_hierarchy::{Buffer, Isa, Pool, pool};
use std::time::{Duration, Instant};

/// Samples of a series.
const ROUNDS: usize = 7;
/// Time for a sample, in which its best pass is found.
const BUDGET: Duration = Duration::from_millis(20);

/// A series to be: its name, and what takes a sample.
type Probe<'a> = (String, Box<dyn FnMut() -> f64 + 'a>);

fn probe<'a>(name: impl Into<String>, sample: impl FnMut() -> f64 + 'a) -> Probe<'a> {
    (name.into(), Box::new(sample))
}

/// Samples all in turn.
fn measure(bench: &mut Bench, unit: &str, mut probes: Vec<Probe<'_>>) {
    let mut samples = vec![Vec::new(); probes.len()];
    for _ in 0..ROUNDS {
        for ((_, sample), samples) in probes.iter_mut().zip(&mut samples) {
            samples.push(sample());
        }
    }
    for ((name, _), samples) in probes.into_iter().zip(samples) {
        let best = samples.iter().copied().fold(f64::INFINITY, f64::min);
        println!("{name:<36} {best:>10.2} {unit} at least");
        bench.push(&name, unit, samples);
    }
}

fn main() {
    // Cargo also starts benches to see that they run; that is what the tests of the probes are for.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut bench = Bench::new(
        "stage-01 --bench memory",
        "01-memory",
        "The machine under the engine: latencies, bandwidths, peaks and threads",
        &[
            "stages/01-memory-hierarchy/src/probe",
            "stages/01-memory-hierarchy/src/pool.rs",
            "stages/01-memory-hierarchy/src/simd",
            "stages/01-memory-hierarchy/benches/memory.rs",
        ],
    );
    let topology = Topology::here();
    peaks(&mut bench);
    latencies(&mut bench, &topology);
    translations(&mut bench);
    bandwidths(&mut bench, &topology);
    ladder(&mut bench, &topology);
    sharing_lines(&mut bench);
    handing_over(&mut bench);
    nodes(&mut bench, &topology);
    bench.finish();
}

/// One core's arithmetic, and how many independent chains it takes to reach it.
fn peaks(bench: &mut Bench) {
    measure(
        bench,
        "GHz",
        vec![probe("clock", || peak::clock_ghz(BUDGET).unwrap_or(0.0))],
    );
    let mut found = vec![Vec::new(); peak::peaks().len()];
    for _ in 0..ROUNDS {
        for (samples, peak) in found.iter_mut().zip(peak::peaks()) {
            samples.push(peak.gflops);
        }
    }
    for (samples, peak) in found.into_iter().zip(peak::peaks()) {
        let unit = if peak.dtype == "int8" {
            "GOP/s"
        } else {
            "GFLOP/s"
        };
        let name = format!("peak-gflops-{}/{}", peak.dtype, peak.isa);
        println!("{name:<36} {:>10.2} {unit}", peak.gflops);
        bench.push(&name, unit, samples);
    }
    for isa in Isa::available() {
        let rate = |chains| {
            let name = format!("fma-chains-{}/{chains}", isa.name());
            probe(name, move || peak::fma_rate(isa, chains, BUDGET / 4))
        };
        let probes = peak::CHAINS.map(rate);
        measure(bench, "GFLOP/s", probes.into());
    }
}

/// The curve over working sets from 4 KiB to 256 MiB in pages of both sizes, and the caches read off it beside those that the system
/// tells of.
fn latencies(bench: &mut Bench, topology: &Topology) {
    let sizes: Vec<usize> = (12..28)
        .flat_map(|power| [1 << power, 3 << (power - 1)])
        .collect();
    let mut curve = Vec::new();
    for bytes in sizes {
        let name = |pages: &str| format!("latency-{pages}/{bytes}");
        let chase = [PageSize::Base, PageSize::Huge].map(|pages| Chase::lines(bytes, pages));
        let mut best = f64::INFINITY;
        let probes = vec![
            probe(name("4k"), || chase[0].latency_ns(BUDGET)),
            probe(name("huge"), || {
                let ns = chase[1].latency_ns(BUDGET);
                best = best.min(ns);
                ns
            }),
        ];
        measure(bench, "ns", probes);
        curve.push((bytes, best));
    }
    // Huge pages, so that what climbs is the caches' and not the translations' doing.
    for (index, bytes) in knees(&curve).into_iter().enumerate() {
        bench.count(&format!("knee/{}", index + 1), "KiB", (bytes >> 10) as f64);
    }
    for cache in &topology.caches {
        bench.count(
            &format!("cache/L{}", cache.level),
            "KiB",
            (cache.bytes >> 10) as f64,
        );
    }
    let largest = Pages::new(64 << 20, PageSize::Huge);
    if let Some(granted) = largest.huge_bytes() {
        bench.count(
            "huge-granted",
            "%",
            100.0 * granted as f64 / f64::from(64 << 20),
        );
    }
}

/// As many lines in three ways: dense, one to each 4 KiB in small pages, and the same in huge ones.
fn translations(bench: &mut Bench) {
    for pages in (4..=16).map(|power| 1 << power) {
        let dense = tlb::dense(pages, PageSize::Huge);
        let spread = [PageSize::Base, PageSize::Huge].map(|size| tlb::spread(pages, size));
        let probes = vec![
            probe(format!("lines-dense/{pages}"), || dense.latency_ns(BUDGET)),
            probe(format!("lines-in-4k-pages/{pages}"), || {
                spread[0].latency_ns(BUDGET)
            }),
            probe(format!("lines-in-huge-pages/{pages}"), || {
                spread[1].latency_ns(BUDGET)
            }),
        ];
        measure(bench, "ns", probes);
    }
}

/// Reading, writing and copying in each level, by one core and by all, each thread on a working set of its own.
fn bandwidths(bench: &mut Bench, topology: &Topology) {
    let (alone, all) = (Pool::new(1), Pool::global());
    for (level, bytes) in machine::working_sets(topology) {
        // A level that all cores share, and memory, hold one set for all.
        let cache = topology
            .caches
            .iter()
            .find(|cache| level == format!("L{}", cache.level));
        let shares = cache.map_or(all.threads(), |cache| {
            cache
                .shared_by
                .iter()
                .filter(|cpu| topology.cpus.contains(cpu))
                .count()
        });
        let sets = [
            WorkingSet::new(&alone, bytes),
            WorkingSet::new(all, bytes / shares.clamp(1, all.threads())),
        ];
        let mut probes = Vec::new();
        for traffic in Traffic::ALL {
            let (name, sets, alone) = (traffic.name(), &sets, &alone);
            probes.push(probe(format!("{name}-bandwidth/{level}"), move || {
                sets[0].gb_s(alone, traffic, BUDGET)
            }));
            probes.push(probe(format!("{name}-bandwidth-all/{level}"), move || {
                sets[1].gb_s(all, traffic, BUDGET)
            }));
        }
        measure(bench, "GB/s", probes);
    }
}

/// The roof between bandwidth and peak, from data in the nearest cache and in memory.
fn ladder(bench: &mut Bench, topology: &Topology) {
    let isa = Isa::detect();
    let near = topology.cache(1).map_or(16 << 10, |cache| cache.bytes / 2);
    for (level, bytes) in [("L1", near), ("DRAM", beyond_caches(topology))] {
        let data = Buffer::zeroed(bytes / 4);
        let name = |depth| format!("ladder-{level}/{}", intensity::flops_a_byte(depth));
        let rate = |depth| {
            let data = &data;
            probe(name(depth), move || {
                intensity::gflops(isa, depth, data, BUDGET)
            })
        };
        let probes = intensity::DEPTHS.map(rate);
        measure(bench, "GFLOP/s", probes.into());
        for depth in intensity::DEPTHS {
            let flops = intensity::flops_a_byte(depth);
            bench.count(&format!("intensity/{}", name(depth)), "FLOP/byte", flops);
        }
    }
}

/// All threads increment at once: one counter, counters in one line, in neighbouring lines, and two lines apart; and one thread alone.
fn sharing_lines(bench: &mut Bench) {
    let (alone, all) = (Pool::new(1), Pool::global());
    let mut probes = vec![
        probe("increment-alone", || {
            sharing::increment_ns(&alone, 8, BUDGET)
        }),
        probe("true-sharing", || sharing::increment_ns(all, 0, BUDGET)),
    ];
    probes.extend([8, 64, 128].map(|stride| {
        let name = format!("false-sharing/{stride}");
        probe(name, move || sharing::increment_ns(all, stride, BUDGET))
    }));
    measure(bench, "ns", probes);
}

/// A thread, a pool's job, a task: what it takes to start one and to pass the core to another.
fn handing_over(bench: &mut Bench) {
    let pool = Pool::global();
    let rayon = rayon::ThreadPoolBuilder::new()
        .num_threads(pool.threads())
        .build()
        .expect("the system gives threads");
    let tokio = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers needs nothing");
    // From within rayon's pool, as ours is called by one of its threads.
    let within = |job: fn()| rayon.install(|| per_call(64, job));
    let probes = vec![
        probe("thread-start", || threads::thread_start_ns(BUDGET)),
        probe("thread-switch", || threads::thread_switch_ns(BUDGET)),
        probe("broadcast", || {
            pinned(|| pool.pin_caller(), || threads::broadcast_ns(pool, BUDGET))
        }),
        probe("broadcast-asleep", || {
            pinned(
                || pool.pin_caller(),
                || threads::broadcast_asleep_ns(pool, 3 * BUDGET),
            )
        }),
        probe("broadcast-shared-core", || {
            let last = || pool::pin_to(*pool::allowed_cores().last().expect("a core runs this"));
            pinned(last, || threads::broadcast_ns(pool, BUDGET))
        }),
        probe("rayon-broadcast", || {
            within(|| {
                rayon::broadcast(|_| ());
            })
        }),
        // A join costs next to nothing if nobody comes to steal the second half; it then ran on one core.
        probe("rayon-join", || {
            within(|| {
                rayon::join(|| (), || ());
            })
        }),
        probe("task-spawn", || {
            tokio.block_on(async {
                let start = Instant::now();
                for _ in 0..1000 {
                    tokio::spawn(async {})
                        .await
                        .expect("an empty task does not panic");
                }
                start.elapsed().as_nanos() as f64 / 1000.0
            })
        }),
        probe("task-switch", || tokio.block_on(task_switch(1000))),
    ];
    measure(bench, "ns", probes);
}

/// Runs `job` on a thread that `pin` puts on a core first. One that is not pinned may be put on a worker's core, which
/// `broadcast-shared-core` does on purpose: the two then take turns at the system's pace.
fn pinned(pin: impl FnOnce() + Send, job: impl FnOnce() -> f64 + Send) -> f64 {
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            pin();
            job()
        });
        caller.join().expect("the probe does not panic")
    })
}

/// ns for a call, the best of stretches of `calls`.
fn per_call(calls: usize, job: impl Fn()) -> f64 {
    memory_hierarchy::probe::fastest(BUDGET, || (0..calls).for_each(|_| job())) / calls as f64
}

/// Two tasks on one thread wake each other in turn, as `threads::thread_switch_ns` has two threads do: ns for a turn.
async fn task_switch(turns: usize) -> f64 {
    use std::sync::Arc;
    use tokio::sync::Notify;
    let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (wait, wake) = (ping.clone(), pong.clone());
    let other = tokio::spawn(async move {
        for _ in 0..turns {
            wait.notified().await;
            wake.notify_one();
        }
    });
    let start = Instant::now();
    for _ in 0..turns {
        ping.notify_one();
        pong.notified().await;
    }
    let ns = start.elapsed().as_nanos() as f64;
    other.await.expect("the task does not panic");
    ns / (2 * turns) as f64
}

/// The latency from each node to each. On a machine of one node that is one figure, and `numa-nodes` says so.
fn nodes(bench: &mut Bench, topology: &Topology) {
    bench.count("numa-nodes", "nodes", topology.nodes.len().max(1) as f64);
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        samples.push(numa::distances(
            topology,
            beyond_caches(topology) / 2,
            BUDGET,
        ));
    }
    for (pair, distance) in samples[0].iter().enumerate() {
        let name = format!("numa-latency/{}-{}", distance.from, distance.to);
        let ns = samples.iter().map(|round| round[pair].ns).collect();
        bench.push(&name, "ns", ns);
    }
}
