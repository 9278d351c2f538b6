//! What calibration keeps of a linear layer's inputs, however many tokens there were.

/// Tokens whose products are added to the Gram matrix together, so that they stay in a cache.
const TOKENS: usize = 64;

/// Statistics of the inputs `[tokens, cols]` of a linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    cols: usize,
    tokens: usize,
    /// `Σ x xᵀ`, `[cols, cols]`; only the lower triangle is kept up to date.
    gram: Vec<f64>,
    /// `max |x|` of each channel.
    largest: Vec<f32>,
    /// `Σ |x|` of each channel.
    magnitude: Vec<f64>,
}

impl Inputs {
    /// Of no token yet.
    pub fn new(cols: usize) -> Self {
        Self {
            cols,
            tokens: 0,
            gram: vec![0.0; cols * cols],
            largest: vec![0.0; cols],
            magnitude: vec![0.0; cols],
        }
    }

    /// Of these tokens, `[tokens, cols]`.
    ///
    /// # Panics
    /// As [`Inputs::add`].
    pub fn of(x: &[f32], cols: usize) -> Self {
        let mut inputs = Self::new(cols);
        inputs.add(x);
        inputs
    }

    /// Takes more tokens, `[tokens, cols]`.
    ///
    /// # Panics
    /// If `x` is not of whole rows.
    pub fn add(&mut self, x: &[f32]) {
        let cols = self.cols;
        assert!(cols > 0 && x.len().is_multiple_of(cols), "rows of {cols}");
        self.tokens += x.len() / cols;
        for row in x.chunks_exact(cols) {
            for (j, &value) in row.iter().enumerate() {
                self.largest[j] = self.largest[j].max(value.abs());
                self.magnitude[j] += f64::from(value.abs());
            }
        }
        for tokens in x.chunks(TOKENS * cols) {
            for i in 0..cols {
                let sums = &mut self.gram[i * cols..][..=i];
                // Four tokens at a time: a sum is loaded and stored once for all of them.
                let fours = tokens.chunks_exact(4 * cols);
                let rest = fours.remainder();
                for four in fours {
                    let rows: [&[f32]; 4] = std::array::from_fn(|at| &four[at * cols..][..=i]);
                    let factors = rows.map(|row| f64::from(row[i]));
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum += (factors[0] * f64::from(rows[0][j])
                            + factors[1] * f64::from(rows[1][j]))
                            + (factors[2] * f64::from(rows[2][j])
                                + factors[3] * f64::from(rows[3][j]));
                    }
                }
                for row in rest.chunks_exact(cols) {
                    let factor = f64::from(row[i]);
                    for (sum, &value) in sums.iter_mut().zip(row) {
                        *sum += factor * f64::from(value);
                    }
                }
            }
        }
    }

    /// Input channels.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Tokens seen.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// `Σ x[i] x[j]` over the tokens.
    pub fn gram(&self, i: usize, j: usize) -> f64 {
        self.gram[i.max(j) * self.cols + i.min(j)]
    }

    /// `max |x|` of each channel, `[cols]`.
    pub fn largest(&self) -> &[f32] {
        &self.largest
    }

    /// Mean `|x|` of each channel, `[cols]`; zeros of no token.
    pub fn mean_magnitude(&self) -> Vec<f32> {
        let tokens = self.tokens.max(1) as f64;
        let mean = |sum: &f64| (sum / tokens) as f32;
        self.magnitude.iter().map(mean).collect()
    }

    /// The inputs that these become when channel `j` is divided by `scales[j]`.
    ///
    /// # Panics
    /// If there is not one scale a channel.
    pub fn divided(&self, scales: &[f32]) -> Self {
        assert_eq!(scales.len(), self.cols, "a scale for each channel");
        let mut divided = self.clone();
        for (i, &by) in scales.iter().enumerate() {
            divided.largest[i] /= by;
            divided.magnitude[i] /= f64::from(by);
            for (j, &other) in scales.iter().enumerate().take(i + 1) {
                divided.gram[i * self.cols + j] /= f64::from(by) * f64::from(other);
            }
        }
        divided
    }

    /// `‖(W - Ŵ) Xᵀ‖²`: the squared error of all outputs over all tokens, of weights `[rows, cols]`.
    ///
    /// # Panics
    /// If the two matrices differ in size or are not of whole rows.
    pub fn output_error(&self, wanted: &[f32], got: &[f32]) -> f64 {
        assert_eq!(wanted.len(), got.len(), "matrices of one size");
        assert!(wanted.len().is_multiple_of(self.cols), "whole rows");
        let rows = wanted
            .chunks_exact(self.cols)
            .zip(got.chunks_exact(self.cols));
        rows.map(|(wanted, got)| {
            let off: Vec<f64> = wanted
                .iter()
                .zip(got)
                .map(|(w, g)| f64::from(*w) - f64::from(*g))
                .collect();
            self.quadratic(&off, 0)
        })
        .sum()
    }

    /// `dᵀ G d`, `d` lying at columns `first..`: the squared error of one output whose weights there are off by `d`.
    pub(super) fn quadratic(&self, off: &[f64], first: usize) -> f64 {
        let row = |i: usize| {
            let row = &self.gram[(first + i) * self.cols + first..][..=i];
            // The triangle holds each pair once and the diagonal once.
            off[i] * (2.0 * super::linear_algebra::dot(row, &off[..=i]) - row[i] * off[i])
        };
        // A sum of squares; rounding may leave it just below zero.
        (0..off.len()).map(row).sum::<f64>().max(0.0)
    }
}
