//! One product with cold operands, in graphs long enough for events to resolve.

use crate::cublaslt::CublasLt;
use crate::data::Pool;
use gemm::cost::Machine;
use gemm::{Gemm, Operands, Plan, Problem};
use kernels::{Device, Graph, Result};

/// A product and copies of its operands.
pub struct Case<'a> {
    pub device: &'a Device,
    pool: &'a Pool,
    pub problem: Problem,
    pub sets: Vec<Operands>,
    launches: usize,
}

impl<'a> Case<'a> {
    /// At least 20 launches a graph for products under 100 us, each on other operands than the one before.
    pub fn new(device: &'a Device, pool: &'a Pool, problem: Problem) -> Self {
        let sets = pool.sets(&problem);
        let launches = ((2000.0 / Machine::H200.floor(&problem)) as usize).clamp(2, 20);
        Self {
            device,
            pool,
            problem,
            launches: launches.max(sets.len()),
            sets,
        }
    }

    /// Microseconds of one product: a graph of them by the events around it.
    pub fn time(&self, graph: &Graph) -> Result<f64> {
        let start = self.device.event()?;
        graph.launch()?;
        let end = self.device.event()?;
        Ok(start.microseconds_to(&end)? / self.launches as f64)
    }

    /// The graph of `plan`; the first set's result is poisoned and computed once.
    pub fn ours(&self, gemm: &Gemm, plan: &Plan) -> Result<Graph> {
        let launches = self
            .sets
            .iter()
            .map(|set| gemm.prepare(&self.problem, plan, set));
        let launches = launches.collect::<Result<Vec<_>>>()?;
        self.pool.poison(&self.problem, &self.sets[0])?;
        launches[0].run()?;
        self.device
            .capture(|| (0..self.launches).try_for_each(|i| launches[i % launches.len()].run()))
    }

    /// The fastest of the algorithms that cuBLASLt's heuristic names.
    pub fn peers(&self, library: &CublasLt) -> Result<Option<Graph>> {
        let product = library.product(&self.problem);
        let mut best: Option<(f64, Graph)> = None;
        for algorithm in &product.algorithms {
            let run = |set: &Operands| product.run(algorithm, set.a, set.b, set.c);
            if run(&self.sets[0]).is_err() {
                continue;
            }
            let graph = self.device.capture(|| {
                let sets = self.sets.iter().cycle().take(self.launches);
                sets.for_each(|set| run(set).expect("it ran before"));
                Ok(())
            })?;
            self.time(&graph)?;
            let time = median((0..3).map(|_| self.time(&graph)).collect::<Result<_>>()?);
            if best.as_ref().is_none_or(|(least, _)| time < *least) {
                best = Some((time, graph));
            }
        }
        Ok(best.map(|(_, graph)| graph))
    }
}

/// The middle sample.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// `m,n,k`.
pub fn size(problem: &Problem) -> String {
    format!("{},{},{}", problem.m, problem.n, problem.k)
}

/// A plan in a word.
pub fn name(plan: &Plan) -> String {
    let c = plan.config;
    let side = match (c.swap, c.turns) {
        (true, _) => "swap",
        (false, true) => "turns",
        (false, false) => "plain",
    };
    format!(
        "{side}-{}x{}-k{}-s{}-c{}-o{}-w{}-{}",
        c.bp, c.bq, c.ks, c.stages, c.cluster, c.occupancy, plan.workers, plan.whole
    )
}
