//! `out = x w^T + bias` over packed weights: which tile computes what, from which cache, on which thread.
//!
//! Three levels, as in Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008):
//!
//! - Rows of `x` are copied to where the rows of a tile do not fall into the same set of the L1 cache, as they do where they lie if
//!   their length is a power of two. (Turning them so that a step of `k` reads neighbours did not help: it costs several times the
//!   copy, and the tile runs no faster.)
//! - `k` is cut into blocks: the part of a panel that a tile runs down then stays in L2 while all strips pass over it. Short blocks,
//!   for which it would stay in L1, did not help: each block loads and stores the tile's sums once more.
//! - Strips are grouped so that a block of a group stays in L2 as well while panel after panel passes.
//!
//! A single row has nothing to keep in a cache: its `k` is not cut, so that each panel is one stream from its beginning to its end.
//!
//! Weights of 16 bits are widened once a block if several strips use it, and inside the tile if one does: decode then reads the weight
//! as it lies in memory, and nothing is written.
//!
//! The invariant: an output is one sum over `k` in ascending order, then the bias. Blocks of `k` go on from the sum that the last one
//! stored, so neither blocks, groups, threads nor the rest of the batch change a bit of it.

use super::panels::{NR, Panels};
use super::plan::{Part, Plan};
use super::tile::{K_BLOCK, MAX_ROWS, Micro, Operands, X_STRIDE, ahead, span};
use crate::buffer::{Buffer, Plain};
use crate::pool::Pool;
use crate::simd::{Element, Isa, Kernel, Simd};
use std::cell::RefCell;
use std::mem::MaybeUninit;

/// Rows of `x`, `[rows, k]` with a stride.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The first row's first element, and all that follows.
    pub values: &'a [f32],
    /// Elements from one row to the next.
    pub stride: usize,
    /// How many.
    pub rows: usize,
}

/// Where the rows of `x` come from, as words of 32 bits: an f32, or several narrower numbers.
pub(super) trait Source: Sync {
    fn rows(&self) -> usize;
    /// Writes words of a row, from word `first` on.
    fn copy(&self, row: usize, first: usize, to: &mut [f32]);
    /// All words of a row, if they lie somewhere as they are.
    fn row(&self, row: usize) -> Option<&[f32]>;
}

impl Source for Rows<'_> {
    fn rows(&self) -> usize {
        self.rows
    }
    fn copy(&self, row: usize, first: usize, to: &mut [f32]) {
        to.copy_from_slice(&self.values[row * self.stride + first..][..to.len()]);
    }
    fn row(&self, row: usize) -> Option<&[f32]> {
        Some(&self.values[row * self.stride..])
    }
}

impl Rows<'_> {
    /// # Panics
    /// If there are fewer values than rows of `k`.
    pub(super) fn check(&self, k: usize) {
        assert!(
            self.rows == 0 || (self.rows - 1) * self.stride + k <= self.values.len(),
            "x is short"
        );
    }
}

thread_local! {
    /// Packed rows of the calling thread's product. It grows to the largest that there was and stays.
    static PACKED: RefCell<Buffer<f32>> = RefCell::new(Buffer::zeroed(0));
}

/// `out[r, n] = sum_k x[r, k] * w[n, k] (+ bias[n])`; row `r` of `out` begins at `r * out_stride`. What lies between the rows of `out`
/// is not touched. A row's result is the same to the last bit whatever the other rows are, and on any number of threads.
///
/// # Panics
/// If a slice is too short for its shape, or rows of `out` overlap.
pub fn multiply<E: Element + Plain>(
    pool: &Pool,
    isa: Isa,
    out: &mut [f32],
    out_stride: usize,
    x: Rows<'_>,
    weight: &Panels<E>,
    bias: Option<&[f32]>,
) {
    let n = weight.n();
    if x.rows == 0 || n == 0 {
        return;
    }
    assert!((x.rows - 1) * out_stride + n <= out.len(), "out is short");
    assert!(x.rows == 1 || out_stride >= n, "rows of out overlap");
    // SAFETY: all rows lie in `out`, which is this call's alone.
    unsafe { multiply_to(pool, isa, out.as_mut_ptr(), out_stride, x, weight, bias) }
}

/// [`multiply`] for rows that lie between those of others: the heads of a tensor `[rows, heads, width]`, each on a thread of its own.
///
/// # Panics
/// If `x` or `bias` is too short.
///
/// # Safety
/// For each row, `out + row * out_stride` must be valid for writing `n` numbers that no other thread touches.
pub unsafe fn multiply_to<E: Element + Plain>(
    pool: &Pool,
    isa: Isa,
    out: *mut f32,
    out_stride: usize,
    x: Rows<'_>,
    weight: &Panels<E>,
    bias: Option<&[f32]>,
) {
    x.check(weight.k());
    let work = Work {
        weight,
        bias: bias.map(Bias::F32),
        out: Out {
            start: out,
            stride: out_stride,
        },
    };
    work.run(pool, &x, isa.lanes(), |task| isa.run(task));
}

