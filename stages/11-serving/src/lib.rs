//! Stage 11: the control plane, an OpenAI-compatible server over an engine that it knows only by its queue.

pub mod engine;
pub mod metrics;
