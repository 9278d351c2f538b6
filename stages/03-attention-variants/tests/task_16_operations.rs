//! The CPU's operations against the scalar reference, on every instruction set of this machine, at odd sizes.

mod support;

use attention_variants::config::{Activation, Moe, Rope, RopeScaling, Scoring};
use attention_variants::matrix::{Elements, Matrix};
use attention_variants::ops::{
    AttentionShape, Cpu, HeadRotation, HostTensor, Isa, NormKind, Ops, Reference, Vectorised,
};
use attention_variants::rope::RopeTable;
use attention_variants::step::StepInputs;
use half::{bf16, f16};
use rand::RngExt;
use rand::rngs::StdRng;
use support::{assert_close, rng, values};

const TOLERANCE: f64 = 2e-6;

fn cpus() -> Vec<(Isa, Cpu)> {
    Isa::available()
        .into_iter()
        .map(|isa| (isa, Cpu::new(Vectorised::new(isa))))
        .collect()
}

/// A tensor whose rows are `rows`.
fn tensor(cols: usize, rows: &[f32]) -> HostTensor {
    let count = rows.len().checked_div(cols).unwrap_or(0);
    let mut tensor = HostTensor::new(count, cols);
    tensor.resize(count).copy_from_slice(rows);
    tensor
}

/// Room for a result; `HostTensor::new` fills it with NaN.
fn room(rows: usize, cols: usize) -> HostTensor {
    HostTensor::new(rows, cols)
}

/// The same matrix in every element type, so that each is compared on what it can hold.
fn in_every_type(rows: usize, cols: usize, data: &[f32]) -> [Matrix; 3] {
    [
        Elements::F32(data.to_vec()),
        Elements::F16(data.iter().map(|x| f16::from_f32(*x)).collect()),
        Elements::Bf16(data.iter().map(|x| bf16::from_f32(*x)).collect()),
    ]
    .map(|elements| Matrix {
        rows,
        cols,
        elements,
    })
}

#[test]
fn project_equals_the_reference() {
    let rng = &mut rng();
    for (rows, n, k) in [
        (1, 1, 1),
        (1, 8, 16),
        (3, 7, 5),
        (4, 9, 33),
        (5, 24, 48),
        (13, 130, 71),
        (0, 5, 3),
        (2, 3, 0),
    ] {
        let x = tensor(k, &values(rng, rows * k));
        let x = if k == 0 { empty_rows(rows) } else { x };
        for weight in in_every_type(n, k, &values(rng, n * k)) {
            for bias in [None, Some(values(rng, n))] {
                let mut want = room(rows, n);
                let reference = Reference::default();
                reference.project(
                    &mut want,
                    &x,
                    &reference.linear(weight.clone(), bias.clone()),
                );
                for (isa, cpu) in cpus() {
                    let mut got = room(rows, n);
                    cpu.project(&mut got, &x, &cpu.linear(weight.clone(), bias.clone()));
                    assert_close(
                        got.values(),
                        want.values(),
                        TOLERANCE,
                        &format!("{isa:?} {rows}x{n}x{k}"),
                    );
                }
            }
        }
    }
}

/// `rows` rows of no columns.
fn empty_rows(rows: usize) -> HostTensor {
    let mut tensor = HostTensor::new(rows, 0);
    tensor.resize(rows);
    tensor
}

/// The promise that batching does not change an answer: a row's result is the same to the last bit in any company.
#[test]
fn project_does_not_depend_on_the_batch() {
    let rng = &mut rng();
    let (rows, n, k) = (11, 300, 517);
    let x = values(rng, rows * k);
    for weight in in_every_type(n, k, &values(rng, n * k)) {
        for (isa, cpu) in cpus() {
            let linear = cpu.linear(weight.clone(), None);
            let mut together = room(rows, n);
            cpu.project(&mut together, &tensor(k, &x), &linear);
            for row in 0..rows {
                let mut alone = room(1, n);
                cpu.project(&mut alone, &tensor(k, &x[row * k..(row + 1) * k]), &linear);
                assert_eq!(alone.values(), together.row(row), "{isa:?}, row {row}");
            }
        }
    }
}

#[test]
fn project_heads_equals_the_reference() {
    let rng = &mut rng();
    for (rows, heads, n, k, spare_out, spare_in) in [
        (1, 1, 1, 1, 0, 0),
        (5, 3, 7, 10, 4, 3),
        (4, 2, 16, 32, 0, 5),
    ] {
        let x = tensor(
            heads * (k + spare_in),
            &values(rng, rows * heads * (k + spare_in)),
        );
        let matrices: Vec<Matrix> = (0..heads)
            .map(|_| Matrix::from_f32(n, k, values(rng, n * k)))
            .collect();
        let width = n + spare_out;
        let written = |out: &HostTensor| -> Vec<f32> {
            out.values()
                .chunks_exact(width)
                .flat_map(|head| head[..n].to_vec())
                .collect()
        };
        let reference = Reference::default();
        let mut want = room(rows, heads * width);
        reference.project_heads(&mut want, &x, &reference.head_linear(matrices.clone()));
        for (isa, cpu) in cpus() {
            let mut got = room(rows, heads * width);
            cpu.project_heads(&mut got, &x, &cpu.head_linear(matrices.clone()));
            assert_close(
                &written(&got),
                &written(&want),
                TOLERANCE,
                &format!("{isa:?}"),
            );
            let spare = got
                .values()
                .chunks_exact(width)
                .flat_map(|head| head[n..].to_vec());
            assert!(
                spare.into_iter().all(f32::is_nan),
                "the rest of a head is not written"
            );
        }
    }
}

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
                (kv.keys, kv.values) = (keys, cached_values);
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
        (kv.keys, kv.values) = (values(rng, slots * 48), values(rng, slots * 48));
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
            &kv.keys[slot * dim..][..dim],
            &turned(&row[heads * dim..][..dim]),
            TOLERANCE,
            "key",
        );
        assert_eq!(
            &kv.values[slot * dim..][..dim],
            &row[(heads + kv_heads) * dim..]
        );
    }
    let written = kv
        .keys
        .chunks_exact(dim)
        .filter(|slot| !slot[0].is_nan())
        .count();
    assert_eq!(written, batch.tokens.len());
}

