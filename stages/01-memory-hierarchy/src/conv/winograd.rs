//! Convolution with 3x3 filters by Winograd's minimal filtering F(2x2, 3x3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural
//! Networks", 2015).
//!
//! Two outputs of a filter of three taps need six multiplications by the definition and four by Winograd:
//!
//! ```text
//! y = A^T [(G g) * (B^T d)]     B^T d = [d0 - d2, d1 + d2, d2 - d1, d1 - d3]
//!                               G g   = [g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2]
//!                               A^T m = [m0 + m1 + m2, m1 - m2 - m3]
//! ```
//!
//! Applied to columns and then to rows, 2x2 outputs take 16 multiplications in place of 36. The multiplications at one of the 16
//! positions, over all tiles and channels, are a product `[tiles, inputs] x [inputs, outputs]`: sixteen products do the work, and what
//! surrounds them only adds. Filters are transformed and packed once.
//!
//! The invariant: a group of tiles is transformed, multiplied and transformed back before the next is begun, so that what lies between
//! the steps stays in the second-level cache. Tiles at an odd edge compute four outputs and keep those that exist.

use super::Conv;
use super::shared::{Parts, Workspaces};
use crate::gemm::{Panels, Rows, multiply};
use crate::pool::Pool;
use crate::simd::{Isa, Kernel, Simd};
use std::ops::{Add, Range, Sub};

/// Elements of a group's transformed tiles, about: 512 KiB, in and out together.
const GROUP: usize = 128 * 1024;
/// Tiles of a group at least: fewer would leave a product's register tiles half empty.
const MIN_TILES: usize = 32;

/// A 3x3 convolution by Winograd, with its filters transformed and packed and its working memory allocated.
pub struct Winograd {
    conv: Conv,
    /// For each of 16 positions, `[outputs, inputs]`.
    filters: Vec<Panels<f32>>,
    bias: Vec<f32>,
    /// Rows of tiles in a group.
    rows: usize,
    /// Transformed inputs `[16, tiles, inputs]`, then products `[16, tiles, outputs]`.
    space: Workspaces,
}

impl Winograd {
    /// Transforms and packs `filters [outputs, inputs, 3, 3]` and `bias [outputs]` for use on `pool`.
    ///
    /// # Panics
    /// If `conv` is not 3x3 with stride 1, or a slice has another length than it says.
    pub fn new(conv: Conv, filters: &[f32], bias: &[f32], pool: &Pool) -> Self {
        assert!(
            conv.size == 3 && conv.stride == 1,
            "F(2x2, 3x3) is not for {conv:?}"
        );
        conv.check_weights(filters, bias);
        let mut positions = vec![Vec::new(); 16];
        for filter in filters.as_chunks::<9>().0 {
            let tile = filter_tile(std::array::from_fn(|y| {
                std::array::from_fn(|x| filter[3 * y + x])
            }));
            for (to, value) in positions.iter_mut().zip(tile.as_flattened()) {
                to.push(*value);
            }
        }
        let across = conv.out_width().div_ceil(2).max(1);
        let tiles = (GROUP / 16 / (conv.inputs + conv.outputs)).max(MIN_TILES);
        let rows = (tiles / across).clamp(1, conv.out_height().div_ceil(2).max(1));
        Self {
            conv,
            filters: positions
                .iter()
                .map(|filters| Panels::pack(filters, conv.outputs, conv.inputs))
                .collect(),
            bias: bias.to_vec(),
            rows,
            space: Workspaces::new(pool, 16 * rows * across * (conv.inputs + conv.outputs)),
        }
    }

