//! `out = x w^T + bias` over packed weights: which tile computes what, from which cache, on which thread.
//!
//! Three levels, as in Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008):
//!
//! - Rows of `x` are packed into strips as high as a tile, so that a step of `k` reads neighbours, not one element of each of twelve
//!   rows (which for a power of two as the row's length all fall into the same set of the L1 cache).
//! - `k` is cut into blocks: the part of a panel that a tile runs down then stays in L1, or L2, while all strips pass over it.
//! - Strips are grouped so that a block of a group stays in L2 while panel after panel passes.
//!
//! Weights of 16 bits are widened once a block if several strips use it, and inside the tile if one does: decode then reads the weight
//! as it lies in memory, and nothing is written.
//!
//! The invariant: an output is one sum over `k` in ascending order, then the bias. Blocks of `k` go on from the sum that the last one
//! stored, so neither blocks, groups, threads nor the rest of the batch change a bit of it.

use super::panels::{NR, Panels};
use super::tile::{MAX_ROWS, Operands, height, span, tallest};
use crate::buffer::{Buffer, Plain};
use crate::pool::Pool;
use crate::simd::{Element, Isa, Kernel, Simd};
use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Steps of `k` in a block: 32 KiB of a panel in f32.
const K_BLOCK: usize = 256;
/// Strips in a group: with twelve rows each, a block of them fills a quarter of an L2 cache of 1 MiB.
const GROUP_STRIPS: usize = 20;
/// Panels that a thread takes at a time, at most.
const GROUP_PANELS: usize = 8;
/// Multiply-adds below which a second thread costs more than it brings.
const SERIAL_WORK: usize = 128 * 1024;

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
    let (n, k) = (weight.n(), weight.k());
    if x.rows == 0 || n == 0 {
        return;
    }
    assert!((x.rows - 1) * x.stride + k <= x.values.len(), "x is short");
    assert!(bias.is_none_or(|bias| bias.len() == n), "a bias an output");
    let plan = Plan::new(isa, x.rows, n, k, pool.threads());
    let out = Out {
        start: out,
        stride: out_stride,
    };
    let run = |packed: &[f32]| {
        let task = |index| Task {
            plan: &plan,
            packed,
            weight,
            bias,
            out,
            strips: plan.strips_of(index),
            panels: plan.panels_of(index),
        };
        pool.for_each_chunk(plan.tasks(), plan.chunk(), |range| {
            range.for_each(|index| isa.run(task(index)));
        });
    };
    if x.rows == 1 {
        return run(&x.values[..k]);
    }
    PACKED.with_borrow_mut(|packed| {
        if packed.len() < plan.padded * k {
            *packed = Buffer::zeroed(plan.padded * k);
        }
        pack_rows(pool, &plan, &mut packed[..plan.padded * k], x);
        run(packed);
    });
}

/// How a product is cut up.
struct Plan {
    rows: usize,
    n: usize,
    k: usize,
    /// Rows of all strips but the last.
    tall: usize,
    strips: usize,
    /// Rows of the last strip, padding included.
    last: usize,
    /// Rows of all strips.
    padded: usize,
    k_block: usize,
    group_strips: usize,
    group_panels: usize,
    serial: bool,
}

impl Plan {
    fn new(isa: Isa, rows: usize, n: usize, k: usize, threads: usize) -> Self {
        let lanes = isa.lanes();
        let tall = tallest(lanes);
        let strips = rows.div_ceil(tall);
        let last = height(rows - (strips - 1) * tall, lanes);
        let panels = n.div_ceil(NR);
        let serial = threads == 1 || rows * n * k < SERIAL_WORK;
        // Several tasks a thread, so that one that started late is not waited for; strips are parted where panels are too few.
        let wanted = if serial { 1 } else { threads * 4 };
        let across = span(if strips == 1 { last } else { tall }, lanes);
        let group_panels = panels
            .div_ceil(wanted)
            .next_multiple_of(across)
            .clamp(1, GROUP_PANELS.max(across));
        let row_groups = wanted
            .div_ceil(panels.div_ceil(group_panels))
            .max(strips.div_ceil(GROUP_STRIPS));
        Self {
            rows,
            n,
            k,
            tall,
            strips,
            last,
            padded: (strips - 1) * tall + last,
            // One strip's sums stay in registers from first to last.
            k_block: if strips == 1 { k } else { K_BLOCK },
            group_strips: strips.div_ceil(row_groups.min(strips)),
            group_panels,
            serial,
        }
    }

    fn height(&self, strip: usize) -> usize {
        if strip + 1 == self.strips {
            self.last
        } else {
            self.tall
        }
    }

    fn row_groups(&self) -> usize {
        self.strips.div_ceil(self.group_strips)
    }

    fn tasks(&self) -> usize {
        self.row_groups() * self.n.div_ceil(NR).div_ceil(self.group_panels)
    }

    fn chunk(&self) -> usize {
        if self.serial { self.tasks() } else { 1 }
    }

    fn strips_of(&self, task: usize) -> Range<usize> {
        let first = task % self.row_groups() * self.group_strips;
        first..self.strips.min(first + self.group_strips)
    }

    fn panels_of(&self, task: usize) -> Range<usize> {
        let first = task / self.row_groups() * self.group_panels;
        first..self.n.div_ceil(NR).min(first + self.group_panels)
    }

    /// Where the part of a strip lies whose block begins at `k` and has `len` steps: blocks follow one another, strips within them.
    fn at(&self, strip: usize, k: usize, len: usize) -> usize {
        k * self.padded + strip * self.tall * len
    }
}