#[test]
fn norms_and_activations_equal_the_reference() {
    let rng = &mut rng();
    for (rows, width) in [(1, 1), (3, 7), (40, 33), (0, 4)] {
        let x = tensor(width, &values(rng, rows * width));
        let reference = Reference::default();
        for (isa, cpu) in cpus() {
            for kind in [NormKind::Rms, NormKind::Layer] {
                let (weight, bias) = (values(rng, width), values(rng, width));
                let norm = reference.norm(
                    kind,
                    weight,
                    (kind == NormKind::Layer).then_some(bias),
                    1e-5,
                );
                let (mut want, mut got) = (room(rows, width), room(rows, width));
                let (mut want_sum, mut got_sum) =
                    (tensor(width, x.values()), tensor(width, x.values()));
                reference.add_normalise(&mut want, &mut want_sum, &x, &norm);
                cpu.add_normalise(&mut got, &mut got_sum, &x, &norm);
                assert_close(
                    got.values(),
                    want.values(),
                    TOLERANCE,
                    &format!("{isa:?} {kind:?}"),
                );
                assert_eq!(got_sum.values(), want_sum.values());
            }
            for activation in [Activation::Silu, Activation::Gelu, Activation::GeluTanh] {
                let gate_up = tensor(2 * width, &values(rng, rows * 2 * width));
                let (mut want, mut got) = (room(rows, width), room(rows, width));
                reference.gate(&mut want, &gate_up, activation);
                cpu.gate(&mut got, &gate_up, activation);
                assert_close(
                    got.values(),
                    want.values(),
                    TOLERANCE,
                    &format!("{isa:?} {activation:?}"),
                );
                let (mut want, mut got) = (tensor(width, x.values()), tensor(width, x.values()));
                reference.activate(&mut want, activation);
                cpu.activate(&mut got, activation);
                assert_close(
                    got.values(),
                    want.values(),
                    TOLERANCE,
                    &format!("{isa:?} {activation:?}"),
                );
            }
        }
    }
}

#[test]
fn experts_equal_the_reference() {
    let rng = &mut rng();
    for scoring in [Scoring::Softmax, Scoring::SigmoidWithBias] {
        let moe = Moe {
            experts: 6,
            top_k: 3,
            intermediate: 11,
            shared_intermediate: 0,
            scoring,
            renormalise: true,
            scale: 1.5,
            groups: 3,
            top_groups: 2,
        };
        let (rows, hidden) = (9, 13);
        let x = tensor(hidden, &values(rng, rows * hidden));
        let router = Matrix::from_f32(moe.experts, hidden, values(rng, moe.experts * hidden));
        let bias = (scoring == Scoring::SigmoidWithBias).then(|| values(rng, moe.experts));
        let mut matrices = |rows, cols| -> Vec<Matrix> {
            (0..moe.experts)
                .map(|_| Matrix::from_f32(rows, cols, values(rng, rows * cols)))
                .collect()
        };
        let (gate_up, down) = (
            matrices(2 * moe.intermediate, hidden),
            matrices(hidden, moe.intermediate),
        );
        let reference = Reference::default();
        let run = |out: &mut HostTensor, cpu: Option<&Cpu>| {
            let mut routing = reference.routing(rows, hidden, &moe);
            let router = reference.router(router.clone(), bias.clone(), &moe);
            let experts = reference.experts(gate_up.clone(), down.clone());
            match cpu {
                None => {
                    reference.route(&mut routing, &x, &router);
                    reference.mix_experts(out, &x, &mut routing, &experts, Activation::Silu);
                }
                Some(cpu) => {
                    cpu.route(&mut routing, &x, &router);
                    cpu.mix_experts(out, &x, &mut routing, &experts, Activation::Silu);
                }
            }
        };
        let mut want = room(rows, hidden);
        run(&mut want, None);
        for (isa, cpu) in cpus() {
            let mut got = room(rows, hidden);
            run(&mut got, Some(&cpu));
            assert_close(
                got.values(),
                want.values(),
                TOLERANCE,
                &format!("{isa:?} {scoring:?}"),
            );
        }
    }
}

/// Copies of copy-on-write move whole blocks and leave the rest alone.
#[test]
fn copy_blocks_copies_whole_blocks() {
    let rng = &mut rng();
    let mut cpu = Cpu::default();
    let mut kv = cpu.kv(4, BLOCK, 3, 2);
    (kv.keys, kv.values) = (values(rng, 4 * BLOCK * 3), values(rng, 4 * BLOCK * 2));
    let (keys, cached_values) = (kv.keys.clone(), kv.values.clone());
    let batch = Batch::random(rng, &[]);
    cpu.begin(&StepInputs {
        block_copies: &[(1, 3), (0, 2)],
        ..batch.inputs()
    });
    cpu.copy_blocks(&mut kv);
    for (block, from) in [(0, 0), (1, 1), (2, 0), (3, 1)] {
        assert_eq!(kv.keys[block * 15..][..15], keys[from * 15..][..15]);
        assert_eq!(
            kv.values[block * 10..][..10],
            cached_values[from * 10..][..10]
        );
    }
}
