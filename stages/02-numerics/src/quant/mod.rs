//! Quantisation: numbers as small codes and a scale for each group of them.
//!
//! A [`Scheme`] says what codes there are, how they lie on the number line, which numbers share a scale and how the scale is found.
//! [`Scheme::quantise`] gives a [`Quantised`] matrix `[rows, cols]`: of weights a row is an output channel, of activations a token. A
//! scale that is found anew for each token as it comes is *dynamic* quantisation; [`Scheme::calibrate`] once and
//! [`Scheme::quantise_with`] for all that follows is *static*.
//!
//! The invariant: a code stands for `scale · (code - zero_point)`, or `scale · decode(code)` if it is floating, and is the one nearest
//! to its number of all codes that there are. So a number within the range of the codes is off by half a step at most, and zero,
//! which padding and ReLU make common, by nothing (signs have no zero).

mod calibrate;
pub mod error;
pub mod products;
mod quantised;
mod step;

pub use calibrate::Calibration;
pub use quantised::Quantised;
pub use step::Step;

use crate::float::{E4M3, E5M2, SmallFloat};

/// What codes there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    /// Integers of this many bits, 2 to 16.
    Int(u32),
    /// The signs -1 and 1 (XNOR-Net, Rastegari et al. 2016); the scale is the mean magnitude.
    Binary,
    /// A floating-point number of 8 or 16 bits; the code is its bit pattern.
    Float(SmallFloat),
}

/// How integer codes lie on the number line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mapping {
    /// Code 0 is zero and the range is the same on both sides: int8 is -127 to 127.
    Symmetric,
    /// Code 0 is zero, and the number furthest from zero takes the lowest code, -8 of int4. The scale has that number's sign turned
    /// round. No code is wasted, which counts when there are few (GGML's Q4_0).
    Furthest,
    /// Codes from 0 up; the code [`Step::zero_point`] is zero (Jacob et al. 2018, section 2.1).
    Asymmetric,
}

/// Which numbers share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// All.
    PerTensor,
    /// Those of a row: an output channel of weights, a token of activations.
    PerChannel,
    /// Those of a column. It fits the outlier channels of activations, but no integer product can use it: the scale changes along
    /// the sum. SmoothQuant moves it into the weights instead.
    PerColumn,
    /// Each this many numbers of a row; the last of a row may be fewer.
    Block(usize),
}

/// A way to quantise a matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scheme {
    /// What codes there are.
    pub format: Format,
    /// How integer codes lie on the number line; other formats are symmetric.
    pub mapping: Mapping,
    /// Which numbers share a scale.
    pub granularity: Granularity,
    /// How the range of a group is found.
    pub calibration: Calibration,
    /// Scales are rounded to f16 before the codes are chosen, for formats that store them so.
    pub f16_scales: bool,
}

/// Why a matrix cannot be quantised.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QuantError {
    /// The numbers do not fill the shape.
    #[error("{found} numbers do not make a matrix of {rows} x {cols}")]
    Shape {
        /// Of the shape.
        rows: usize,
        /// Of the shape.
        cols: usize,
        /// Numbers that were given.
        found: usize,
    },
    /// A number is NaN or infinite, for which no scale is right.
    #[error("element {at} is {value}: only finite numbers can be quantised")]
    NotFinite {
        /// Its place.
        at: usize,
        /// The number.
        value: f32,
    },
    /// The steps that were given are not one a group.
    #[error("{found} steps for {groups} groups: calibrate with the same scheme on the same shape")]
    Steps {
        /// Groups of the matrix.
        groups: usize,
        /// Steps that were given.
        found: usize,
    },
    /// A scheme that means nothing.
    #[error("{0}")]
    Scheme(&'static str),
}

impl Scheme {
    /// Symmetric integers of `bits` bits, a scale for each row from its largest magnitude.
    pub const fn int(bits: u32) -> Self {
        Self::of(Format::Int(bits))
    }

    /// e4m3, a scale for each row.
    pub const fn e4m3() -> Self {
        Self::of(Format::Float(E4M3))
    }

    /// e5m2, a scale for each row.
    pub const fn e5m2() -> Self {
        Self::of(Format::Float(E5M2))
    }

    /// Signs, a scale for each row.
    pub const fn binary() -> Self {
        Self::of(Format::Binary)
    }

    /// Symmetric codes of `format`, a scale for each row from its largest magnitude.
    pub const fn of(format: Format) -> Self {
        Self {
            format,
            mapping: Mapping::Symmetric,
            granularity: Granularity::PerChannel,
            calibration: Calibration::MinMax,
            f16_scales: false,
        }
    }

    /// The same with another mapping.
    pub const fn mapped(self, mapping: Mapping) -> Self {
        Self { mapping, ..self }
    }

    /// The same with a zero point.
    pub const fn asymmetric(self) -> Self {
        self.mapped(Mapping::Asymmetric)
    }

    /// The same with other groups.
    pub const fn grouped(self, granularity: Granularity) -> Self {
        Self {
            granularity,
            ..self
        }
    }

    /// The same with one scale.
    pub const fn per_tensor(self) -> Self {
        self.grouped(Granularity::PerTensor)
    }

    /// The same with a scale for each `size` numbers of a row.
    pub const fn blocks(self, size: usize) -> Self {
        self.grouped(Granularity::Block(size))
    }

    /// The same with another calibration.
    pub const fn calibrated(self, calibration: Calibration) -> Self {
        Self {
            calibration,
            ..self
        }
    }

    /// The same with scales in f16.
    pub const fn with_f16_scales(self) -> Self {
        Self {
            f16_scales: true,
            ..self
        }
    }

    /// The lowest and the highest code of an integer format, -1 and 1 of signs, and 0 and the last pattern of a floating one.
    pub const fn code_range(&self) -> [i32; 2] {
        match (self.format, self.mapping) {
            (Format::Binary, _) => [-1, 1],
            (Format::Float(float), _) => [0, (1 << float.bits()) - 1],
            (Format::Int(bits), Mapping::Symmetric) => {
                [1 - (1 << (bits - 1)), (1 << (bits - 1)) - 1]
            }
            (Format::Int(bits), Mapping::Furthest) => [-(1 << (bits - 1)), (1 << (bits - 1)) - 1],
            (Format::Int(bits), Mapping::Asymmetric) => [0, (1 << bits) - 1],
        }
    }

    /// Bits of a code.
    pub const fn bits(&self) -> u32 {
        match self.format {
            Format::Int(bits) => bits,
            Format::Binary => 1,
            Format::Float(float) => float.bits(),
        }
    }
}

impl Granularity {
    /// Groups of a matrix of this shape.
    pub fn groups(self, [rows, cols]: [usize; 2]) -> usize {
        match self {
            Self::PerTensor => 1,
            Self::PerChannel => rows,
            Self::PerColumn => cols,
            Self::Block(size) => rows * cols.div_ceil(size),
        }
    }

    /// The group of an element.
    pub fn group(self, cols: usize, row: usize, col: usize) -> usize {
        match self {
            Self::PerTensor => 0,
            Self::PerChannel => row,
            Self::PerColumn => col,
            Self::Block(size) => row * cols.div_ceil(size) + col / size,
        }
    }
}
