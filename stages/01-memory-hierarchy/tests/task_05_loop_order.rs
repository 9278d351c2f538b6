//! Task 5: the loops in the order in which memory lies.

mod common;

use memory_hierarchy::gemm::{k01_naive, k02_loop_order};

#[test]
fn three_loops_hold() {
    common::holds("naive", k01_naive::multiply);
}

#[test]
fn the_other_order_holds() {
    common::holds("loop order", k02_loop_order::multiply);
}
