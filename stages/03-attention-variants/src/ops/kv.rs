//! One layer's paged KV cache in host memory, in f32, f16 or int8.
//!
//! Keys lie transposed within a block, `[block, key_width, block_size]`: a vector holds one dimension of consecutive positions, so that
//! the scores of as many keys are computed with no sum across lanes. Values lie by slot, `[slot, value_width]`, as the sum over
//! positions wants them. Whichever the type, what is stored is rounded once, when it is written, and read exactly.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// How a cache stores its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// As they were computed.
    #[default]
    F32,
    /// Half precision: at most 65504, 11 significant bits.
    F16,
    /// Signed bytes, times a scale that each [`SCALED`] neighbouring numbers of a slot share.
    Int8,
}

/// Numbers of a slot that share a scale.
pub const SCALED: usize = 32;

impl KvType {
    /// Bytes that `width` numbers of a slot take, their scales among them.
    pub fn bytes(self, width: usize) -> usize {
        match self {
            Self::F32 => 4 * width,
            Self::F16 => 2 * width,
            Self::Int8 => width + 4 * width.div_ceil(SCALED),
        }
    }
}

impl std::str::FromStr for KvType {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "int8" => Ok(Self::Int8),
            _ => Err("one of f32, f16 and int8".to_owned()),
        }
    }
}

/// The numbers of a cache's half, and what they must be multiplied by.
#[derive(Debug)]
pub(super) enum Numbers {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Int8 { codes: Vec<i8>, scales: Vec<f32> },
}

impl Numbers {
    /// Room for `slots` of `width` numbers, none of which is a number yet.
    fn new(kind: KvType, slots: usize, width: usize) -> Self {
        match kind {
            KvType::F32 => Self::F32(vec![f32::NAN; slots * width]),
            KvType::F16 => Self::F16(vec![f16::NAN; slots * width]),
            KvType::Int8 => Self::Int8 {
                codes: vec![1; slots * width],
                scales: vec![f32::NAN; slots * width.div_ceil(SCALED)],
            },
        }
    }

    /// Writes a slot: number `i` of `row` goes to `at(i)`, the scale of the `g`-th [`SCALED`] numbers to `scale_at(g)`.
    fn write(&mut self, row: &[f32], at: Stride, scale_at: Stride) {
        match self {
            Self::F32(numbers) => {
                for (i, x) in row.iter().enumerate() {
                    numbers[at.of(i)] = *x;
                }
            }
            Self::F16(numbers) => {
                // A few at a time: the instruction that rounds takes eight, and asking for it takes longer than it does.
                let mut rounded = [f16::ZERO; 64];
                for (first, part) in row.chunks(rounded.len()).enumerate() {
                    let rounded = &mut rounded[..part.len()];
                    rounded.convert_from_f32_slice(part);
                    for (i, x) in rounded.iter().enumerate() {
                        numbers[at.of(first * 64 + i)] = *x;
                    }
                }
            }
            Self::Int8 { codes, scales } => {
                for (g, group) in row.chunks(SCALED).enumerate() {
                    // Folded so that what is not a number reaches the scale and is read back as none.
                    let largest = group.iter().fold(0.0f32, |largest, x| {
                        if x.abs() <= largest { largest } else { x.abs() }
                    });
                    let scale = largest / 127.0;
                    scales[scale_at.of(g)] = scale;
                    let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
                    for (i, x) in group.iter().enumerate() {
                        codes[at.of(g * SCALED + i)] = (x * inverse).round_ties_even() as i8;
                    }
                }
            }
        }
    }

    fn read(&self, at: usize, scale_at: usize) -> f32 {
        match self {
            Self::F32(numbers) => numbers[at],
            Self::F16(numbers) => numbers[at].to_f32(),
            Self::Int8 { codes, scales } => f32::from(codes[at]) * scales[scale_at],
        }
    }

