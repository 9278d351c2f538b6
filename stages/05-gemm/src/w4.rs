//! Weights in 4 bits: symmetric, a scale for each row and group of 128 along k; and the layout that `kernels/gemm/w4a16.cu` reads.
//!
//! A code is the weight in units of its scale plus 8, so 0..=15 stand for -8..=7. The packed form is made of *units*, 16 rows by 128 of
//! k: 1024 bytes of codes and 32 of scales. Units lie in the order `[group of k][16 rows]`, so that any number of neighbouring strips of
//! 16 rows is one piece; rows are filled up to a multiple of 16 with zeros. In a unit:
//!
//! ```text
//! codes   [half of k: 2][lane: 32][16 bytes]      16 bytes are four words, one for each 16 of k
//! word    bits 4j .. 4j+3 and 16+4j .. 16+4j+3    the lower and the upper element of operand register j of the lane:
//!         row lane/4 + 8*(j%2), columns 8*(j/2) + 2*(lane%4) and the next
//! scales  [lane/4: 8][rows 8 apart: 2] bf16
//! ```
//!
//! That is the order in which the tensor core wants registers, so a thread's 16-byte load is its operands of four instructions.

use half::bf16;

/// Weights along k that share a scale.
pub const GROUP: usize = 128;
/// Bytes of a unit.
pub const UNIT_BYTES: usize = CODE_BYTES + 32;
const CODE_BYTES: usize = 1024;

/// A matrix `[n, k]` in 4 bits, one code a byte, as it is before packing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct W4 {
    /// Rows: outputs of the layer.
    pub n: usize,
    /// Columns: inputs, a multiple of [`GROUP`].
    pub k: usize,
    /// `[n, k]`, each 0..=15.
    pub codes: Vec<u8>,
    /// `[n, k / GROUP]`, the bits of bf16.
    pub scales: Vec<u16>,
}

/// Where a weight lies in the packed form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which unit.
    pub unit: usize,
    /// Byte of the unit with the code.
    pub byte: usize,
    /// Lowest bit of the code in that byte: 0 or 4.
    pub shift: usize,
    /// First byte in the unit of the scale.
    pub scale: usize,
}

/// Bytes of a packed `[n, k]`.
pub fn packed_bytes(n: usize, k: usize) -> usize {
    n.div_ceil(16) * (k / GROUP) * UNIT_BYTES
}

/// Where the weight at `row` and `column` of `[n, k]` lies, whatever k is.
pub fn place(row: usize, column: usize, n: usize) -> Place {
    let (r, c) = (row % 16, column % GROUP);
    let (eight, high_row) = (r % 8, r / 8);
    let (half, step, high_column) = (c / 64, c / 16 % 4, c / 8 % 2);
    let (lane, odd) = (eight * 4 + c % 8 / 2, c % 2);
    let register = high_column * 2 + high_row;
    let bit = odd * 16 + register * 4;
    Place {
        unit: column / GROUP * n.div_ceil(16) + row / 16,
        byte: half * 512 + lane * 16 + step * 4 + bit / 8,
        shift: bit % 8,
        scale: CODE_BYTES + (eight * 2 + high_row) * 2,
    }
}

impl W4 {
    /// Quantises `[n, k]`: a group's scale is its largest magnitude over 7, rounded to bf16; codes are rounded to the nearest, ties to
    /// even, with that rounded scale.
    ///
    /// # Panics
    /// If the sizes do not fit, or a weight is not finite.
    pub fn quantise(weights: &[f32], n: usize, k: usize) -> Self {
        assert!(
            k.is_multiple_of(GROUP) && weights.len() == n * k,
            "{} weights are no [{n}, {k}] in groups of {GROUP}",
            weights.len()
        );
        let (mut codes, mut scales) = (Vec::with_capacity(n * k), Vec::new());
        for group in weights.chunks_exact(GROUP) {
            assert!(
                group.iter().all(|w| w.is_finite()),
                "a weight is not finite"
            );
            let most = group.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
            let scale = bf16::from_f32(most / 7.0);
            // A GPU takes subnormal scales for zero; so does this.
            let normal = scale >= bf16::MIN_POSITIVE;
            let scale = if normal { scale } else { bf16::ZERO };
            scales.push(scale.to_bits());
            codes.extend(group.iter().map(|w| {
                if !normal {
                    return 8;
                }
                ((w / scale.to_f32()).round_ties_even().clamp(-8.0, 7.0) + 8.0) as u8
            }));
        }
        Self {
            n,
            k,
            codes,
            scales,
        }
    }

    /// [`quantise`](Self::quantise) from the bits of bf16.
    ///
    /// # Panics
    /// As there.
    pub fn quantise_bf16(weights: &[u16], n: usize, k: usize) -> Self {
        let wide = weights.iter().map(|bits| bf16::from_bits(*bits).to_f32());
        Self::quantise(&wide.collect::<Vec<_>>(), n, k)
    }

    /// The weight that the code at `row` and `column` stands for.
    pub fn weight(&self, row: usize, column: usize) -> f64 {
        let code = self.codes[row * self.k + column];
        let scale = self.scales[row * (self.k / GROUP) + column / GROUP];
        (f64::from(code) - 8.0) * bf16::from_bits(scale).to_f64()
    }

    /// The form that the kernel reads.
    pub fn pack(&self) -> Vec<u8> {
        let mut packed = vec![0; packed_bytes(self.n, self.k)];
        for row in 0..self.n {
            for column in 0..self.k {
                let at = place(row, column, self.n);
                let unit = &mut packed[at.unit * UNIT_BYTES..][..UNIT_BYTES];
                unit[at.byte] |= self.codes[row * self.k + column] << at.shift;
                if column % GROUP == 0 {
                    let scale = self.scales[row * (self.k / GROUP) + column / GROUP];
                    unit[at.scale..at.scale + 2].copy_from_slice(&scale.to_le_bytes());
                }
            }
        }
        packed
    }

    /// Takes the packed form of `[n, k]` apart again.
    ///
    /// # Panics
    /// If it has another length.
    pub fn unpack(packed: &[u8], n: usize, k: usize) -> Self {
        assert_eq!(
            packed.len(),
            packed_bytes(n, k),
            "bytes of a packed [{n}, {k}]"
        );
        let (mut codes, mut scales) = (Vec::with_capacity(n * k), Vec::new());
        for row in 0..n {
            for column in 0..k {
                let at = place(row, column, n);
                let unit = &packed[at.unit * UNIT_BYTES..][..UNIT_BYTES];
                codes.push(unit[at.byte] >> at.shift & 15);
                if column % GROUP == 0 {
                    scales.push(u16::from_le_bytes([unit[at.scale], unit[at.scale + 1]]));
                }
            }
        }
        Self {
            n,
            k,
            codes,
            scales,
        }
    }
}
