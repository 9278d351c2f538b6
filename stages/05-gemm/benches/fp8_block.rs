//! The e4m3 GEMM with block scales on DeepSeek-V3's layers, beside cuBLASLt's with one scale a tensor (which has less to do) and beside
//! what DeepGEMM publishes of an H800.
//!
//! `RECORD=1 cargo bench -p stage-05 --bench fp8_block` writes `benches/records/05-gemm-fp8-block.json`. `TUNE=FILE` tries every
//! plan, shows the best three with their ratios and writes the best of each product to FILE, the form of `tuned_block.csv`; without it, each
//! product runs as [`gemm::block_plan`] says. `SHAPES="M,N,K …"` names other products.

#[path = "gemm/cublaslt.rs"]
mod cublaslt;
#[path = "fp8_block/data.rs"]
mod data;
#[path = "gemm/fastest.rs"]
mod fastest;
#[path = "fp8_block/published.rs"]
mod published;
#[path = "gemm/rank.rs"]
mod rank;
#[path = "gemm/timing.rs"]
mod timing;

use cublaslt::CublasLt;
use data::Pool;
use fastest::fastest;
use gemm::{
    BlockGemm, BlockOperands, Element, Plan, Problem, Split, block_plan, block_plans, tuned_line,
};
use kernels::{Device, Graph, Result};
use rank::rank;
use std::io::Write;
use std::process::ExitCode;
use timing::median;

/// Outputs and inputs of DeepSeek-V3's layers: the latents of attention, q, kv, o; the dense layers; an expert.
const LAYERS: &[(usize, usize)] = &[
    (2112, 7168),
    (24576, 1536),
    (32768, 512),
    (7168, 16384),
    (36864, 7168),
    (7168, 18432),
    (4096, 7168),
    (7168, 2048),
];

const TOKENS: &[usize] = &[1, 4, 16, 64, 128, 256, 1024, 4096, 8192];

const SOURCES: &[&str] = &[
    "kernels/gemm/fp8_block.cu",
    "kernels/src/tensor_map.rs",
    "kernels/include/gpu.h",
    "kernels/include/sm90.h",
    "kernels/include/wgmma.h",
    "kernels/include/stream_k.h",
    "kernels/include/epilogue.h",
    "stages/05-gemm/src/fp8_block.rs",
    "stages/05-gemm/src/plan.rs",
    "stages/05-gemm/src/tuned.rs",
    "stages/05-gemm/tuned_block.csv",
    "stages/05-gemm/benches/fp8_block.rs",
    "stages/05-gemm/benches/fp8_block",
    "stages/05-gemm/benches/gemm",
];

/// One product with cold operands, as many launches a graph as make it longer than what events cannot resolve.
struct Case<'a> {
    device: &'a Device,
    problem: Problem,
    sets: Vec<BlockOperands>,
    launches: usize,
}

impl Case<'_> {
    /// Microseconds of one product.
    fn time(&self, graph: &Graph) -> Result<f64> {
        timing::time(self.device, graph, self.launches)
    }

    fn ours(&self, gemm: &BlockGemm, plan: &Plan) -> Result<Graph> {
        let launches = self
            .sets
            .iter()
            .map(|set| gemm.prepare(&self.problem, plan, set));
        let launches = launches.collect::<Result<Vec<_>>>()?;
        self.device
            .capture(|| (0..self.launches).try_for_each(|i| launches[i % launches.len()].run()))
    }

    /// The fastest of the algorithms that cuBLASLt's heuristic names.
    fn peers(&self, library: &CublasLt) -> Result<Option<Graph>> {
        let operands: Vec<_> = self.sets.iter().map(|set| (set.a, set.b, set.c)).collect();
        fastest(
            self.device,
            &library.product(&self.problem),
            &operands,
            self.launches,
        )
    }

    /// The best plans and how each came about, by their time over the peer's.
    fn ranked(&self, gemm: &BlockGemm, peer: &Graph) -> Result<Vec<(f64, (Split, Plan))>> {
        let all = block_plans(&self.problem, self.device.multiprocessors() as usize);
        let graph = |plan: (Split, Plan)| Ok((plan, self.ours(gemm, &plan.1)?));
        let graphs = all.into_iter().map(graph).collect::<Result<_>>()?;
        rank(graphs, peer, |graph| self.time(graph))
    }
}

/// Microseconds that no kernel beats on an H200: all bytes, scales too, or all operations, at the rates that memory and tensor cores
/// have on paper (measured: a copy 4.25 TB/s).
fn floor(problem: &Problem) -> f64 {
    let Problem { m, n, k, .. } = *problem;
    let scales = k.div_ceil(128) * (m + n.div_ceil(128)) * 4;
    ((problem.bytes() + scales as f64) / 4.8e6).max(problem.operations() / 1979e6)
}

fn name(plan: &Plan) -> String {
    let (c, side) = (plan.config, if plan.config.swap { "S" } else { "N" });
    format!(
        "{side}{}x{}k{}s{}c{}o{} w{} whole{}",
        c.bp, c.bq, c.ks, c.stages, c.cluster, c.occupancy, plan.workers, plan.whole
    )
}

