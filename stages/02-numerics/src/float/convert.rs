//! f32 to a small float and back, from the definition of the formats.
//!
//! Codes of one sign are numbered as their values are ordered, and neighbours lie one step apart. So a conversion counts steps, rounds
//! that count, and a carry out of the mantissa is the next exponent by itself.

use super::{SmallFloat, Specials};

/// What becomes of a number that rounds to more than the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// The largest number, infinity too: what inference wants, where one clipped value is better than one NaN.
    Saturate,
    /// Infinity, or NaN in a format without: what training wants, where an overflow is to be noticed.
    Special,
}

/// `value / 2^shift`, to the nearest integer, of two as near the even one. `shift` is at least 1 and may be above 31.
pub fn round_shift(value: u32, shift: u32) -> u32 {
    // ANCHOR: solve-round-shift
    let value = value as u64;
    // A u32 is less than half of 2^33, so every larger shift gives 0 as this one does.
    let shift = if shift > 33 { 33 } else { shift };
    let (kept, half) = (value >> shift, 1u64 << (shift - 1));
    let rest = value & (2 * half - 1);
    let up = rest > half || (rest == half && kept % 2 == 1);
    (kept + up as u64) as u32
    // ANCHOR_END: solve-round-shift
}

impl SmallFloat {
    /// The code of the number nearest to `value`, of two as near the even one. NaN gives NaN with its sign.
    #[inline]
    pub fn encode(self, value: f32, overflow: Overflow) -> u16 {
        // ANCHOR: solve-encode
        let sign = (value.to_bits() >> 31 << (self.bits() - 1)) as u16;
        let magnitude = value.to_bits() & 0x7FFF_FFFF;
        if magnitude > 0x7F80_0000 {
            return sign | self.nan_code();
        }
        // |value| = significand · 2^(exponent - 150); subnormals of f32 have the least exponent and no leading one.
        let (field, fraction) = (magnitude >> 23, magnitude & 0x007F_FFFF);
        let (exponent, significand) = match field {
            0 => (1, fraction),
            _ => (field as i32, fraction | 1 << 23),
        };
        // The exponent field that the result has before a carry. Below 1 the steps no longer shrink: these are the subnormals.
        let target = exponent - 127 + self.bias;
        let (below, above) = match target {
            1.. => (0, (target - 1) as u32),
            _ => ((1 - target) as u32, 0),
        };
        let steps = round_shift(significand, 23 - self.mantissa_bits + below);
        let code = (above << self.mantissa_bits) + steps;
        if code <= self.largest_code() as u32 {
            return sign | code as u16;
        }
        match (overflow, self.specials) {
            (Overflow::Saturate, _) => sign | self.largest_code(),
            (Overflow::Special, Specials::Ieee) => sign | self.infinity_code(),
            (Overflow::Special, Specials::NanOnly) => sign | self.nan_code(),
        }
        // ANCHOR_END: solve-encode
    }

    /// What `code` stands for; every small float is an f32, so nothing is rounded. Bits above the format's are ignored.
    #[inline]
    pub const fn decode(self, code: u16) -> f32 {
        let magnitude = code & ((1 << (self.bits() - 1)) - 1);
        let sign = (code as u32) >> (self.bits() - 1) << 31;
        let special = match self.specials {
            Specials::Ieee => magnitude >= self.infinity_code(),
            Specials::NanOnly => magnitude == self.nan_code(),
        };
        if special {
            let infinite = magnitude == self.infinity_code();
            let bits = if infinite { 0x7F80_0000 } else { 0x7FC0_0000 };
            return f32::from_bits(sign | bits);
        }
        let field = (magnitude >> self.mantissa_bits) as i32;
        let mantissa = (magnitude & ((1 << self.mantissa_bits) - 1)) as u32;
        let (exponent, significand) = match field {
            0 => (1, mantissa),
            _ => (field, mantissa | 1 << self.mantissa_bits),
        };
        // Through f64, in which every power that occurs is a normal number.
        let step = exponent - self.bias - self.mantissa_bits as i32;
        let power = f64::from_bits(((step + 1023) as u64) << 52);
        let value = (significand as f64 * power) as f32;
        f32::from_bits(sign | value.to_bits())
    }

    /// `value` rounded to the format: what is left of it after a way through the code.
    #[inline]
    pub fn round(self, value: f32, overflow: Overflow) -> f32 {
        self.decode(self.encode(value, overflow))
    }
}
