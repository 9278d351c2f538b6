//! One product with cold operands, as each contestant computes it.

use crate::cublaslt::CublasLt;
use crate::data::Random;
use crate::fastest::fastest;
use crate::kept::Kept;
use crate::sparselt::{Product, SparseLt};
use crate::timing;
use gemm::{Gemm, Operands, Problem, SparseGemm, SparseOperands, SparsePlan, plan};
use half::bf16;
use kernels::{Device, Graph, Result};

fn wide(bits: u16) -> f64 {
    bf16::from_bits(bits).to_f64()
}

/// One product with cold operands.
pub struct Case<'a> {
    pub device: &'a Device,
    pub problem: Problem,
    /// Dense operands, of which the sparse products use tokens and results.
    pub sets: Vec<Operands>,
    /// Values and metadata.
    pub weights: Vec<(u64, u64)>,
    /// Products in a graph: enough that what events cannot resolve does not matter, every set at least once, the last with the last weights.
    pub launches: usize,
}

impl Case<'_> {
    fn size(&self) -> (usize, usize, usize) {
        (self.problem.m, self.problem.n, self.problem.k)
    }

    /// Microseconds of one product.
    pub fn time(&self, graph: &Graph) -> Result<f64> {
        timing::time(self.device, graph, self.launches)
    }

    /// What launch `i` works on.
    fn operands(&self, i: usize) -> SparseOperands {
        let set = self.sets[i % self.sets.len()];
        let (values, metadata) = self.weights[i % self.weights.len()];
        SparseOperands {
            a: set.a,
            values,
            metadata,
            c: set.c,
        }
    }

    pub fn sparse(&self, gemm: &SparseGemm, plan: &SparsePlan) -> Result<Graph> {
        let launches = (0..self.launches)
            .map(|i| gemm.prepare(self.size(), plan, &self.operands(i)))
            .collect::<Result<Vec<_>>>()?;
        launches[0].run()?;
        self.device.synchronize()?;
        self.device
            .capture(|| launches.iter().try_for_each(kernels::Launch::run))
    }

    pub fn dense(&self, gemm: &Gemm) -> Result<Graph> {
        let chosen = plan(&self.problem, self.device.multiprocessors() as usize);
        let launches = self.sets.iter().cycle().take(self.launches);
        let launches = launches
            .map(|set| gemm.prepare(&self.problem, &chosen, set))
            .collect::<Result<Vec<_>>>()?;
        launches[0].run()?;
        self.device.synchronize()?;
        self.device
            .capture(|| launches.iter().try_for_each(kernels::Launch::run))
    }

    /// The fastest of the algorithms that cuBLASLt's heuristic names.
    pub fn cublaslt(&self, library: &CublasLt) -> Result<Graph> {
        let operands: Vec<_> = self.sets.iter().map(|set| (set.a, set.b, set.c)).collect();
        let product = library.product(&self.problem);
        let best = fastest(self.device, &product, &operands, self.launches)?;
        Ok(best.expect("cuBLASLt multiplies bf16"))
    }

    /// Relative error of sampled results of the last launch in `graph`, which runs once into poisoned results, where `row` gives the rows of
    /// its weights; NaN if any element is NaN.
    pub fn error(
        &self,
        graph: &Graph,
        row: impl Fn(usize) -> Result<Vec<f64>>,
        random: &mut Random,
    ) -> Result<f64> {
        let (m, n, k) = self.size();
        let operands = self.operands(self.launches - 1);
        self.device.set(operands.c, 0xff, m * n * 2)?;
        graph.launch()?;
        let (mut off, mut size) = (0.0, 0.0);
        for _ in 0..20 {
            let at = random.next() as usize % m;
            let token: Vec<u16> = self.device.read(operands.a + (at * k * 2) as u64, k)?;
            let out: Vec<u16> = self.device.read(operands.c + (at * n * 2) as u64, n)?;
            if out.iter().any(|bits| bits & 0x7fff > 0x7f80) {
                return Ok(f64::NAN);
            }
            for _ in 0..5 {
                let column = random.next() as usize % n;
                let pairs = token.iter().zip(row(column)?);
                let exact: f64 = pairs.map(|(bits, weight)| wide(*bits) * weight).sum();
                let found = wide(out[column]);
                off += (found - exact) * (found - exact);
                size += exact * exact;
            }
        }
        Ok((off / size).sqrt())
    }

    /// The error of ours.
    pub fn sparse_error(&self, graph: &Graph, kept: &Kept, random: &mut Random) -> Result<f64> {
        let of = self.operands(self.launches - 1);
        let row = |row| Ok(kept.row((of.values, of.metadata), row, self.problem.k));
        self.error(graph, row, random)
    }

    /// cuSPARSELt's product, which lives as long as its graph; none, and a line on why, if it cannot be had or is wrong.
    pub fn cusparselt<'l>(
        &self,
        library: &'l SparseLt,
        random: &mut Random,
    ) -> Option<(Product<'l>, Graph)> {
        let made = self.try_cusparselt(library, random);
        made.map_err(|why| println!("cuSPARSELt: {why}")).ok()
    }

    fn try_cusparselt<'l>(
        &self,
        library: &'l SparseLt,
        random: &mut Random,
    ) -> std::result::Result<(Product<'l>, Graph), String> {
        let said = |error: kernels::Error| error.to_string();
        let dense: Vec<u64> = self.sets.iter().map(|set| set.b).collect();
        let first = self.operands(0);
        let product =
            library.product(self.size(), &dense, self.weights.len(), (first.a, first.c))?;
        product.run(0, first.a, first.c)?;
        self.device.synchronize().map_err(said)?;
        let graph = self.device.capture(|| {
            (0..self.launches).try_for_each(|i| {
                let SparseOperands { a, c, .. } = self.operands(i);
                product.run(i, a, c).map_err(|why| kernels::Error::Launch {
                    path: "cuSPARSELt".to_owned(),
                    why,
                })
            })
        });
        let graph = graph.map_err(said)?;
        // The last launch has the last weights, whose dense form is still there.
        let row = |row: usize| {
            let from = product.pruned.address() + (row * self.problem.k * 2) as u64;
            let bits: Vec<u16> = self.device.read(from, self.problem.k)?;
            Ok(bits.into_iter().map(wide).collect())
        };
        let error = self.error(&graph, row, random).map_err(said)?;
        if error.is_nan() || error > 1e-2 {
            return Err(format!("wrong, or called wrongly: error {error}"));
        }
        Ok((product, graph))
    }
}
