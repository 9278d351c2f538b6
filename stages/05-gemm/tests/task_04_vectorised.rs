//! Task `vectorised`: four values a load, and a tile that is turned over on its way into shared memory.

mod common;

use common::{counts, is_right_at_every_size};

const KERNEL: &str = "gemm/k05_vectorised.cu";
const SIZE: [usize; 3] = [128, 128, 32];

#[test]
fn the_product_is_right_at_every_size() {
    is_right_at_every_size(KERNEL, &[]);
    is_right_at_every_size(KERNEL, &[("PAD", 0)]);
}

#[test]
fn every_access_moves_sixteen_bytes_a_lane() {
    let counts = counts(KERNEL, &[], SIZE);
    for (name, traffic) in [
        ("global loads", counts.global_loads),
        ("global stores", counts.global_stores),
        ("shared loads", counts.shared_loads),
    ] {
        assert_eq!(
            traffic.bytes,
            traffic.instructions * 32 * 16,
            "{name}\n{counts}"
        );
        assert_eq!(traffic.excess(), 0, "{name}\n{counts}");
    }
}

#[test]
fn four_reads_of_shared_memory_serve_64_products() {
    let counts = counts(KERNEL, &[], SIZE);
    let products = (128 * 128 * 32) as u64;
    assert_eq!(
        counts.shared_loads.instructions * 64,
        products / 32 * 4,
        "{counts}"
    );
}

#[test]
fn turning_the_tile_over_meets_no_bank_twice() {
    let padded = counts(KERNEL, &[], SIZE);
    assert_eq!(padded.bank_conflicts(), 0, "{padded}");
    assert_eq!(padded.barriers, 32 / 8 * 2, "{padded}");
    let plain = counts(KERNEL, &[("PAD", 0)], SIZE);
    assert!(plain.bank_conflicts() > 0, "{plain}");
}
