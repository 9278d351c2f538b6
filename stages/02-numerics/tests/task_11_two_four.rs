//! Task 11: of every four weights two stay, with two bits each for their positions.

mod common;
mod sparse_common;

use common::rng;
use numerics::sparse::{FormatError, TwoFour, Weight, prune};
use rand::RngExt;
use sparse_common::*;

#[test]
fn positions_are_two_bits_each_from_the_lowest_up() {
    // [ 0 1 2 3 | 4 5 6 7 | 8 9 10 11 ]
    let weight = [0.0, 5.0, 0.0, 6.0, 7.0, 8.0, 0.0, 0.0, 0.0, 0.0, 9.0, 0.0];
    let packed = TwoFour::from_dense(&weight, 1, 12).unwrap();
    // Where fewer than two are not zero the first zeros are taken along, and positions still rise.
    let values = vec![5.0, 6.0, 7.0, 8.0, 0.0, 9.0];
    let positions = vec![0b01_00_11_01, 0b10_00];
    let expected = TwoFour::from_parts(1, 12, values, positions).unwrap();
    assert_eq!(packed, expected);
    assert_eq!(packed.to_dense(), weight);
    assert_eq!(packed.bytes(), 6 * 4 + 2);
}

/// Every pattern of four, in both halves of a byte of positions and behind other groups.
#[test]
fn every_pattern_comes_back_or_is_refused() {
    for pattern in 0..16u32 {
        for group in 0..5 {
            let mut weight = vec![0.0; 20];
            for i in 0..4 {
                if pattern >> i & 1 == 1 {
                    weight[4 * group + i] = (i + 1) as f32;
                }
            }
            let packed = TwoFour::from_dense(&weight, 1, 20);
            if pattern.count_ones() > 2 {
                assert_eq!(packed, Err(FormatError::NotTwoOfFour { row: 0, group }));
            } else {
                assert_eq!(packed.unwrap().to_dense(), weight);
            }
        }
    }
}

#[test]
fn products_are_those_of_the_dense_weight() {
    let mut rng = rng();
    for n in [0, 1, 3, 8, 19, 70] {
        for k in [0, 4, 12, 16, 32, 36, 100] {
            let mut weight = numbers(&mut rng, n * k);
            let mask = prune::n_of_m(&weight, k, 2, 4);
            prune::apply(&mut weight, &mask);
            // Some groups keep fewer than two.
            for value in &mut weight {
                if rng.random_bool(0.1) {
                    *value = 0.0;
                }
            }
            let packed = TwoFour::from_dense(&weight, n, k).unwrap();
            assert_eq!(packed.to_dense(), weight);
            check_products(&mut rng, &packed, &weight);
        }
    }
}

#[test]
fn parts_that_make_no_weight_are_refused() {
    let parts = |k, values: usize, positions: &[u8]| {
        TwoFour::from_parts(1, k, vec![1.0; values], positions.to_vec())
    };
    assert!(parts(8, 4, &[0b1110_0100]).is_ok());
    assert!(matches!(parts(6, 3, &[0]), Err(FormatError::Shape(_))));
    assert!(matches!(
        parts(8, 3, &[0b1110_0100]),
        Err(FormatError::Length {
            part: "values",
            expected: 4,
            found: 3
        })
    ));
    assert!(matches!(
        parts(8, 4, &[0b1110_0100, 0]),
        Err(FormatError::Length {
            part: "positions",
            ..
        })
    ));
    let bits = Err(FormatError::Bits { row: 0 });
    // Equal, falling, and falling in the second group.
    assert_eq!(parts(8, 4, &[0b1110_0101]), bits);
    assert_eq!(parts(8, 4, &[0b1110_0001]), bits);
    assert_eq!(parts(8, 4, &[0b0001_0100]), bits);
    // A half byte that belongs to no group.
    assert!(parts(4, 2, &[0b0100]).is_ok());
    assert_eq!(parts(4, 2, &[0b0100_0100]), bits);
}
