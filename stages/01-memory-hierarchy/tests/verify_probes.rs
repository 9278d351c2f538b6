//! What the probes promise on any machine: they do the work that they time. Speeds are for the records.

mod common;

use memory_hierarchy::probe::bandwidth::{Traffic, WorkingSet, fill, scale, stream, sum};
use memory_hierarchy::probe::latency::{Chase, LINE, curve};
use memory_hierarchy::probe::pages::{HUGE, PageSize, Pages};
use memory_hierarchy::probe::sharing::{Counters, increment_ns};
use memory_hierarchy::probe::{intensity, numa, peak, threads, tlb};
use memory_hierarchy::topology::{Node, Topology};
use memory_hierarchy::{Isa, Pool};
use rand::RngExt;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(2);

#[test]
fn pages_are_zero_aligned_and_whole() {
    for size in [PageSize::Base, PageSize::Huge] {
        for bytes in [0, 1, 4096, 100_000, HUGE + 1] {
            let mut pages = Pages::new(bytes, size);
            assert!(pages.words().len() * 8 >= bytes.max(1));
            assert_eq!(pages.words().as_ptr().addr() % HUGE, 0);
            assert!(pages.words().iter().all(|word| *word == 0));
            pages.words_mut().fill(u64::MAX);
            assert!(pages.words().iter().all(|word| *word == u64::MAX));
        }
    }
    // Base pages are what the kernel was told to use; whether it grants huge ones is its own affair.
    if let Some(huge) = Pages::new(2 * HUGE, PageSize::Base).huge_bytes() {
        assert_eq!(huge, 0);
    }
    if let Some(huge) = Pages::new(2 * HUGE, PageSize::Huge).huge_bytes() {
        assert!(huge <= 2 * HUGE);
    }
}

/// Steps one by one: each node once, and back at the start.
fn visited(chase: &Chase) -> BTreeSet<usize> {
    let (mut at, mut seen) = (0, BTreeSet::new());
    for _ in 0..chase.nodes() {
        assert!(seen.insert(at), "{at} came again too early");
        at = chase.walk(at, 1);
    }
    assert_eq!(at, 0);
    assert_eq!(chase.walk(0, chase.nodes()), 0);
    seen
}

#[test]
fn a_walk_visits_every_line_or_page_once() {
    for nodes in [1, 2, 3, 65, 1000] {
        let lines: BTreeSet<_> = (0..nodes).map(|line| line * LINE).collect();
        assert_eq!(visited(&Chase::lines(nodes * LINE, PageSize::Base)), lines);
        assert_eq!(visited(&tlb::dense(nodes, PageSize::Huge)), lines);
        let pages = visited(&tlb::spread(nodes, PageSize::Base));
        let pages: BTreeSet<_> = pages.iter().map(|at| at / tlb::PAGE).collect();
        assert_eq!(pages, (0..nodes).collect());
    }
    let curve = curve(&[0, 4096, 100_000], PageSize::Base, SHORT);
    assert!(curve.iter().all(|(_, ns)| ns.is_finite() && *ns > 0.0));
}

/// Small whole numbers, whose sums are exact in any order.
fn numbers(len: usize) -> Vec<f32> {
    let mut rng = common::rng();
    (0..len)
        .map(|_| f32::from(rng.random_range(-8i8..=8)))
        .collect()
}

#[test]
fn traffic_reads_and_writes_every_element() {
    // Odd lengths from an odd start: streamed stores need alignment, and find it.
    for len in [0, 1, 3, 4, 15, 16, 17, 127, 128, 129, 1000] {
        for offset in 0..4 {
            let data = numbers(len + offset);
            let from = &data[offset..];
            let poisoned = || vec![f32::NAN; len + offset];
            for isa in Isa::available() {
                assert_eq!(sum(isa, from), from.iter().sum::<f32>(), "{isa:?} {len}");
                let mut to = poisoned();
                fill(isa, &mut to[offset..], 2.5);
                assert!(to[offset..].iter().all(|it| *it == 2.5));
                assert!(to[..offset].iter().all(|it| it.is_nan()));
                let mut to = poisoned();
                scale(isa, from, &mut to[offset..], 3.0);
                assert!(
                    to[offset..]
                        .iter()
                        .zip(from)
                        .all(|(to, from)| *to == 3.0 * from)
                );
            }
            let mut to = poisoned();
            stream(&mut to[offset..], |i| 3.0 * from[i]);
            assert!(
                to[offset..]
                    .iter()
                    .zip(from)
                    .all(|(to, from)| *to == 3.0 * from)
            );
            assert!(to[..offset].iter().all(|it| it.is_nan()));
        }
    }
}

