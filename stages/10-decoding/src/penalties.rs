//! Adjustments of single logits: bias, suppression and the three penalties.

use crate::{SamplingParams, TokenHistory};

/// Applies everything that changes single logits.
pub(crate) fn adjust(
    logits: &mut [f32],
    params: &SamplingParams,
    history: &TokenHistory,
    suppressed: &[u32],
) {
    for &(token, bias) in &params.logit_bias {
        logits[token as usize] += bias;
    }
    if params.repetition_penalty != 1.0 {
        penalise_repetition(logits, params.repetition_penalty, history);
    }
    if params.presence_penalty != 0.0 || params.frequency_penalty != 0.0 {
        penalise_generated(
            logits,
            params.presence_penalty,
            params.frequency_penalty,
            history,
        );
    }
    for &token in suppressed {
        logits[token as usize] = f32::NEG_INFINITY;
    }
}

/// The penalty of CTRL (Keskar et al., 2019): a seen token's logit loses a factor, whichever its sign.
fn penalise_repetition(logits: &mut [f32], penalty: f32, history: &TokenHistory) {
    for token in history.seen() {
        let logit = &mut logits[token as usize];
        *logit = if *logit > 0.0 {
            *logit / penalty
        } else {
            *logit * penalty
        };
    }
}

/// OpenAI's penalties: `logit - presence * [count > 0] - frequency * count`, over the output alone.
fn penalise_generated(logits: &mut [f32], presence: f32, frequency: f32, history: &TokenHistory) {
    for (token, count) in history.generated() {
        logits[token as usize] -= presence + frequency * count as f32;
    }
}
