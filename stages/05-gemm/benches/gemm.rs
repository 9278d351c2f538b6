//! The GEMM of this stage beside cuBLASLt, on a GPU.
#[path = "gemm/cublaslt.rs"]
mod cublaslt;
#[path = "gemm/data.rs"]
mod data;

use cublaslt::CublasLt;
use data::{Random, Sets};
use gemm::{Element, Gemm, Operands, Plan, Problem, plans};
use kernels::{Device, Graph};

/// Microseconds of one of the `count` products of a graph, by events around its launch.
fn time(device: &Device, graph: &Graph, count: usize) -> f64 {
    let start = device.event().unwrap();
    graph.launch().unwrap();
    let end = device.event().unwrap();
    start.microseconds_to(&end).unwrap() / count as f64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

struct Case<'a> {
    device: &'a Device,
    gemm: &'a Gemm,
    problem: Problem,
    sets: Sets,
    launches: usize,
}

impl Case<'_> {
    fn ours(&self, plan: &Plan) -> kernels::Result<Graph> {
        let launches: Vec<_> = (0..self.sets.count())
            .map(|set| {
                let operands = Operands {
                    a: &self.sets.a[set],
                    b: &self.sets.b[set],
                    c: &self.sets.c[set],
                    alpha: 1.0,
                    scales: None,
                };
                self.gemm.prepare(&self.problem, plan, &operands)
            })
            .collect::<Result<_, _>>()?;
        launches[0].run()?;
        self.device.synchronize()?;
        self.device
            .capture(|| (0..self.launches).try_for_each(|i| launches[i % launches.len()].run()))
    }

    fn peers(&self, lt: &CublasLt) -> Option<(Graph, f64)> {
        let product = lt.product(&self.problem);
        let graphs = product.algorithms.iter().map(|algorithm| {
            product.run(algorithm, &self.sets.a[0], &self.sets.b[0], &self.sets.c[0]);
            let graph = self.device.capture(|| {
                for i in 0..self.launches {
                    let set = i % self.sets.count();
                    product.run(
                        algorithm,
                        &self.sets.a[set],
                        &self.sets.b[set],
                        &self.sets.c[set],
                    );
                }
                Ok(())
            });
            let graph = graph.unwrap();
            time(self.device, &graph, self.launches);
            let t = median(
                (0..3)
                    .map(|_| time(self.device, &graph, self.launches))
                    .collect(),
            );
            (graph, t)
        });
        graphs.min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

fn name(plan: &Plan) -> String {
    let c = plan.config;
    format!(
        "{}{}x{}k{}s{}c{}o{} w{} whole{}",
        if c.swap { "S" } else { "N" },
        c.bp,
        c.bq,
        c.ks,
        c.stages,
        c.cluster,
        c.occupancy,
        plan.workers,
        plan.whole
    )
}

fn main() {
    let device = Device::open().unwrap();
    let sms = device.multiprocessors() as usize;
    println!("{} {} SMs", device.name(), sms);
    let gemm = Gemm::new(&device).unwrap();
    let lt = CublasLt::new(&device);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let element = match std::env::var("ELEMENT").as_deref() {
        Ok("fp8") => Element::E4m3,
        Ok("int8") => Element::Int8,
        Ok("f16") => Element::F16,
        _ => Element::Bf16,
    };
    if std::env::var_os("HINTS").is_some() {
        println!("hints");
    }
    let list = std::env::var("SHAPES").unwrap_or_default();
    let check_only = std::env::var_os("CHECK").is_some();
    let only = std::env::var("ONLY").unwrap_or_default();
    for shape in list.split_whitespace() {
        let sizes: Vec<usize> = shape.split(',').map(|s| s.parse().unwrap()).collect();
        let problem = Problem {
            m: sizes[0],
            n: sizes[1],
            k: sizes[2],
            element,
        };
        let sets = Sets::new(&device, &problem, &mut random);
        let floor = (problem.bytes() / 4.25e6)
            .max(problem.operations() / if element.bytes() == 2 { 800e6 } else { 1500e6 });
        let launches = if check_only {
            1
        } else {
            ((2000.0 / floor) as usize).clamp(2, 20).max(sets.count())
        };
        let case = Case {
            device: &device,
            gemm: &gemm,
            problem,
            sets,
            launches,
        };
        let peer = if check_only { None } else { case.peers(&lt) };
        let mut results = Vec::new();
        for plan in plans(&problem, sms) {
            if !name(&plan).starts_with(&only) {
                continue;
            }
            for c in &case.sets.c {
                device.fill(c, 0xFF).unwrap();
            }
            let graph = match case.ours(&plan) {
                Ok(graph) => graph,
                Err(error) => {
                    println!("  {} FAILED {error}", name(&plan));
                    continue;
                }
            };
            let error = if element == Element::Int8 {
                0.0
            } else {
                case.sets.error(
                    &device,
                    &problem,
                    0,
                    if check_only { 1 << 14 } else { 200 },
                    &mut random,
                    |_, _| 1.0,
                )
            };
            if !(error < 1e-2) {
                println!("  {} WRONG error {error}", name(&plan));
            }
            if !check_only {
                time(&device, &graph, case.launches);
                let t = median(
                    (0..3)
                        .map(|_| time(&device, &graph, case.launches))
                        .collect(),
                );
                results.push((t, plan, graph));
            }
        }
        if let Err(error) = device.synchronize() {
            println!("{shape}: {error}");
            return;
        }
        results.sort_by(|a, b| a.0.total_cmp(&b.0));
        if let (Some((t, plan, graph)), Some((peer_graph, _))) = (results.first(), &peer) {
            let pairs: Vec<(f64, f64)> = (0..9)
                .map(|_| {
                    (
                        time(&device, peer_graph, case.launches),
                        time(&device, graph, case.launches),
                    )
                })
                .collect();
            let ratio = median(pairs.iter().map(|(p, o)| p / o).collect());
            let peer_t = median(pairs.iter().map(|p| p.0).collect());
            let ours_t = median(pairs.iter().map(|p| p.1).collect());
            println!(
                "{shape} ratio {ratio:.3} ours {ours_t:.2} ({t:.2}) lt {peer_t:.2} floor {floor:.2} frac {:.3} {:.0} TF {:.2} TB/s | {}",
                floor / ours_t,
                problem.operations() / ours_t * 1e-6,
                problem.bytes() / ours_t * 1e-6,
                name(plan)
            );
            for (t, plan, _) in results.iter().skip(1).take(3) {
                println!("    {t:.2} {}", name(plan));
            }
        } else {
            println!("{shape} checked");
        }
    }
}