    /// Convolves `images [batch, height, width, inputs]` into `out [batch, out_height, out_width, outputs]`, on the pool that it was
    /// made for.
    ///
    /// # Panics
    /// If a slice has another length than the shape says, or the pool has more threads than that one.
    pub fn forward(&self, pool: &Pool, isa: Isa, images: &[f32], out: &mut [f32]) {
        let conv = &self.conv;
        let batch = conv.batch(images, out);
        let (down, across) = (conv.out_height().div_ceil(2), conv.out_width().div_ceil(2));
        let groups = down.div_ceil(self.rows);
        let out = Parts::of(out);
        self.space.for_each(pool, batch * groups, |piece, space| {
            let (image, first) = (piece / groups, piece % groups * self.rows);
            let rows = first..down.min(first + self.rows);
            let tiles = rows.len() * across;
            let (v, m) = space.split_at_mut(16 * self.rows * across * conv.inputs);
            let (v, m) = (
                &mut v[..16 * tiles * conv.inputs],
                &mut m[..16 * tiles * conv.outputs],
            );
            let pixels = 2 * rows.start * conv.out_width()
                ..conv.out_height().min(2 * rows.end) * conv.out_width();
            let start = image * conv.out_len();
            // SAFETY: each group of rows is one piece of work.
            let out = unsafe {
                out.part(start + pixels.start * conv.outputs..start + pixels.end * conv.outputs)
            };
            let image = &images[image * conv.image_len()..][..conv.image_len()];
            isa.run(Inputs {
                conv,
                image,
                rows,
                v,
            });
            self.multiply(pool, isa, v, m, tiles);
            isa.run(Outputs {
                conv,
                m,
                bias: &self.bias,
                out,
            });
        });
    }

    /// `m [16, tiles, outputs] = v [16, tiles, inputs] * filters [16, outputs, inputs]^T`.
    fn multiply(&self, pool: &Pool, isa: Isa, v: &[f32], m: &mut [f32], tiles: usize) {
        let Conv {
            inputs, outputs, ..
        } = self.conv;
        let positions = v
            .chunks_exact(tiles * inputs)
            .zip(m.chunks_exact_mut(tiles * outputs));
        for ((v, m), filters) in positions.zip(&self.filters) {
            let rows = Rows {
                values: v,
                stride: inputs,
                rows: tiles,
            };
            multiply(pool, isa, m, outputs, rows, filters, None);
        }
    }
}

/// `B^T d B`: 4x4 inputs, ready to be multiplied. For numbers, and for vectors of the same element of several channels.
#[inline(always)]
pub fn input_tile<T: Copy + Add<Output = T> + Sub<Output = T>>(d: [[T; 4]; 4]) -> [[T; 4]; 4] {
    // ANCHOR: solve-winograd
    let line = |[a, b, c, d]: [T; 4]| [a - c, b + c, c - b, b - d];
    both_ways(d, line)
    // ANCHOR_END: solve-winograd
}

/// `G g G^T`: a filter, ready to be multiplied.
pub fn filter_tile(g: [[f32; 3]; 3]) -> [[f32; 4]; 4] {
    both_ways(g, |[a, b, c]| [a, (a + b + c) / 2.0, (a - b + c) / 2.0, c])
}

/// `A^T m A`: sixteen products, summed over the channels, become 2x2 outputs.
#[inline(always)]
pub fn output_tile<T: Copy + Add<Output = T> + Sub<Output = T>>(m: [[T; 4]; 4]) -> [[T; 2]; 2] {
    both_ways(m, |[a, b, c, d]| [a + b + c, b - c - d])
}

/// Applies `line` to each row of a tile, and then to each column of what that gives.
#[inline(always)]
fn both_ways<T: Copy, const N: usize, const M: usize>(
    tile: [[T; N]; N],
    line: impl Fn([T; N]) -> [T; M],
) -> [[T; M]; M] {
    let mut half = [[tile[0][0]; N]; M];
    for y in 0..N {
        let row = line(tile[y]);
        for x in 0..M {
            half[x][y] = row[x];
        }
    }
    let mut whole = [[tile[0][0]; M]; M];
    for x in 0..M {
        let column = line(half[x]);
        for y in 0..M {
            whole[y][x] = column[y];
        }
    }
    whole
}

/// A vector that adds and subtracts.
#[derive(Clone, Copy)]
struct Lanes<S>(S);

impl<S: Simd> Add for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: made only in kernels, which run where the CPU has `S`.
        Self(unsafe { self.0.mul_add(S::splat(1.0), other.0) })
    }
}

impl<S: Simd> Sub for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { other.0.mul_add(S::splat(-1.0), self.0) })
    }
}

