//! The CPU device's arithmetic: SIMD chosen at run time, work shared by the threads of the current rayon pool.
//!
//! Held to the scalar reference operation by operation.

mod attention;
mod gate;
mod linear;

use self::gate::Activate;
use self::linear::{Project, Rows};
use super::AttentionShape;
use super::device::{Arithmetic, Host};
use super::host::{HostLinear, HostNorm, HostTensor, Step};
use super::kv::HostKv;
use crate::config::Activation;
use crate::matrix::Matrix;
pub use memory_hierarchy::Isa;
use memory_hierarchy::Pool;
use rayon::prelude::*;

/// The CPU.
pub type Cpu = Host<Vectorised>;

/// SIMD arithmetic on the threads of the current rayon pool.
#[derive(Debug)]
pub struct Vectorised {
    isa: Isa,
}

impl Default for Vectorised {
    fn default() -> Self {
        Self::new(Isa::detect())
    }
}

impl Vectorised {
    /// Arithmetic on one instruction set.
    pub fn new(isa: Isa) -> Self {
        Self { isa }
    }
}

impl Arithmetic for Vectorised {
    fn normalise(&self, out: &mut HostTensor, x: &HostTensor, norm: &HostNorm) {
        let width = out.cols();
        out.resize(x.rows())
            .par_chunks_exact_mut(width)
            .with_min_len(16)
            .zip(x.values().par_chunks_exact(width))
            .for_each(|(out, x)| norm.apply(out, x));
    }

    fn project(&self, out: &mut HostTensor, x: &HostTensor, linear: &HostLinear) {
        let (stride, rows) = (out.cols(), x.rows());
        let x = Rows {
            values: x.values(),
            stride: x.cols(),
            rows,
        };
        linear::project(self.isa, out.resize(rows), stride, x, linear);
    }

    fn project_heads(&self, out: &mut HostTensor, x: &HostTensor, heads: &[Matrix]) {
        let (out_stride, stride, rows) = (out.cols(), x.cols(), x.rows());
        let (out_head, x_head) = (out_stride / heads.len(), stride / heads.len());
        let out = SharedMut::new(out.resize(rows));
        heads.par_iter().enumerate().for_each(|(h, head)| {
            assert!(head.rows <= out_head && head.cols <= x_head);
            self.isa.run(Project {
                out: out.from(h * out_head),
                out_stride,
                x: Rows {
                    values: x.values().get(h * x_head..).unwrap_or(&[]),
                    stride,
                    rows,
                },
                k: head.cols,
                weight: (&head.elements).into(),
                bias: None,
                cols: 0..head.rows,
            });
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
        attention::attend(Pool::global(), self.isa, step, out, q, kv, shape);
    }

    fn activate(&self, x: &mut HostTensor, activation: Activation) {
        x.values_mut().par_chunks_mut(1024).for_each(|values| {
            self.isa.run(Activate {
                out: values,
                gated: None,
                activation,
            });
        });
    }

    fn gate(&self, out: &mut HostTensor, gate_up: &HostTensor, activation: Activation) {
        let width = out.cols();
        let rows = out.resize(gate_up.rows());
        rows.par_chunks_exact_mut(width)
            .zip(gate_up.values().par_chunks_exact(2 * width))
            .for_each(|(out, gate_up)| {
                self.isa.run(Activate {
                    out,
                    gated: Some(gate_up.split_at(width)),
                    activation,
                });
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

    /// # Safety
    /// No other thread may touch the element at the same time.
    #[inline(always)]
    unsafe fn write(&self, at: usize, value: f32) {
        debug_assert!(at < self.len);
        // SAFETY: inside the slice, whose bounds the kernels check before they start; alone, as the caller promises.
        unsafe { *self.start.add(at) = value }
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
