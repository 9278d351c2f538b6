//! Quantising a whole model: `fastserve quantize`, and what it does to the model's answers.
//!
//! [`checkpoint`] holds a folder's tensors, [`units`] says which of them are quantised together, [`observe`] runs the model to see what
//! flows into each, [`recipe`] applies an algorithm of stage 02, [`packed`] writes the result as other tools read it. [`evaluate`]
//! measures a model, and [`policy`] shares out bits by what was measured. The invariant: a tensor that no unit names is written as it
//! was read, byte for byte, unless a scale was folded into it.

pub mod activations;
pub mod checkpoint;
pub mod evaluate;
mod intercept;
pub mod observe;
pub mod packed;
pub mod policy;
pub mod recipe;
pub mod text;
pub mod units;

use attention_variants::hf::LoadError;
use numerics::quant::QuantError;

/// Why a model was not quantised.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The model does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A tensor has numbers that cannot be quantised.
    #[error("{tensor}: {source}")]
    Quant {
        /// Its name.
        tensor: String,
        /// Why.
        source: QuantError,
    },
    /// A file cannot be read or written.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A checkpoint is no safetensors, or cannot be written as such.
    #[error("{file}: {source}; download or convert it again")]
    Safetensors {
        /// The file.
        file: String,
        /// What is wrong.
        source: safetensors::SafeTensorError,
    },
    /// Calibration text that has no tokens.
    #[error("{file}, line {line}: {message}")]
    Text {
        /// The file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A model or a wish that quantisation has no answer to.
    #[error("{0}")]
    Unsupported(String),
}

impl QuantizeError {
    fn io(file: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let file = file.display().to_string();
        move |source| Self::Io { file, source }
    }

    /// At a line of calibration text.
    fn text(file: &str, line: usize) -> impl Fn(String) -> Self {
        move |message| Self::Text {
            file: file.to_owned(),
            line,
            message,
        }
    }
}
