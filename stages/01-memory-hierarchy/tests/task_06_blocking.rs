//! Task 6: blocks of `b`, each of which meets all rows of `a`.

mod common;

use memory_hierarchy::gemm::k03_blocked::{K_BLOCK, N_BLOCK, multiply};

#[test]
fn blocks_hold() {
    common::holds("blocked", multiply);
}

/// One step of `k`, one column, and one row more than whole blocks: sums that are small whole numbers, so that each is exact.
#[test]
fn every_block_is_met_once() {
    for (n, k) in [
        (N_BLOCK, K_BLOCK),
        (N_BLOCK + 1, 2 * K_BLOCK + 1),
        (2 * N_BLOCK - 1, K_BLOCK - 1),
    ] {
        let m = 3;
        let mut c = vec![f32::NAN; m * n];
        multiply(&mut c, &vec![1.0; m * k], &vec![1.0; k * n], m, n, k);
        assert!(c.iter().all(|c| *c == k as f32), "{m} x {n} x {k}");
    }
}
