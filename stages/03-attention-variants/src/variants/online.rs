//! The softmax in one pass, run by run (Milakov and Gimelshein, 2018): what lets attention forget its scores as it goes.
//!
//! `exp(x - max)` needs the maximum, which is known only at the end. But weights relative to an earlier, smaller maximum are off by one
//! factor, the same for all of them: when a larger maximum comes, everything that was summed up so far is rescaled by it.

/// A softmax over scores that come in runs. Invariant: `sum` is the sum of `exp(score - max)` over all scores so far.
#[derive(Clone, Copy, Debug)]
pub struct OnlineSoftmax {
    /// The largest score so far.
    pub max: f32,
    /// The sum of the weights so far, relative to `max`.
    pub sum: f32,
}

impl Default for OnlineSoftmax {
    fn default() -> Self {
        Self {
            max: f32::NEG_INFINITY,
            sum: 0.0,
        }
    }
}

impl OnlineSoftmax {
    /// Turns a run of scores into weights where they lie, and says by which factor everything that was mixed with earlier weights
    /// must be scaled first. Scores of minus infinity get a weight of zero.
    #[inline(always)]
    pub fn absorb(&mut self, scores: &mut [f32]) -> f32 {
        // ANCHOR: solve-online-softmax
        let max = scores.iter().copied().fold(self.max, f32::max);
        // The maximum passes NaN over; what is not a number must not be taken for masked.
        if max == f32::NEG_INFINITY && !scores.iter().any(|score| score.is_nan()) {
            scores.fill(0.0);
            return 1.0; // nothing has been seen yet, and minus infinity less itself is no number
        }
        let rescale = (self.max - max).exp();
        self.sum *= rescale;
        self.max = max;
        for score in scores {
            *score = (*score - max).exp();
            self.sum += *score;
        }
        rescale
        // ANCHOR_END: solve-online-softmax
    }
}
