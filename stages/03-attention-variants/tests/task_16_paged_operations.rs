//! The operations on a paged cache: attention against the scalar reference, rotation and the write into slots, block copies.

mod support;

use attention_variants::config::{Rope, RopeScaling};
use attention_variants::ops::{
    AttentionShape, Cpu, HeadRotation, HostKv, Isa, KvType, Ops, Reference, Vectorised,
};
use attention_variants::rope::RopeTable;
use attention_variants::step::StepInputs;
use memory_hierarchy::Pool;
use rand::RngExt;
use rand::rngs::StdRng;
use std::sync::Arc;
use support::operations::{TOLERANCE, cpus, room, tensor};
use support::{assert_close, rng, values};

/// A random ragged batch over a paged cache: sequences with some context behind them, and their next tokens.
struct Batch {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    slots: Vec<u32>,
    query_starts: Vec<u32>,
    block_tables: Vec<u32>,
    blocks_per_sequence: usize,
    blocks: usize,
}

const BLOCK: usize = 5;

impl Batch {
    fn random(rng: &mut StdRng, sequences: &[(usize, usize)]) -> Self {
        let blocks_per_sequence = sequences
            .iter()
            .map(|(seen, new)| (seen + new).div_ceil(BLOCK))
            .max()
            .unwrap_or(0);
        let blocks = sequences.len() * blocks_per_sequence;
        let mut free: Vec<u32> = (0..blocks as u32).collect();
        let mut batch = Self {
            tokens: vec![],
            positions: vec![],
            slots: vec![],
            query_starts: vec![0],
            block_tables: vec![],
            blocks_per_sequence,
            blocks,
        };
        for (seen, new) in sequences {
            let table: Vec<u32> = (0..blocks_per_sequence)
                .map(|_| free.swap_remove(rng.random_range(0..free.len())))
                .collect();
            for position in *seen..seen + new {
                batch.tokens.push(0);
                batch.positions.push(position as u32);
                batch
                    .slots
                    .push(table[position / BLOCK] * BLOCK as u32 + (position % BLOCK) as u32);
            }
            batch.query_starts.push(batch.tokens.len() as u32);
            batch.block_tables.extend(table);
        }
        batch
    }

    fn inputs(&self) -> StepInputs<'_> {
        StepInputs {
            tokens: &self.tokens,
            positions: &self.positions,
            slots: &self.slots,
            query_starts: &self.query_starts,
            block_tables: &self.block_tables,
            blocks_per_sequence: self.blocks_per_sequence,
            block_copies: &[],
            outputs: &[],
        }
    }
}

/// Writes every slot of a cache, keys `[slots, key_width]` and values likewise.
fn fill(kv: &mut HostKv, keys: &[f32], values: &[f32]) {
    for slot in 0..kv.slots {
        let row = |data: &[f32], width: usize| data[slot * width..][..width].to_vec();
        kv.store(slot, &row(keys, kv.key_width), &row(values, kv.value_width));
    }
}

fn key(kv: &HostKv, slot: usize) -> Vec<f32> {
    (0..kv.key_width).map(|i| kv.key(slot, i)).collect()
}

fn value(kv: &HostKv, slot: usize) -> Vec<f32> {
    (0..kv.value_width).map(|i| kv.value(slot, i)).collect()
}

const KV_TYPES: [KvType; 3] = [KvType::F32, KvType::F16, KvType::Int8];

fn shape(
    heads: usize,
    kv_heads: usize,
    dims: (usize, usize),
    window: Option<usize>,
) -> AttentionShape {
    AttentionShape {
        heads,
        kv_heads,
        key_dim: dims.0,
        value_dim: dims.1,
        scale: 2.0 / (dims.0 as f32).sqrt(),
        window,
    }
}

