//! Task 7: panels hold what the matrix held, and nothing beyond.

mod common;

use half::bf16;
use memory_hierarchy::gemm::{NR, Panels, k04_packed};

#[test]
fn packed_columns_hold() {
    common::holds("packed", k04_packed::multiply);
}

#[test]
fn rows_come_back_as_they_were() {
    let mut rng = common::rng();
    for (n, k) in [(1, 1), (3, 0), (0, 3), (NR, 3), (NR + 1, 2), (70, 19)] {
        let weight: Vec<bf16> = common::values(&mut rng, n * k)
            .into_iter()
            .map(bf16::from_f32)
            .collect();
        let panels = Panels::pack(&weight, n, k);
        assert_eq!(panels.bytes(), n.next_multiple_of(NR) * k * 2);
        for row in 0..n {
            let mut out = vec![f32::NAN; k];
            panels.row(row, &mut out);
            let expected: Vec<f32> = weight[row * k..][..k].iter().map(|w| w.to_f32()).collect();
            assert_eq!(out, expected, "row {row} of {n} by {k}");
        }
    }
}