    /// Copies a block: `numbers` of them, and `scales`.
    fn copy(&mut self, (from, to): (usize, usize), numbers: usize, scales: usize) {
        fn copy<T: Copy>(data: &mut [T], from: usize, to: usize, len: usize) {
            data.copy_within(from * len..(from + 1) * len, to * len);
        }
        match self {
            Self::F32(data) => copy(data, from, to, numbers),
            Self::F16(data) => copy(data, from, to, numbers),
            Self::Int8 {
                codes,
                scales: data,
            } => {
                copy(codes, from, to, numbers);
                copy(data, from, to, scales);
            }
        }
    }
}

/// Places `start`, `start + step`, and so on.
#[derive(Clone, Copy)]
struct Stride {
    start: usize,
    step: usize,
}

impl Stride {
    fn of(self, index: usize) -> usize {
        self.start + index * self.step
    }
}

/// One layer's paged cache.
#[derive(Debug)]
pub struct HostKv {
    pub(super) keys: Numbers,
    /// Empty where values are the first part of the keys.
    pub(super) values: Numbers,
    /// Numbers a key slot holds.
    pub key_width: usize,
    /// Numbers a value slot holds.
    pub value_width: usize,
    /// Slots in a block.
    pub block_size: usize,
    /// Slots in all.
    pub slots: usize,
    /// Room for a key on its way to the cache, `[key_width]`.
    pub(super) row: Vec<f32>,
}

impl HostKv {
    /// A cache of `blocks * block_size` slots, in which nothing is a number yet.
    pub fn new(
        kind: KvType,
        blocks: usize,
        block_size: usize,
        key_width: usize,
        value_width: usize,
    ) -> Self {
        let slots = blocks * block_size;
        Self {
            keys: Numbers::new(kind, slots, key_width),
            values: Numbers::new(kind, slots, value_width),
            key_width,
            value_width,
            block_size,
            slots,
            row: vec![f32::NAN; key_width],
        }
    }

    /// Writes a token's key `[key_width]` and value `[value_width]` to its slot.
    pub fn store(&mut self, slot: usize, key: &[f32], value: &[f32]) {
        assert_eq!((key.len(), value.len()), (self.key_width, self.value_width));
        let in_block = |width: usize| Stride {
            start: slot / self.block_size * self.block_size * width + slot % self.block_size,
            step: self.block_size,
        };
        let groups = self.key_width.div_ceil(SCALED);
        self.keys
            .write(key, in_block(self.key_width), in_block(groups));
        let in_slot = |width: usize| Stride {
            start: slot * width,
            step: 1,
        };
        let groups = self.value_width.div_ceil(SCALED);
        self.values
            .write(value, in_slot(self.value_width), in_slot(groups));
    }

    /// Number `column` of the key in `slot`.
    pub fn key(&self, slot: usize, column: usize) -> f32 {
        let (block, offset) = (slot / self.block_size, slot % self.block_size);
        let at = |column: usize, width: usize| (block * width + column) * self.block_size + offset;
        let scale = at(column / SCALED, self.key_width.div_ceil(SCALED));
        self.keys.read(at(column, self.key_width), scale)
    }

    /// Number `column` of the value in `slot`: of the key, where values are a part of the keys.
    pub fn value(&self, slot: usize, column: usize) -> f32 {
        if self.value_width == 0 {
            return self.key(slot, column);
        }
        let scale = slot * self.value_width.div_ceil(SCALED) + column / SCALED;
        self.values.read(slot * self.value_width + column, scale)
    }

    /// Copies whole blocks.
    pub fn copy_blocks(&mut self, copies: &[(u32, u32)]) {
        for (data, width) in [
            (&mut self.keys, self.key_width),
            (&mut self.values, self.value_width),
        ] {
            let (numbers, scales) = (
                self.block_size * width,
                self.block_size * width.div_ceil(SCALED),
            );
            for &(from, to) in copies {
                data.copy((from as usize, to as usize), numbers, scales);
            }
        }
    }
}
