//! This stage's GEMM beside cuBLASLt on a GPU, product by product, in one run.
//!
//! `ELEMENT` is bf16, f16, fp8 or int8; `SHAPES` names products as `M,N,K M,N,K …`, else the list in `gemm/shapes.rs` is taken.
//! `TUNE=FILE` tries every plan and writes the best of each product to FILE, the form of `tuned.csv`; without it, each product runs as
//! [`gemm::plan`] says, and `RECORD=1` writes the record. `CHECK=1` only checks results.

#[path = "gemm/cublaslt.rs"]
mod cublaslt;
#[path = "gemm/data.rs"]
mod data;
#[path = "gemm/shapes.rs"]
mod shapes;

use cublaslt::CublasLt;
use data::{Pool, Random};
use gemm::{Element, Gemm, Operands, Plan, Problem, plan, plans};
use kernels::{Device, Graph, Result};
use std::io::Write;

/// One product with cold operands, as many launches a graph as make it longer than what events cannot resolve.
struct Case<'a> {
    device: &'a Device,
    pool: &'a Pool,
    problem: Problem,
    sets: Vec<Operands>,
    launches: usize,
}

impl<'a> Case<'a> {
    fn new(device: &'a Device, pool: &'a Pool, problem: Problem) -> Self {
        let sets = pool.sets(&problem);
        let launches = ((2000.0 / floor(&problem)) as usize)
            .clamp(2, 20)
            .max(sets.len());
        Self {
            device,
            pool,
            problem,
            sets,
            launches,
        }
    }

    /// Microseconds of one product: a graph of them by the events around it.
    fn time(&self, graph: &Graph) -> Result<f64> {
        let start = self.device.event()?;
        graph.launch()?;
        let end = self.device.event()?;
        Ok(start.microseconds_to(&end)? / self.launches as f64)
    }

    fn quick(&self, graph: &Graph) -> Result<f64> {
        self.time(graph)?;
        Ok(median(
            (0..3).map(|_| self.time(graph)).collect::<Result<_>>()?,
        ))
    }

    fn ours(&self, gemm: &Gemm, plan: &Plan) -> Result<Graph> {
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
    fn peers(&self, library: &CublasLt) -> Result<Option<Graph>> {
        let product = library.product(&self.problem);
        let mut best: Option<(f64, Graph)> = None;
        for algorithm in &product.algorithms {
            let run = |set: &Operands| product.run(algorithm, set.a, set.b, set.c);
            if run(&self.sets[0]).is_err() {
                continue;
            }
            let graph = self.device.capture(|| {
                (0..self.launches)
                    .for_each(|i| run(&self.sets[i % self.sets.len()]).expect("it ran before"));
                Ok(())
            })?;
            let time = self.quick(&graph)?;
            if best.as_ref().is_none_or(|(least, _)| time < *least) {
                best = Some((time, graph));
            }
        }
        Ok(best.map(|(_, graph)| graph))
    }
}

/// Microseconds that no kernel beats on an H200: bytes at the measured copy bandwidth, operations at the rate of the largest product.
fn floor(problem: &Problem) -> f64 {
    let rate = if problem.element.bytes() == 2 {
        808e6
    } else {
        1500e6
    };
    (problem.bytes() / 4.25e6).max(problem.operations() / rate)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn name(plan: &Plan) -> String {
    let c = plan.config;
    let side = if c.swap { "S" } else { "N" };
    let Plan { workers, whole, .. } = plan;
    format!(
        "{side}{}x{}k{}s{}c{}o{} w{workers} whole{whole}",
        c.bp, c.bq, c.ks, c.stages, c.cluster, c.occupancy
    )
}

fn main() -> Result<()> {
    let variable = |name: &str| std::env::var(name).ok();
    let element = match variable("ELEMENT").as_deref() {
        Some("fp8") => Element::E4m3,
        Some("int8") => Element::Int8,
        Some("f16") => Element::F16,
        _ => Element::Bf16,
    };
    if variable("PRECOMPILE").is_some() {
        return precompile(element);
    }
    let device = Device::open()?;
    let sms = device.multiprocessors() as usize;
    println!("{}, {sms} multiprocessors", device.name());
    let gemm = Gemm::new(&device)?;
    let library = CublasLt::new(&device);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let pool = Pool::new(&device, element, &mut random)?;
    let mut tuned =
        variable("TUNE").map(|path| std::fs::File::create(path).expect("TUNE names a file"));
    let (check, trials) = (variable("CHECK").is_some(), tuned.is_some());
    let mut logs = 0.0;
    let problems = shapes::problems(variable("SHAPES"), element);
    for &problem in &problems {
        let case = Case::new(&device, &pool, problem);
        let Problem { m, n, k, .. } = problem;
        let peer = if check { None } else { case.peers(&library)? };
        let mut found: Vec<(f64, Plan, Graph)> = Vec::new();
        let candidates = if check || trials {
            plans(&problem, sms)
        } else {
            vec![plan(&problem, sms)]
        };
        for plan in candidates {
            let graph = case.ours(&gemm, &plan)?;
            let error = pool.error(&problem, &case.sets[0], 200, &mut random)?;
            if error.is_nan() || error > 1e-2 {
                println!("{m},{n},{k} {} WRONG: error {error}", name(&plan));
            }
            let time = if check { 0.0 } else { case.quick(&graph)? };
            found.push((time, plan, graph));
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (Some(peer), [(_, plan, graph), rest @ ..]) = (peer, &found[..]) else {
            continue;
        };
        let mut pairs = Vec::new();
        for _ in 0..9 {
            pairs.push((case.time(&peer)?, case.time(graph)?));
        }
        let ratio = median(pairs.iter().map(|(peer, ours)| peer / ours).collect());
        let theirs = median(pairs.iter().map(|pair| pair.0).collect());
        let ours = median(pairs.iter().map(|pair| pair.1).collect());
        logs += ratio.ln();
        let (floor, next) = (
            floor(&problem),
            rest.first().map_or(String::new(), |next| {
                format!("{:.2} {}", next.0, name(&next.1))
            }),
        );
        println!(
            "{m},{n},{k} {ratio:.3} ours {ours:.2} lt {theirs:.2} floor {floor:.2} {:.2} | {} | {next}",
            floor / ours,
            name(plan)
        );
        if let Some(file) = &mut tuned {
            let c = plan.config;
            let line = format!(
                "{m},{n},{k},{},{},{},{},{},{},{},{},{}",
                u8::from(c.swap),
                c.bp,
                c.bq,
                c.ks,
                c.stages,
                c.cluster,
                c.occupancy,
                plan.workers,
                plan.whole
            );
            writeln!(file, "{line}").expect("the file can be written");
        }
    }
    println!(
        "geometric mean of {} ratios: {:.4}",
        problems.len(),
        (logs / problems.len() as f64).exp()
    );
    Ok(())
}

/// Compiles every configuration, which needs no GPU, into the cache.
fn precompile(element: Element) -> Result<()> {
    for config in gemm::CONFIGS {
        let source = kernels::Source::load("gemm/k17_stream_k.cu", &config.parameters(element))?;
        let cubin = kernels::Cubin::of(&source, "sm_90a")?;
        let resources = cubin.resources();
        if resources.spills > 0 || cubin.log.contains("C75") {
            println!("{config:?}: {resources:?}");
        }
    }
    Ok(())
}
