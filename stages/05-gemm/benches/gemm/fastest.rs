//! The peer at its best.

use crate::cublaslt::Product;
use crate::timing::{in_turns, median, time};
use kernels::{Device, Graph, Result};

/// The fastest of the algorithms that cuBLASLt's heuristic names, as a graph of `launches` products on these operands (A, B, C) in turn;
/// none if no algorithm runs. With `PEER` set, says which.
pub fn fastest(
    device: &Device,
    product: &Product<'_>,
    operands: &[(u64, u64, u64)],
    launches: usize,
) -> Result<Option<Graph>> {
    let mut found = Vec::new();
    for algorithm in &product.algorithms {
        let run = |&(a, b, c): &(u64, u64, u64)| product.run(algorithm, a, b, c);
        if run(&operands[0]).is_err() {
            continue;
        }
        let graph = device.capture(|| {
            let turns = operands.iter().cycle().take(launches);
            turns.for_each(|one| run(one).expect("it ran before"));
            Ok(())
        })?;
        found.push((algorithm, graph));
    }
    let graphs: Vec<_> = found.iter().map(|(_, graph)| graph).collect();
    let times = in_turns(5, &graphs, |graph| time(device, graph, launches))?;
    let timed = times.into_iter().map(median).zip(found);
    let best = timed.min_by(|a, b| a.0.total_cmp(&b.0));
    if let (Some((time, (algorithm, _))), Some(_)) = (&best, std::env::var_os("PEER")) {
        println!("  {time:.2} us {}", product.describe(algorithm));
    }
    Ok(best.map(|(_, (_, graph))| graph))
}
