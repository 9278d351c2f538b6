//! Philox-4x32-10: random numbers by counting (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//!
//! Number `n` of stream `seed` is a pure function of the two, so no generator has to be carried from step to step.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// The golden ratio and the square root of 3, less 1, as fractions of 2^32: what the key grows by each round.
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Ten rounds over a 128-bit counter with a 64-bit key.
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        counter = round(counter, key);
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// Two wide products; their high halves, mixed with the other words and the key, change places with the low ones.
fn round([a, b, c, d]: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    // ANCHOR: solve-philox
    let wide = |x: u32, multiplier: u32| {
        let product = u64::from(x) * u64::from(multiplier);
        ((product >> 32) as u32, product as u32)
    };
    let ((a_high, a_low), (c_high, c_low)) = (wide(a, MULTIPLIERS[0]), wide(c, MULTIPLIERS[1]));
    [c_high ^ b ^ key[0], c_low, a_high ^ d ^ key[1], a_low]
    // ANCHOR_END: solve-philox
}

/// A number from `[0, 1)`, uniform over 53 bits: the draw of a stream at a position.
pub fn uniform(seed: u64, position: u64) -> f64 {
    let halves = |x: u64| [x as u32, (x >> 32) as u32];
    let [low, high] = halves(position);
    let bits = philox4x32([low, high, 0, 0], halves(seed));
    let word = u64::from(bits[0]) | u64::from(bits[1]) << 32;
    (word >> 11) as f64 / (1u64 << 53) as f64
}