/// Holds every instruction set to the reference on one batch and one shape. `value_width` 0 makes values a part of the keys.
fn hold_attend(
    rng: &mut StdRng,
    sequences: &[(usize, usize)],
    shape: &AttentionShape,
    value_width: usize,
) {
    let batch = Batch::random(rng, sequences);
    let width = shape.heads * shape.key_dim;
    let q = tensor(width, &values(rng, batch.tokens.len() * width));
    let (slots, key_width) = (batch.blocks * BLOCK, shape.kv_heads * shape.key_dim);
    let (keys, cached_values) = (
        values(rng, slots * key_width),
        values(rng, slots * value_width),
    );
    for kv_type in KV_TYPES {
        // The reference reads the same rounded numbers.
        let mut reference = Reference::default().with_kv(kv_type);
        reference.begin(&batch.inputs());
        let mut kv = reference.kv(batch.blocks, BLOCK, key_width, value_width);
        fill(&mut kv, &keys, &cached_values);
        let mut want = room(batch.tokens.len(), shape.heads * shape.value_dim);
        reference.attend(&mut want, &q, &kv, shape);
        for (isa, mut cpu) in cpus() {
            cpu.begin(&batch.inputs());
            let mut got = room(batch.tokens.len(), shape.heads * shape.value_dim);
            cpu.attend(&mut got, &q, &kv, shape);
            let what = format!("{isa:?} {kv_type:?} {shape:?} {sequences:?}");
            assert_close(got.values(), want.values(), TOLERANCE, &what);
        }
    }
}

#[test]
fn attend_equals_the_reference() {
    let rng = &mut rng();
    let batches: [&[(usize, usize)]; 4] = [
        &[(0, 1)],
        &[(0, 40), (33, 1), (7, 6)],
        &[(64, 1), (16, 16)],
        &[],
    ];
    for sequences in batches {
        for (heads, kv_heads, key_dim, value_dim) in [
            (1, 1, 1, 1),
            (4, 2, 8, 8),
            (5, 1, 33, 17),
            (3, 3, 16, 16),
            (14, 2, 20, 20),
            (16, 1, 40, 70),
        ] {
            for window in [None, Some(1), Some(6)] {
                let shape = shape(heads, kv_heads, (key_dim, value_dim), window);
                hold_attend(rng, sequences, &shape, kv_heads * value_dim);
            }
        }
    }
}

/// Several runs and segments, with windows that begin within them, and values that are a part of the keys.
#[test]
fn attend_equals_the_reference_over_long_contexts() {
    let rng = &mut rng();
    for window in [None, Some(70), Some(600)] {
        hold_attend(
            rng,
            &[(1100, 1), (530, 9)],
            &shape(4, 2, (16, 16), window),
            32,
        );
        hold_attend(rng, &[(1023, 2)], &shape(3, 1, (28, 20), window), 0);
    }
    hold_attend(rng, &[(60, 5)], &shape(16, 1, (576, 512), None), 0);
}

/// What a cache of fewer bits gives is as near the unrounded result as its steps say: a value's error is half a step, and an
/// error `e` of every score moves a mean of values of at most 1 by at most `exp(2 e) - 1`.
#[test]
fn a_rounded_cache_is_near_the_exact_one() {
    let rng = &mut rng();
    let (sequences, shape) = (&[(200, 1), (0, 70)], shape(4, 2, (32, 32), None));
    let batch = Batch::random(rng, sequences);
    let q = tensor(128, &values(rng, batch.tokens.len() * 128));
    let slots = batch.blocks * BLOCK;
    let (keys, cached_values) = (values(rng, slots * 64), values(rng, slots * 64));
    let pool = Arc::new(Pool::new(2));
    for isa in Isa::available() {
        let attend = |kv_type| {
            let mut cpu = Cpu::new(Vectorised::new(isa, pool.clone())).with_kv(kv_type);
            cpu.begin(&batch.inputs());
            let mut kv = cpu.kv(batch.blocks, BLOCK, 64, 64);
            fill(&mut kv, &keys, &cached_values);
            let mut out = room(batch.tokens.len(), 128);
            cpu.attend(&mut out, &q, &kv, &shape);
            out.values().to_vec()
        };
        let exact = attend(KvType::F32);
        // Half of the spacing below 1: of 11 significant bits, and of 127 steps.
        for (kv_type, error) in [(KvType::F16, 2f32.powi(-12)), (KvType::Int8, 0.5 / 127.0)] {
            let got = attend(kv_type);
            let largest_query = 32.0; // the sum of a query's sizes
            let bound = error + (2.0 * shape.scale * largest_query * error).exp_m1();
            let worst = exact
                .iter()
                .zip(&got)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(
                worst <= bound && worst > 0.0,
                "{isa:?} {kv_type:?}: {worst} is not within {bound}"
            );
            // Errors of random sign mostly cancel: far below the bound for all, and so for a typical number.
            let mean = exact
                .iter()
                .zip(&got)
                .map(|(a, b)| (a - b).abs())
                .sum::<f32>()
                / got.len() as f32;
            assert!(
                mean <= 2.0 * error,
                "{isa:?} {kv_type:?}: {mean} on average, a step is {error}"
            );
        }
    }
}

