//! The truncations: which tokens stay candidates.
//!
//! Top-k sorts by falling weight, equals by id; the others work on what it leaves, so each only decides how many stay, and the first
//! one always does.

/// A token and the weight it is drawn with: its probability up to a common factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub token: u32,
    pub weight: f64,
}

/// Leaves the `count` heaviest candidates (at least one, at most all), the heaviest first, equals by id.
pub(crate) fn top_k(candidates: &mut Vec<Candidate>, count: usize) {
    // ANCHOR: solve-top-k
    let order =
        |a: &Candidate, b: &Candidate| b.weight.total_cmp(&a.weight).then(a.token.cmp(&b.token));
    if count < candidates.len() {
        // Only the part that stays is worth sorting.
        candidates.select_nth_unstable_by(count - 1, order);
        candidates.truncate(count);
    }
    candidates.sort_unstable_by(order);
    // ANCHOR_END: solve-top-k
}

/// How many candidates it takes for their probabilities to add up to `top_p` (Holtzman et al., 2019).
pub(crate) fn top_p(candidates: &[Candidate], top_p: f32) -> usize {
    // ANCHOR: solve-top-p
    let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    let target = total * f64::from(top_p);
    let mut sum = 0.0;
    for (index, candidate) in candidates.iter().enumerate() {
        sum += candidate.weight;
        if sum >= target {
            return index + 1;
        }
    }
    candidates.len()
    // ANCHOR_END: solve-top-p
}

/// How many candidates are at least `min_p` times as likely as the first.
pub(crate) fn min_p(candidates: &[Candidate], min_p: f32) -> usize {
    // ANCHOR: solve-min-p
    let floor = candidates[0].weight * f64::from(min_p);
    candidates
        .partition_point(|candidate| candidate.weight >= floor)
        .max(1)
    // ANCHOR_END: solve-min-p
}
