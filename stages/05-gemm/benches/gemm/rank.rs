//! Which of many plans is the fastest.

use crate::timing::{in_turns, median};
use kernels::{Graph, Result};

/// The best eight by their time over the peer's, the least first: all are timed once, the best again, in turns with each other and the peer.
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
    let graphs = found.iter().map(|(_, _, graph)| graph);
    let graphs: Vec<_> = std::iter::once(peer).chain(graphs).collect();
    let times = in_turns(5, &graphs, time)?;
    let ratio = |ours: &[f64]| median(ours.iter().zip(&times[0]).map(|(a, b)| a / b).collect());
    let ratios = times[1..].iter().map(|ours| ratio(ours));
    let plans = found.into_iter().map(|(_, plan, _)| plan);
    let mut ranked: Vec<_> = ratios.zip(plans).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(ranked)
}
