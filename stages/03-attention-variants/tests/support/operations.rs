//! What the tests of single operations share.

use attention_variants::ops::{Cpu, HostTensor, Isa, Vectorised};
use memory_hierarchy::Pool;

/// How far the CPU may be from the scalar reference, relative to the result.
pub const TOLERANCE: f64 = 2e-6;

/// The CPU on every instruction set that this machine has.
pub fn cpus() -> Vec<(Isa, Cpu)> {
    Isa::available()
        .into_iter()
        .map(|isa| (isa, Cpu::new(Vectorised::new(isa, Pool::global().clone()))))
        .collect()
}

/// A tensor whose rows are `rows`.
pub fn tensor(cols: usize, rows: &[f32]) -> HostTensor {
    let count = rows.len().checked_div(cols).unwrap_or(0);
    let mut tensor = HostTensor::new(count, cols);
    tensor.resize(count).copy_from_slice(rows);
    tensor
}

/// Room for a result; `HostTensor::new` fills it with NaN.
pub fn room(rows: usize, cols: usize) -> HostTensor {
    HostTensor::new(rows, cols)
}
