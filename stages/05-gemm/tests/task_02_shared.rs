//! Task `shared`: a block's tiles of both operands pass through shared memory.

mod common;

use common::{counts, is_right_at_every_size};

const KERNEL: &str = "gemm/k03_shared.cu";
const SIZE: [usize; 3] = [64, 32, 64];

#[test]
fn the_product_is_right_at_every_size() {
    is_right_at_every_size(KERNEL, &[]);
    is_right_at_every_size(KERNEL, &[("PAD", 0)]);
}

#[test]
fn each_value_is_loaded_once_for_32_outputs() {
    let counts = counts(KERNEL, &[], SIZE);
    // 8 bytes for two operations, over 32.
    let products = (64 * 32 * 64) as u64;
    assert_eq!(counts.global_loads.bytes, products * 8 / 32, "{counts}");
    assert_eq!(counts.global_loads.excess(), 0, "{counts}");
    assert_eq!(counts.global_stores.excess(), 0, "{counts}");
}

#[test]
fn two_barriers_a_tile_are_enough() {
    let counts = counts(KERNEL, &[], SIZE);
    let (blocks, tiles) = (2, 2);
    assert_eq!(counts.barriers, blocks * tiles * 2, "{counts}");
}

#[test]
fn padding_takes_every_bank_conflict_away() {
    let padded = counts(KERNEL, &[], SIZE);
    assert_eq!(padded.bank_conflicts(), 0, "{padded}");
    // The variant without is there to show what it saves: a column of the tile lies in one bank.
    let plain = counts(KERNEL, &[("PAD", 0)], SIZE);
    assert_eq!(plain.shared_loads.worst, 32, "{plain}");
}