/// Packs `x` to `[k / K_BLOCK][strip][K_BLOCK][height]`. Padding rows keep what is there: their sums are never stored.
fn pack_rows(pool: &Pool, plan: &Plan, packed: &mut [f32], x: Rows<'_>) {
    let to = Out {
        start: packed.as_mut_ptr(),
        stride: 0,
    };
    let blocks = plan.k.div_ceil(plan.k_block.max(1));
    let chunk = if plan.serial { plan.strips * blocks } else { 4 };
    pool.for_each_chunk(plan.strips * blocks, chunk.max(1), |range| {
        for index in range {
            let (block, strip) = (index / plan.strips, index % plan.strips);
            let k = block * plan.k_block;
            let len = plan.k_block.min(plan.k - k);
            let (first, height) = (strip * plan.tall, plan.height(strip));
            // SAFETY: a part of `packed` that no other index names.
            let to = unsafe {
                let start = { to }.start.add(plan.at(strip, k, len));
                std::slice::from_raw_parts_mut(start, len * height)
            };
            for r in first..plan.rows.min(first + height) {
                let row = &x.values[r * x.stride + k..][..len];
                for (step, value) in row.iter().enumerate() {
                    to[step * height + r - first] = *value;
                }
            }
        }
    });
}

/// The output, of which threads write disjoint parts.
#[derive(Clone, Copy)]
struct Out {
    start: *mut f32,
    stride: usize,
}
// SAFETY: tasks write disjoint strips and panels of it.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

/// Some strips of `x` times some panels of the weight, on one thread.
struct Task<'a, E: Plain> {
    plan: &'a Plan,
    packed: &'a [f32],
    weight: &'a Panels<E>,
    bias: Option<&'a [f32]>,
    out: Out,
    strips: Range<usize>,
    panels: Range<usize>,
}

/// One block of a panel, widened; or a tile of outputs that lies beyond the edge.
#[repr(align(64))]
struct Block<const LEN: usize>(MaybeUninit<[f32; LEN]>);

impl<E: Element + Plain> Kernel for Task<'_, E> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let plan = self.plan;
        let mut k = 0;
        loop {
            let len = plan.k_block.min(plan.k - k);
            // SAFETY: `Isa::run` chose S.
            unsafe {
                if self.strips.len() == 1 || size_of::<E>() == size_of::<f32>() {
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
}

impl<E: Element + Plain> Task<'_, E> {
    #[inline(always)]
    unsafe fn block_as_stored<S: Simd>(&self, k: usize, len: usize) {
        let stride = self.plan.k * NR;
        let across = match self.strips.len() {
            1 => span(self.plan.height(self.strips.start), S::LANES),
            _ => 1,
        };
        let mut panel = self.panels.start;
        while panel < self.panels.end {
            let whole = (panel + across) * NR <= self.plan.n && panel + across <= self.panels.end;
            let count = if whole { across } else { 1 };
            let w = &self.weight.from(panel)[k * NR..];
            debug_assert!(w.len() >= (count - 1) * stride + len * NR);
            for strip in self.strips.clone() {
                // SAFETY: `count` panels from here, `len` steps from `k` on, lie inside.
                unsafe { self.tile::<S, E>(strip, panel, count, w.as_ptr(), stride, k, len) };
            }
            panel += count;
        }
    }

    #[inline(always)]
    unsafe fn block_widened<S: Simd>(&self, k: usize, len: usize) {
        let mut wide = Block::<{ K_BLOCK * NR }>(MaybeUninit::uninit());
        let to: *mut f32 = wide.0.as_mut_ptr().cast();
        for panel in self.panels.clone() {
            let from = &self.weight.from(panel)[k * NR..][..len * NR];
            debug_assert!(len <= K_BLOCK);
            for at in (0..len * NR).step_by(S::LANES) {
                // SAFETY: a panel's row is whole vectors; the block has room for K_BLOCK of them.
                unsafe { E::load::<S>(from.as_ptr().add(at)).store(to.add(at)) };
            }
            for strip in self.strips.clone() {
                // SAFETY: the block was just filled.
                unsafe { self.tile::<S, f32>(strip, panel, 1, to, 0, k, len) };
            }
        }
    }

    /// One strip by `count` panels. Where the tile would reach beyond the rows or columns that there are, it is computed aside.
    #[inline(always)]
    unsafe fn tile<S: Simd, W: Element>(
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
        let x = &self.packed[plan.at(strip, k, len)..];
        debug_assert!(x.len() >= len * height);
        // SAFETY: `rows` by `cols` outputs from here lie inside, and are this task's own; `aside` has room for a whole tile.
        unsafe {
            let c = self.out.start.add(row * self.out.stride + col);
            let mut operands = Operands {
                c,
                c_stride: self.out.stride,
                x: x.as_ptr(),
                w,
                panel_stride,
                k: len,
                resume: k > 0,
            };
            if rows == height && cols == count * NR {
                return operands.run::<S>(height, count);
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
                    self.out.stride,
                    rows,
                    cols,
                );
            }
            operands.run::<S>(height, count);
            copy(
                c,
                self.out.stride,
                operands.c,
                operands.c_stride,
                rows,
                cols,
            );
        }
    }

    #[inline(always)]
    fn add_bias(&self) {
        let Some(bias) = self.bias else { return };
        let plan = self.plan;
        let cols = self.panels.start * NR..plan.n.min(self.panels.end * NR);
        let rows = self.strips.start * plan.tall..plan.rows.min(self.strips.end * plan.tall);
        for row in rows {
            // SAFETY: inside the output, and this task's own.
            let out = unsafe {
                let start = self.out.start.add(row * self.out.stride + cols.start);
                std::slice::from_raw_parts_mut(start, cols.len())
            };
            for (out, bias) in out.iter_mut().zip(&bias[cols.clone()]) {
                *out += bias;
            }
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
