//! The digits that the CNN was never trained on. For its tests and its bench.
#![allow(dead_code, reason = "each target uses its own part")]

use fastserve::digits::CLASSES;
use fastserve::digits::picture::{SIDE, decode};
use std::path::PathBuf;

/// Held-out digits a class.
pub const EACH: usize = 100;

/// The held-out digits, ink at 1, and their labels.
pub fn held_out() -> Vec<(Vec<f32>, usize)> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("digits/held_out.png");
    let sheet = decode(&std::fs::read(path).expect("the sheet is there")).unwrap();
    assert_eq!((sheet.width, sheet.height), (EACH * SIDE, CLASSES * SIDE));
    let digit = |label: usize, column: usize| {
        let rows = (0..SIDE)
            .flat_map(|y| &sheet.grey[(label * SIDE + y) * sheet.width + column * SIDE..][..SIDE]);
        (rows.map(|grey| grey / 255.0).collect(), label)
    };
    (0..CLASSES)
        .flat_map(|label| (0..EACH).map(move |column| digit(label, column)))
        .collect()
}

/// The class of the largest logit.
pub fn most_likely(logits: &[f32]) -> usize {
    assert!(logits.iter().all(|logit| logit.is_finite()));
    (0..CLASSES)
        .max_by(|a, b| logits[*a].total_cmp(&logits[*b]))
        .unwrap()
}
