//! The product: tiles of a few rows by a panel's outputs, a block of `k` at a time.
//!
//! Within a block the sums are integers in registers; at its end they are multiplied by both scales and added to the tile's numbers. A
//! panel is read from memory once, by the first tile of rows; the others find it in the second-level cache. Panels are ascending streams on
//! huge pages, which the hardware follows by itself, and mostly better than it obeys. One row alone gains by asking, of 8 bits or on AVX2: it
//! reads so much, or takes so many instructions for it, that the core does not look far enough ahead.

use super::activations::Activations;
use super::ints::{IntIsa, IntKernel, Ints};
use super::packed::{Format, PANEL, PackedBlocks};
use crate::blocks::BLOCK;
use memory_hierarchy::Pool;
use memory_hierarchy::buffer::LINE;
use memory_hierarchy::simd::{Simd, prefetch_to_l2};
use std::ops::Range;

/// Multiply-adds below which a second thread costs more than it brings.
const SERIAL: usize = 256 * 1024;
/// Chunks of panels a thread gets on average: enough that one that was interrupted is not waited for.
const CHUNKS: usize = 16;

/// `out[r * out_stride + j] = x[r] . weight[j] (+ bias[j])` for all rows of `x` and all outputs of `weight`.
///
/// # Panics
/// If the widths of `x` and `weight` differ, or `out` or `bias` is too short.
pub fn multiply(
    pool: &Pool,
    isa: IntIsa,
    out: &mut [f32],
    out_stride: usize,
    x: &Activations,
    weight: &PackedBlocks,
    bias: Option<&[f32]>,
) {
    let (n, k, rows) = (weight.n(), weight.k(), x.rows());
    assert_eq!(x.k(), k, "the widths of activations and weight");
    assert!(rows == 0 || (rows - 1) * out_stride + n <= out.len());
    assert!(n <= out_stride || rows <= 1);
    assert!(bias.is_none_or(|bias| bias.len() >= n));
    let out = Out {
        start: out.as_mut_ptr(),
        stride: out_stride,
    };
    let run = |panels: Range<usize>| {
        isa.run(Product {
            out: &out,
            x,
            weight,
            bias,
            panels,
        });
    };
    let panels = n.div_ceil(PANEL);
    if rows * n * k < SERIAL {
        return run(0..panels);
    }
    pool.for_each_chunk(panels, panels.div_ceil(pool.threads() * CHUNKS), run);
}

/// Where the outputs go.
struct Out {
    start: *mut f32,
    stride: usize,
}

// SAFETY: threads write disjoint columns.
unsafe impl Sync for Out {}

/// The product with some of the panels, on the calling thread.
struct Product<'a> {
    out: &'a Out,
    x: &'a Activations,
    weight: &'a PackedBlocks,
    bias: Option<&'a [f32]>,
    panels: Range<usize>,
}

impl IntKernel for Product<'_> {
    #[inline(always)]
    unsafe fn run<I: Ints>(self) {
        // SAFETY: `IntIsa::run` chose I.
        unsafe {
            match self.weight.format() {
                Format::Q8 => self.with::<I, { Format::Q8 as u8 }>(),
                Format::Q4 => self.with::<I, { Format::Q4 as u8 }>(),
                Format::Q4Offsets => self.with::<I, { Format::Q4Offsets as u8 }>(),
            }
        }
    }
}

/// Vectors of outputs in a tile, whatever their length.
const VECTORS: usize = 2;
/// Vectors of eight lanes in a panel. One row alone takes all at once: it waits for memory, and in two parts it would read every other line
/// of the panel, then those between.
const WHOLE: usize = PANEL / 8;
/// Bytes that one row asks for ahead: two units of 8 bits.
const AHEAD: usize = 2 * Format::Q8.unit();
/// Rows in a tile at most. An element has two sums, one of integers and one of numbers. With AVX-512 six rows would just fit 32 registers,
/// and are slower than four: a block of `k` is then so long that the next cannot begin while its sums are turned into numbers. With AVX2
/// only the integers fit, which is enough: numbers are needed at the ends of blocks. With two rows, what is done to a weight once costs
/// as much as what is done for each row.
const TALLEST: usize = 4;

