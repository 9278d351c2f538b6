//! One row times weights that no cache holds: a decode step's work, beside what the same cores read from the same amount of memory.

mod common;

use benches::Bench;
use common::{Contender, Read, push, push_one, push_ratio, take_turns};
use half::bf16;
use memory_hierarchy::gemm::{Panels, Rows, multiply};
use memory_hierarchy::{Buffer, Isa, Pool, pool};

/// Elements of a row of the weight.
const K: usize = 4096;
/// Bytes of each weight.
const BYTES: usize = 512 << 20;
/// Elements that a thread reads at a time.
const CHUNK: usize = 1 << 18;

fn main() {
    pool::pin_to(pool::allowed_cores()[0]);
    let mut bench = Bench::new(
        "stage-01",
        "01-gemv",
        "One row times a weight of 512 MiB, beside the bandwidth of reading as much",
        &[
            "stages/01-memory-hierarchy/src/gemm",
            "stages/01-memory-hierarchy/src/simd",
        ],
    );
    let (n32, n16) = (BYTES / 4 / K, BYTES / 2 / K);
    let panels32 = Panels::pack(&vec![0.5f32; n32 * K], n32, K);
    let panels16 = Panels::pack(&vec![bf16::ONE; n16 * K], n16, K);
    let mut plain = Buffer::<f32>::zeroed(BYTES / 4);
    plain.fill(1.0);
    let x = vec![1.0; K];
    let all = pool::allowed_cores().len();
    for threads in [1, all] {
        measure(&mut bench, threads, &plain, &x, &panels32, &panels16);
        if all == 1 {
            break;
        }
    }
    bench.finish();
}

fn measure(
    bench: &mut Bench,
    threads: usize,
    plain: &[f32],
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
    let mut contenders = [
        Contender::new(named("read-1-stream"), BYTES as f64, || {
            pool.for_each_chunk(plain.len(), CHUNK, |part| isa.run(Read::<1>(&plain[part])));
        }),
        Contender::new(named("read-4-streams"), BYTES as f64, || {
            pool.for_each_chunk(plain.len(), CHUNK, |part| isa.run(Read::<4>(&plain[part])));
        }),
        Contender::new(named("f32"), panels32.bytes() as f64, || {
            multiply(&pool, isa, &mut out32, panels32.n(), rows, panels32, None);
        }),
        Contender::new(named("bf16"), panels16.bytes() as f64, || {
            multiply(&pool, isa, &mut out16, panels16.n(), rows, panels16, None);
        }),
    ];
    let rates = take_turns(&mut contenders, 15, 2);
    push(bench, "GB/s", &contenders, &rates);
    // The better way to read is the floor.
    let read: Vec<f64> = rates[0]
        .iter()
        .zip(&rates[1])
        .map(|(one, four)| one.max(*four))
        .collect();
    push_ratio(bench, &named("f32-of-read"), &rates[2], &read);
    push_ratio(bench, &named("bf16-of-read"), &rates[3], &read);
    push_one(bench, &named("read"), "GB/s", read);
    drop(contenders);
    assert!(out32.iter().all(|out| *out == 0.5 * K as f32));
    assert!(out16.iter().all(|out| *out == K as f32));
}
