//! GGML's blocks into [`Q4`] and [`Q8`], layouts as ggml-common.h has them.
//!
//! | from | to | numbers |
//! | --- | --- | --- |
//! | Q8_0, Q5_0 | Q8 | the same; but -128, which no quantiser writes into Q8_0, becomes -127 |
//! | Q4_0, Q4_1 | Q4 | the same |
//! | Q4_K | Q4 with offsets | `d sc` and `-dmin m` are rounded to f16: off by at most `2^-11 (15 d sc + dmin m)` |
//! | Q5_1, Q5_K, Q6_K | Q8 | off by at most `max / 253`, `max` the largest magnitude of the 32 |
//!
//! and `2^-18` more where a scale is below the smallest normal f16. The quants of a block lie in halves: element `i` in the low
//! half of byte `i`, element `i + 16` (in the K types `i + 32`) in the high half.

use half::f16;
use numerics::blocks::{BLOCK, Q4, Q8};

use super::types::GgmlType;
use crate::matrix::Elements;

/// The elements of whole blocks.
pub(in crate::hf) fn decode(kind: GgmlType, bytes: &[u8]) -> Elements {
    let blocks = bytes.chunks_exact(kind.bytes());
    let count = blocks.len() * kind.elements();
    match kind {
        GgmlType::Q8_0 => Elements::Q8(q8(count, blocks, |out, block| {
            let quants = block[2..].iter().map(|&quant| (quant as i8).max(-127));
            out.push(half(block, 0), quants);
        })),
        GgmlType::Q5_0 => Elements::Q8(q8(count, blocks, |out, block| {
            let quants = fifth_bit(&block[6..], &block[2..6]);
            out.push(
                half(block, 0),
                quants.map(|quant| quant as i8 - 16).into_iter(),
            );
        })),
        GgmlType::Q5_1 => Elements::Q8(q8(count, blocks, |out, block| {
            let (scale, offset) = (half(block, 0).to_f32(), half(block, 2).to_f32());
            let quants = fifth_bit(&block[8..], &block[4..8]);
            out.round(quants.map(|quant| scale * f32::from(quant) + offset));
        })),
        GgmlType::Q5K => Elements::Q8(q8(count, blocks, q5_k)),
        GgmlType::Q6K => Elements::Q8(q8(count, blocks, q6_k)),
        GgmlType::Q4_0 => Elements::Q4(q4(count, false, blocks, |out, block| {
            out.push(half(block, 0), None, halves(&block[2..]));
        })),
        GgmlType::Q4_1 => Elements::Q4(q4(count, true, blocks, |out, block| {
            out.push(half(block, 0), Some(half(block, 2)), halves(&block[4..]));
        })),
        GgmlType::Q4K => Elements::Q4(q4(count, true, blocks, q4_k)),
    }
}

/// The number at `at`.
fn half(block: &[u8], at: usize) -> f16 {
    f16::from_le_bytes([block[at], block[at + 1]])
}

/// 32 quants of 4 bits: the low halves of 16 bytes, then the high ones.
fn halves(bytes: &[u8]) -> [u8; BLOCK] {
    std::array::from_fn(|i| bytes[i % 16] >> (4 * (i / 16)) & 15)
}

/// The same with a fifth bit of each from a word.
fn fifth_bit(bytes: &[u8], bits: &[u8]) -> [u8; BLOCK] {
    let low = halves(bytes);
    std::array::from_fn(|i| low[i] | (bits[i / 8] >> (i % 8) & 1) << 4)
}

/// Scale and minimum of part `part` of a super-block of Q4_K or Q5_K: eight of each, 6 bits wide, in 12 bytes. Parts 0 to 3 have
/// bytes of their own; of the others, the low four bits are in bytes 8 to 11 and the high two on top of the first parts' bytes.
fn scale_and_minimum(packed: &[u8], part: usize) -> (u8, u8) {
    if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        let (first, second) = (packed[part - 4], packed[part]);
        let low = packed[part + 4];
        (low & 15 | first >> 6 << 4, low >> 4 | second >> 6 << 4)
    }
}

