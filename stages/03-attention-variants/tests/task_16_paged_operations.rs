//! The operations on a paged cache: attention against the scalar reference, rotation and the write into slots, block copies.

mod support;

use attention_variants::config::{Rope, RopeScaling};
use attention_variants::ops::{
    AttentionShape, Cpu, HeadRotation, HostKv, HostTensor, Ops, Reference,
};
use attention_variants::rope::RopeTable;
use attention_variants::step::StepInputs;
use rand::RngExt;
use rand::rngs::StdRng;
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
        for (heads, kv_heads, key_dim, value_dim) in
            [(1, 1, 1, 1), (4, 2, 8, 8), (5, 1, 33, 17), (3, 3, 16, 16)]
        {
            for window in [None, Some(1), Some(6)] {
                let batch = Batch::random(rng, sequences);
                let shape = AttentionShape {
                    heads,
                    kv_heads,
                    key_dim,
                    value_dim,
                    scale: 0.7,
                    window,
                };
                let q = tensor(
                    heads * key_dim,
                    &values(rng, batch.tokens.len() * heads * key_dim),
                );
                let slots = batch.blocks * BLOCK;
                let keys = values(rng, slots * kv_heads * key_dim);
                let cached_values = values(rng, slots * kv_heads * value_dim);
                let run = |ops: &mut dyn FnMut(&mut HostTensor)| {
                    let mut out = room(batch.tokens.len(), heads * value_dim);
                    ops(&mut out);
                    out.values().to_vec()
                };
                let mut reference = Reference::default();
                reference.begin(&batch.inputs());
                let mut kv = reference.kv(
                    batch.blocks,
                    BLOCK,
                    kv_heads * key_dim,
                    kv_heads * value_dim,
                );
                fill(&mut kv, &keys, &cached_values);
                let want = run(&mut |out| reference.attend(out, &q, &kv, &shape));
                for (isa, mut cpu) in cpus() {
                    cpu.begin(&batch.inputs());
                    let got = run(&mut |out| cpu.attend(out, &q, &kv, &shape));
                    assert_close(
                        &got,
                        &want,
                        TOLERANCE,
                        &format!("{isa:?} {shape:?} {sequences:?}"),
                    );
                }
            }
        }
    }
}

/// However a prompt is cut into chunks, each token's result is the same to the last bit.
#[test]
fn attend_does_not_depend_on_the_chunking() {
    let rng = &mut rng();
    let shape = AttentionShape {
        heads: 4,
        kv_heads: 2,
        key_dim: 24,
        value_dim: 24,
        scale: 0.2,
        window: None,
    };
    let whole = Batch::random(rng, &[(0, 53)]);
    let q = values(rng, 53 * 4 * 24);
    let slots = whole.blocks * BLOCK;
    for (isa, mut cpu) in cpus() {
        let mut kv = cpu.kv(whole.blocks, BLOCK, 48, 48);
        fill(&mut kv, &values(rng, slots * 48), &values(rng, slots * 48));
        let mut together = room(53, 96);
        cpu.begin(&whole.inputs());
        cpu.attend(&mut together, &tensor(96, &q), &kv, &shape);
        for position in [0, 1, 15, 16, 17, 52] {
            let row = position..position + 1;
            cpu.begin(&StepInputs {
                tokens: &whole.tokens[row.clone()],
                positions: &whole.positions[row.clone()],
                slots: &whole.slots[row.clone()],
                query_starts: &[0, 1],
                ..whole.inputs()
            });
            let mut alone = room(1, 96);
            cpu.attend(
                &mut alone,
                &tensor(96, &q[position * 96..(position + 1) * 96]),
                &kv,
                &shape,
            );
            assert_eq!(
                alone.values(),
                together.row(position),
                "{isa:?}, position {position}"
            );
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