#[test]
fn a_pass_does_what_its_name_says() {
    for isa in Isa::available() {
        for traffic in Traffic::ALL {
            let before = numbers(1000);
            let mut after = before.clone();
            let result = traffic.pass(isa, &mut after);
            let expected: Vec<f32> = match traffic {
                Traffic::Read => before.clone(),
                Traffic::Write | Traffic::WriteStream => vec![1.5; 1000],
                Traffic::Copy | Traffic::CopyStream => {
                    let copied = before[..500].iter().map(|x| 1.5 * x);
                    before[..500].iter().copied().chain(copied).collect()
                }
            };
            assert_eq!(after, expected, "{traffic:?}");
            let sum = before.iter().sum::<f32>();
            let last = if traffic == Traffic::Read {
                sum
            } else {
                after[999]
            };
            assert_eq!(result, last, "{traffic:?}");
        }
    }
}

#[test]
fn bandwidths_and_rates_are_positive_numbers() {
    let sound = |rate: f64| assert!(rate.is_finite() && rate > 0.0, "{rate}");
    for threads in 1..=3 {
        let pool = Pool::new(threads);
        let set = WorkingSet::new(&pool, 10_000);
        for traffic in Traffic::ALL {
            sound(set.gb_s(&pool, traffic, SHORT));
        }
        sound(threads::broadcast_ns(&pool, SHORT));
        sound(threads::broadcast_asleep_ns(&pool, SHORT));
        for stride in [0, 8, 64, 128] {
            sound(increment_ns(&pool, stride, Duration::ZERO));
        }
    }
    for chains in peak::CHAINS {
        for isa in Isa::available() {
            sound(peak::fma_rate(isa, chains, Duration::ZERO));
        }
    }
    for peak in peak::peaks() {
        sound(peak.gflops);
    }
    if let Some(clock) = peak::clock_ghz(SHORT) {
        sound(clock);
    }
    sound(threads::thread_start_ns(SHORT));
    sound(threads::thread_switch_ns(SHORT));
}

#[test]
fn counters_lose_no_increment_at_any_distance() {
    for threads in 1..=4 {
        let pool = Pool::new(threads);
        for stride in [8, 24, 64, 128, 256] {
            let counters = Counters::new(threads, stride);
            counters.count(&pool, 1000);
            let start = std::ptr::from_ref(counters.get(0)).addr();
            for thread in 0..threads {
                let counter = counters.get(thread);
                assert_eq!(counter.load(Ordering::Relaxed), 1000);
                let distance = std::ptr::from_ref(counter).addr() - start;
                assert_eq!(distance, thread * stride);
            }
        }
        let shared = Counters::new(threads, 0);
        shared.count(&pool, 1000);
        assert_eq!(shared.get(0).load(Ordering::Relaxed), 1000 * threads as u64);
    }
}

#[test]
fn every_element_passes_through_the_whole_depth() {
    for depth in intensity::DEPTHS {
        assert_eq!(intensity::flops_a_byte(depth), depth as f64 / 2.0);
        for len in [0, 1, 63, 64, 65, 128, 1001] {
            let data = numbers(len);
            // x/2 + 1/2 applied d times is (x - 1) / 2^d + 1; the last of the depth's operations is the sum's.
            let exact = |x: &f32| (f64::from(*x) - 1.0) / 2f64.powi(depth as i32 - 1) + 1.0;
            let expected: f64 = data.iter().map(exact).sum();
            for isa in Isa::available() {
                let found = f64::from(intensity::polynomial(isa, depth, &data));
                let bound = 1e-5 * (1.0 + data.len() as f64);
                assert!(
                    (found - expected).abs() <= bound,
                    "{isa:?} {depth} {len}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn each_pair_of_nodes_has_a_latency() {
    let cores = memory_hierarchy::pool::allowed_cores();
    let node = |id, cpus: &[usize]| Node {
        id,
        cpus: cpus.to_vec(),
        distances: Vec::new(),
    };
    // Two nodes that the test makes up of the same cores, and one without any that can walk.
    let made_up = Topology {
        nodes: vec![node(0, &cores), node(3, &cores), node(4, &[])],
        ..Topology::default()
    };
    let distances = numa::distances(&made_up, 10_000, SHORT);
    let pairs: Vec<_> = distances.iter().map(|it| (it.from, it.to)).collect();
    assert_eq!(pairs, [(0, 0), (3, 0), (0, 3), (3, 3)]);
    assert!(distances.iter().all(|it| it.ns.is_finite() && it.ns > 0.0));
    assert_eq!(numa::distances(&Topology::default(), 10_000, SHORT), []);
}
