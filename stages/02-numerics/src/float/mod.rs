//! Floating-point numbers of 8 and 16 bits: what their bits mean, and conversions from and to f32.
//!
//! One description, [`SmallFloat`], and one algorithm serve all formats. The invariant is that of IEEE 754: the result is the
//! representable number nearest to the given one, of two as near the one whose last bit is 0, and an f32 that is representable comes
//! back unchanged.

mod convert;

pub use convert::{Overflow, round_shift};

/// A format of a sign bit, `exponent_bits` and `mantissa_bits`, from the highest bit to the lowest.
///
/// A code with the exponent field `e` and the mantissa field `m` stands for `(1 + m / 2^mantissa_bits) · 2^(e - bias)`, and with
/// `e = 0` (zero and the subnormals) for `m / 2^mantissa_bits · 2^(1 - bias)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SmallFloat {
    /// Bits of the exponent field.
    pub exponent_bits: u32,
    /// Bits of the mantissa field: the digits after the leading one.
    pub mantissa_bits: u32,
    /// What is subtracted from the exponent field.
    pub bias: i32,
    /// What the codes of the highest exponent stand for.
    pub specials: Specials,
}

/// What the codes of the highest exponent stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Specials {
    /// As in IEEE 754: infinity with mantissa 0, otherwise NaN.
    Ieee,
    /// Only the highest mantissa is NaN, the others are numbers, and there is no infinity ("fn": finite, one NaN for each sign).
    NanOnly,
}

/// IEEE binary16: from 2^-24 to 65504, 11 significant bits.
pub const F16: SmallFloat = SmallFloat {
    exponent_bits: 5,
    mantissa_bits: 10,
    bias: 15,
    specials: Specials::Ieee,
};

/// bfloat16: the upper half of an f32, 8 significant bits.
pub const BF16: SmallFloat = SmallFloat {
    exponent_bits: 8,
    mantissa_bits: 7,
    bias: 127,
    specials: Specials::Ieee,
};

/// e4m3fn of the OCP 8-bit floating point specification: from 2^-9 to 448, 4 significant bits.
pub const E4M3: SmallFloat = SmallFloat {
    exponent_bits: 4,
    mantissa_bits: 3,
    bias: 7,
    specials: Specials::NanOnly,
};

/// e5m2 of the same specification: the upper byte of an f16, from 2^-16 to 57344, 3 significant bits.
pub const E5M2: SmallFloat = SmallFloat {
    exponent_bits: 5,
    mantissa_bits: 2,
    bias: 15,
    specials: Specials::Ieee,
};

impl SmallFloat {
    /// Bits of a code.
    pub const fn bits(self) -> u32 {
        1 + self.exponent_bits + self.mantissa_bits
    }

    /// The code of the largest number.
    pub const fn largest_code(self) -> u16 {
        match self.specials {
            Specials::Ieee => self.infinity_code() - 1,
            Specials::NanOnly => self.nan_code() - 1,
        }
    }

    /// The largest number.
    pub fn largest(self) -> f32 {
        self.decode(self.largest_code())
    }

    /// The distance of the subnormals, which is the smallest positive number.
    pub fn smallest(self) -> f32 {
        self.decode(1)
    }

    /// Where the highest exponent begins: infinity, in a format that has one.
    pub(crate) const fn infinity_code(self) -> u16 {
        ((1 << self.exponent_bits) - 1) << self.mantissa_bits
    }

    /// The NaN that conversions give: quiet, and with no payload.
    pub const fn nan_code(self) -> u16 {
        self.infinity_code()
            | match self.specials {
                Specials::Ieee => 1 << (self.mantissa_bits - 1),
                Specials::NanOnly => (1 << self.mantissa_bits) - 1,
            }
    }
}