fn problems() -> Vec<Problem> {
    let element = Element::E4m3;
    let problem = |m, n, k| Problem { m, n, k, element };
    if let Ok(list) = std::env::var("SHAPES") {
        let words = list.split_whitespace().map(|word| {
            let size = |text: &str| text.parse().expect("SHAPES are M,N,K");
            let sizes: Vec<usize> = word.split(',').map(size).collect();
            problem(sizes[0], sizes[1], sizes[2])
        });
        return words.collect();
    }
    let layers = LAYERS.iter();
    layers
        .flat_map(|(n, k)| TOKENS.iter().map(move |m| problem(*m, *n, *k)))
        .collect()
}

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            println!("{wrong} results are wrong");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<usize> {
    let device = Device::open()?;
    let sms = device.multiprocessors() as usize;
    let (gemm, library) = (BlockGemm::new(&device)?, CublasLt::new(&device));
    let mut pool = Pool::new(&device, 0x5EED)?;
    let mut tuned = std::env::var_os("TUNE")
        .map(|path| std::fs::File::create(path).expect("TUNE names a file"));
    let (mut wrong, mut logs, mut series) = (0, Vec::new(), Vec::new());
    println!(
        "{}: m,n,k, ratio to cuBLASLt per tensor, microseconds, rates, DeepGEMM",
        device.name()
    );
    for problem in problems() {
        let Problem { m, n, k, .. } = problem;
        let sets = pool.sets(&problem);
        let least = ((2000.0 / floor(&problem)) as usize).clamp(2, 20);
        let launches = least.max(sets.len());
        let case = Case {
            device: &device,
            problem,
            sets,
            launches,
        };
        let Some(peer) = case.peers(&library)? else {
            println!("{m},{n},{k} cuBLASLt has no algorithm");
            continue;
        };
        let ranked = match &tuned {
            Some(_) => case.ranked(&gemm, &peer)?,
            None => Vec::new(),
        };
        let best = ranked.first().map(|(_, best)| *best);
        let plan = best.map_or_else(|| block_plan(&problem, sms), |(_, plan)| plan);
        let graph = case.ours(&gemm, &plan)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..15 {
            theirs.push(case.time(&peer)?);
            ours.push(case.time(&graph)?);
        }
        // The peer wrote the same results last: every set is poisoned, run once more, and the last one looked at.
        for set in &case.sets {
            pool.poison(&problem, set)?;
        }
        graph.launch()?;
        let last = case.sets[case.sets.len() - 1];
        let error = pool.error(&problem, &last, 200)?;
        if error.is_nan() || error > 1e-2 {
            println!("{m},{n},{k} {} WRONG: error {error}", name(&plan));
            wrong += 1;
            continue;
        }
        if let (Some(file), Some((split, _))) = (&mut tuned, best) {
            let line = tuned_line(&problem, &plan.config, split);
            writeln!(file, "{line}").expect("the file can be written");
        }
        let ratio = median(
            ours.iter()
                .zip(&theirs)
                .map(|(ours, theirs)| theirs / ours)
                .collect(),
        );
        let (time, peer) = (median(ours.clone()), median(theirs.clone()));
        let rate = problem.operations() / time / 1e6;
        let published = published::deepgemm(m, n, k);
        println!(
            "{m},{n},{k} {ratio:.3} ours {time:.2} lt {peer:.2} floor {:.2} | {rate:.0} TFLOP/s {:.2} TB/s{} | {}{}",
            floor(&problem),
            problem.bytes() / time / 1e6,
            published.map_or(String::new(), |theirs| format!(
                ", DeepGEMM {theirs:.0} {:.2}x",
                rate / theirs
            )),
            name(&plan),
            ranked
                .iter()
                .take(3)
                .skip(1)
                .map(|(ratio, (_, plan))| format!(" | {:.3} {}", 1.0 / ratio, name(plan)))
                .collect::<String>(),
        );
        logs.push(ratio.ln());
        let layer = format!("{n}x{k}");
        let line = |label: &str, floor, microseconds: Vec<f64>| benches::Series {
            name: format!("{label}-{layer}/{m}"),
            unit: "ns".to_owned(),
            floor,
            samples: microseconds.iter().map(|time| time * 1e3).collect(),
        };
        series.push(line("ours", Some(floor(&problem) * 1e3), ours));
        series.push(line("cublaslt-per-tensor", None, theirs));
        series.extend(published.map(|rate| {
            line(
                "deepgemm-h800-published",
                None,
                vec![problem.operations() / rate / 1e6],
            )
        }));
    }
    let mean = (logs.iter().sum::<f64>() / logs.len().max(1) as f64).exp();
    println!("geometric mean of {} ratios: {mean:.4}", logs.len());
    if std::env::var_os("RECORD").is_some() && wrong == 0 {
        let nvrtc = kernels::nvrtc_version().unwrap_or_default();
        let mut record = benches::gpu::record(
            "05-gemm-fp8-block",
            "e4m3 GEMM with scales for each 128 of k on DeepSeek-V3's layers",
            "RECORD=1 cargo bench -p stage-05 --bench fp8_block",
            &device.name(),
            &format!("driver {}, NVRTC {nvrtc}", benches::gpu::driver()),
            SOURCES,
        );
        record.series = series;
        match record.save(&benches::gpu::root()) {
            Ok(path) => println!("wrote {}", path.display()),
            Err(error) => println!("the record could not be written: {error}"),
        }
    }
    Ok(wrong)
}
