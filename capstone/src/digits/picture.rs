//! From a PNG of any size, colour and polarity to the 28x28 grey pixels that a digit of MNIST has.
//!
//! MNIST's digits were cut out, scaled into a box of 20x20 with their shape kept, and laid into 28x28 so that the centre of their mass is
//! in the middle (LeCun, Bottou, Bengio and Haffner, 1998). A network that has seen nothing else reads a digit well only if it is shown
//! the same way, so [`normalise`] does that; which brightness is ink is decided by the border, which is paper.

use png::{BitDepth, ColorType, Decoder, Transformations};
use std::io::Cursor;

/// Rows, and columns, of what the network reads.
pub const SIDE: usize = 28;
/// Rows, and columns, of the box that the digit is scaled into.
const BOX: usize = 20;
/// Pixels of a picture at most: a small file can claim to be a very large picture.
const MAX_PIXELS: u64 = 32 << 20;
/// Difference to the paper below which nothing is to be seen, of 255.
const MIN_CONTRAST: f32 = 24.0;
/// Part of the darkest ink below which a pixel is taken for paper.
const FAINT: f32 = 0.15;

/// Why a picture cannot be read as a digit.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum PictureError {
    /// The bytes are those of something else, or damaged.
    #[error("not a readable PNG: {0}; save or convert the picture as PNG")]
    NotPng(String),
    /// More pixels than are taken.
    #[error("{width} x {height} pixels are more than {MAX_PIXELS}; scale the picture down")]
    TooLarge {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// Nothing is drawn.
    #[error(
        "no digit is to be seen: all pixels are nearly as bright as the border (what is transparent counts as white); \
         draw dark on light or light on dark, with some paper around"
    )]
    Empty,
}

/// A grey picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width]`, 0 is black and 255 white.
    pub grey: Vec<f32>,
}

/// Decodes a PNG of any colour type and depth, laid on white.
///
/// # Errors
/// Bytes that are not a PNG, or too large a picture.
pub fn decode(bytes: &[u8]) -> Result<Picture, PictureError> {
    let broken = |error: png::DecodingError| PictureError::NotPng(error.to_string());
    let mut decoder = Decoder::new(Cursor::new(bytes));
    // Palettes and small depths become 8 bits a channel, 16 bits are cut to 8, a transparent colour becomes an alpha channel.
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(broken)?;
    let (width, height) = reader.info().size();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(PictureError::TooLarge { width, height });
    }
    let mut pixels = vec![0; reader.output_buffer_size().unwrap_or(0)];
    let frame = reader.next_frame(&mut pixels).map_err(broken)?;
    debug_assert_eq!(frame.bit_depth, BitDepth::Eight);
    let channels = frame.color_type.samples();
    let grey = pixels[..frame.buffer_size()]
        .chunks_exact(channels)
        .map(|pixel| on_white(frame.color_type, pixel))
        .collect();
    Ok(Picture {
        width: frame.width as usize,
        height: frame.height as usize,
        grey,
    })
}

/// Brightness of one pixel, by the weights of ITU-R BT.601, through which white shines as far as it is transparent.
fn on_white(color: ColorType, pixel: &[u8]) -> f32 {
    let at = |channel: usize| f32::from(pixel[channel]);
    let luma = || 0.299 * at(0) + 0.587 * at(1) + 0.114 * at(2);
    let (grey, alpha) = match color {
        ColorType::Grayscale | ColorType::Indexed => (at(0), 255.0),
        ColorType::GrayscaleAlpha => (at(0), at(1)),
        ColorType::Rgb => (luma(), 255.0),
        ColorType::Rgba => (luma(), at(3)),
    };
    255.0 + (grey - 255.0) * alpha / 255.0
}

/// Cuts the digit out and lays it into 28x28, `[SIDE, SIDE]` with paper at 0 and ink at 1.
///
/// # Errors
/// There is nothing to be seen.
pub fn normalise(picture: &Picture) -> Result<[f32; SIDE * SIDE], PictureError> {
    let ink = ink(picture)?;
    let (rows, cols) = bounds(&ink, picture.width);
    let cut: Vec<f32> = rows
        .clone()
        .flat_map(|y| &ink[y * picture.width..][cols.clone()])
        .copied()
        .collect();
    let longer = rows.len().max(cols.len());
    let scaled = |len: usize| ((len * BOX) as f32 / longer as f32).round().max(1.0) as usize;
    let (height, width) = (scaled(rows.len()), scaled(cols.len()));
    // Rows first, then columns, which are rows of the picture turned over.
    let turned = resample(&cut, cols.len(), width);
    let digit = resample(&turned, rows.len(), height);
    Ok(centred(&digit, height, width))
}

