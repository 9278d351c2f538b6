//! Task 3: codes of 1, 2, 4 and 8 bits in bytes, the first in the lowest bits.

mod common;

use common::rng;
use numerics::blocks::Q4;
use numerics::integer::{dot_signs, pack, pack_signed, pack_signs, unpack, unpack_signed};
use rand::RngExt;

#[test]
fn the_first_code_takes_the_lowest_bits() {
    assert_eq!(pack(4, &[0x1, 0x2, 0x3]), [0x21, 0x03]);
    assert_eq!(pack(2, &[0, 1, 2, 3, 1]), [0b11_10_01_00, 0b01]);
    assert_eq!(pack(1, &[1, 0, 0, 0, 0, 0, 1, 1, 1]), [0b1100_0001, 1]);
    assert_eq!(pack(8, &[7, 255]), [7, 255]);
    assert_eq!(pack_signed(4, &[-8, 7, -1]), [0x78, 0x0F]);
    assert_eq!(pack_signed(2, &[-2, -1, 0, 1]), [0b01_00_11_10]);
    assert_eq!(pack(4, &[]), [0; 0]);
}

#[test]
fn bits_above_a_code_are_dropped() {
    assert_eq!(pack(4, &[0xF1, 0xF2]), [0x21]);
    assert_eq!(pack(2, &[0xFC, 0xFD, 0xFE, 0xFF]), [0b11_10_01_00]);
    assert_eq!(pack(1, &[0xFE, 0xFF]), [0b10]);
}

#[test]
fn what_is_packed_comes_back() {
    let rng = &mut rng();
    for bits in [1, 2, 4, 8] {
        for len in [0, 1, 2, 3, 7, 8, 9, 31, 33, 100] {
            let codes: Vec<u8> = (0..len).map(|_| rng.random::<u8>() >> (8 - bits)).collect();
            let packed = pack(bits, &codes);
            assert_eq!(packed.len(), (len * bits as usize).div_ceil(8));
            assert_eq!(unpack(bits, &packed, len), codes);
            if bits > 1 {
                let numbers: Vec<i8> = (0..len).map(|_| rng.random::<i8>() >> (8 - bits)).collect();
                assert_eq!(
                    unpack_signed(bits, &pack_signed(bits, &numbers), len),
                    numbers
                );
            }
        }
    }
}

#[test]
fn every_signed_number_has_a_code() {
    for (bits, least, most) in [(2, -2, 1), (4, -8, 7), (8, -128, 127)] {
        let numbers: Vec<i8> = (least..=most).collect();
        assert_eq!(
            unpack_signed(bits, &pack_signed(bits, &numbers), numbers.len()),
            numbers
        );
    }
}

#[test]
#[should_panic(expected = "numbers of 4 bits")]
fn a_number_too_large_is_refused() {
    pack_signed(4, &[8]);
}

#[test]
fn the_order_is_that_of_the_blocks() {
    let codes: Vec<u8> = (0..32).map(|at| at % 16).collect();
    let quants = pack(4, &codes);
    let block = Q4 {
        quants,
        scales: Vec::new(),
        offsets: None,
    };
    assert!((0..32).all(|at| block.quant(at) == codes[at]));
}

#[test]
fn signs_multiply_without_multiplication() {
    let rng = &mut rng();
    for len in [0, 1, 63, 64, 65, 200] {
        let [a, b]: [Vec<f32>; 2] =
            std::array::from_fn(|_| (0..len).map(|_| rng.random_range(-1.0..1.0)).collect());
        let sign = |value: &f32| if *value >= 0.0 { 1 } else { -1 };
        let wanted: i64 = a.iter().zip(&b).map(|(a, b)| sign(a) * sign(b)).sum();
        assert_eq!(dot_signs(&pack_signs(&a), &pack_signs(&b), len), wanted);
    }
}
