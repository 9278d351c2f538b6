//! What is to be multiplied.

/// Element type of both operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Element {
    /// bfloat16, products summed in f32.
    Bf16,
    /// IEEE half precision, products summed in f32.
    F16,
    /// 8-bit floats with 4 exponent bits, one scale for each operand, products summed in the tensor core's f32.
    E4m3,
    /// 8-bit integers with a scale for each row of both operands, products summed exactly in s32.
    Int8,
}

impl Element {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bf16 | Self::F16 => 2,
            Self::E4m3 | Self::Int8 => 1,
        }
    }

    /// The kernels' parameter `TYPE`.
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Bf16 => 0,
            Self::F16 => 1,
            Self::E4m3 => 2,
            Self::Int8 => 3,
        }
    }
}

/// `C[m, n] = A[m, k] · B[n, k]ᵀ`: `m` tokens through a layer of `n` outputs and `k` inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Problem {
    /// Rows of A: tokens.
    pub m: usize,
    /// Rows of B: outputs of the layer.
    pub n: usize,
    /// Columns of both: inputs of the layer.
    pub k: usize,
    /// Type of both operands.
    pub element: Element,
}

impl Problem {
    /// Floating-point operations: a multiplication and an addition for each of `m·n·k`.
    pub fn operations(&self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64
    }

    /// The fewest bytes that device memory must move: both operands once, C (16 bits an element) once.
    pub fn bytes(&self) -> f64 {
        let operands = (self.m + self.n) * self.k * self.element.bytes();
        (operands + 2 * self.m * self.n) as f64
    }

    /// Whether TMA can address all three arrays: rows are multiples of 16 bytes.
    pub fn suits_tma(&self) -> bool {
        (self.k * self.element.bytes()).is_multiple_of(16) && self.n.is_multiple_of(8)
    }
}
