//! What DeepGEMM says of itself, on an H800 (as many multiprocessors as an H200, memory of 3.35 TB/s instead of 4.8).
//!
//! Its README at commit a6d97a1 ("Normal GEMMs for dense models"), and for the last row the news of 2025-04-18 in the same README
//! ("up to 1550 TFLOPS on H800", commit 340d988), where a6d97a1 had 1358.

/// `(m, n, k, TFLOP/s)`.
pub const DEEPGEMM: &[(usize, usize, usize, f64)] = &[
    (64, 2112, 7168, 206.0),
    (64, 24576, 1536, 289.0),
    (64, 32768, 512, 219.0),
    (64, 7168, 16384, 336.0),
    (64, 4096, 7168, 287.0),
    (64, 7168, 2048, 295.0),
    (128, 2112, 7168, 352.0),
    (128, 24576, 1536, 535.0),
    (128, 32768, 512, 358.0),
    (128, 7168, 16384, 645.0),
    (128, 4096, 7168, 533.0),
    (128, 7168, 2048, 510.0),
    (4096, 2112, 7168, 1058.0),
    (4096, 24576, 1536, 990.0),
    (4096, 32768, 512, 590.0),
    (4096, 4096, 7168, 1304.0),
    (4096, 7168, 2048, 1025.0),
    (4096, 7168, 16384, 1550.0),
];

/// TFLOP/s of DeepGEMM on this product, if it says.
pub fn deepgemm(m: usize, n: usize, k: usize) -> Option<f64> {
    let found = DEEPGEMM
        .iter()
        .find(|row| (row.0, row.1, row.2) == (m, n, k));
    found.map(|row| row.3)
}
