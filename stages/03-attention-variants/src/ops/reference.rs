//! The scalar reference: every operation as its definition reads, sums in double precision.

use super::AttentionShape;
use super::device::{Arithmetic, Host};
use super::host::{HostLinear, HostNorm, HostTensor, Step};
use super::kv::HostKv;
use crate::activation::activate;
use crate::config::Activation;
use crate::matrix::Matrix;

/// The device that is right because it is plain. Slow; for tests and for reading.
pub type Reference = Host<Scalar>;

/// One element at a time.
#[derive(Debug, Default)]
pub struct Scalar;

/// `weight[row] . x`, in double precision.
fn dot(weight: &Matrix, row: usize, x: &[f32]) -> f64 {
    (0..weight.cols)
        .map(|k| f64::from(weight.get(row, k)) * f64::from(x[k]))
        .sum()
}

impl Arithmetic for Scalar {
    type Weight = Matrix;

    fn prepare(&self, weight: Matrix) -> Matrix {
        weight
    }

    fn read_row(&self, weight: &Matrix, row: usize, out: &mut [f32]) {
        for (col, out) in out.iter_mut().enumerate() {
            *out = weight.get(row, col);
        }
    }

    fn normalise(&self, out: &mut HostTensor, x: &HostTensor, norm: &HostNorm) {
        let width = out.cols();
        for (t, row) in out.resize(x.rows()).chunks_exact_mut(width).enumerate() {
            norm.apply(row, x.row(t));
        }
    }

    fn project(&self, out: &mut HostTensor, x: &HostTensor, linear: &HostLinear<Matrix>) {
        let width = out.cols();
        for (t, row) in out.resize(x.rows()).chunks_exact_mut(width).enumerate() {
            for (n, value) in row.iter_mut().enumerate() {
                let bias = linear.bias.as_ref().map_or(0.0, |bias| f64::from(bias[n]));
                *value = (dot(&linear.weight, n, x.row(t)) + bias) as f32;
            }
        }
    }

    fn project_heads(&self, out: &mut HostTensor, x: &HostTensor, heads: &[Matrix]) {
        let (width, x_head) = (out.cols(), x.cols() / heads.len());
        let out_head = width / heads.len();
        for (t, row) in out.resize(x.rows()).chunks_exact_mut(width).enumerate() {
            for (h, weight) in heads.iter().enumerate() {
                for n in 0..weight.rows {
                    row[h * out_head + n] = dot(weight, n, &x.row(t)[h * x_head..]) as f32;
                }
            }
        }
    }

    fn attend(
        &self,
        step: &Step,
        out: &mut HostTensor,
        q: &HostTensor,
        kv: &HostKv,
        shape: &AttentionShape,
    ) {
        let width = out.cols();
        for (t, row) in out.resize(q.rows()).chunks_exact_mut(width).enumerate() {
            for head in 0..shape.heads {
                let query = &q.row(t)[head * shape.key_dim..][..shape.key_dim];
                let out = &mut row[head * shape.value_dim..][..shape.value_dim];
                attend_one(
                    step,
                    t,
                    out,
                    query,
                    kv,
                    head * shape.kv_heads / shape.heads,
                    shape,
                );
            }
        }
    }

    fn activate(&self, x: &mut HostTensor, activation: Activation) {
        for value in x.values_mut() {
            *value = activate(activation, *value);
        }
    }

    fn gate(&self, out: &mut HostTensor, gate_up: &HostTensor, activation: Activation) {
        let width = out.cols();
        for (t, row) in out
            .resize(gate_up.rows())
            .chunks_exact_mut(width)
            .enumerate()
        {
            let (gate, up) = gate_up.row(t).split_at(width);
            for (i, value) in row.iter_mut().enumerate() {
                *value = activate(activation, gate[i]) * up[i];
            }
        }
    }
}

/// One query of one head against the keys of key/value head `kv_head`.
fn attend_one(
    step: &Step,
    token: usize,
    out: &mut [f32],
    query: &[f32],
    kv: &HostKv,
    kv_head: usize,
    shape: &AttentionShape,
) {
    let table = step.block_table(token);
    let slot = |position: usize| {
        table[position / kv.block_size] as usize * kv.block_size + position % kv.block_size
    };
    let visible = step.visible(token, shape.window);
    let scores: Vec<f64> = visible
        .clone()
        .map(|position| {
            let slot = slot(position);
            let dot: f64 = query
                .iter()
                .enumerate()
                .map(|(i, q)| f64::from(*q) * f64::from(kv.key(slot, kv_head * shape.key_dim + i)))
                .sum();
            dot * f64::from(shape.scale)
        })
        .collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - max).exp()).sum();
    for (i, out) in out.iter_mut().enumerate() {
        let mixed: f64 = visible
            .clone()
            .zip(&scores)
            .map(|(position, score)| {
                let value = kv.value(slot(position), kv_head * shape.value_dim + i);
                (score - max).exp() / sum * f64::from(value)
            })
            .sum();
        *out = mixed as f32;
    }
}
