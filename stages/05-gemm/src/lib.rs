//! GEMM on a GPU: `C[M, N] = A[M, K] · B[N, K]ᵀ`, the product of every linear layer, with `k` innermost in both operands.
//!
//! The kernels themselves are the ladder in `kernels/gemm/`, one idea a file. This crate holds what stands around them on the host: the
//! [`Problem`], the [`Config`]urations that the last step of the ladder is built in, the cost model and the tuned table that pick one
//! ([`plan`]), and [`Gemm`], which launches it.

mod config;
mod epilogue;
pub mod fp8;
mod fp8_block;
mod launch;
mod plan;
mod problem;

pub use config::{CONFIGS, Config};
pub use epilogue::{Epilogue, INTERLEAVE, interleaved_row};
pub use fp8::Quantised;
pub use fp8_block::{
    BLOCK_CONFIGS, BlockGemm, BlockOperands, block_parameters, block_plan, block_plans,
};
pub use launch::{Gemm, Operands};
pub use plan::{Plan, plan, plans};
pub use problem::{Element, Problem};
