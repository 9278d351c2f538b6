//! Attention over the paged cache, one query row and one key/value head at a time.
//!
//! The softmax is computed online ([`OnlineSoftmax`]) over runs of at most [`RUN`] positions that begin at multiples of
//! it, so a query's result depends on its own sequence alone and not on how a prompt was cut into chunks. The query heads of a
//! group follow one another, each over the whole context: what keys and values they share is what a cache still holds of them.

use super::SharedMut;
use crate::ops::AttentionShape;
use crate::ops::host::{HostKv, HostTensor, Step};
use crate::variants::OnlineSoftmax;
use memory_hierarchy::Pool;
use memory_hierarchy::simd::{Isa, Kernel, Simd};

/// Positions that are scored together.
const RUN: usize = 16;

struct AttendRow<'a> {
    step: &'a Step,
    token: usize,
    kv_head: usize,
    /// All heads' output of the batch, `[tokens, heads * value_dim]`.
    out: SharedMut<'a>,
    /// The token's queries, `[heads, key_dim]` and whatever lies behind.
    queries: &'a [f32],
    kv: &'a HostKv,
    shape: &'a AttentionShape,
}

impl Kernel for AttendRow<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let shape = self.shape;
        let group = shape.heads / shape.kv_heads;
        for head in self.kv_head * group..(self.kv_head + 1) * group {
            let query = &self.queries[head * shape.key_dim..][..shape.key_dim];
            let at = (self.token * shape.heads + head) * shape.value_dim;
            // SAFETY: this (token, head) is this kernel's alone; `Isa::run` chose S.
            unsafe { self.attend::<S>(self.out.slice(at, shape.value_dim), query) };
        }
    }
}

impl AttendRow<'_> {
    #[inline(always)]
    unsafe fn attend<S: Simd>(&self, out: &mut [f32], query: &[f32]) {
        let (kv, shape) = (self.kv, self.shape);
        let table = self.step.block_table(self.token);
        let (values, value_stride) = kv.value_rows();
        let visible = self.step.visible(self.token, shape.window);
        let mut softmax = OnlineSoftmax::default();
        out.fill(0.0);
        let mut position = visible.start;
        while position < visible.end {
            let run = position..visible.end.min((position / RUN + 1) * RUN);
            let mut slots = [0usize; RUN];
            let mut scores = [f32::NEG_INFINITY; RUN];
            for (i, position) in run.clone().enumerate() {
                slots[i] = table[position / kv.block_size] as usize * kv.block_size
                    + position % kv.block_size;
                let key = &kv.keys[slots[i] * kv.key_width + self.kv_head * shape.key_dim..]
                    [..shape.key_dim];
                // SAFETY: `Isa::run` chose S.
                scores[i] = unsafe { dot::<S>(query, key) } * shape.scale;
            }
            let rescale = softmax.absorb(&mut scores[..run.len()]);
            if rescale != 1.0 {
                // SAFETY: as above.
                unsafe { scale::<S>(out, rescale) };
            }
            for i in 0..run.len() {
                let value = &values[slots[i] * value_stride + self.kv_head * shape.value_dim..]
                    [..shape.value_dim];
                // SAFETY: as above.
                unsafe { add_scaled::<S>(out, scores[i], value) };
            }
            position = run.end;
        }
        // SAFETY: as above.
        unsafe { scale::<S>(out, 1.0 / softmax.sum) };
    }
}

#[inline(always)]
unsafe fn dot<S: Simd>(a: &[f32], b: &[f32]) -> f32 {
    let whole = a.len() - a.len() % S::LANES;
    // SAFETY: vectors are read only where LANES elements are left.
    let mut sum = unsafe {
        let mut sum = S::splat(0.0);
        for at in (0..whole).step_by(S::LANES) {
            sum = S::load(a.as_ptr().add(at)).mul_add(S::load(b.as_ptr().add(at)), sum);
        }
        sum.sum()
    };
    for at in whole..a.len() {
        sum += a[at] * b[at];
    }
    sum
}

#[inline(always)]
unsafe fn scale<S: Simd>(out: &mut [f32], factor: f32) {
    let whole = out.len() - out.len() % S::LANES;
    // SAFETY: vectors are read and written only where LANES elements are left.
    unsafe {
        for at in (0..whole).step_by(S::LANES) {
            let to = out.as_mut_ptr().add(at);
            S::load(to).mul(S::splat(factor)).store(to);
        }
    }
    for value in &mut out[whole..] {
        *value *= factor;
    }
}

#[inline(always)]
unsafe fn add_scaled<S: Simd>(out: &mut [f32], factor: f32, x: &[f32]) {
    let whole = out.len() - out.len() % S::LANES;
    // SAFETY: vectors are read and written only where LANES elements are left.
    unsafe {
        for at in (0..whole).step_by(S::LANES) {
            let to = out.as_mut_ptr().add(at);
            S::splat(factor)
                .mul_add(S::load(x.as_ptr().add(at)), S::load(to))
                .store(to);
        }
    }
    for at in whole..out.len() {
        out[at] += factor * x[at];
    }
}

/// Attention of all tokens of the step, on all threads of the pool.
pub(super) fn attend(
    pool: &Pool,
    isa: Isa,
    step: &Step,
    out: &mut HostTensor,
    q: &HostTensor,
    kv: &HostKv,
    shape: &AttentionShape,
) {
    let tokens = q.rows();
    let out = SharedMut::new(out.resize(tokens));
    pool.for_each_chunk(tokens * shape.kv_heads, 1, |range| {
        for task in range {
            let (token, kv_head) = (task / shape.kv_heads, task % shape.kv_heads);
            isa.run(AttendRow {
                step,
                token,
                kv_head,
                out,
                queries: q.row(token),
                kv,
                shape,
            });
        }
    });
}
