//! The CPU's operations against the scalar reference, on every instruction set of this machine, at odd sizes.

mod support;

use attention_variants::config::{Activation, Moe, Scoring};
use attention_variants::matrix::{Elements, Matrix};
use attention_variants::ops::{HostTensor, NormKind, Ops, Reference, RowType};
use half::{bf16, f16};
use memory_hierarchy::Pool;
use numerics::blocks::{Q4, Q8};
use numerics::matmul::{Activations, IntIsa};
use rand::RngExt;
use support::operations::{TOLERANCE, cpus, cpus_with, room, tensor};
use support::{assert_close, rng, values};

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

/// Rows rounded to bfloat16 for weights in it. The reference is given what they became: what is left is the arithmetic.
#[test]
fn project_with_rounded_rows_equals_the_reference_on_them() {
    let rng = &mut rng();
    for (rows, n, k) in [(1, 1, 1), (1, 40, 33), (3, 7, 5), (13, 130, 71), (2, 3, 0)] {
        let x = values(rng, rows * k);
        let became: Vec<f32> = x.iter().map(|x| bf16::from_f32(*x).to_f32()).collect();
        let (x, became) = match k {
            0 => (empty_rows(rows), empty_rows(rows)),
            _ => (tensor(k, &x), tensor(k, &became)),
        };
        let bias = values(rng, n);
        let [f32s, f16s, bf16s] = in_every_type(n, k, &values(rng, n * k));
        for (weight, sees) in [(f32s, &x), (f16s, &x), (bf16s, &became)] {
            let reference = Reference::default();
            let mut want = room(rows, n);
            let linear = reference.linear(weight.clone(), Some(bias.clone()));
            reference.project(&mut want, sees, &linear);
            for (isa, cpu) in cpus_with(RowType::Bf16) {
                let mut got = room(rows, n);
                let linear = cpu.linear(weight.clone(), Some(bias.clone()));
                cpu.project(&mut got, &x, &linear);
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

/// Weights in blocks of 8 and 4 bits. The CPU rounds the rows to 8 bits as well, so the reference is given what they became: what is
/// left is the arithmetic.
#[test]
fn project_with_blocks_equals_the_reference_on_rounded_rows() {
    let rng = &mut rng();
    let pool = Pool::new(1);
    for (rows, n, k) in [(1, 40, 32), (3, 7, 64), (9, 130, 320), (2, 33, 0)] {
        let x = values(rng, rows * k);
        let data = values(rng, n * k);
        let offsets = (0..n * k / 32)
            .map(|_| f16::from_f32(rng.random_range(-1.0..1.0)))
            .collect();
        let q4 = Q4::quantise(&data);
        let with_offsets = Q4 {
            offsets: Some(offsets),
            ..q4.clone()
        };
        let bias = values(rng, n);
        for elements in [
            Elements::Q8(Q8::quantise(&data)),
            Elements::Q4(q4),
            Elements::Q4(with_offsets),
        ] {
            let weight = Matrix {
                rows: n,
                cols: k,
                elements,
            };
            let mut rounded = Activations::default();
            rounded.quantise(&pool, IntIsa::Portable, &x, k, rows, k);
            let became: Vec<f32> = (0..rows).flat_map(|row| rounded.row(row)).collect();
            let (x, became) = match k {
                0 => (empty_rows(rows), empty_rows(rows)),
                _ => (tensor(k, &x), tensor(k, &became)),
            };
            let reference = Reference::default();
            let mut want = room(rows, n);
            let linear = reference.linear(weight.clone(), Some(bias.clone()));
            reference.project(&mut want, &became, &linear);
            for (isa, cpu) in cpus() {
                let mut got = room(rows, n);
                let linear = cpu.linear(weight.clone(), Some(bias.clone()));
                cpu.project(&mut got, &x, &linear);
                assert_close(
                    got.values(),
                    want.values(),
                    1e-5,
                    &format!("{isa:?} {rows}x{n}x{k}"),
                );
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
        for (isa, cpu) in cpus().into_iter().chain(cpus_with(RowType::Bf16)) {
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
        fn run<O: Ops<Tensor = HostTensor>>(
            ops: &O,
            case: (
                &HostTensor,
                &Matrix,
                &Option<Vec<f32>>,
                &[Matrix],
                &[Matrix],
            ),
            moe: &Moe,
        ) -> HostTensor {
            let (x, router, bias, gate_up, down) = case;
            let mut routing = ops.routing(x.rows(), x.cols(), moe);
            let router = ops.router(router.clone(), bias.clone(), moe);
            let experts = ops.experts(gate_up.to_vec(), down.to_vec());
            let mut out = room(x.rows(), x.cols());
            ops.route(&mut routing, x, &router);
            ops.mix_experts(&mut out, x, &mut routing, &experts, Activation::Silu);
            out
        }
        let case = (&x, &router, &bias, &gate_up[..], &down[..]);
        let want = run(&Reference::default(), case, &moe);
        for (isa, cpu) in cpus() {
            let got = run(&cpu, case, &moe);
            assert_close(
                got.values(),
                want.values(),
                TOLERANCE,
                &format!("{isa:?} {scoring:?}"),
            );
        }
    }
}
