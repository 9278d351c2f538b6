//! Number formats and what is computed in them.
//!
//! - [`float`]: f16, bf16 and fp8, rounded to the nearest, ties to even.
//! - [`integer`]: int8, int4, int2 and signs, packed into bytes.
//! - [`quant`]: schemes, calibration, quantised matrices and reference products on their codes.
//! - [`kv`]: keys and values in 8 and 4 bits.
//! - [`algorithms`]: SmoothQuant, GPTQ and AWQ, which quantise a linear layer by what flows through it.
//! - [`blocks`]: weights of 8 and 4 bits, in blocks of 32 that share a scale.
//! - [`matmul`]: products with them in integer arithmetic.
//! - [`sparse`]: pruning, and products with weights whose zeros are left out.

pub mod algorithms;
pub mod blocks;
pub mod float;
pub mod integer;
pub mod kv;
pub mod matmul;
pub mod quant;
pub mod sparse;
