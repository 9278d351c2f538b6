//! The truncations: which tokens stay candidates.
//!
//! All of them work on candidates sorted by falling weight (equals by id), so each only decides how many stay, and the first
//! one always does.

/// A token and the weight it is drawn with: its probability up to a common factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub token: u32,
    pub weight: f64,
}

/// How many candidates are at least `min_p` times as likely as the first.
pub(crate) fn min_p(candidates: &[Candidate], min_p: f32) -> usize {
    let floor = candidates[0].weight * f64::from(min_p);
    candidates
        .partition_point(|candidate| candidate.weight >= floor)
        .max(1)
}

/// How many candidates it takes for their probabilities to add up to `top_p` (Holtzman et al., 2019).
pub(crate) fn top_p(candidates: &[Candidate], top_p: f32) -> usize {
    if top_p >= 1.0 {
        return candidates.len(); // a sum that rounds up early must not cut the tail
    }
    let target = candidates
        .iter()
        .map(|candidate| candidate.weight)
        .sum::<f64>()
        * f64::from(top_p);
    let mut sum = 0.0;
    for (index, candidate) in candidates.iter().enumerate() {
        sum += candidate.weight;
        if sum >= target {
            return index + 1;
        }
    }
    candidates.len()
}
