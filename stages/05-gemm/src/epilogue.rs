//! What a product does with its sums before they leave the chip: each saves a launch and a trip of C to memory and back.

use crate::config::Config;
use crate::problem::Element;
use kernels::Values;

/// A fused epilogue; `kernels/include/epilogue.h` says how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Epilogue {
    /// Nothing: `C`.
    #[default]
    None,
    /// `C + bias`, a bf16 for each column.
    Bias,
    /// `gelu(C + bias)`, the form with tanh.
    BiasGelu,
    /// `C + R`, as large as C in bf16, and perhaps C's own memory.
    Residual,
    /// `silu(gate) · up`, of weights whose rows are [interleaved](interleaved_row): half as many columns.
    SiluMul,
    /// e4m3 of `C / out_scale[0]`.
    E4m3,
    /// s8 of `C / out_scale[row]`, limited to ±127.
    Int8,
}

/// Rows of gate, and then of up, that lie together for [`Epilogue::SiluMul`].
pub const INTERLEAVE: usize = 8;

/// Where row `row` of gate (`up`: of up) lies in the weight for [`Epilogue::SiluMul`].
pub fn interleaved_row(row: usize, up: bool) -> usize {
    row / INTERLEAVE * 2 * INTERLEAVE + usize::from(up) * INTERLEAVE + row % INTERLEAVE
}

impl Epilogue {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Bias,
        Self::BiasGelu,
        Self::Residual,
        Self::SiluMul,
        Self::E4m3,
        Self::Int8,
    ];

    /// Columns of the result where the weight has `n` rows.
    pub fn columns(self, n: usize) -> usize {
        if self == Self::SiluMul { n / 2 } else { n }
    }

    /// Bytes of an element of the result.
    pub fn bytes(self) -> usize {
        match self {
            Self::E4m3 | Self::Int8 => 1,
            _ => 2,
        }
    }

    /// Whether the epilogue can follow a tile of the configuration: it divides into the pieces that are stored at a time, and what is read
    /// beside the sums fits into registers.
    pub fn suits(self, config: &Config) -> bool {
        let tallest = match self {
            Self::Bias | Self::BiasGelu => 128,
            Self::Residual => 160,
            _ => 192,
        };
        let divides = self != Self::SiluMul || config.swap || config.share().is_multiple_of(32);
        divides && (config.height() == 1 || config.bq <= tallest)
    }

    /// The kernel's parameters.
    pub fn parameters(self, config: &Config, element: Element) -> Values {
        let mut values = config.parameters(element);
        // Without SWAP, a piece of SiLU takes columns from twice its width, which must divide the tile.
        let columns = match self {
            Self::SiluMul if !config.swap => [64, 32, 16]
                .into_iter()
                .filter(|columns| *columns <= config.store_columns())
                .find(|columns| config.share().is_multiple_of(2 * columns))
                .expect("a suitable tile has pairs of 16 columns"),
            _ => config.store_columns(),
        };
        values.insert("EPILOGUE".to_owned(), self as i64);
        values.insert("CQ".to_owned(), columns as i64);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CONFIGS;

    #[test]
    fn every_row_of_gate_and_up_has_a_place() {
        let mut places: Vec<usize> = (0..40)
            .flat_map(|row| [interleaved_row(row, false), interleaved_row(row, true)])
            .collect();
        assert_eq!(interleaved_row(9, false), 17);
        places.sort_unstable();
        assert!(places.iter().copied().eq(0..80));
    }

    #[test]
    fn pieces_divide_every_tile() {
        for config in CONFIGS {
            for epilogue in Epilogue::ALL.into_iter().filter(|e| e.suits(config)) {
                let values = epilogue.parameters(config, Element::Bf16);
                let wide = epilogue == Epilogue::SiluMul && !config.swap;
                let span = values["CQ"] as usize * if wide { 2 } else { 1 };
                assert_eq!(config.share() % span, 0, "{config:?} {epilogue:?}");
            }
        }
    }
}
