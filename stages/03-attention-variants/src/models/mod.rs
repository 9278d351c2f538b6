//! Model definitions, written once over [`crate::ops::Ops`].
//!
//! One decoder serves every family: pre-norm blocks of attention and feed-forward on a residual stream. What differs is which
//! `attention` and which `mlp` a layer has, and under which names the weights lie ([`load`]).

mod attention;
mod decoder;
mod load;
mod mlp;

pub use decoder::{Decoder, LanguageModel};
pub use load::load;

use crate::config::{Attention, ModelConfig};
use crate::ops::KvType;

impl ModelConfig {
    /// Numbers that one token keeps in one layer's cache: `(key, value)`. Latent attention keeps one latent and one rotated key
    /// for all heads, and no values.
    pub fn kv_widths(&self) -> (usize, usize) {
        match &self.attention {
            Attention::Grouped(shape) => (
                shape.kv_heads * shape.head_dim,
                shape.kv_heads * shape.head_dim,
            ),
            Attention::Latent(shape) => (shape.kv_lora_rank + shape.rope_dim, 0),
        }
    }

    /// Bytes that one token keeps in the caches of all layers.
    pub fn kv_bytes_per_token(&self, kv: KvType) -> usize {
        let (key, value) = self.kv_widths();
        self.layers.len() * (kv.bytes(key) + kv.bytes(value))
    }
}
