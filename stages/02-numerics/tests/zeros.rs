//! Which weights stay, the formats that no task is about, and channels removed.

mod common;
mod sparse_common;

use common::rng;
use numerics::sparse::{Bitmap, Blocks, FormatError, Weight, prune, shrink};
use rand::RngExt;
use rand::rngs::StdRng;
use sparse_common::*;

const DENSITIES: [f64; 9] = [0.0, 0.01, 0.1, 0.25, 0.3, 0.5, 0.7, 0.99, 1.0];

/// Numbers of which many are equal in magnitude.
fn with_ties(rng: &mut StdRng, len: usize) -> Vec<f32> {
    (0..len)
        .map(|_| rng.random_range(-3i32..4) as f32)
        .collect()
}

/// The definition: sort by falling score, equal ones by index, and keep the first.
fn by_sorting(scores: &[f64], keep: usize) -> Vec<bool> {
    let mut order: Vec<_> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap());
    (0..scores.len())
        .map(|i| order[..keep].contains(&i))
        .collect()
}

#[test]
fn exactly_so_many_stay_and_they_are_the_greatest() {
    let mut rng = rng();
    for len in [0, 1, 2, 7, 64, 101] {
        let weight = with_ties(&mut rng, len);
        let scores: Vec<_> = weight.iter().map(|w| f64::from(w.abs())).collect();
        for density in DENSITIES {
            let keep = (density * len as f64).round() as usize;
            assert_eq!(
                prune::magnitude(&weight, density),
                by_sorting(&scores, keep)
            );
        }
    }
}

#[test]
fn each_row_and_each_group_keeps_its_own() {
    let mut rng = rng();
    for (n, k) in SHAPES {
        let weight = with_ties(&mut rng, n * k);
        for density in DENSITIES {
            let mask = prune::magnitude_by_row(&weight, k, density);
            let rows = weight.chunks(k.max(1)).zip(mask.chunks(k.max(1)));
            for (row, mask) in rows {
                assert_eq!(mask, prune::magnitude(row, density));
            }
            assert_eq!(mask.len(), weight.len());
        }
        for (of, m) in [(2, 4), (1, 4), (4, 8), (0, 3), (3, 2)] {
            let mask = prune::n_of_m(&weight, k, of, m);
            assert_eq!(mask.len(), weight.len());
            for row in 0..n {
                for group in (0..k).step_by(m) {
                    let range = row * k + group..row * k + k.min(group + m);
                    let scores: Vec<_> = weight[range.clone()]
                        .iter()
                        .map(|w| f64::from(w.abs()))
                        .collect();
                    assert_eq!(mask[range], by_sorting(&scores, of.min(scores.len())));
                }
            }
        }
    }
}

#[test]
fn whole_blocks_stay_by_their_norm() {
    let mut rng = rng();
    for (n, k) in SHAPES {
        let weight = with_ties(&mut rng, n * k);
        for (height, width) in [(16, 1), (8, 8), (16, 16), (1, 4), (5, 3)] {
            let across = k.div_ceil(width);
            let mut scores = vec![0.0; n.div_ceil(height) * across];
            for at in 0..n * k {
                scores[at / k / height * across + at % k / width] += f64::from(weight[at].powi(2));
            }
            for density in DENSITIES {
                let keep = (density * scores.len() as f64).round() as usize;
                let stay = by_sorting(&scores, keep);
                let expected: Vec<_> = (0..n * k)
                    .map(|at| stay[at / k / height * across + at % k / width])
                    .collect();
                assert_eq!(prune::blocks(&weight, k, height, width, density), expected);
            }
        }
    }
}

#[test]
fn a_fault_is_not_pruned_away() {
    let weight = [1.0, -f32::NAN, f32::INFINITY, -0.0, 0.0, f32::NAN];
    let expected = [false, true, true, false, false, true];
    assert_eq!(prune::magnitude(&weight, 0.5), expected);
    assert_eq!(prune::greatest(&[-0.0, 0.0, -1.0], 1), [true, false, false]);
}

#[test]
fn channels_are_scored_by_size_and_by_slope() {
    // [2, 3]
    let weight = [1.0, -2.0, 3.0, 0.0, 0.5, -0.5];
    let gradient = [1.0, 1.0, 0.5, 9.0, -4.0, 4.0];
    assert_eq!(prune::l1_of_rows(&weight, 3), [6.0, 1.0]);
    assert_eq!(prune::l1_of_columns(&weight, 3), [1.0, 2.5, 3.5]);
    // 1 - 2 + 1.5, and -2 - 2.
    assert_eq!(prune::taylor_of_rows(&weight, &gradient, 3), [0.5, 4.0]);
}

/// `x weight^T`, one term after the other.
fn product(x: &[f32], weight: &[f32], k: usize) -> Vec<f32> {
    let dot = |row: &[f32]| x.iter().zip(row).fold(0.0, |sum, (x, w)| sum + x * w);
    weight.chunks(k).map(dot).collect()
}