impl<E: Element + Plain> Work<'_, E> {
    /// Runs all tasks by `run`, which enters them on an instruction set with vectors of `lanes` words.
    pub(super) fn run(
        self,
        pool: &Pool,
        x: &impl Source,
        lanes: usize,
        run: impl Fn(Task<'_, E>) + Sync,
    ) {
        let (n, k) = (self.weight.n(), self.weight.k());
        if x.rows() == 0 || n == 0 {
            return;
        }
        assert!(
            self.bias.is_none_or(|bias| bias.len() == n),
            "a bias an output"
        );
        let plan = Plan::new(lanes, x.rows(), n, k, pool.threads());
        let all = |packed: &[f32]| {
            let task = |index| Task {
                plan: &plan,
                packed,
                work: &self,
                part: plan.part(index),
            };
            pool.for_each_chunk(plan.tasks(), plan.chunk(), |range| {
                range.for_each(|index| run(task(index)));
            });
        };
        if plan.padded == 1
            && let Some(row) = x.row(0)
        {
            return all(&row[..k]);
        }
        PACKED.with_borrow_mut(|packed| {
            if packed.len() < plan.packed() {
                *packed = Buffer::zeroed(plan.packed());
            }
            pack_rows(pool, &plan, packed, x);
            all(packed);
        });
    }
}

/// Packs `x` to `[k / K_BLOCK][row][X_STRIDE]`, one row alone to `[k]`. Padding rows keep what is there: their sums are never stored.
fn pack_rows(pool: &Pool, plan: &Plan, packed: &mut [f32], x: &impl Source) {
    if plan.padded == 1 {
        return x.copy(0, 0, &mut packed[..plan.k]);
    }
    let to = Out {
        start: packed.as_mut_ptr(),
        stride: X_STRIDE,
    };
    let chunk = if plan.serial {
        plan.rows
    } else {
        2 * plan.tall
    };
    pool.for_each_chunk(plan.rows, chunk, |rows| {
        let to = { to };
        for k in (0..plan.k).step_by(K_BLOCK) {
            let len = K_BLOCK.min(plan.k - k);
            for row in rows.clone() {
                // SAFETY: a part of `packed` that no other row and block has.
                let to = unsafe {
                    let to = to.start.add(plan.at(0, k) + row * to.stride);
                    std::slice::from_raw_parts_mut(to, len)
                };
                x.copy(row, k, to);
            }
        }
    });
}

/// The output, of which threads write disjoint parts.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub start: *mut f32,
    pub stride: usize,
}
// SAFETY: tasks write disjoint strips and panels of it.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

/// What is added to a finished sum.
#[derive(Clone, Copy)]
pub(super) enum Bias<'a> {
    F32(&'a [f32]),
    /// To sums that are whole numbers.
    I32(&'a [i32]),
}

impl Bias<'_> {
    fn len(self) -> usize {
        match self {
            Self::F32(bias) => bias.len(),
            Self::I32(bias) => bias.len(),
        }
    }

    /// To outputs that begin with column `first`.
    #[inline(always)]
    fn add(self, out: &mut [f32], first: usize) {
        match self {
            Self::F32(bias) => {
                for (out, bias) in out.iter_mut().zip(&bias[first..]) {
                    *out += bias;
                }
            }
            Self::I32(bias) => {
                for (out, bias) in out.iter_mut().zip(&bias[first..]) {
                    *out =
                        f32::from_bits(bias.wrapping_add_unsigned(out.to_bits()).cast_unsigned());
                }
            }
        }
    }
}

/// The operands that do not depend on the number of rows.
pub(super) struct Work<'a, E: Plain> {
    pub weight: &'a Panels<E>,
    pub bias: Option<Bias<'a>>,
    /// Whoever makes this promises that all rows may be written, by this product alone.
    pub out: Out,
}

/// Some strips of `x` times some panels of the weight, on one thread.
pub(super) struct Task<'a, E: Plain> {
    plan: &'a Plan,
    packed: &'a [f32],
    work: &'a Work<'a, E>,
    part: Part,
}

/// One block of a panel, widened; or a tile of outputs that lies beyond the edge.
#[repr(align(64))]
struct Block<const LEN: usize>(MaybeUninit<[f32; LEN]>);

impl<E: Element + Plain> Kernel for Task<'_, E> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe { self.compute::<S>() }
    }
}

