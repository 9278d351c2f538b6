//! One tensor of a checkpoint, still in its file.

use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};

use super::gguf::{GgmlType, decode_blocks};
use super::source::Bytes;
use crate::matrix::{Elements, Matrix};

/// A tensor of one of the types that load. Cheap to hold: its elements stay in the mapped file until they are asked for.
pub(super) struct Tensor {
    /// Type of the elements.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The file.
    pub file: Arc<Bytes>,
    /// Where in the file; as long as dtype and shape say.
    pub range: Range<usize>,
}

/// The element types that load.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dtype {
    F32,
    F16,
    Bf16,
    /// Blocks of GGUF.
    Ggml(GgmlType),
}

impl Dtype {
    /// By its name in a safetensors header, or GGML's.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "F32" => Some(Dtype::F32),
            "F16" => Some(Dtype::F16),
            "BF16" => Some(Dtype::Bf16),
            _ => GgmlType::from_name(name).map(Dtype::Ggml),
        }
    }
}

impl Tensor {
    /// The elements, widened.
    pub fn to_f32(&self) -> Vec<f32> {
        self.elements().to_f32()
    }

    /// A two-dimensional tensor in its own type.
    pub fn to_matrix(&self) -> Matrix {
        Matrix {
            rows: self.shape[0],
            cols: self.shape[1],
            elements: self.elements(),
        }
    }

    fn elements(&self) -> Elements {
        match self.dtype {
            Dtype::F32 => Elements::F32(self.decode(f32::from_le_bytes)),
            Dtype::F16 => Elements::F16(self.decode(f16::from_le_bytes)),
            Dtype::Bf16 => Elements::Bf16(self.decode(bf16::from_le_bytes)),
            Dtype::Ggml(kind) => decode_blocks(kind, &self.file[self.range.clone()]),
        }
    }

    /// Stored elements are little-endian and at any alignment, so they are taken byte by byte.
    fn decode<const WIDTH: usize, T>(&self, element: impl Fn([u8; WIDTH]) -> T) -> Vec<T> {
        self.file[self.range.clone()]
            .as_chunks::<WIDTH>()
            .0
            .iter()
            .map(|bytes| element(*bytes))
            .collect()
    }
}
