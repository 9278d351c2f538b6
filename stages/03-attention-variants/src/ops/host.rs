//! Host memory behind the two devices that run on a CPU.

use super::NormKind;
use crate::step::StepInputs;

/// Activations in f32, row-major.
#[derive(Debug)]
pub struct HostTensor {
    /// `capacity * cols` numbers, of which the first `rows * cols` are meant.
    data: Vec<f32>,
    rows: usize,
    cols: usize,
}

impl HostTensor {
    /// A tensor with room for `capacity` rows of `cols`, with no row yet. It is filled with NaN, so that reading what no
    /// operation wrote shows.
    pub fn new(capacity: usize, cols: usize) -> Self {
        Self {
            data: vec![f32::NAN; capacity * cols],
            rows: 0,
            cols,
        }
    }

    /// Rows in use.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers in a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Rows that there is room for.
    pub fn capacity(&self) -> usize {
        self.data.len().checked_div(self.cols).unwrap_or(0)
    }

    /// The rows in use, `[rows, cols]`.
    pub fn values(&self) -> &[f32] {
        &self.data[..self.rows * self.cols]
    }

    /// The rows in use, to write.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.data[..self.rows * self.cols]
    }

    /// Row `index`.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values()[index * self.cols..][..self.cols]
    }

    /// Sets the rows in use and returns them to be written.
    ///
    /// # Panics
    /// If `rows` is over the capacity.
    pub fn resize(&mut self, rows: usize) -> &mut [f32] {
        assert!(
            rows * self.cols <= self.data.len(),
            "{rows} rows do not fit"
        );
        self.rows = rows;
        self.values_mut()
    }

    /// Moves the rows `rows`, which ascend, to the beginning, and keeps no other.
    pub(super) fn keep_rows(&mut self, rows: &[u32]) {
        let cols = self.cols;
        let values = self.values_mut();
        for (to, &from) in rows.iter().enumerate() {
            let from = from as usize * cols;
            values.copy_within(from..from + cols, to * cols);
        }
        self.resize(rows.len());
    }
}

/// A norm's parameters.
#[derive(Debug)]
pub struct HostNorm {
    /// RMS or layer.
    pub kind: NormKind,
    /// Scale, `[width]`.
    pub weight: Vec<f32>,
    /// Shift, `[width]`.
    pub bias: Option<Vec<f32>>,
    /// Added to the mean square or the variance.
    pub eps: f32,
}

impl HostNorm {
    /// Normalises one vector.
    pub fn apply(&self, out: &mut [f32], x: &[f32]) {
        match self.kind {
            NormKind::Rms => crate::norm::rms_norm(out, x, &self.weight, self.eps),
            NormKind::Layer => {
                crate::norm::layer_norm(out, x, &self.weight, self.bias.as_deref(), self.eps)
            }
        }
    }

    /// RMS-normalises a vector where it lies (the head norms, which are never layer norms).
    pub fn apply_rms_in_place(&self, x: &mut [f32]) {
        let factor = crate::norm::rms_factor(x, self.eps);
        for (x, weight) in x.iter_mut().zip(&self.weight) {
            *x *= factor * weight;
        }
    }
}

/// A linear layer, its weight in the form of the device's arithmetic.
#[derive(Debug)]
pub struct HostLinear<W> {
    /// `[out, in]`.
    pub weight: W,
    /// `[out]`.
    pub bias: Option<Vec<f32>>,
}

/// The batch of the current step, owned.
#[derive(Debug, Default)]
pub struct Step {
    /// See [`StepInputs`].
    pub tokens: Vec<u32>,
    /// See [`StepInputs`].
    pub positions: Vec<u32>,
    /// See [`StepInputs`].
    pub slots: Vec<u32>,
    /// See [`StepInputs`].
    pub query_starts: Vec<u32>,
    /// See [`StepInputs`].
    pub block_tables: Vec<u32>,
    /// See [`StepInputs`].
    pub blocks_per_sequence: usize,
    /// See [`StepInputs`].
    pub block_copies: Vec<(u32, u32)>,
    /// See [`StepInputs`].
    pub outputs: Vec<u32>,
    /// The sequence that each token belongs to, `[tokens]`.
    pub sequences: Vec<u32>,
}

impl Step {
    /// Takes the inputs of a step, reusing what was allocated for the last.
    pub fn set(&mut self, inputs: &StepInputs<'_>) {
        fn refill<T: Copy>(to: &mut Vec<T>, from: &[T]) {
            to.clear();
            to.extend_from_slice(from);
        }
        refill(&mut self.tokens, inputs.tokens);
        refill(&mut self.positions, inputs.positions);
        refill(&mut self.slots, inputs.slots);
        refill(&mut self.query_starts, inputs.query_starts);
        refill(&mut self.block_tables, inputs.block_tables);
        refill(&mut self.block_copies, inputs.block_copies);
        assert!(
            inputs.outputs.is_sorted_by(|row, next| row < next),
            "outputs do not ascend"
        );
        refill(&mut self.outputs, inputs.outputs);
        self.blocks_per_sequence = inputs.blocks_per_sequence;
        self.sequences.clear();
        for (sequence, range) in inputs.query_starts.windows(2).enumerate() {
            self.sequences
                .extend((range[0]..range[1]).map(|_| sequence as u32));
        }
    }

    /// The page table of the sequence that `token` (a row of the batch) belongs to.
    pub fn block_table(&self, token: usize) -> &[u32] {
        &self.block_tables[self.sequences[token] as usize * self.blocks_per_sequence..]
            [..self.blocks_per_sequence]
    }

    /// Positions that `token` sees: those of its own sequence up to itself, the window back.
    pub fn visible(&self, token: usize, window: Option<usize>) -> std::ops::Range<usize> {
        let end = self.positions[token] as usize + 1;
        end.saturating_sub(window.unwrap_or(end))..end
    }
}

/// `out += x`.
pub(super) fn add(out: &mut [f32], x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += x;
    }
}
