//! What the tests of single operations share.

use attention_variants::ops::{Cpu, HostTensor, Isa, RowType, Vectorised};
use memory_hierarchy::Pool;

/// How far the CPU may be from the scalar reference, relative to the result.
pub const TOLERANCE: f64 = 2e-6;

/// The CPU on every instruction set that this machine has.
pub fn cpus() -> Vec<(Isa, Cpu)> {
    cpus_with(RowType::F32)
}

/// The same, with rows of a type for weights in bfloat16.
pub fn cpus_with(rows: RowType) -> Vec<(Isa, Cpu)> {
    let cpu = |isa| Vectorised::new(isa, Pool::global().clone()).with_rows(rows);
    let all = Isa::available().into_iter();
    all.map(|isa| (isa, Cpu::new(cpu(isa)))).collect()
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
