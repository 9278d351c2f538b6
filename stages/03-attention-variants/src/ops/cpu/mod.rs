//! The CPU device's arithmetic: SIMD chosen at run time, work shared by a pool of pinned workers.
//!
//! Products are those of the stages below: weights in 16 or 32 bits by [`memory_hierarchy::gemm`], in blocks of 8 or 4 bits by
//! [`numerics::matmul`]. Held to the scalar reference operation by operation.

mod attention;
mod gate;
mod weight;

use self::gate::Activate;
pub use self::weight::Weight;
use super::AttentionShape;
use super::device::{Arithmetic, Host};
use super::host::{HostLinear, HostNorm, HostTensor, Step, add};
use super::kv::HostKv;
use crate::config::Activation;
use crate::matrix::Matrix;
pub use memory_hierarchy::Isa;
use memory_hierarchy::Pool;
use memory_hierarchy::gemm::Rows;
use memory_hierarchy::simd::dot::DotIsa;
use numerics::blocks::BLOCK;
use numerics::matmul::{Activations, IntIsa};
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// The CPU.
pub type Cpu = Host<Vectorised>;

/// What products with weights in bfloat16 take their rows as. Weights in blocks always round theirs to 8 bits, others never round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowType {
    /// As they were computed; the weight is widened.
    #[default]
    F32,
    /// Rounded to bfloat16. AVX-512 BF16 multiplies such pairs in one instruction; elsewhere plain code does, slowly.
    Bf16,
}

impl RowType {
    /// Rounded where that is faster.
    pub fn fastest(isa: Isa) -> Self {
        match pairs(isa) {
            DotIsa::Portable => Self::F32,
            #[cfg(target_arch = "x86_64")]
            _ => Self::Bf16,
        }
    }
}

impl std::str::FromStr for RowType {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err("one of f32 and bf16".to_owned()),
        }
    }
}

/// Where pairs of bfloat16 are multiplied. Not on AMX: it takes sixteen rows at least, and what that costs a single one was not measured.
fn pairs(isa: Isa) -> DotIsa {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 if DotIsa::Avx512.computes::<half::bf16>() => DotIsa::Avx512,
        _ => DotIsa::Portable,
    }
}

/// SIMD arithmetic on the threads of a pool.
#[derive(Debug)]
pub struct Vectorised {
    isa: Isa,
    ints: IntIsa,
    pairs: DotIsa,
    rows: RowType,
    pool: Arc<Pool>,
    /// The rows of a product, rounded to 8 bits.
    activations: Mutex<Activations>,
}

impl Default for Vectorised {
    /// The best instruction set, on all cores.
    fn default() -> Self {
        Self::new(Isa::detect(), Pool::global().clone())
    }
}

impl Vectorised {
    /// Arithmetic on one instruction set and the threads of one pool.
    pub fn new(isa: Isa, pool: Arc<Pool>) -> Self {
        Self {
            isa,
            ints: match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => IntIsa::detect(),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => IntIsa::Avx2,
                _ => IntIsa::Portable,
            },
            pairs: pairs(isa),
            rows: RowType::default(),
            pool,
            activations: Mutex::default(),
        }
    }

    /// The same with rows of the type that is fastest: what a server computes with.
    pub fn fastest(isa: Isa, pool: Arc<Pool>) -> Self {
        Self::new(isa, pool).with_rows(RowType::fastest(isa))
    }

    /// With rows of another type for the weights in bfloat16 that are loaded from here on.
    pub fn with_rows(self, rows: RowType) -> Self {
        Self { rows, ..self }
    }

    /// Calls `work` with ranges that make up `0..rows`, on several threads if the rows hold enough numbers.
    fn share(&self, rows: usize, numbers: usize, work: impl Fn(Range<usize>) + Sync) {
        /// Numbers below which a second thread costs more than it brings.
        const SERIAL: usize = 16 * 1024;
        let chunk = match rows * numbers {
            few if few < SERIAL => rows.max(1),
            _ => rows.div_ceil(self.pool.threads() * 2),
        };
        self.pool.for_each_chunk(rows, chunk, work);
    }
}

impl Arithmetic for Vectorised {
    type Weight = Weight;

    fn prepare(&self, weight: Matrix) -> Weight {
        match self.rows {
            RowType::F32 => weight.into(),
            RowType::Bf16 => Weight::rounding(weight),
        }
    }

    fn prepare_head(&self, weight: Matrix) -> Weight {
        Weight::plain(weight)
    }

    fn reserve(&self, rows: usize, cols: usize) {
        let mut activations = self.activations.lock().expect("nothing panics with it");
        let numbers = rows * cols.next_multiple_of(BLOCK);
        if activations.capacity() < numbers {
            *activations = Activations::with_capacity(numbers);
        }
    }

