//! The variants of attention, each as plain as its paper, on slices of f32.
//!
//! They are to be read, and to be held against: the operations that the engine runs ([`crate::ops`]) compute the same on a paged
//! cache. Layouts are row-major; a sequence of heads is `[positions, heads, dim]`.

mod heads;
mod latent;
mod online;
mod single_head;
mod stepwise;

pub use heads::{HeadShape, multi_head_attention};
pub use latent::{
    LatentCache, LatentWeights, cached_numbers_per_token, latent_attention_absorbed,
    latent_attention_naive,
};
pub use online::OnlineSoftmax;
pub use single_head::{Visibility, attention};
pub use stepwise::{KvCache, decode, prefill};
