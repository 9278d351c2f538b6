//! Task 12: rows of numbers that are not zero, and their product with one row of `x` or several.

mod common;
mod sparse_common;

use common::rng;
use numerics::sparse::{Csr, FormatError, Weight};
use sparse_common::*;

#[test]
fn rows_are_columns_and_values() {
    let weight = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 3.0];
    let csr = Csr::from_dense(&weight, 3, 3);
    let parts = Csr::from_parts(3, 3, vec![0, 1, 1, 3], vec![1, 0, 2], vec![1.0, 2.0, 3.0]);
    assert_eq!(csr, parts.unwrap());
    assert_eq!(csr.row(1), (&[][..], &[][..]));
    assert_eq!(csr.to_dense(), weight);
    assert_eq!(csr.bytes(), 4 * (4 + 3 + 3));
}

#[test]
fn products_are_those_of_the_dense_weight() {
    let mut rng = rng();
    for (n, k) in SHAPES {
        for density in [0.0, 0.01, 0.1, 0.3, 0.7, 1.0] {
            let mut weight = sparse(&mut rng, n * k, density);
            // An empty row between others.
            if n > 2 {
                weight[k..2 * k].fill(0.0);
            }
            let csr = Csr::from_dense(&weight, n, k);
            assert_eq!(csr.to_dense(), weight);
            check_products(&mut rng, &csr, &weight);
        }
    }
}

#[test]
fn parts_that_make_no_weight_are_refused() {
    let parts = |starts: &[u32], columns: &[u32], values: usize| {
        Csr::from_parts(2, 4, starts.to_vec(), columns.to_vec(), vec![1.0; values])
    };
    assert!(parts(&[0, 2, 3], &[1, 3, 0], 3).is_ok());
    assert!(parts(&[0, 0, 0], &[], 0).is_ok());
    assert!(matches!(
        parts(&[0, 3], &[1, 2, 3], 3),
        Err(FormatError::Length {
            part: "starts",
            expected: 3,
            found: 2
        })
    ));
    assert!(matches!(
        parts(&[0, 2, 3], &[1, 3, 0], 2),
        Err(FormatError::Length {
            part: "values",
            expected: 3,
            found: 2
        })
    ));
    let start = |row| Err(FormatError::Start { row });
    assert_eq!(parts(&[1, 2, 3], &[1, 3, 0], 3), start(0));
    assert_eq!(parts(&[0, 3, 2], &[1, 2, 3], 3), start(2));
    assert_eq!(parts(&[0, 4, 3], &[1, 2, 3], 3), start(1));
    assert_eq!(parts(&[0, u32::MAX, 3], &[1, 2, 3], 3), start(1));
    assert_eq!(parts(&[0, 1, 2], &[1, 2, 3], 3), start(2));
    let column = |row| Err(FormatError::Column { row });
    assert_eq!(parts(&[0, 2, 3], &[1, 3, 4], 3), column(1));
    assert_eq!(parts(&[0, 2, 3], &[3, 1, 0], 3), column(0));
    assert_eq!(parts(&[0, 2, 3], &[1, 1, 0], 3), column(0));
    assert_eq!(parts(&[0, 0, 1], &[u32::MAX], 1), column(1));
}