/// Loads lanes from `from[channel..]`, zeros beyond its end.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn load<S: Simd>(from: &[f32], channel: usize) -> Lanes<S> {
    let from = &from[channel..];
    if from.len() >= S::LANES {
        // SAFETY: as many as a vector has are there.
        return Lanes(unsafe { S::load(from.as_ptr()) });
    }
    let mut padded = [0.0; 64];
    padded[..from.len()].copy_from_slice(from);
    // SAFETY: no vector has more than 64 lanes.
    Lanes(unsafe { S::load(padded.as_ptr()) })
}

/// Stores lanes to `to[channel..]`, as many as fit.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn store<S: Simd>(lanes: Lanes<S>, to: &mut [f32], channel: usize) {
    let to = &mut to[channel..];
    if to.len() >= S::LANES {
        // SAFETY: there is room for a vector.
        return unsafe { lanes.0.store(to.as_mut_ptr()) };
    }
    let mut padded = [0.0; 64];
    // SAFETY: no vector has more than 64 lanes.
    unsafe { lanes.0.store(padded.as_mut_ptr()) };
    to.copy_from_slice(&padded[..to.len()]);
}

/// Transforms the inputs of some rows of tiles.
struct Inputs<'a> {
    conv: &'a Conv,
    image: &'a [f32],
    /// Rows of tiles.
    rows: Range<usize>,
    /// `[16, tiles, inputs]`
    v: &'a mut [f32],
}

impl Kernel for Inputs<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self {
            conv,
            image,
            rows,
            v,
        } = self;
        let across = conv.out_width().div_ceil(2);
        let position = rows.len() * across * conv.inputs;
        for (tile, (row, col)) in rows
            .flat_map(|row| (0..across).map(move |col| (row, col)))
            .enumerate()
        {
            let mut pixels = [[None; 4]; 4];
            for y in 0..4 {
                for x in 0..4 {
                    pixels[y][x] = conv.pixel(image, 2 * row + y, 2 * col + x);
                }
            }
            for channel in (0..conv.inputs).step_by(S::LANES) {
                // SAFETY: `Isa::run` has made sure of `S`.
                let mut d = unsafe { [[Lanes(S::splat(0.0)); 4]; 4] };
                for y in 0..4 {
                    for x in 0..4 {
                        if let Some(pixel) = pixels[y][x] {
                            // SAFETY: as above.
                            d[y][x] = unsafe { load::<S>(pixel, channel) };
                        }
                    }
                }
                let d = input_tile(d);
                for (index, lanes) in d.as_flattened().iter().enumerate() {
                    let to = &mut v[index * position + tile * conv.inputs..][..conv.inputs];
                    // SAFETY: as above.
                    unsafe { store(*lanes, to, channel) };
                }
            }
        }
    }
}

/// Transforms products back to outputs.
struct Outputs<'a> {
    conv: &'a Conv,
    /// `[16, tiles, outputs]`
    m: &'a [f32],
    bias: &'a [f32],
    /// Whole rows of one result, the first of them even.
    out: &'a mut [f32],
}

impl Kernel for Outputs<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { conv, m, bias, out } = self;
        let (width, outputs) = (conv.out_width(), conv.outputs);
        let (across, height) = (width.div_ceil(2), out.len() / (width * outputs));
        let position = m.len() / 16;
        for tile in 0..position / outputs {
            let (row, col) = (tile / across * 2, tile % across * 2);
            for channel in (0..outputs).step_by(S::LANES) {
                // SAFETY: `Isa::run` has made sure of `S`.
                let mut tiles = unsafe { [[Lanes(S::splat(0.0)); 4]; 4] };
                for (index, lanes) in tiles.as_flattened_mut().iter_mut().enumerate() {
                    let from = &m[index * position + tile * outputs..][..outputs];
                    // SAFETY: as above.
                    *lanes = unsafe { load(from, channel) };
                }
                // SAFETY: as above.
                let bias = unsafe { load::<S>(bias, channel) };
                let four = output_tile(tiles);
                for y in 0..2.min(height - row) {
                    for x in 0..2.min(width - col) {
                        let to = &mut out[((row + y) * width + col + x) * outputs..][..outputs];
                        // SAFETY: as above.
                        unsafe { store(four[y][x] + bias, to, channel) };
                    }
                }
            }
        }
    }
}
