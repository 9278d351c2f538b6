//! Task `coalesced`: the lanes of a warp lie along k.

mod common;

use common::{counts, is_right_at_every_size};

const KERNEL: &str = "gemm/k02_coalesced.cu";
const SIZE: [usize; 3] = [64, 32, 64];

#[test]
fn the_product_is_right_at_every_size() {
    is_right_at_every_size(KERNEL, &[]);
}

#[test]
fn a_load_by_a_warp_is_four_whole_sectors() {
    let counts = counts(KERNEL, &[], SIZE);
    // 2048 outputs, a warp each; of 64 k a lane takes 2 of A and 2 of B, 128 bytes a warp each time.
    let warps = 64 * 32;
    assert_eq!(counts.global_loads.instructions, warps * 4, "{counts}");
    assert_eq!(counts.global_loads.transactions, warps * 4 * 4, "{counts}");
    assert_eq!(counts.global_loads.excess(), 0, "{counts}");
}

#[test]
fn the_sums_of_the_lanes_meet_in_five_shuffles_and_one_lane_stores() {
    let counts = counts(KERNEL, &[], SIZE);
    let warps = 64 * 32;
    assert_eq!(counts.shuffles, warps * 5);
    assert_eq!(counts.global_stores.transactions, warps, "{counts}");
    assert_eq!(counts.barriers, 0);
}

#[test]
fn it_takes_a_quarter_of_the_naive_kernels_sectors() {
    let naive = counts("gemm/k01_naive.cu", &[], SIZE);
    let coalesced = counts(KERNEL, &[], SIZE);
    assert_eq!(naive.global_loads.bytes, coalesced.global_loads.bytes);
    let (before, after) = (
        naive.global_loads.transactions,
        coalesced.global_loads.transactions,
    );
    assert_eq!(before * 8, after * 33, "33 sectors become 8");
}