/// One sequence alone on many threads, which share out its segments, is what it is in a batch on one thread, which does not.
#[test]
fn attend_does_not_depend_on_the_batch() {
    let rng = &mut rng();
    let shape = shape(4, 1, (24, 24), None);
    let together = Batch::random(rng, &[(1500, 1), (3, 4), (700, 2)]);
    let tokens = together.tokens.len();
    let q = values(rng, tokens * 96);
    let slots = together.blocks * BLOCK;
    let (keys, cached_values) = (values(rng, slots * 24), values(rng, slots * 24));
    for kv_type in KV_TYPES {
        for isa in Isa::available() {
            let on_threads = |threads| {
                Cpu::new(Vectorised::new(isa, Arc::new(Pool::new(threads)))).with_kv(kv_type)
            };
            let mut one = on_threads(1);
            let mut kv = one.kv(together.blocks, BLOCK, 24, 24);
            fill(&mut kv, &keys, &cached_values);
            let mut all = room(tokens, 96);
            one.begin(&together.inputs());
            one.attend(&mut all, &tensor(96, &q), &kv, &shape);
            for threads in [2, 5] {
                let mut many = on_threads(threads);
                many.begin(&StepInputs {
                    tokens: &together.tokens[..1],
                    positions: &together.positions[..1],
                    slots: &together.slots[..1],
                    query_starts: &[0, 1],
                    ..together.inputs()
                });
                let mut alone = room(1, 96);
                many.attend(&mut alone, &tensor(96, &q[..96]), &kv, &shape);
                assert_eq!(alone.values(), all.row(0), "{isa:?} {kv_type:?} {threads}");
            }
        }
    }
}

/// However a prompt is cut into chunks, each token's result is the same to the last bit.
#[test]
fn attend_does_not_depend_on_the_chunking() {
    let rng = &mut rng();
    for (len, window) in [(53, None), (150, Some(20)), (530, None)] {
        let shape = shape(4, 2, (24, 24), window);
        let whole = Batch::random(rng, &[(0, len)]);
        let q = values(rng, len * 4 * 24);
        let slots = whole.blocks * BLOCK;
        for (isa, mut cpu) in cpus() {
            let mut kv = cpu.kv(whole.blocks, BLOCK, 48, 48);
            fill(&mut kv, &values(rng, slots * 48), &values(rng, slots * 48));
            let mut together = room(len, 96);
            cpu.begin(&whole.inputs());
            cpu.attend(&mut together, &tensor(96, &q), &kv, &shape);
            for rows in [
                0..1,
                1..2,
                15..16,
                16..17,
                17..30,
                52..53,
                len - 20..len - 1,
                len - 1..len,
            ] {
                cpu.begin(&StepInputs {
                    tokens: &whole.tokens[rows.clone()],
                    positions: &whole.positions[rows.clone()],
                    slots: &whole.slots[rows.clone()],
                    query_starts: &[0, rows.len() as u32],
                    ..whole.inputs()
                });
                let mut alone = room(rows.len(), 96);
                let queries = tensor(96, &q[rows.start * 96..rows.end * 96]);
                cpu.attend(&mut alone, &queries, &kv, &shape);
                let want = &together.values()[rows.start * 96..rows.end * 96];
                assert_eq!(alone.values(), want, "{isa:?}, positions {rows:?} of {len}");
            }
        }
    }
}