impl Product<'_> {
    #[inline(always)]
    unsafe fn with<I: Ints, const FORMAT: u8>(&self) {
        let rows = self.x.rows();
        let tiles = rows.div_ceil(TALLEST).max(1);
        for panel in self.panels.clone() {
            if rows == 1 && I::LANES < PANEL / VECTORS {
                // SAFETY: as below.
                unsafe { self.tile::<I, FORMAT, 1, WHOLE>(panel, 0, 0) };
                continue;
            }
            for part in 0..PANEL / (VECTORS * I::LANES) {
                let part = part * VECTORS * I::LANES;
                for tile in 0..tiles {
                    // Tiles as equal as can be: six rows are three and three, not four and two.
                    let range = rows * tile / tiles..rows * (tile + 1) / tiles;
                    let first = range.start;
                    // SAFETY: `IntIsa::run` chose I; the rows are those of `x`, the panel is one of the weight's.
                    unsafe {
                        match range.len() {
                            0 => {}
                            1 => self.tile::<I, FORMAT, 1, VECTORS>(panel, part, first),
                            2 => self.tile::<I, FORMAT, 2, VECTORS>(panel, part, first),
                            3 => self.tile::<I, FORMAT, 3, VECTORS>(panel, part, first),
                            _ => self.tile::<I, FORMAT, TALLEST, VECTORS>(panel, part, first),
                        }
                    }
                }
            }
        }
    }

    /// `R` rows from `first` by `V * LANES` outputs from `part` of a panel.
    #[inline(always)]
    unsafe fn tile<I: Ints, const FORMAT: u8, const R: usize, const V: usize>(
        &self,
        panel: usize,
        part: usize,
        first: usize,
    ) {
        let format = self.weight.format();
        let blocks = self.x.k() / BLOCK;
        let unit = &self.weight.data()[panel * blocks * format.unit()..][..blocks * format.unit()];
        let (scales, sums) = (
            &self.x.scales()[first * blocks..][..R * blocks],
            &self.x.sums()[first * blocks..][..R * blocks],
        );
        let begins = match FORMAT {
            Q8 => self.x.begins_128(),
            _ => self.x.begins_8(),
        };
        let begins = &begins[first * blocks..][..R * blocks];
        let quants = &self.x.quants()[first * self.x.k()..][..R * self.x.k()];
        // SAFETY: the slices above were cut to what is read below; `IntIsa::run` chose I.
        unsafe {
            let mut numbers = [[I::Floats::splat(0.0); V]; R];
            for block in 0..blocks {
                let unit = unit.as_ptr().add(block * format.unit());
                let quants = quants.as_ptr().add(block * BLOCK);
                if R == 1 && (FORMAT == Q8 || I::LANES == 8) {
                    for at in (0..format.unit()).step_by(LINE) {
                        prefetch_to_l2(unit.wrapping_add(AHEAD + at));
                    }
                }
                let mut begin = [0; R];
                if FORMAT != Q4_OFFSETS {
                    for r in 0..R {
                        begin[r] = *begins.get_unchecked(r * blocks + block);
                    }
                }
                let mut integers = [[I::splat(0); V]; R];
                if FORMAT == Q8 {
                    for r in 0..R {
                        integers[r] = [I::splat(begin[r]); V];
                    }
                    for group in 0..BLOCK / 4 {
                        let weights = load::<I, V>(unit.add((group * PANEL + part) * 4));
                        for r in 0..R {
                            let x = I::broadcast(quants.add(r * self.x.k() + group * 4));
                            for v in 0..V {
                                integers[r][v] = I::dot_offset_128(integers[r][v], weights[v], x);
                            }
                        }
                    }
                } else {
                    for r in 0..R {
                        integers[r] = [I::begin_halves(begin[r]); V];
                    }
                    for group in 0..BLOCK / 8 {
                        let pairs = load::<I, V>(unit.add((group * PANEL + part) * 4));
                        for half in 0..2 {
                            let mut weights = pairs;
                            for v in 0..V {
                                weights[v] = if half == 0 {
                                    pairs[v].low_halves()
                                } else {
                                    pairs[v].high_halves()
                                };
                            }
                            for r in 0..R {
                                let at = r * self.x.k() + group * 8 + half * 4;
                                let x = I::broadcast(quants.add(at));
                                for v in 0..V {
                                    integers[r][v] = I::dot_halves(integers[r][v], weights[v], x);
                                }
                            }
                        }
                    }
                    for r in 0..R {
                        for v in 0..V {
                            integers[r][v] = I::end_halves(integers[r][v], begin[r]);
                        }
                    }
                }
                let scale = unit.add(format.quants()).cast::<half::f16>().add(part);
                for v in 0..V {
                    let weight_scale = I::Floats::load_f16(scale.add(v * I::LANES));
                    for r in 0..R {
                        let x_scale = I::Floats::splat(*scales.get_unchecked(r * blocks + block));
                        numbers[r][v] = integers[r][v]
                            .to_floats()
                            .mul_add(weight_scale.mul(x_scale), numbers[r][v]);
                    }
                    if FORMAT == Q4_OFFSETS {
                        let offset = I::Floats::load_f16(scale.add(PANEL + v * I::LANES));
                        for r in 0..R {
                            let at = r * blocks + block;
                            let sum = *sums.get_unchecked(at) as f32 * *scales.get_unchecked(at);
                            numbers[r][v] = offset.mul_add(I::Floats::splat(sum), numbers[r][v]);
                        }
                    }
                }
            }
            for (r, numbers) in numbers.into_iter().enumerate() {
                self.store::<I, V>(first + r, panel * PANEL + part, numbers);
            }
        }
    }

    /// Writes a row of a tile, as far as there are outputs.
    #[inline(always)]
    unsafe fn store<I: Ints, const V: usize>(
        &self,
        row: usize,
        col: usize,
        numbers: [I::Floats; V],
    ) {
        let n = self.weight.n();
        let mut values = [0.0f32; PANEL];
        for (v, numbers) in numbers.into_iter().enumerate() {
            // SAFETY: a vector is at most half a panel.
            unsafe { numbers.store(values.as_mut_ptr().add(v * I::LANES)) };
        }
        let width = n.saturating_sub(col).min(V * I::LANES);
        for (i, value) in values[..width].iter().enumerate() {
            let bias = self.bias.map_or(0.0, |bias| bias[col + i]);
            // SAFETY: `multiply` checked that all rows and outputs lie within; this column is this call's alone.
            unsafe { *self.out.start.add(row * self.out.stride + col + i) = value + bias };
        }
    }
}

// Constants, since a format cannot be a parameter of a function.
const Q8: u8 = Format::Q8 as u8;
const Q4_OFFSETS: u8 = Format::Q4Offsets as u8;

/// Plain loops here and above: a closure is not compiled for the instruction set that its function is.
#[inline(always)]
unsafe fn load<I: Ints, const V: usize>(from: *const u8) -> [I; V] {
    // SAFETY: the caller's pointer is valid for all vectors.
    unsafe {
        let mut vectors = [I::splat(0); V];
        for v in 0..V {
            vectors[v] = I::load(from.add(v * 4 * I::LANES));
        }
        vectors
    }
}
