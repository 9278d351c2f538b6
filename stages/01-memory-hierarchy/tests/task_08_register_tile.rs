//! Task 8: a step of the micro-kernel, on every instruction set, in tiles of every height.

mod common;

use memory_hierarchy::Isa;
use memory_hierarchy::gemm::{k05_register_tile, k06_prefetch};

#[test]
fn tiles_hold_on_every_instruction_set() {
    for isa in Isa::available() {
        common::holds(&format!("tiles on {isa:?}"), |c, a, b, m, n, k| {
            k05_register_tile::multiply_on(isa, c, a, b, m, n, k);
        });
    }
}

#[test]
fn prefetching_changes_nothing() {
    common::holds("prefetch", k06_prefetch::multiply);
}