    fn read_row(&self, weight: &Weight, row: usize, out: &mut [f32]) {
        weight.row(row, out);
    }

    fn normalise(&self, out: &mut HostTensor, x: &HostTensor, norm: &HostNorm) {
        let (rows, width) = (x.rows(), out.cols());
        let out = SharedMut::new(out.resize(rows));
        self.share(rows, width, |range| {
            for row in range {
                // SAFETY: each row is one range's alone.
                norm.apply(unsafe { out.slice(row * width, width) }, x.row(row));
            }
        });
    }

    fn add_normalise(
        &self,
        out: &mut HostTensor,
        residual: &mut HostTensor,
        x: &HostTensor,
        norm: &HostNorm,
    ) {
        let (rows, width) = (residual.rows(), out.cols());
        let out = SharedMut::new(out.resize(rows));
        let residual = SharedMut::new(residual.values_mut());
        self.share(rows, width, |range| {
            for row in range {
                // SAFETY: each row is one range's alone.
                let (out, residual) = unsafe {
                    let at = row * width;
                    (out.slice(at, width), residual.slice(at, width))
                };
                add(residual, x.row(row));
                norm.apply(out, residual);
            }
        });
    }

    fn project(&self, out: &mut HostTensor, x: &HostTensor, linear: &HostLinear<Weight>) {
        let (stride, rows) = (out.cols(), x.rows());
        let bias = linear.bias.as_deref();
        let x = Rows {
            values: x.values(),
            stride: x.cols(),
            rows,
        };
        linear
            .weight
            .multiply(self, out.resize(rows), stride, x, bias);
    }

    fn project_heads(&self, out: &mut HostTensor, x: &HostTensor, heads: &[Weight]) {
        let (out_stride, stride, rows) = (out.cols(), x.cols(), x.rows());
        let (out_head, x_head) = (out_stride / heads.len(), stride / heads.len());
        let out = SharedMut::new(out.resize(rows));
        self.pool.for_each_chunk(heads.len(), 1, |range| {
            for h in range {
                let x = Rows {
                    values: x.values().get(h * x_head..).unwrap_or(&[]),
                    stride,
                    rows,
                };
                assert!(heads[h].n() <= out_head && heads[h].k() <= x_head);
                // SAFETY: a head's columns lie within the rows, and are this head's alone.
                unsafe { heads[h].multiply_to(self, out.at(h * out_head), out_stride, x) };
            }
        });
    }

    fn attend(
        &self,
        step: &Step,
        out: &mut HostTensor,
        q: &HostTensor,
        kv: &HostKv,
        shape: &AttentionShape,
    ) {
        attention::attend(&self.pool, self.isa, step, out, q, kv, shape);
    }

    fn activate(&self, x: &mut HostTensor, activation: Activation) {
        let (rows, width) = (x.rows(), x.cols());
        let x = SharedMut::new(x.values_mut());
        self.share(rows, width, |range| {
            for row in range {
                self.isa.run(Activate {
                    // SAFETY: each row is one range's alone.
                    out: unsafe { x.slice(row * width, width) },
                    gated: None,
                    activation,
                });
            }
        });
    }

    fn gate(&self, out: &mut HostTensor, gate_up: &HostTensor, activation: Activation) {
        let (rows, width) = (gate_up.rows(), out.cols());
        let out = SharedMut::new(out.resize(rows));
        self.share(rows, width, |range| {
            for row in range {
                self.isa.run(Activate {
                    // SAFETY: each row is one range's alone.
                    out: unsafe { out.slice(row * width, width) },
                    gated: Some(gate_up.row(row).split_at(width)),
                    activation,
                });
            }
        });
    }
}

/// A slice that threads write disjoint parts of.
#[derive(Clone, Copy)]
struct SharedMut<'a> {
    start: *mut f32,
    len: usize,
    slice: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: the methods' callers promise that no two threads touch the same element.
unsafe impl Send for SharedMut<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedMut<'_> {}

impl<'a> SharedMut<'a> {
    fn new(slice: &'a mut [f32]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            slice: std::marker::PhantomData,
        }
    }

    /// The part from `at` on.
    fn from(self, at: usize) -> Self {
        let at = at.min(self.len);
        Self {
            start: self.start.wrapping_add(at),
            len: self.len - at,
            ..self
        }
    }

    /// A pointer to element `at`.
    ///
    /// # Panics
    /// If it lies behind the end.
    fn at(&self, at: usize) -> *mut f32 {
        assert!(at <= self.len);
        self.start.wrapping_add(at)
    }

    /// # Safety
    /// No other thread may touch these elements while the slice lives.
    #[inline(always)]
    unsafe fn slice(&self, at: usize, len: usize) -> &'a mut [f32] {
        assert!(at + len <= self.len);
        // SAFETY: inside the slice; alone, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), len) }
    }
}
