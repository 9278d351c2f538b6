//! Signs as bits, and their dot product without a multiplication (XNOR-Net, Rastegari et al. 2016).

/// The signs of `values`, 64 in a word, the first in the lowest bit: 1 for +1, which zero counts as, 0 for -1.
pub fn pack_signs(values: &[f32]) -> Vec<u64> {
    let word = |values: &[f32]| {
        let signs = values.iter().enumerate();
        signs.fold(0, |word, (place, &value)| {
            word | u64::from(value >= 0.0) << place
        })
    };
    values.chunks(64).map(word).collect()
}

/// The dot product of two vectors of `len` signs: as many as agree, less as many as differ, which is `len - 2 · differing`.
///
/// # Panics
/// If either has not the words that `len` signs take.
pub fn dot_signs(a: &[u64], b: &[u64], len: usize) -> i64 {
    let words = len.div_ceil(64);
    assert_eq!((a.len(), b.len()), (words, words), "words of {len} signs");
    let differing = |(a, b): (&u64, &u64)| i64::from((a ^ b).count_ones());
    len as i64 - 2 * a.iter().zip(b).map(differing).sum::<i64>()
}
