//! Between projection and attention: head norms, rotation, and the write into the paged cache.

use super::host::{HostNorm, HostTensor, Step};
use super::kv::HostKv;
use super::{AttentionShape, LatentShape};
use crate::rope::{RopeTable, rotate_half, rotate_interleaved};

/// A rotation table, and how its pairs lie in a head.
#[derive(Debug)]
pub struct HostRope {
    /// Cosines and sines by position.
    pub table: RopeTable,
    /// Pairs are neighbours rather than halves.
    pub interleaved: bool,
}

impl HostRope {
    fn rotate(&self, head: &mut [f32], position: usize) {
        let (cos, sin) = self.table.row(position);
        if self.interleaved {
            rotate_interleaved(head, cos, sin)
        } else {
            rotate_half(head, cos, sin)
        }
    }
}

/// See [`super::Ops::rotate_store`].
pub(super) fn rotate_store(
    step: &Step,
    qkv: &mut HostTensor,
    kv: &mut HostKv,
    rope: Option<&HostRope>,
    qk_norm: Option<(&HostNorm, &HostNorm)>,
    shape: &AttentionShape,
) {
    let dim = shape.key_dim;
    let (keys_at, values_at) = (shape.heads * dim, (shape.heads + shape.kv_heads) * dim);
    let width = qkv.cols();
    for (t, row) in qkv.values_mut().chunks_exact_mut(width).enumerate() {
        let slot = step.slots[t] as usize;
        for (index, head) in row[..values_at].chunks_exact_mut(dim).enumerate() {
            if let Some((q_norm, k_norm)) = qk_norm {
                let norm = if index < shape.heads { q_norm } else { k_norm };
                norm.apply_rms_in_place(head);
            }
            if let Some(rope) = rope {
                rope.rotate(head, step.positions[t] as usize);
            }
        }
        kv.store(slot, &row[keys_at..values_at], &row[values_at..]);
    }
}

/// See [`super::Ops::latent_store`].
pub(super) fn latent_store(
    step: &Step,
    absorbed: &mut HostTensor,
    q: &HostTensor,
    latent: &HostTensor,
    kv: &mut HostKv,
    norm: &HostNorm,
    rope: &HostRope,
    shape: &LatentShape,
) {
    let q_dim = shape.nope_dim + shape.rope_dim;
    let absorbed_dim = shape.latent_dim + shape.rope_dim;
    absorbed.resize(q.rows());
    let width = absorbed.cols();
    for (t, row) in absorbed.values_mut().chunks_exact_mut(width).enumerate() {
        let position = step.positions[t] as usize;
        for (head, q) in row
            .chunks_exact_mut(absorbed_dim)
            .zip(q.row(t).chunks_exact(q_dim))
        {
            let rotated = &mut head[shape.latent_dim..];
            rotated.copy_from_slice(&q[shape.nope_dim..]);
            rope.rotate(rotated, position);
        }
        let mut key = std::mem::take(&mut kv.row);
        let (cached_latent, cached_key) = key.split_at_mut(shape.latent_dim);
        let (token_latent, token_key) = latent.row(t).split_at(shape.latent_dim);
        norm.apply(cached_latent, token_latent);
        cached_key.copy_from_slice(token_key);
        rope.rotate(cached_key, position);
        kv.store(step.slots[t] as usize, &key, &[]);
        kv.row = key;
    }
}
