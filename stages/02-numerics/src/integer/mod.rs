//! Integers of fewer than 8 bits in bytes.
//!
//! The order is the same for all widths: the first number takes the lowest bits of the first byte. So int4 number `2 i` is the low half
//! of byte `i` and `2 i + 1` the high half, as in [`blocks::Q4`](crate::blocks::Q4). A last byte that is not full is filled with zeros.

mod binary;

pub use binary::{dot_signs, pack_signs};

/// Packs unsigned codes (offset binary: the code is what is stored) of `bits` bits, 1, 2, 4 or 8. Bits of a code above these are
/// dropped, so that signed codes, cast to u8, are packed in two's complement.
///
/// # Panics
/// If `bits` is none of these.
pub fn pack(bits: u32, codes: &[u8]) -> Vec<u8> {
    let per_byte = per_byte(bits);
    let mask = mask(bits);
    // ANCHOR: solve-pack
    let byte = |codes: &[u8]| {
        let placed = codes.iter().zip((0..).step_by(bits as usize));
        placed.fold(0, |byte, (code, place)| byte | (code & mask) << place)
    };
    codes.chunks(per_byte).map(byte).collect()
    // ANCHOR_END: solve-pack
}

/// The first `count` codes of `packed`, as unsigned numbers.
///
/// # Panics
/// If `bits` is not 1, 2, 4 or 8, or there are fewer codes.
pub fn unpack(bits: u32, packed: &[u8], count: usize) -> Vec<u8> {
    let per_byte = per_byte(bits);
    let code = |at: usize| packed[at / per_byte] >> (bits * (at % per_byte) as u32) & mask(bits);
    (0..count).map(code).collect()
}

/// Packs signed numbers in two's complement: of int4, -8 to 7.
///
/// # Panics
/// If `bits` is not 2, 4 or 8, or a number does not fit.
pub fn pack_signed(bits: u32, numbers: &[i8]) -> Vec<u8> {
    assert_ne!(bits, 1, "one bit holds no sign: see `pack_signs`");
    let fits = |&number: &i8| sign_extend(bits, number as u8) == number;
    assert!(numbers.iter().all(fits), "numbers of {bits} bits");
    pack(
        bits,
        &numbers
            .iter()
            .map(|&number| number as u8)
            .collect::<Vec<_>>(),
    )
}

/// The first `count` numbers of `packed`, which are in two's complement.
///
/// # Panics
/// As [`unpack`].
pub fn unpack_signed(bits: u32, packed: &[u8], count: usize) -> Vec<i8> {
    let codes = unpack(bits, packed, count).into_iter();
    codes.map(|code| sign_extend(bits, code)).collect()
}

/// The low `bits` bits of `code` as a number in two's complement: up to the top, and down again with the sign.
#[inline]
pub const fn sign_extend(bits: u32, code: u8) -> i8 {
    let up = 8 - bits;
    ((code << up) as i8) >> up
}

/// The lowest `bits` bits set.
const fn mask(bits: u32) -> u8 {
    u8::MAX >> (8 - bits)
}

fn per_byte(bits: u32) -> usize {
    assert!(
        matches!(bits, 1 | 2 | 4 | 8),
        "1, 2, 4 or 8 bits, not {bits}"
    );
    8 / bits as usize
}
