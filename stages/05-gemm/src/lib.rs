//! GEMM on a GPU: `C[M, N] = A[M, K] · B[N, K]ᵀ`, the product of every linear layer, with `k` innermost in both operands.
//!
//! The kernels themselves are the ladder in `kernels/gemm/`, one idea a file. This crate holds what stands around them on the host: the
//! [`Problem`], the [`Config`]urations that the last step of the ladder is built in, how tiles are dealt ([`Schedule`]), the model
//! of what that costs ([`cost`]) and the tuned table that pick one ([`plan`]), and [`Gemm`], which launches it.
//! For few tokens, weights in 4 bits ([`W4`]) cost a quarter of the bytes: [`W4Gemm`]. Weights with two of every four pruned
//! ([`Sparse24`]) cost little more than half of the bytes and of the tensor cores' time: [`SparseGemm`].

mod config;
pub mod cost;
mod epilogue;
pub mod fp8;
mod fp8_block;
mod launch;
mod plan;
mod problem;
mod schedule;
mod sparse;
mod sparse_launch;
mod sparse_plan;
mod swizzle;
mod tuned;
mod w4;
mod w4_launch;
mod w4_plan;

pub use config::{CONFIGS, Config};
pub use epilogue::{Epilogue, INTERLEAVE, interleaved_row};
pub use fp8::Quantised;
pub use fp8_block::{
    BLOCK_CONFIGS, BlockGemm, BlockOperands, block_parameters, block_plan, block_plans,
};
pub use launch::{Gemm, Operands};
pub use plan::{Plan, Split, plan, plan_for, plans};
pub use problem::{Element, Problem};
pub use schedule::{Schedule, Segment, panel, tile_place};
pub use sparse::{FILL, MetadataPlace, Sparse24, metadata_place, metadata_words, sparse_bytes};
pub use sparse_launch::{SparseGemm, SparseOperands};
pub use sparse_plan::{SPARSE_CONFIGS, SparseConfig, SparsePlan, sparse_plan, sparse_plans};
pub use swizzle::{CHUNK, LINE, swizzle};
pub use tuned::tuned_line;
pub use w4::{GROUP, Place, UNIT_BYTES, W4, packed_bytes, place};
pub use w4_launch::W4Gemm;
pub use w4_plan::{W4_CONFIGS, W4Config, W4Plan, w4_line, w4_plan, w4_plans};
