//! Weights in 4 bits beside bf16 cuBLASLt: the same tokens through layers of the same size, in one run.
//!
//! `SHAPES` names products as `M,N,K M,N,K …`, else Llama's layers are taken with 1 to 64 tokens. `TUNE=FILE` tries every plan of each
//! product, with as many tokens as a tile has, prints the best beside what [`gemm::w4_plan`] chose, and writes FILE in the form of
//! `tuned_w4.csv`; `RECORD=1` writes `05-gemm-w4a16`; `PRECOMPILE=1` only fills the
//! cache of compiled kernels, which needs no GPU.

#[path = "gemm/cublaslt.rs"]
mod cublaslt;
#[path = "gemm/fastest.rs"]
mod fastest;
#[path = "gemm/means.rs"]
mod means;
#[path = "gemm/rank.rs"]
mod rank;
#[path = "gemm/timing.rs"]
mod timing;
// Half of it checks products of unquantised operands.
#[allow(dead_code)]
#[path = "gemm/data.rs"]
mod data;
#[path = "w4/packed.rs"]
mod packed;

use benches::Series;
use cublaslt::CublasLt;
use data::{Pool, Random};
use fastest::fastest;
use gemm::{
    Element, Operands, Problem, W4_CONFIGS, W4Gemm, W4Plan, packed_bytes, w4_line, w4_plan,
    w4_plans,
};
use half::bf16;
use kernels::{Device, Graph, Result};
use means::geometric_means;
use packed::Units;
use rank::rank;
use timing::median;

/// Outputs and inputs: Llama-3-8B's qkv, o, gate and up, down; Llama-3-70B's.
const LAYERS: &[(usize, usize)] = &[
    (6144, 4096),
    (4096, 4096),
    (28672, 4096),
    (4096, 14336),
    (10240, 8192),
    (8192, 8192),
    (57344, 8192),
    (8192, 28672),
];
const TOKENS: &[usize] = &[1, 2, 4, 8, 16, 32, 64];
/// Tokens that tiles have.
const TILES: &[usize] = &[4, 8, 16, 32, 64];
/// Pairs of samples of a product.
const PAIRS: usize = 15;

/// Everything that the record's figures depend on.
const SOURCES: &[&str] = &[
    "kernels/gemm/w4a16.cu",
    "kernels/gemm/w4a16_wgmma.cu",
    "kernels/include/w4.h",
    "kernels/src/tensor_map.rs",
    "kernels/include/gpu.h",
    "kernels/include/sm80.h",
    "kernels/include/sm90.h",
    "kernels/include/wgmma.h",
    "kernels/include/stream_k.h",
    "kernels/include/epilogue.h",
    "stages/05-gemm/src/w4.rs",
    "stages/05-gemm/src/w4_launch.rs",
    "stages/05-gemm/src/w4_plan.rs",
    "stages/05-gemm/src/tuned.rs",
    "stages/05-gemm/src/plan.rs",
    "stages/05-gemm/tuned_w4.csv",
    "stages/05-gemm/benches/w4.rs",
    "stages/05-gemm/benches/w4/packed.rs",
    "stages/05-gemm/benches/gemm",
];

/// One product with cold operands.
struct Case<'a> {
    device: &'a Device,
    problem: Problem,
    /// Operands in bf16, of which ours are the tokens and the results.
    sets: Vec<Operands>,
    weights: Vec<u64>,
    /// Products in a graph: enough that what events cannot resolve does not matter, and every set at least once.
    launches: usize,
}

