//! Attention variants, the fused layer operations, and the model definitions written over them.
//!
//! Bottom up: [`variants`], [`rope`], [`norm`], [`activation`] and [`moe`] are the ideas, each as plain as its paper.
//! [`ops`] gathers them into a small set of fused operations that a device implements, [`models`] are written once over
//! those, and [`hf`] loads a Hugging Face folder into them.

pub mod activation;
pub mod config;
pub mod hf;
pub mod matrix;
pub mod models;
pub mod moe;
pub mod norm;
pub mod ops;
pub mod rope;
pub mod step;
pub mod variants;
