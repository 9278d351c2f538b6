//! One product with cold operands, in graphs long enough for events to resolve.

use crate::cublaslt::CublasLt;
use crate::data::Pool;
use crate::fastest::fastest;
use crate::timing::time;
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
        time(self.device, graph, self.launches)
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
        let operands: Vec<_> = self.sets.iter().map(|set| (set.a, set.b, set.c)).collect();
        fastest(
            self.device,
            &library.product(&self.problem),
            &operands,
            self.launches,
        )
    }
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
        "{side}-{}x{}-k{}-s{}-c{}x{}-o{}-p{}-a{}-w{}-{}",
        c.bp,
        c.bq,
        c.ks,
        c.stages,
        c.cluster,
        c.across,
        c.occupancy,
        c.split,
        c.ahead,
        plan.workers,
        plan.whole
    )
}
