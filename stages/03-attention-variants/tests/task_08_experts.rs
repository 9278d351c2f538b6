//! Task 8: routing against a definition that sorts everything, and experts against loops over tokens.

mod support;

use attention_variants::activation::silu;
use attention_variants::config::{Activation, Moe, Scoring};
use attention_variants::matrix::Matrix;
use attention_variants::moe;
use attention_variants::ops::{HostTensor, Ops, Reference};
use support::{assert_close, rng, values};

fn mixture(
    scoring: Scoring,
    experts: usize,
    top_k: usize,
    groups: usize,
    top_groups: usize,
    renormalise: bool,
) -> Moe {
    Moe {
        experts,
        top_k,
        intermediate: 5,
        shared_intermediate: 0,
        scoring,
        renormalise,
        scale: 1.75,
        groups,
        top_groups,
    }
}

/// The experts and weights by the definition, in double precision: sort groups, sort experts, cut.
fn reference(logits: &[f32], bias: &[f32], moe: &Moe) -> Vec<(u32, f64)> {
    let wide: Vec<f64> = logits.iter().map(|x| f64::from(*x)).collect();
    let scores: Vec<f64> = match moe.scoring {
        Scoring::Softmax => {
            let below: f64 = wide.iter().map(|x| x.exp()).sum();
            wide.iter().map(|x| x.exp() / below).collect()
        }
        Scoring::SigmoidWithBias => wide.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
    };
    let choice: Vec<f64> = scores
        .iter()
        .zip(bias)
        .map(|(s, b)| s + f64::from(*b))
        .collect();
    let size = moe.experts / moe.groups;
    let mut groups: Vec<usize> = (0..moe.groups).collect();
    let worth = |group: usize| {
        let mut members = choice[group * size..(group + 1) * size].to_vec();
        members.sort_by(|a, b| b.total_cmp(a));
        if moe.scoring == Scoring::Softmax {
            members[0]
        } else {
            members.iter().take(2).sum()
        }
    };
    groups.sort_by(|a, b| worth(*b).total_cmp(&worth(*a)));
    groups.truncate(moe.top_groups);
    let mut experts: Vec<usize> = (0..moe.experts)
        .filter(|e| groups.contains(&(e / size)))
        .collect();
    experts.sort_by(|a, b| choice[*b].total_cmp(&choice[*a]));
    experts.truncate(moe.top_k);
    let sum: f64 = if moe.renormalise {
        experts.iter().map(|e| scores[*e]).sum()
    } else {
        1.0
    };
    experts
        .iter()
        .map(|e| (*e as u32, scores[*e] / sum * f64::from(moe.scale)))
        .collect()
}

fn route(
    logits: &[f32],
    bias: Option<&[f32]>,
    moe: &Moe,
    experts: &mut [u32],
    weights: &mut [f32],
) {
    let mut choice = vec![f32::NAN; logits.len()];
    moe::route(
        &mut logits.to_vec(),
        &mut choice,
        bias,
        moe,
        experts,
        weights,
    );
}

#[test]
fn routing_follows_its_definition() {
    let rng = &mut rng();
    for scoring in [Scoring::Softmax, Scoring::SigmoidWithBias] {
        for (experts, top_k, groups, top_groups) in [
            (1, 1, 1, 1),
            (6, 2, 1, 1),
            (8, 3, 4, 2),
            (12, 4, 3, 1),
            (9, 9, 3, 3),
        ] {
            for renormalise in [false, true] {
                let moe = mixture(scoring, experts, top_k, groups, top_groups, renormalise);
                let logits: Vec<f32> = values(rng, experts).iter().map(|x| x * 4.0).collect();
                let bias = if scoring == Scoring::Softmax {
                    vec![0.0; experts]
                } else {
                    values(rng, experts)
                };
                let (mut chosen, mut weights) = (vec![u32::MAX; top_k], vec![f32::NAN; top_k]);
                let given = (scoring == Scoring::SigmoidWithBias).then_some(&bias[..]);
                route(&logits, given, &moe, &mut chosen, &mut weights);
                let want = reference(&logits, &bias, &moe);
                assert_eq!(
                    chosen,
                    want.iter().map(|(expert, _)| *expert).collect::<Vec<_>>(),
                    "{moe:?}"
                );
                let want: Vec<f32> = want.iter().map(|(_, weight)| *weight as f32).collect();
                assert_close(&weights, &want, 1e-5, &format!("{moe:?}"));
            }
        }
    }
}

