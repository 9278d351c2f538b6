//! Weights that are 2:4: what stays, and that the metadata says of every value what the PTX ISA makes of it.

use gemm::{FILL, Sparse24, metadata_place, metadata_words, sparse_bytes};
use half::bf16;
use numerics::sparse::prune::n_of_m;
use proptest::prelude::*;

/// Bits of bf16 with many equal magnitudes, zeros of both signs, infinities and NaNs.
fn bits() -> impl Strategy<Value = u16> {
    let few = prop_oneof![
        Just(0_u16),
        Just(0x8000),
        Just(0x3f80),
        Just(0xbf80),
        Just(0x7f80),
        Just(0x7fc0)
    ];
    prop_oneof![3 => any::<u16>(), 2 => few]
}

fn matrix() -> impl Strategy<Value = (usize, usize, Vec<u16>)> {
    (1..150_usize, 1..90_usize).prop_flat_map(|(n, fours)| {
        let k = 4 * fours;
        proptest::collection::vec(bits(), n * k).prop_map(move |weights| (n, k, weights))
    })
}

/// The dense matrix that the tensor cores make of values and metadata, a thread after another, by the PTX ISA's figure of the metadata of
/// `wgmma.mma_async.sp…m64nNk32` with `.bf16`: with sparsity selector `i`, of each four threads T(2i) describes columns 0 to 15 and
/// T(2i + 1) columns 16 to 31; a thread's bits 0 to 15 those of row `lane / 4` of its warp's 16, bits 16 to 31 those of the row 8 further.
/// None where two positions do not rise, which the instruction forbids.
fn seen(n: usize, k: usize, values: &[u16], metadata: &[u32]) -> Option<Vec<u16>> {
    let mut dense = vec![0; n * k];
    for (index, word) in metadata.iter().enumerate() {
        let (unit, thread) = (index / 128, index % 128);
        let (block, step) = (unit / (k.div_ceil(FILL) * 4), unit % (k.div_ceil(FILL) * 4));
        let (warp, lane) = (thread / 32, thread % 32);
        // The kernel issues the first 32 of a unit's 64 columns with selector 0, the others with 1.
        let (selector, half_of_k) = (lane % 4 / 2, lane % 2);
        for (half, four) in (0..2).flat_map(|half| (0..4).map(move |four| (half, four))) {
            let row = block * 64 + warp * 16 + lane / 4 + half * 8;
            let column = step * 64 + selector * 32 + half_of_k * 16 + four * 4;
            let pair = word >> (half * 16 + four * 4) & 15;
            let [first, second] = [pair & 3, pair >> 2].map(|position| position as usize);
            if first >= second {
                return None;
            }
            if row < n && column < k {
                let at = row * (k / 2) + column / 2;
                dense[row * k + column + first] = values[at];
                dense[row * k + column + second] = values[at + 1];
            }
        }
    }
    Some(dense)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_greatest_two_of_four_stay_as_on_the_cpu((n, k, weights) in matrix()) {
        let wide: Vec<f32> = weights.iter().map(|bits| bf16::from_bits(*bits).to_f32()).collect();
        // Among NaNs their payloads decide here, where the CPU takes all for equal.
        let one_nan = |four: &[f32]| four.iter().filter(|value| value.is_nan()).count() <= 1;
        let pruned = Sparse24::prune(&weights, n, k);
        let mask = n_of_m(&wide, k, 2, 4);
        for (index, four) in mask.chunks(4).enumerate().filter(|(index, _)| one_nan(&wide[index * 4..][..4])) {
            let stay: Vec<u8> = (0..4).filter(|i| four[usize::from(*i)]).collect();
            prop_assert_eq!(&pruned.positions[index * 2..][..2], &stay[..], "{:?}", &wide[index * 4..][..4]);
            let values = stay.iter().map(|i| weights[index * 4 + usize::from(*i)]);
            prop_assert_eq!(&pruned.values[index * 2..][..2], &values.collect::<Vec<_>>()[..]);
        }
    }

    #[test]
    fn the_tensor_cores_see_the_pruned_weights((n, k, weights) in matrix()) {
        let pruned = Sparse24::prune(&weights, n, k);
        let metadata = pruned.metadata();
        prop_assert_eq!(metadata.len(), metadata_words(n, k));
        let dense = seen(n, k, &pruned.values, &metadata).expect("positions rise, in what fills up too");
        for (at, bits) in dense.iter().enumerate() {
            let (found, wanted) = (bf16::from_bits(*bits).to_f64(), pruned.weight(at / k, at % k));
            prop_assert!(found == wanted || found.is_nan() && wanted.is_nan(), "{at}: {found}, not {wanted}");
            let stays = pruned.positions[at / 4 * 2..][..2].contains(&((at % 4) as u8));
            prop_assert_eq!(*bits, if stays { weights[at] } else { 0 });
        }
    }
}

#[test]
fn every_four_has_bits_of_its_own() {
    let (n, k) = (192, 512);
    let mut taken = vec![0_u32; metadata_words(n, k)];
    for (row, four) in (0..n).flat_map(|row| (0..k / 4).map(move |four| (row, four))) {
        let at = metadata_place(row, four, k);
        assert_eq!(taken[at.word] >> at.bit & 15, 0, "{row}, {four}");
        taken[at.word] |= 15 << at.bit;
    }
    assert!(taken.iter().all(|word| *word == !0), "no bit is left over");
}

#[test]
fn known_weights_lie_where_the_isa_has_them() {
    // One weight that is not zero, in row 64 + 16 + 8 + 3 and column 256 + 64 + 32 + 16 + 4 + 2.
    let (n, k, row, column) = (128, 512, 91, 374);
    let mut weights = vec![0; n * k];
    weights[row * k + column] = bf16::ONE.to_bits();
    let pruned = Sparse24::prune(&weights, n, k);
    // The second block of 64 rows, its sixth 64 columns; warp 1, lane 4 * 3 for the row, + 2 for selector 1, + 1 for the upper 16 columns.
    let word = pruned.metadata()[(8 + 5) * 128 + 32 + 12 + 3];
    // The row is 8 further: upper half. Its second four keeps the first of the zeros and position 2; the others, all zeros, the first two.
    assert_eq!(word, 0x4484_4444, "{word:08x}");
    assert_eq!(
        pruned.values[row * k / 2 + column / 4 * 2 + 1],
        weights[row * k + column]
    );
}

#[test]
fn half_the_bytes_and_an_eighth_of_them() {
    let dense = 2.0 * 4096.0 * 4096.0;
    assert_eq!(dense / sparse_bytes(4096, 4096) as f64, 16.0 / 9.0);
}
