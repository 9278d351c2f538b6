//! One row times weights that no cache holds: a decode step's work, beside what the same cores read from the same amount of memory.

mod common;

use benches::Bench;
use common::{Contender, push, push_ratio, take_turns};
use half::bf16;
use memory_hierarchy::gemm::{Panels, Rows, multiply};
use memory_hierarchy::probe::bandwidth::{Traffic, WorkingSet, sum};
use memory_hierarchy::{Isa, Pool, pool};
use std::hint::black_box;
use std::time::Duration;

/// Elements of a row of the weight.
const K: usize = 4096;
/// Elements that a thread reads at a time where it reads from memory that all share.
const CHUNK: usize = 1 << 18;
/// Bytes of each weight.
const BYTES: usize = 256 << 20;

fn main() {
    // Cargo also starts benches to see that they run.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    pool::pin_to(pool::allowed_cores()[0]);
    let mut bench = Bench::new(
        "stage-01 --bench gemv",
        "01-gemv",
        "One row times a weight of 256 MiB, beside the bandwidth of reading as much",
        &[
            "stages/01-memory-hierarchy/src/gemm",
            "stages/01-memory-hierarchy/src/simd",
            "stages/01-memory-hierarchy/benches/gemv.rs",
        ],
    );
    let (n32, n16) = (BYTES / 4 / K, BYTES / 2 / K);
    let panels32 = Panels::pack(&vec![0.5f32; n32 * K], n32, K);
    let panels16 = Panels::pack(&vec![bf16::ONE; n16 * K], n16, K);
    let x = vec![1.0; K];
    let all = pool::allowed_cores().len();
    for threads in [1, all] {
        measure(&mut bench, threads, &x, &panels32, &panels16);
        if all == 1 {
            break;
        }
    }
    bench.finish();
}

fn measure(
    bench: &mut Bench,
    threads: usize,
    x: &[f32],
    panels32: &Panels<f32>,
    panels16: &Panels<bf16>,
) {
    let (isa, pool) = (Isa::detect(), Pool::new(threads));
    let (mut out32, mut out16) = (vec![f32::NAN; panels32.n()], vec![f32::NAN; panels16.n()]);
    let rows = Rows {
        values: x,
        stride: K,
        rows: 1,
    };
    let named = |name: &str| format!("{name}/{threads}");
    let set = WorkingSet::new(&pool, BYTES / threads);
    let shared = vec![1.0f32; BYTES / 4];
    let contenders = vec![
        Contender::sampled(named("read-own"), || {
            set.gb_s(&pool, Traffic::Read, Duration::ZERO)
        }),
        Contender::new(named("read-shared"), BYTES as f64, || {
            pool.for_each_chunk(shared.len(), CHUNK, |part| {
                black_box(sum(isa, &shared[part]));
            });
        }),
        Contender::new(named("f32"), panels32.bytes() as f64, || {
            multiply(&pool, isa, &mut out32, panels32.n(), rows, panels32, None);
        }),
        Contender::new(named("bf16"), panels16.bytes() as f64, || {
            multiply(&pool, isa, &mut out16, panels16.n(), rows, panels16, None);
        }),
    ];
    let mut rates = take_turns(bench, "GB/s", contenders, 12);
    // The better way to read is the floor.
    let read: Vec<f64> = rates[0]
        .1
        .iter()
        .zip(&rates[1].1)
        .map(|(own, shared)| own.max(*shared))
        .collect();
    push(bench, &named("read"), "GB/s", read.clone());
    rates.push((named("read"), read));
    for of in ["f32", "bf16"] {
        push_ratio(
            bench,
            &named(&format!("{of}-of-read")),
            &rates,
            &named(of),
            &named("read"),
        );
    }
    assert!(out32.iter().all(|out| *out == 0.5 * K as f32));
    assert!(out16.iter().all(|out| *out == K as f32));
}