#[test]
fn ties_go_to_the_lower_expert() {
    let (mut chosen, mut weights) = ([9; 2], [f32::NAN; 2]);
    let moe = mixture(Scoring::Softmax, 4, 2, 1, 1, true);
    route(&[1.0, 2.0, 2.0, 2.0], None, &moe, &mut chosen, &mut weights);
    assert_eq!((chosen, weights), ([1, 2], [0.875, 0.875]));
}

/// The bias chooses and does not weigh.
#[test]
fn the_bias_only_chooses() {
    let (mut chosen, mut weights) = ([9], [f32::NAN]);
    let moe = mixture(Scoring::SigmoidWithBias, 2, 1, 1, 1, false);
    route(
        &[0.0, 5.0],
        Some(&[10.0, 0.0]),
        &moe,
        &mut chosen,
        &mut weights,
    );
    assert_eq!((chosen, weights), ([0], [0.5 * 1.75]));
}

/// Scores that vanish sum to nothing, and nothing is what each expert then weighs.
#[test]
fn vanishing_scores_are_not_divided_by_zero() {
    let (mut chosen, mut weights) = ([9; 2], [f32::NAN; 2]);
    let moe = mixture(Scoring::SigmoidWithBias, 3, 2, 1, 1, true);
    route(&[-200.0; 3], None, &moe, &mut chosen, &mut weights);
    assert_eq!((chosen, weights), ([0, 1], [0.0, 0.0]));
}

/// The gathered experts of the operation equal a loop over tokens and choices.
#[test]
fn gathered_experts_equal_a_loop_over_tokens() {
    let rng = &mut rng();
    let moe = mixture(Scoring::Softmax, 5, 2, 1, 1, true);
    let (tokens, hidden, inner) = (7, 4, moe.intermediate);
    let x = values(rng, tokens * hidden);
    let router = values(rng, moe.experts * hidden);
    let mut random = |rows: usize, cols: usize| -> Vec<Vec<f32>> {
        (0..moe.experts).map(|_| values(rng, rows * cols)).collect()
    };
    let (gate_up, down) = (random(2 * inner, hidden), random(hidden, inner));
    let times = |matrix: &[f32], x: &[f32]| -> Vec<f32> {
        matrix
            .chunks_exact(x.len())
            .map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum())
            .collect()
    };
    let mut want = Vec::new();
    for x in x.chunks_exact(hidden) {
        let (mut chosen, mut weights) = ([0; 2], [f32::NAN; 2]);
        route(&times(&router, x), None, &moe, &mut chosen, &mut weights);
        let mut sum = vec![0.0; hidden];
        for (expert, weight) in chosen.iter().zip(weights) {
            let wide = times(&gate_up[*expert as usize], x);
            let gated: Vec<f32> = (0..inner)
                .map(|i| silu(wide[i]) * wide[inner + i])
                .collect();
            let made = times(&down[*expert as usize], &gated);
            sum.iter_mut()
                .zip(made)
                .for_each(|(sum, made)| *sum += weight * made);
        }
        want.extend(sum);
    }
    let ops = Reference::default();
    let matrices = |data: &[Vec<f32>], rows, cols| -> Vec<Matrix> {
        data.iter()
            .map(|values| Matrix::from_f32(rows, cols, values.clone()))
            .collect()
    };
    let mut input = HostTensor::new(tokens, hidden);
    input.resize(tokens).copy_from_slice(&x);
    let mut out = HostTensor::new(tokens, hidden);
    let mut routing = ops.routing(tokens, hidden, &moe);
    ops.route(
        &mut routing,
        &input,
        &ops.router(Matrix::from_f32(moe.experts, hidden, router), None, &moe),
    );
    let experts = ops.experts(
        matrices(&gate_up, 2 * inner, hidden),
        matrices(&down, hidden, inner),
    );
    ops.mix_experts(&mut out, &input, &mut routing, &experts, Activation::Silu);
    assert_close(out.values(), &want, 1e-5, "experts");
}
