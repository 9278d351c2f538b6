//! Mixture of experts: which experts a token visits, and with what weight.

use crate::activation::softmax;
use crate::config::{Moe, Scoring};

/// Chooses one token's experts from the router's outputs `logits` `[experts]`.
///
/// Writes the chosen experts, best first, and their weights (`[top_k]` each). `bias` `[experts]` is added to the scores for the
/// choice and does not enter the weights (DeepSeek-V3's balancing without a loss). Ties go to the lower expert.
pub fn route(
    logits: &[f32],
    bias: Option<&[f32]>,
    moe: &Moe,
    experts: &mut [u32],
    weights: &mut [f32],
) {
    let mut scores = logits.to_vec();
    score(&mut scores, moe.scoring);
    let mut choice = scores.clone();
    if let Some(bias) = bias {
        choice
            .iter_mut()
            .zip(bias)
            .for_each(|(score, bias)| *score += bias);
    }
    if moe.top_groups < moe.groups {
        drop_groups(&mut choice, moe);
    }
    for (expert, weight) in experts.iter_mut().zip(weights.iter_mut()) {
        let best = argmax(&choice);
        choice[best] = f32::NEG_INFINITY;
        (*expert, *weight) = (best as u32, scores[best]);
    }
    weigh(weights, moe);
}

fn score(logits: &mut [f32], scoring: Scoring) {
    match scoring {
        Scoring::Softmax => softmax(logits),
        Scoring::SigmoidWithBias => logits
            .iter_mut()
            .for_each(|x| *x = 1.0 / (1.0 + (-*x).exp())),
    }
}

/// Leaves only the experts of the best `top_groups` groups in the choice.
fn drop_groups(choice: &mut [f32], moe: &Moe) {
    let size = choice.len() / moe.groups;
    let mut groups: Vec<f32> = choice
        .chunks_exact(size)
        .map(|group| group_score(group, moe.scoring))
        .collect();
    let mut kept = vec![false; moe.groups];
    for _ in 0..moe.top_groups {
        let best = argmax(&groups);
        groups[best] = f32::NEG_INFINITY;
        kept[best] = true;
    }
    for (group, kept) in choice.chunks_exact_mut(size).zip(kept) {
        if !kept {
            group.fill(f32::NEG_INFINITY);
        }
    }
}

/// A group is as good as its best expert, or in DeepSeek-V3 as its best two together.
fn group_score(group: &[f32], scoring: Scoring) -> f32 {
    let mut best = [f32::NEG_INFINITY; 2];
    for &score in group {
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