impl Case<'_> {
    /// Microseconds of one product.
    fn time(&self, graph: &Graph) -> Result<f64> {
        timing::time(self.device, graph, self.launches)
    }

    /// The tokens, weights and results of launch `i`.
    fn operands(&self, i: usize) -> (u64, u64, u64) {
        let set = self.sets[i % self.sets.len()];
        (set.a, self.weights[i % self.weights.len()], set.c)
    }

    fn ours(&self, gemm: &W4Gemm, plan: &W4Plan) -> Result<Graph> {
        let Problem { m, n, k, .. } = self.problem;
        let launches = (0..self.launches)
            .map(|i| gemm.prepare((m, n, k), plan, self.operands(i)))
            .collect::<Result<Vec<_>>>()?;
        launches[0].run()?;
        self.device.synchronize()?;
        self.device
            .capture(|| launches.iter().try_for_each(kernels::Launch::run))
    }

    /// The fastest of the algorithms that cuBLASLt's heuristic names.
    fn peer(&self, library: &CublasLt) -> Result<Graph> {
        let operands: Vec<_> = self.sets.iter().map(|set| (set.a, set.b, set.c)).collect();
        let best = fastest(
            self.device,
            &library.product(&self.problem),
            &operands,
            self.launches,
        )?;
        Ok(best.expect("cuBLASLt multiplies bf16"))
    }

    /// Relative error of sampled results of launch 0 in `graph`, which runs once into poisoned results; NaN if any element is NaN.
    fn error(&self, graph: &Graph, units: &Units, random: &mut Random) -> Result<f64> {
        let Problem { m, n, k, .. } = self.problem;
        let (a, weights, c) = self.operands(self.launches - 1);
        self.device.set(c, 0xff, m * n * 2)?;
        graph.launch()?;
        let out: Vec<u16> = self.device.read(c, m * n)?;
        let tokens: Vec<u16> = self.device.read(a, m * k)?;
        if out.iter().any(|bits| bits & 0x7fff > 0x7f80) {
            return Ok(f64::NAN);
        }
        let (mut off, mut size) = (0.0, 0.0);
        for _ in 0..100 {
            let (row, column) = (random.next() as usize % m, random.next() as usize % n);
            let token = |i: usize| bf16::from_bits(tokens[row * k + i]).to_f64();
            let exact: f64 = (0..k)
                .map(|i| token(i) * units.weight(weights, column, i, n))
                .sum();
            let found = bf16::from_bits(out[row * n + column]).to_f64();
            off += (found - exact) * (found - exact);
            size += exact * exact;
        }
        Ok((off / size).sqrt())
    }
}

fn name(plan: &W4Plan) -> String {
    let c = plan.config;
    format!(
        "{}x{}x{} t{} o{} s{} b{} {:?}",
        c.strips,
        c.along,
        c.parts,
        c.tokens,
        c.occupancy,
        c.stages(),
        plan.beside,
        plan.split
    )
}

fn products() -> Vec<(usize, usize, usize)> {
    match std::env::var("SHAPES") {
        Ok(list) => {
            let sizes = |word: &str| -> Vec<usize> {
                word.split(',')
                    .map(|size| size.parse().expect("M,N,K"))
                    .collect()
            };
            let words = list.split_whitespace().map(sizes);
            words.map(|sizes| (sizes[0], sizes[1], sizes[2])).collect()
        }
        Err(_) => {
            let tuned = std::env::var_os("TUNE").is_some();
            let tokens = if tuned { TILES } else { TOKENS };
            let of_layer = |(n, k): &(usize, usize)| {
                let (n, k) = (*n, *k);
                tokens.iter().map(move |m| (*m, n, k))
            };
            LAYERS.iter().flat_map(of_layer).collect()
        }
    }
}

