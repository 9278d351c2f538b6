//! Reading published models: a Hugging Face folder (config.json, safetensors, tokenizer.json and the chat template), or a GGUF
//! file, which holds all of these.
//!
//! [`Source`] is where the files come from; its methods read each part. The rule for all of them: what is missing, unknown or
//! contradictory is a [`LoadError`] that names the file and the field or tensor, never a panic and never a silent default.

mod chat_functions;
mod chat_template;
mod checkpoint;
mod config;
mod error;
mod fields;
mod gguf;
mod quantised;
mod safetensors;
mod source;
mod tensor;
mod tokenizer;

pub use chat_template::{ChatTemplate, TemplateError};
pub use checkpoint::Weights;
pub use error::LoadError;
pub use gguf::Gguf;
pub use source::Source;
pub use tokenizer::{Tokenizer, TokenizerError};
