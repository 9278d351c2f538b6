//! Task `register-tile`: a patch of outputs in the registers of each thread.

mod common;

use common::{counts, is_right_at_every_size};

const KERNEL: &str = "gemm/k04_register_tile.cu";
const SIZE: [usize; 3] = [128, 128, 32];

#[test]
fn the_product_is_right_at_every_size() {
    is_right_at_every_size(KERNEL, &[]);
    is_right_at_every_size(KERNEL, &[("PATCH", 4)]);
}

#[test]
fn sixteen_reads_of_shared_memory_serve_64_products() {
    let counts = counts(KERNEL, &[], SIZE);
    let products = (128 * 128 * 32) as u64;
    assert_eq!(
        counts.shared_loads.instructions * 64,
        products / 32 * 16,
        "{counts}"
    );
    assert_eq!(counts.shared_loads.excess(), 0, "{counts}");
}

#[test]
fn a_tile_of_128_loads_each_value_once_for_128_outputs() {
    let counts = counts(KERNEL, &[], SIZE);
    let products = (128 * 128 * 32) as u64;
    assert_eq!(counts.global_loads.bytes, products * 8 / 128, "{counts}");
    assert_eq!(counts.global_loads.excess(), 0, "{counts}");
}

#[test]
fn stores_to_the_tile_take_two_wavefronts_and_two_barriers_a_tile_are_enough() {
    let counts = counts(KERNEL, &[], SIZE);
    assert!(counts.shared_stores.worst <= 2, "{counts}");
    assert_eq!(counts.barriers, 32 / 8 * 2, "{counts}");
}