fn main() -> Result<()> {
    let set = |name: &str| std::env::var_os(name).is_some();
    if set("PRECOMPILE") {
        for config in W4_CONFIGS {
            let source = kernels::Source::load(config.path(), &config.parameters())?;
            kernels::Cubin::of(&source, "sm_90a")?;
        }
        return Ok(());
    }
    let device = Device::open()?;
    let sms = device.multiprocessors() as usize;
    println!("{}, {sms} multiprocessors", device.name());
    let (gemm, library) = (W4Gemm::new(&device)?, CublasLt::new(&device));
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let pool = Pool::new(&device, Element::Bf16, &mut random)?;
    let units = Units::new(&device, &mut random)?;
    let mut series = Vec::new();
    let mut wrong = 0;
    let mut lines = String::new();
    let mut few: Vec<Vec<f64>> = Vec::new();
    for (m, n, k) in products() {
        let problem = Problem {
            m,
            n,
            k,
            element: Element::Bf16,
        };
        let (sets, weights) = (pool.sets(&problem), units.sets(n, k));
        let launches = weights.len().max(sets.len()).max(20);
        let case = Case {
            device: &device,
            problem,
            sets,
            weights,
            launches,
        };
        let peer = case.peer(&library)?;
        let chosen = w4_plan(m, n, k, sms);
        let candidates = if set("TUNE") {
            w4_plans(m, n, k, sms)
        } else {
            vec![chosen]
        };
        let mut right = Vec::new();
        for plan in candidates {
            let graph = case.ours(&gemm, &plan)?;
            let error = case.error(&graph, &units, &mut random)?;
            if error.is_nan() || error > 1e-2 {
                println!("{m},{n},{k} {} WRONG: error {error}", name(&plan));
                wrong += 1;
                continue;
            }
            right.push((plan, graph));
        }
        let found = rank(right, &peer, |graph| case.time(graph))?;
        let Some(&(_, plan)) = found.first() else {
            continue;
        };
        for (ratio, other) in found.iter().filter(|_| set("TUNE")) {
            println!("  {:.3} {}", 1.0 / ratio, name(other));
        }
        let graph = case.ours(&gemm, &plan)?;
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            pairs.push((case.time(&peer)?, case.time(&graph)?));
        }
        let error = case.error(&graph, &units, &mut random)?;
        if error.is_nan() || error > 1e-2 {
            println!(
                "{m},{n},{k} {} WRONG after timing: error {error}",
                name(&plan)
            );
            wrong += 1;
        }
        let ratios: Vec<f64> = pairs.iter().map(|(peer, ours)| peer / ours).collect();
        let ours = median(pairs.iter().map(|pair| pair.1).collect());
        let theirs = median(pairs.iter().map(|pair| pair.0).collect());
        let others = (2 * m * (n + k)) as f64;
        let bytes = packed_bytes(n, k) as f64;
        println!(
            "{m},{n},{k} ratio {:.2} ours {ours:.2} us, {:.2} TB/s, cuBLASLt {theirs:.2} us | {}{}",
            median(ratios.clone()),
            bytes / ours / 1e6,
            name(&plan),
            if plan == chosen {
                ""
            } else {
                " | not what was chosen"
            }
        );
        lines += &(w4_line(&plan, n, k) + "\n");
        // No product is faster than its bytes through the memory's pins, 4.8 TB/s.
        let point = |label: &str, unit: &str, floor: Option<f64>, samples: Vec<f64>| Series {
            name: format!("{label}-{n}x{k}/{m}"),
            unit: unit.to_owned(),
            floor,
            samples,
        };
        let ns = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(|pair| of(pair) * 1e3).collect();
        series.push(point(
            "w4a16",
            "ns",
            Some((bytes + others) / 4.8e3),
            ns(|pair| pair.1),
        ));
        series.push(point(
            "cublaslt",
            "ns",
            Some(problem.bytes() / 4.8e3),
            ns(|pair| pair.0),
        ));
        if m <= 16 {
            few.push(ratios.clone());
        }
        series.push(point("ratio", "x", None, ratios));
    }
    if !few.is_empty() {
        let means = geometric_means(&few);
        println!(
            "{} products of up to 16 tokens, geometric mean {:.3}",
            few.len(),
            median(means.clone())
        );
        series.push(Series {
            name: "geometric-mean/16".to_owned(),
            unit: "x".to_owned(),
            floor: None,
            samples: means,
        });
    }
    if let Ok(path) = std::env::var("TUNE") {
        std::fs::write(&path, lines).expect("TUNE names a file");
    }
    if set("RECORD") && wrong == 0 {
        let nvrtc = kernels::nvrtc_version().unwrap_or_default();
        let mut record = benches::gpu::record(
            "05-gemm-w4a16",
            "Weights in 4 bits beside bf16 cuBLASLt",
            "RECORD=1 cargo bench -p stage-05 --bench w4",
            &device.name(),
            &format!("driver {}, NVRTC {nvrtc}", benches::gpu::driver()),
            SOURCES,
        );
        record.series = series;
        match record.save(&benches::gpu::root()) {
            Ok(path) => println!("wrote {}", path.display()),
            Err(error) => panic!("the record could not be written: {error}"),
        }
    }
    assert!(wrong == 0, "{wrong} results are wrong");
    Ok(())
}
