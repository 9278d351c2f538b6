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
    let penalised = params.repetition_penalty != 1.0
        || params.presence_penalty != 0.0
        || params.frequency_penalty != 0.0;
    if penalised {
        penalise(logits, params, history);
    }
    for &token in suppressed {
        logits[token as usize] = f32::NEG_INFINITY;
    }
}

/// The penalty of CTRL (Keskar et al., 2019) over prompt and output: a seen token's logit moves down by a factor, whichever its sign.
/// Then OpenAI's over the output alone: `logit - presence * [count > 0] - frequency * count`.
fn penalise(logits: &mut [f32], params: &SamplingParams, history: &TokenHistory) {
    // ANCHOR: solve-penalties
    for token in history.seen() {
        let logit = &mut logits[token as usize];
        *logit = if *logit > 0.0 {
            *logit / params.repetition_penalty
        } else {
            *logit * params.repetition_penalty
        };
    }
    for (token, count) in history.generated() {
        let frequency = params.frequency_penalty * count as f32;
        logits[token as usize] -= params.presence_penalty + frequency;
    }
    // ANCHOR_END: solve-penalties
}