/// How much of each pixel is ink, 0 to 1: how far it is from the paper, on the side where the digit is.
fn ink(picture: &Picture) -> Result<Vec<f32>, PictureError> {
    let Picture {
        width,
        height,
        grey,
    } = picture;
    let on_border = |at: usize| {
        let (y, x) = (at / width, at % width);
        y == 0 || x == 0 || y + 1 == *height || x + 1 == *width
    };
    let mut border: Vec<f32> = (0..grey.len())
        .filter(|at| on_border(*at))
        .map(|at| grey[at])
        .collect();
    if border.is_empty() {
        return Err(PictureError::Empty);
    }
    let middle = border.len() / 2;
    let paper = *border.select_nth_unstable_by(middle, f32::total_cmp).1;
    let sign = if paper > 127.5 { 1.0 } else { -1.0 };
    let mut ink: Vec<f32> = grey
        .iter()
        .map(|grey| (sign * (paper - grey)).max(0.0))
        .collect();
    let darkest = ink.iter().copied().fold(0.0, f32::max);
    if darkest < MIN_CONTRAST {
        return Err(PictureError::Empty);
    }
    for ink in &mut ink {
        *ink /= darkest;
    }
    Ok(ink)
}

/// Rows and columns that hold all ink but the faintest.
fn bounds(ink: &[f32], width: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let (mut top, mut bottom, mut left, mut right) = (usize::MAX, 0, usize::MAX, 0);
    for (at, _) in ink.iter().enumerate().filter(|(_, ink)| **ink > FAINT) {
        let (y, x) = (at / width, at % width);
        (top, bottom) = (top.min(y), bottom.max(y + 1));
        (left, right) = (left.min(x), right.max(x + 1));
    }
    (top..bottom, left..right)
}

/// Scales the rows of `image [.., from]` to `to` pixels, and gives the result turned over, `[to, ..]`. A pixel is the mean of what it
/// covers, weighted by a triangle that is never narrower than a pixel of either image: no line is lost, no step is seen.
fn resample(image: &[f32], from: usize, to: usize) -> Vec<f32> {
    let scale = from as f32 / to as f32;
    let reach = scale.max(1.0);
    let lines = image.len() / from;
    let mut out = Vec::with_capacity(to * lines);
    for x in 0..to {
        let centre = (x as f32 + 0.5) * scale - 0.5;
        let first = (centre - reach).ceil().max(0.0) as usize;
        let last = ((centre + reach).floor() as usize).min(from - 1);
        let weight = |at: usize| 1.0 - (at as f32 - centre).abs() / reach;
        let total: f32 = (first..=last).map(weight).sum();
        for line in image.chunks_exact(from) {
            let sum: f32 = (first..=last).map(|at| weight(at) * line[at]).sum();
            out.push(sum / total);
        }
    }
    out
}

/// Lays a digit `[height, width]` on empty paper, with its centre of mass as near to the middle as whole pixels and the edges allow.
fn centred(digit: &[f32], height: usize, width: usize) -> [f32; SIDE * SIDE] {
    let mass: f32 = digit.iter().sum();
    let mean = |coordinate: &dyn Fn(usize) -> usize| {
        let moment = digit
            .iter()
            .enumerate()
            .map(|(at, ink)| ink * coordinate(at) as f32);
        moment.sum::<f32>() / mass
    };
    let place = |centre: f32, len: usize| {
        let first = (SIDE as f32 / 2.0 - centre).round();
        first.clamp(0.0, (SIDE - len) as f32) as usize
    };
    let top = place(mean(&|at| at / width), height);
    let left = place(mean(&|at| at % width), width);
    let mut out = [0.0; SIDE * SIDE];
    for (y, row) in digit.chunks_exact(width).enumerate() {
        out[(top + y) * SIDE + left..][..width].copy_from_slice(row);
    }
    out
}