/// Terms of zero change no sum, so the two agree to the last bit.
#[test]
fn channels_removed_compute_what_channels_masked_do() {
    let mut rng = rng();
    for (k, channels, n) in [(1, 1, 1), (5, 12, 3), (16, 33, 7)] {
        let (first, second) = (
            numbers(&mut rng, channels * k),
            numbers(&mut rng, n * channels),
        );
        let bias = numbers(&mut rng, channels);
        for density in [0.25, 0.5, 0.75, 1.0] {
            let scores = prune::l1_of_rows(&first, k);
            let stays = prune::greatest(&scores, prune::kept(channels, density).max(1));
            let left = stays.iter().filter(|stays| **stays).count();

            let of_row: Vec<_> = stays.iter().flat_map(|stays| vec![*stays; k]).collect();
            let (mut masked, mut masked_bias) = (first.clone(), bias.clone());
            prune::apply(&mut masked, &of_row);
            prune::apply(&mut masked_bias, &stays);
            let (small, small_second) = shrink::channels(&first, k, &second, &stays);
            let small_bias = shrink::rows(&bias, 1, &stays);
            assert_eq!((small.len(), small_second.len()), (left * k, n * left));

            let x = numbers(&mut rng, k);
            let pair = |first: &[f32], bias: &[f32], second: &[f32]| {
                let hidden: Vec<f32> = product(&x, first, k)
                    .iter()
                    .zip(bias)
                    .map(|(h, b)| (h + b).max(0.0))
                    .collect();
                product(&hidden, second, hidden.len())
            };
            assert_eq!(
                pair(&small, &small_bias, &small_second),
                pair(&masked, &masked_bias, &second)
            );
        }
    }
}

#[test]
fn a_bitmap_multiplies_as_the_dense_weight_does() {
    let mut rng = rng();
    for (n, k) in SHAPES {
        for density in [0.0, 0.01, 0.1, 0.5, 1.0] {
            let weight = sparse(&mut rng, n * k, density);
            let bitmap = Bitmap::from_dense(&weight, n, k);
            assert_eq!(bitmap.to_dense(), weight);
            check_products(&mut rng, &bitmap, &weight);
        }
    }
    let bitmap = Bitmap::from_dense(&[1.0, 0.0, 2.0], 1, 3);
    assert_eq!(
        bitmap,
        Bitmap::from_parts(1, 3, vec![0b101], vec![1.0, 2.0]).unwrap()
    );
    assert_eq!(bitmap.bytes(), 8 + 2 * 4 + 2 * 4);
}

#[test]
fn parts_that_make_no_bitmap_are_refused() {
    let parts =
        |masks: &[u64], values: usize| Bitmap::from_parts(2, 3, masks.to_vec(), vec![1.0; values]);
    assert!(parts(&[0b101, 0b010], 3).is_ok());
    assert!(matches!(
        parts(&[0b101], 2),
        Err(FormatError::Length { part: "masks", .. })
    ));
    assert!(matches!(
        parts(&[0b101, 0b010], 4),
        Err(FormatError::Length { part: "values", .. })
    ));
    assert_eq!(
        parts(&[0b101, 0b1010], 4),
        Err(FormatError::Bits { row: 1 })
    );
}

#[test]
fn blocks_multiply_as_the_dense_weight_does() {
    let mut rng = rng();
    for (n, k) in SHAPES {
        for width in [1, 3, 8, 16] {
            for density in [0.0, 0.1, 0.5, 1.0] {
                let mut weight = numbers(&mut rng, n * k);
                let mask = prune::blocks(&weight, k, 16, width, density);
                prune::apply(&mut weight, &mask);
                let blocks = Blocks::from_dense(&weight, n, k, width);
                assert_eq!(blocks.to_dense(), weight);
                check_products(&mut rng, &blocks, &weight);
            }
        }
    }
    // Two blocks of 16 x 2, of which the second holds one column of the weight.
    let blocks = Blocks::from_dense(&[1.0, 0.0, 2.0], 1, 3, 2);
    assert_eq!(blocks.bytes(), 4 * (2 + 2 + 2 * 32));
}

#[test]
fn parts_that_make_no_blocks_are_refused() {
    let parts = |width, starts: &[u32], columns: &[u32], values: usize| {
        Blocks::from_parts(
            17,
            5,
            width,
            starts.to_vec(),
            columns.to_vec(),
            vec![1.0; values],
        )
    };
    assert!(parts(2, &[0, 1, 3], &[2, 0, 1], 3 * 32).is_ok());
    assert!(matches!(
        parts(0, &[0, 0, 0], &[], 0),
        Err(FormatError::Shape(_))
    ));
    assert!(matches!(
        parts(2, &[0, 1, 3], &[2, 0, 1], 3 * 16),
        Err(FormatError::Length {
            part: "values",
            expected: 96,
            found: 48
        })
    ));
    assert!(matches!(
        parts(2, &[0, 3], &[0, 1, 2], 96),
        Err(FormatError::Length { .. })
    ));
    assert_eq!(
        parts(2, &[0, 1, 3], &[3, 0, 1], 96),
        Err(FormatError::Column { row: 0 })
    );
    assert_eq!(
        parts(2, &[0, 1, 3], &[2, 1, 0], 96),
        Err(FormatError::Column { row: 1 })
    );
    assert_eq!(
        parts(2, &[0, 4, 3], &[2, 0, 1], 96),
        Err(FormatError::Start { row: 1 })
    );
}

#[test]
#[should_panic(expected = "a density is within 0 to 1")]
fn a_density_is_a_share() {
    prune::kept(10, 1.5);
}
