//! Time of a graph of products, by the events around its launch.

use kernels::{Device, Graph, Result};

/// Microseconds of one of the `launches` products of a graph, which has just run once: a GPU at its power limit sets its clock by what ran
/// some milliseconds ago, and that is to be the same work.
pub fn time(device: &Device, graph: &Graph, launches: usize) -> Result<f64> {
    graph.launch()?;
    let start = device.event()?;
    graph.launch()?;
    let end = device.event()?;
    Ok(start.microseconds_to(&end)? / launches as f64)
}

/// As many times of each graph as there are `rounds`, by `time`, one graph after the other in every round, so that all share in what the clock
/// does meanwhile: a GPU at its power limit clocks lower after hard work than after a pause, and times far apart say little.
pub fn in_turns(
    rounds: usize,
    graphs: &[&Graph],
    time: impl Fn(&Graph) -> Result<f64>,
) -> Result<Vec<Vec<f64>>> {
    let mut times = vec![Vec::with_capacity(rounds); graphs.len()];
    for _ in 0..rounds {
        for (samples, graph) in times.iter_mut().zip(graphs) {
            samples.push(time(graph)?);
        }
    }
    Ok(times)
}

/// The middle sample.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
