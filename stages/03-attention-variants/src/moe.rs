//! Mixture of experts: which experts a token visits, and with what weight.

use crate::activation::softmax;
use crate::config::{Moe, Scoring};

/// Chooses one token's experts from the router's outputs `logits` `[experts]`, which become the scores.
///
/// Writes the chosen experts, best first, and their weights (`[top_k]` each). `bias` `[experts]` is added to the scores for the
/// choice and does not enter the weights (DeepSeek-V3's balancing without a loss). Ties go to the lower expert. `choice`
/// `[experts]` is room to work in: this runs for every token of every step, which allocates nothing.
pub fn route(
    logits: &mut [f32],
    choice: &mut [f32],
    bias: Option<&[f32]>,
    moe: &Moe,
    experts: &mut [u32],
    weights: &mut [f32],
) {
    // ANCHOR: solve-experts
    score(logits, moe.scoring);
    let scores = &*logits;
    let worth = |expert: usize| scores[expert] + bias.map_or(0.0, |bias| bias[expert]);
    choose_groups(choice, worth, moe);
    for (expert, weight) in experts.iter_mut().zip(weights.iter_mut()) {
        let best = argmax(choice);
        choice[best] = f32::NEG_INFINITY;
        (*expert, *weight) = (best as u32, scores[best]);
    }
    weigh(weights, moe);
    // ANCHOR_END: solve-experts
}

fn score(logits: &mut [f32], scoring: Scoring) {
    match scoring {
        Scoring::Softmax => softmax(logits),
        Scoring::SigmoidWithBias => logits
            .iter_mut()
            .for_each(|x| *x = 1.0 / (1.0 + (-*x).exp())),
    }
}

/// Fills `choice` with what each expert is worth, and with `-inf` outside the best `top_groups` groups. Groups are few, so each
/// is simply compared with all others.
fn choose_groups(choice: &mut [f32], worth: impl Fn(usize) -> f32, moe: &Moe) {
    let size = choice.len() / moe.groups;
    let group_worth =
        |group: usize| group_score((group * size..(group + 1) * size).map(&worth), moe.scoring);
    for (group, choice) in choice.chunks_exact_mut(size).enumerate() {
        let own = group_worth(group);
        let ahead = |other: usize| {
            let theirs = group_worth(other);
            theirs > own || (theirs == own && other < group)
        };
        let kept = moe.top_groups == moe.groups
            || (0..moe.groups).filter(|other| ahead(*other)).count() < moe.top_groups;
        for (offset, choice) in choice.iter_mut().enumerate() {
            *choice = if kept {
                worth(group * size + offset)
            } else {
                f32::NEG_INFINITY
            };
        }
    }
}

/// A group is as good as its best expert, or in DeepSeek-V3 as its best two together.
fn group_score(group: impl Iterator<Item = f32>, scoring: Scoring) -> f32 {
    let mut best = [f32::NEG_INFINITY; 2];
    for score in group {
        if score > best[0] {
            best = [score, best[0]];
        } else if score > best[1] {
            best[1] = score;
        }
    }
    match scoring {
        Scoring::Softmax => best[0],
        Scoring::SigmoidWithBias => best[0] + best[1],
    }
}

/// Renormalises and scales the chosen experts' scores.
fn weigh(weights: &mut [f32], moe: &Moe) {
    let divisor = if moe.renormalise {
        // DeepSeek-V3's guard against a sum of nothing.
        let guard = if moe.scoring == Scoring::SigmoidWithBias {
            1e-20
        } else {
            0.0
        };
        weights.iter().sum::<f32>() + guard
    } else {
        1.0
    };
    for weight in weights {
        *weight = *weight / divisor * moe.scale;
    }
}

/// Index of the largest; the first of equals, and 0 where nothing is larger than `-inf`.
fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}
