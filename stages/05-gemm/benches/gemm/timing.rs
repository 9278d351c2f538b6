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

/// Once to warm up, then the median of three.
pub fn quick(device: &Device, graph: &Graph, launches: usize) -> Result<f64> {
    time(device, graph, launches)?;
    let times = (0..3).map(|_| time(device, graph, launches));
    Ok(median(times.collect::<Result<_>>()?))
}

/// The middle sample.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
