//! fastserve: an OpenAI-compatible server that runs Hugging Face models.
//!
//! [`engine`] is the data plane, one thread that owns the model; the control plane is stage 11's router; [`model`] loads what
//! they serve, and [`cli`] puts the parts together. [`digits`] reads handwritten digits on the convolutions of stage 01;
//! [`quantize`] makes models smaller, and says what that costs.

pub mod cli;
pub mod digits;
pub mod embedded;
pub mod engine;
pub mod model;
pub mod quantize;