impl<E: Element + Plain> Task<'_, E> {
    /// # Safety
    /// The CPU must have what `S` uses, and the caller must be compiled for it.
    #[inline(always)]
    pub unsafe fn compute<S: Micro>(self) {
        let plan = self.plan;
        let mut k = 0;
        loop {
            let len = plan.block.min(plan.k - k);
            // SAFETY: the caller's promise; blocks lie inside the panels.
            unsafe {
                if self.part.strips.len() == 1 || size_of::<E>() == size_of::<f32>() {
                    self.block_as_stored::<S>(k, len);
                } else {
                    self.block_widened::<S>(k, len);
                }
            }
            k += len;
            if k >= plan.k {
                break;
            }
        }
        self.add_bias();
    }

    #[inline(always)]
    unsafe fn block_as_stored<S: Micro>(&self, k: usize, len: usize) {
        let stride = self.plan.k * NR;
        let across = match self.part.strips.len() {
            1 => span(self.plan.height(self.part.strips.start), S::LANES),
            _ => 1,
        };
        let mut panel = self.part.panels.start;
        while panel < self.part.panels.end {
            let whole =
                (panel + across) * NR <= self.plan.n && panel + across <= self.part.panels.end;
            let count = if whole { across } else { 1 };
            let w = &self.work.weight.from(panel)[k * NR..];
            debug_assert!(w.len() >= (count - 1) * stride + len * NR);
            for strip in self.part.strips.clone() {
                // SAFETY: `count` panels from here, `len` steps from `k` on, lie inside.
                unsafe { self.tile::<S, E>(strip, panel, count, w.as_ptr(), stride, k, len) };
            }
            panel += count;
        }
    }

    #[inline(always)]
    unsafe fn block_widened<S: Micro>(&self, k: usize, len: usize) {
        let mut wide = Block::<{ K_BLOCK * NR }>(MaybeUninit::uninit());
        let to: *mut f32 = wide.0.as_mut_ptr().cast();
        for panel in self.part.panels.clone() {
            let from = &self.work.weight.from(panel)[k * NR..][..len * NR];
            debug_assert!(len <= K_BLOCK);
            // SAFETY: a panel's rows are whole vectors; the block has room for K_BLOCK of them.
            unsafe { S::widen(from, to) };
            for strip in self.part.strips.clone() {
                // SAFETY: the block was just filled.
                unsafe { self.tile::<S, f32>(strip, panel, 1, to, 0, k, len) };
            }
        }
    }

    /// One strip by `count` panels. Where the tile would reach beyond the rows or columns that there are, it is computed aside.
    #[inline(always)]
    unsafe fn tile<S: Micro, W: Element>(
        &self,
        strip: usize,
        panel: usize,
        count: usize,
        w: *const W,
        panel_stride: usize,
        k: usize,
        len: usize,
    ) {
        let plan = self.plan;
        let height = plan.height(strip);
        let (row, col) = (strip * plan.tall, panel * NR);
        let rows = height.min(plan.rows - row);
        let cols = (count * NR).min(plan.n - col);
        let x = match plan.padded {
            1 => &self.packed[k..],
            _ => &self.packed[plan.at(strip, k)..],
        };
        debug_assert!(x.len() >= (height - 1) * X_STRIDE + len);
        // SAFETY: `rows` by `cols` outputs from here lie inside, and are this task's own; `aside` has room for a whole tile.
        unsafe {
            let c = self.work.out.start.add(row * self.work.out.stride + col);
            let mut operands = Operands {
                c,
                c_stride: self.work.out.stride,
                x: x.as_ptr(),
                w,
                panel_stride,
                k: len,
                resume: k > 0,
                ahead: ahead(height),
            };
            if rows == height && cols == count * NR {
                return S::run(&operands, height, count);
            }
            let mut aside = Block::<{ MAX_ROWS * NR }>(MaybeUninit::uninit());
            operands.c = aside.0.as_mut_ptr().cast();
            operands.c_stride = count * NR;
            if k > 0 {
                aside.0.write([0.0; MAX_ROWS * NR]);
                copy(
                    operands.c,
                    operands.c_stride,
                    c,
                    self.work.out.stride,
                    rows,
                    cols,
                );
            }
            S::run(&operands, height, count);
            copy(
                c,
                self.work.out.stride,
                operands.c,
                operands.c_stride,
                rows,
                cols,
            );
        }
    }

    #[inline(always)]
    fn add_bias(&self) {
        let Some(bias) = self.work.bias else { return };
        let plan = self.plan;
        let cols = self.part.panels.start * NR..plan.n.min(self.part.panels.end * NR);
        let rows =
            self.part.strips.start * plan.tall..plan.rows.min(self.part.strips.end * plan.tall);
        for row in rows {
            // SAFETY: inside the output, and this task's own.
            let out = unsafe {
                let start = self
                    .work
                    .out
                    .start
                    .add(row * self.work.out.stride + cols.start);
                std::slice::from_raw_parts_mut(start, cols.len())
            };
            bias.add(out, cols.start);
        }
    }
}

#[inline(always)]
unsafe fn copy(
    to: *mut f32,
    to_stride: usize,
    from: *const f32,
    from_stride: usize,
    rows: usize,
    cols: usize,
) {
    for row in 0..rows {
        // SAFETY: the caller's rows are valid, and do not overlap.
        unsafe {
            to.add(row * to_stride)
                .copy_from_nonoverlapping(from.add(row * from_stride), cols);
        }
    }
}
