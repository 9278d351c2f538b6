//! Which of many plans is the fastest.

use crate::timing::median;
use kernels::{Graph, Result};

/// The best eight by their time over the peer's, the least first: all are timed once, the best again, side by side with the peer. A GPU at
/// its power limit clocks lower after hard work than after a pause, so that times far apart say little; see `settle`.
pub fn rank<P>(
    graphs: Vec<(P, Graph)>,
    peer: &Graph,
    time: impl Fn(&Graph) -> Result<f64>,
) -> Result<Vec<(f64, P)>> {
    let timed = graphs
        .into_iter()
        .map(|(plan, graph)| Ok((time(&graph)?, plan, graph)));
    let mut found = timed.collect::<Result<Vec<_>>>()?;
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found.truncate(8);
    for (ratio, _, graph) in &mut found {
        let pairs = (0..5).map(|_| Ok(time(graph)? / time(peer)?));
        *ratio = median(pairs.collect::<Result<_>>()?);
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ranked = found.into_iter().map(|(ratio, plan, _)| (ratio, plan));
    Ok(ranked.collect())
}