/// `[d | dmin | 12 bytes of scales | 128 bytes of quants]`: 32 bytes hold two parts.
fn q4_k(out: &mut Q4, block: &[u8]) {
    let (d, dmin) = (half(block, 0).to_f32(), half(block, 2).to_f32());
    for part in 0..8 {
        let (scale, minimum) = scale_and_minimum(&block[4..16], part);
        let quants = &block[16 + part / 2 * 32..][..32];
        out.push(
            f16::from_f32(d * f32::from(scale)),
            Some(f16::from_f32(-dmin * f32::from(minimum))),
            std::array::from_fn(|i| quants[i] >> (4 * (part % 2)) & 15),
        );
    }
}

/// The same with 32 bytes before the quants, whose bit `part` is the fifth bit of that part's elements.
fn q5_k(out: &mut Q8, block: &[u8]) {
    let (d, dmin) = (half(block, 0).to_f32(), half(block, 2).to_f32());
    let high = &block[16..48];
    for part in 0..8 {
        let (scale, minimum) = scale_and_minimum(&block[4..16], part);
        let (scale, minimum) = (d * f32::from(scale), dmin * f32::from(minimum));
        let low = &block[48 + part / 2 * 32..][..32];
        out.round(std::array::from_fn(|i| {
            let quant = low[i] >> (4 * (part % 2)) & 15 | (high[i] >> part & 1) << 4;
            scale * f32::from(quant) - minimum
        }));
    }
}

/// `[128 bytes of low halves | 64 bytes of upper pairs of bits | 16 scales | d]`. Each half of the super-block has 64 and 32 of
/// the bytes: its four runs of 32 take the low halves of both 32, then the high halves, and the pairs of bits in turn.
fn q6_k(out: &mut Q8, block: &[u8]) {
    let d = half(block, 208).to_f32();
    for run in 0..8 {
        let (side, run) = (run / 4, run % 4);
        let low = &block[64 * side + 32 * (run % 2)..][..32];
        let high = &block[128 + 32 * side..][..32];
        let scales = &block[192 + 8 * side + 2 * run..][..2];
        out.round(std::array::from_fn(|i| {
            let quant = low[i] >> (4 * (run / 2)) & 15 | (high[i] >> (2 * run) & 3) << 4;
            d * f32::from(scales[i / 16] as i8) * (f32::from(quant) - 32.0)
        }));
    }
}

/// What blocks are decoded into, one after another.
trait Push8 {
    fn push(&mut self, scale: f16, quants: impl Iterator<Item = i8>);
    fn round(&mut self, values: [f32; BLOCK]);
}

impl Push8 for Q8 {
    fn push(&mut self, scale: f16, quants: impl Iterator<Item = i8>) {
        self.scales.push(scale);
        self.quants.extend(quants);
    }

    fn round(&mut self, values: [f32; BLOCK]) {
        let Q8 { quants, scales } = Q8::quantise(&values);
        self.scales.extend(scales);
        self.quants.extend(quants);
    }
}

trait Push4 {
    fn push(&mut self, scale: f16, offset: Option<f16>, quants: [u8; BLOCK]);
}

impl Push4 for Q4 {
    fn push(&mut self, scale: f16, offset: Option<f16>, quants: [u8; BLOCK]) {
        self.scales.push(scale);
        if let (Some(offsets), Some(offset)) = (&mut self.offsets, offset) {
            offsets.push(offset);
        }
        let pairs = quants.as_chunks::<2>().0;
        self.quants
            .extend(pairs.iter().map(|pair| pair[0] | pair[1] << 4));
    }
}

/// `count` numbers that `decode` gets from blocks.
fn q8<'a>(
    count: usize,
    blocks: impl Iterator<Item = &'a [u8]>,
    decode: impl Fn(&mut Q8, &[u8]),
) -> Q8 {
    let mut out = Q8 {
        quants: Vec::with_capacity(count),
        scales: Vec::with_capacity(count / BLOCK),
    };
    blocks.for_each(|block| decode(&mut out, block));
    out
}

/// The same for 4 bits.
fn q4<'a>(
    count: usize,
    offsets: bool,
    blocks: impl Iterator<Item = &'a [u8]>,
    decode: impl Fn(&mut Q4, &[u8]),
) -> Q4 {
    let mut out = Q4 {
        quants: Vec::with_capacity(count / 2),
        scales: Vec::with_capacity(count / BLOCK),
        offsets: offsets.then(|| Vec::with_capacity(count / BLOCK)),
    };
    blocks.for_each(|block| decode(&mut out, block));
    out
}
