//! Keys and values of attention in 8 and 4 bits.
//!
//! A *slot* is what one head keeps of one token: `head_dim` numbers, which become codes and, behind them, their own scales. Nothing in
//! a slot depends on another, so that a cache grows token by token, and blocks of it can be shared, copied and dropped as they are.
//!
//! The invariant: scales are rounded up and offsets down, so that no number is clipped and each is off by half a step at most, as
//! long as it is within f16's range.

use crate::float::{E4M3, F16, Overflow};
use crate::integer::{pack, unpack};

/// Numbers of an int4 slot that share a scale and an offset.
pub const GROUP: usize = 32;

/// How a slot is stored. Scales and offsets are f16, the low byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvFormat {
    /// A code of 8 bits in two's complement for each number, then the scale.
    Int8,
    /// An e4m3 for each number, then the scale.
    E4m3,
    /// Codes 0 to 15, two in a byte, then for each [`GROUP`] numbers a scale and an offset: `scale · code + offset`. Keys have
    /// channels far from zero; an offset spares the codes between.
    Int4,
}

impl KvFormat {
    /// Bytes of a slot.
    pub const fn slot_bytes(self, head_dim: usize) -> usize {
        match self {
            Self::Int8 | Self::E4m3 => head_dim + 2,
            Self::Int4 => head_dim.div_ceil(2) + 4 * head_dim.div_ceil(GROUP),
        }
    }

    /// Stores `values`, `[head_dim]`.
    ///
    /// # Panics
    /// If the slot has not [`KvFormat::slot_bytes`].
    pub fn write(self, values: &[f32], slot: &mut [u8]) {
        assert_eq!(slot.len(), self.slot_bytes(values.len()), "bytes of a slot");
        let (codes, steps) = slot.split_at_mut(self.code_bytes(values.len()));
        let most = |values: &[f32]| values.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        match self {
            Self::Int8 => {
                let scale = store_up(most(values) / 127.0, steps);
                for (code, value) in codes.iter_mut().zip(values) {
                    *code = steps_of(*value, scale).clamp(-127.0, 127.0) as i8 as u8;
                }
            }
            Self::E4m3 => {
                let scale = store_up(most(values) / E4M3.largest(), steps);
                for (code, value) in codes.iter_mut().zip(values) {
                    let scaled = if scale == 0.0 { 0.0 } else { value / scale };
                    *code = E4M3.encode(scaled, Overflow::Saturate) as u8;
                }
            }
            Self::Int4 => {
                let groups = values.chunks(GROUP).zip(codes.chunks_mut(GROUP / 2));
                for ((group, codes), step) in groups.zip(steps.chunks_exact_mut(4)) {
                    let low = group.iter().copied().fold(f32::INFINITY, f32::min);
                    let high = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let offset = round_down(low);
                    step[2..]
                        .copy_from_slice(&F16.encode(offset, Overflow::Saturate).to_le_bytes());
                    let scale = store_up((high - offset) / 15.0, &mut step[..2]);
                    let code = |value: &f32| steps_of(value - offset, scale).clamp(0.0, 15.0) as u8;
                    codes.copy_from_slice(&pack(4, &group.iter().map(code).collect::<Vec<_>>()));
                }
            }
        }
    }

    /// What a slot stands for, into `values`, `[head_dim]`.
    ///
    /// # Panics
    /// If the slot has not [`KvFormat::slot_bytes`].
    pub fn read(self, slot: &[u8], values: &mut [f32]) {
        assert_eq!(slot.len(), self.slot_bytes(values.len()), "bytes of a slot");
        let (codes, steps) = slot.split_at(self.code_bytes(values.len()));
        match self {
            Self::Int8 => {
                let scale = load(steps);
                for (value, &code) in values.iter_mut().zip(codes) {
                    *value = scale * f32::from(code as i8);
                }
            }
            Self::E4m3 => {
                let scale = load(steps);
                for (value, &code) in values.iter_mut().zip(codes) {
                    *value = scale * E4M3.decode(u16::from(code));
                }
            }
            Self::Int4 => {
                let groups = values.chunks_mut(GROUP).zip(codes.chunks(GROUP / 2));
                for ((group, codes), step) in groups.zip(steps.chunks_exact(4)) {
                    let (scale, offset) = (load(step), load(&step[2..]));
                    let codes = unpack(4, codes, group.len());
                    for (value, code) in group.iter_mut().zip(codes) {
                        *value = scale * f32::from(code) + offset;
                    }
                }
            }
        }
    }

    /// `values` after a way through a slot.
    pub fn round_trip(self, values: &[f32]) -> Vec<f32> {
        let mut slot = vec![0; self.slot_bytes(values.len())];
        let mut back = vec![f32::NAN; values.len()];
        self.write(values, &mut slot);
        self.read(&slot, &mut back);
        back
    }

    const fn code_bytes(self, head_dim: usize) -> usize {
        match self {
            Self::Int8 | Self::E4m3 => head_dim,
            Self::Int4 => head_dim.div_ceil(2),
        }
    }
}

/// Attention of one query `[head_dim]` over keys and values `[tokens, head_dim]`, in f64: what a format is judged by.
pub fn attend(query: &[f32], keys: &[f32], values: &[f32]) -> Vec<f64> {
    let head_dim = query.len();
    let dot = |key: &[f32]| -> f64 {
        let product = |(&q, &k): (&f32, &f32)| f64::from(q) * f64::from(k);
        query.iter().zip(key).map(product).sum()
    };
    let root = (head_dim as f64).sqrt();
    let logits: Vec<f64> = keys
        .chunks_exact(head_dim)
        .map(|key| dot(key) / root)
        .collect();
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut out = vec![0.0; head_dim];
    for (weight, value) in weights.iter().zip(values.chunks_exact(head_dim)) {
        for (out, &value) in out.iter_mut().zip(value) {
            *out += weight / total * f64::from(value);
        }
    }
    out
}

/// `value` in steps of `scale`, rounded. A scale of 0 is that of zeros.
fn steps_of(value: f32, scale: f32) -> f32 {
    match scale {
        0.0 => 0.0,
        _ => (value / scale).round_ties_even(),
    }
}

/// Stores the least f16 that is at least `scale`, and returns it.
fn store_up(scale: f32, place: &mut [u8]) -> f32 {
    let scale = -round_down(-scale);
    place.copy_from_slice(&F16.encode(scale, Overflow::Saturate).to_le_bytes());
    scale
}

/// The largest f16 that is at most `value`; of what is below all, the least.
fn round_down(value: f32) -> f32 {
    let code = F16.encode(value, Overflow::Saturate);
    let nearest = F16.decode(code);
    if nearest <= value || nearest == -F16.largest() {
        return nearest;
    }
    // Codes grow with the magnitude. Below zero comes the least magnitude with a sign.
    F16.decode(match nearest {
        0.0 => 0x8001,
        nearest if nearest > 0.0 => code - 1,
        _ => code + 1,
    })
}

fn load(bytes: &[u8]) -> f32 {
    F16.decode(u16::from_le_bytes([bytes[0], bytes[1]]))
}
