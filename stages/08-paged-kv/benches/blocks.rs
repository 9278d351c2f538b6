//! What a block costs: time to take and find one, and memory that blocks waste and hold.

use benches::Bench;
use paged_kv::{BlockPool, PageTable, PagedKv};
use std::hint::black_box;

const BLOCK_SIZE: usize = 16;
/// A contiguous cache reserves this much for everybody.
const MAX_LEN: usize = 2048;

fn main() {
    let mut bench = Bench::new(
        "stage-08",
        "08-blocks",
        "What a block of 16 tokens costs, and what blocks of other sizes waste",
        &["stages/08-paged-kv/src"],
    );
    time_blocks(&mut bench);
    time_lookup(&mut bench);
    count_waste(&mut bench);
    count_memory(&mut bench);
    bench.finish();
}

fn time_blocks(bench: &mut Bench) {
    let mut pool = BlockPool::new(4096);
    bench.measure("take-and-give-back", 64, |b| {
        b.iter(|| {
            let taken: [_; 64] = std::array::from_fn(|_| pool.allocate().expect("one is free"));
            for block in black_box(taken) {
                pool.release(block, true);
            }
        })
    });
    let mut kv = PagedKv::new(4096, BLOCK_SIZE, false);
    let tokens = [7; 1024];
    bench.measure("decode-step", 1024, |b| {
        b.iter(|| {
            let mut table = PageTable::new(0);
            for _ in 0..1024 {
                kv.reserve(&mut table, 1).expect("there is room");
                let len = table.len() + 1;
                kv.commit(&mut table, &tokens[..len]);
            }
            kv.release(table);
        })
    });
}

/// Per token of a prompt that is stored whole.
fn time_lookup(bench: &mut Bench) {
    for len in [256usize, 1024, 4096, 16384] {
        let mut kv = PagedKv::new(2048, BLOCK_SIZE, true);
        let tokens: Vec<u32> = (0..len as u32)
            .map(|token| token.wrapping_mul(2_654_435_761))
            .collect();
        let mut table = PageTable::new(0);
        kv.reserve(&mut table, len).expect("there is room");
        kv.commit(&mut table, &tokens);
        kv.release(table);
        bench.measure(&format!("lookup/{len}"), len, |b| {
            b.iter(|| {
                let table = kv.match_prefix(black_box(&tokens), 0);
                assert!(table.len() >= len - BLOCK_SIZE);
                kv.release(table);
            })
        });
    }
}

/// Memory that is reserved and holds no token, over a thousand sequences of mixed lengths.
fn count_waste(bench: &mut Bench) {
    let lens: Vec<usize> = (0..1000).map(mixed_len).collect();
    let used: usize = lens.iter().sum();
    let percent = |reserved: usize| 100.0 * (reserved - used) as f64 / reserved as f64;
    bench.count("waste-contiguous", "%", percent(MAX_LEN * lens.len()));
    for block_size in [1usize, 8, 16, 32, 64, 128] {
        let mut kv = PagedKv::new(MAX_LEN * lens.len() / block_size, block_size, false);
        for &len in &lens {
            let mut table = PageTable::new(0);
            kv.reserve(&mut table, len).expect("there is room");
            // Every table stays, so that the pool holds them all at once; it is never asked for them again.
            std::mem::forget(table);
        }
        bench.count(
            &format!("waste-paged/{block_size}"),
            "%",
            percent(kv.used_blocks() * block_size),
        );
    }
}

/// A length from 16 to [`MAX_LEN`], log-uniform by a low-discrepancy sequence: many short ones, some long.
fn mixed_len(index: usize) -> usize {
    let uniform = (index as f64 * 0.618_033_988_749_894_9).fract();
    (16.0 * (MAX_LEN as f64 / 16.0).powf(uniform)).round() as usize
}

/// KV memory of one sequence of a model with the shape of Llama-3-8B: 32 layers, heads of 128, two bytes a number.
fn count_memory(bench: &mut Bench) {
    for (label, kv_heads) in [("8-kv-heads", 8usize), ("32-kv-heads", 32)] {
        for len in [1024usize, 8192, 32768, 131_072] {
            let bytes = 2 * 32 * kv_heads * 128 * 2 * len.next_multiple_of(BLOCK_SIZE);
            bench.count(
                &format!("{label}/{len}"),
                "MiB",
                bytes as f64 / f64::from(1 << 20),
            );
        }
    }
}
