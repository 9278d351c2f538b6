//! GGML's element types: their numbers in a file, names, and how many bytes a block of them takes.

/// The types that load. Sizes are those of ggml-common.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hf) enum GgmlType {
    /// `w = d (q - 8)`, 32 a block.
    Q4_0,
    /// `w = d q + m`, 32 a block.
    Q4_1,
    /// `w = d (q - 16)` with 5 bits, 32 a block.
    Q5_0,
    /// `w = d q + m` with 5 bits, 32 a block.
    Q5_1,
    /// `w = d q`, 32 a block.
    Q8_0,
    /// `w = d sc q - dmin m`: 256 a block, in 8 parts with a 6-bit `sc` and `m` each.
    Q4K,
    /// The same with 5 bits.
    Q5K,
    /// `w = d sc (q - 32)`: 256 a block, in 16 parts with an 8-bit `sc` each.
    Q6K,
}

/// Names by the number in a file, `None` where a number is free. Those that are not of [`layout`] do not load.
const NAMES: [Option<&str>; 42] = {
    let mut names = [None; 42];
    names[0] = Some("F32");
    names[1] = Some("F16");
    names[2] = Some("Q4_0");
    names[3] = Some("Q4_1");
    names[6] = Some("Q5_0");
    names[7] = Some("Q5_1");
    names[8] = Some("Q8_0");
    names[9] = Some("Q8_1");
    names[10] = Some("Q2_K");
    names[11] = Some("Q3_K");
    names[12] = Some("Q4_K");
    names[13] = Some("Q5_K");
    names[14] = Some("Q6_K");
    names[15] = Some("Q8_K");
    names[16] = Some("IQ2_XXS");
    names[17] = Some("IQ2_XS");
    names[18] = Some("IQ3_XXS");
    names[19] = Some("IQ1_S");
    names[20] = Some("IQ4_NL");
    names[21] = Some("IQ3_S");
    names[22] = Some("IQ2_S");
    names[23] = Some("IQ4_XS");
    names[24] = Some("I8");
    names[25] = Some("I16");
    names[26] = Some("I32");
    names[27] = Some("I64");
    names[28] = Some("F64");
    names[29] = Some("IQ1_M");
    names[30] = Some("BF16");
    names[34] = Some("TQ1_0");
    names[35] = Some("TQ2_0");
    names[39] = Some("MXFP4");
    names[40] = Some("NVFP4");
    names
};

/// The name of type `number`, where the format has one.
pub(super) fn name(number: u32) -> Option<&'static str> {
    *NAMES.get(number as usize)?
}

/// `(elements, bytes)` of a block of a type that loads.
pub(super) fn layout(name: &str) -> Option<(usize, usize)> {
    match name {
        "F32" => Some((1, 4)),
        "F16" | "BF16" => Some((1, 2)),
        _ => GgmlType::from_name(name).map(|kind| (kind.elements(), kind.bytes())),
    }
}

impl GgmlType {
    /// By its name.
    pub(in crate::hf) fn from_name(name: &str) -> Option<Self> {
        match name {
            "Q4_0" => Some(Self::Q4_0),
            "Q4_1" => Some(Self::Q4_1),
            "Q5_0" => Some(Self::Q5_0),
            "Q5_1" => Some(Self::Q5_1),
            "Q8_0" => Some(Self::Q8_0),
            "Q4_K" => Some(Self::Q4K),
            "Q5_K" => Some(Self::Q5K),
            "Q6_K" => Some(Self::Q6K),
            _ => None,
        }
    }

    /// Elements of a block, all in one row.
    pub(super) fn elements(self) -> usize {
        match self {
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
            _ => 32,
        }
    }

    /// Bytes of a block.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 2 + 16,
            Self::Q4_1 => 2 + 2 + 16,
            Self::Q5_0 => 2 + 4 + 16,
            Self::Q5_1 => 2 + 2 + 4 + 16,
            Self::Q8_0 => 2 + 32,
            Self::Q4K => 2 + 2 + 12 + 128,
            Self::Q5K => 2 + 2 + 12 + 32 + 128,
            Self::Q6K => 128 + 64 + 16 + 2,
        }
    }
}