/// Queries and keys are rotated by their own position, keys and values land in their own slot and nowhere else.
#[test]
fn rotate_store_writes_each_slot() {
    let rng = &mut rng();
    let batch = Batch::random(rng, &[(3, 4), (0, 9)]);
    let (heads, kv_heads, dim) = (3, 1, 6);
    let rope = Rope {
        theta: 100.0,
        scaling: RopeScaling::Plain,
        interleaved: false,
    };
    let shape = AttentionShape {
        heads,
        kv_heads,
        key_dim: dim,
        value_dim: dim,
        scale: 1.0,
        window: None,
    };
    let input = values(rng, batch.tokens.len() * (heads + 2 * kv_heads) * dim);
    let mut cpu = Cpu::default();
    cpu.begin(&batch.inputs());
    let mut qkv = tensor((heads + 2 * kv_heads) * dim, &input);
    let mut kv = cpu.kv(batch.blocks, BLOCK, dim, dim);
    let table = cpu.rope(RopeTable::new(&rope, dim, 64), false);
    cpu.rotate_store(
        &mut qkv,
        &mut kv,
        HeadRotation {
            rope: Some(&table),
            qk_norm: None,
        },
        &shape,
    );
    for (t, row) in input.chunks_exact(5 * dim).enumerate() {
        // The pair (i, i + 3) as a complex number, times e^(i * position * theta^(-i / 3)).
        let turned = |head: &[f32]| -> Vec<f32> {
            let turn = |i: usize| {
                let angle = f64::from(batch.positions[t]) * 100f64.powf(-(i as f64) / 3.0);
                let (re, im) = (f64::from(head[i]), f64::from(head[i + 3]));
                (
                    re * angle.cos() - im * angle.sin(),
                    im * angle.cos() + re * angle.sin(),
                )
            };
            (0..3)
                .map(|i| turn(i).0 as f32)
                .chain((0..3).map(|i| turn(i).1 as f32))
                .collect()
        };
        for head in 0..heads {
            let got = &qkv.row(t)[head * dim..][..dim];
            assert_close(got, &turned(&row[head * dim..][..dim]), TOLERANCE, "query");
        }
        let slot = batch.slots[t] as usize;
        assert_close(
            &key(&kv, slot),
            &turned(&row[heads * dim..][..dim]),
            TOLERANCE,
            "key",
        );
        assert_eq!(value(&kv, slot), &row[(heads + kv_heads) * dim..]);
    }
    let written = (0..kv.slots)
        .filter(|slot| !key(&kv, *slot)[0].is_nan())
        .count();
    assert_eq!(written, batch.tokens.len());
}

/// Copies of copy-on-write move whole blocks and leave the rest alone.
#[test]
fn copy_blocks_copies_whole_blocks() {
    let rng = &mut rng();
    let mut cpu = Cpu::default();
    let mut kv = cpu.kv(4, BLOCK, 3, 2);
    let (keys, cached_values) = (values(rng, 4 * BLOCK * 3), values(rng, 4 * BLOCK * 2));
    fill(&mut kv, &keys, &cached_values);
    let batch = Batch::random(rng, &[]);
    cpu.begin(&StepInputs {
        block_copies: &[(1, 3), (0, 2)],
        ..batch.inputs()
    });
    cpu.copy_blocks(&mut kv);
    for (block, from) in [(0, 0), (1, 1), (2, 0), (3, 1)] {
        for slot in 0..BLOCK {
            let (slot, from) = (block * BLOCK + slot, from * BLOCK + slot);
            assert_eq!(key(&kv, slot), keys[from * 3..][..3]);
            assert_eq!(value(&kv, slot), cached_values[from * 2..][..2]);
        }
    }
}
