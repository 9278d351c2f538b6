//! The peer at its best.

use crate::cublaslt::Product;
use crate::timing::quick;
use kernels::{Device, Graph, Result};

/// The fastest of the algorithms that cuBLASLt's heuristic names, as a graph of `launches` products on these operands (A, B, C) in turn;
/// none if no algorithm runs. With `PEER` set, says which.
pub fn fastest(
    device: &Device,
    product: &Product<'_>,
    operands: &[(u64, u64, u64)],
    launches: usize,
) -> Result<Option<Graph>> {
    let mut best: Option<(f64, Graph, _)> = None;
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
        let time = quick(device, &graph, launches)?;
        if best.as_ref().is_none_or(|(least, ..)| time < *least) {
            best = Some((time, graph, algorithm));
        }
    }
    if let (Some((time, _, algorithm)), Some(_)) = (&best, std::env::var_os("PEER")) {
        println!("  {time:.2} us {}", product.describe(algorithm));
    }
    Ok(best.map(|(_, graph, _)| graph))
}
