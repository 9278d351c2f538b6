//! 2:4 weights beside dense ones: the same tokens through layers of the same size, by our two kernels, by cuBLASLt and, where it can be
//! loaded, by cuSPARSELt, in one run.
//!
//! `SHAPES` names products as `M,N,K M,N,K …`, else Llama's layers are taken with 1 to 8192 tokens. `TUNE=1` tries every plan of each
//! product and prints the best beside what [`gemm::sparse_plan`] chose; `CUSPARSELT` names the library's file; `RECORD=1` writes
//! `05-gemm-sparse`; `PRECOMPILE=1` only fills the cache of compiled kernels, which needs no GPU.

#[path = "gemm/cublaslt.rs"]
mod cublaslt;
#[path = "gemm/fastest.rs"]
mod fastest;
#[path = "gemm/timing.rs"]
mod timing;
// Part of it checks products of dense operands in other types.
#[path = "sparse/case.rs"]
mod case;
#[allow(dead_code)]
#[path = "gemm/data.rs"]
mod data;
#[path = "sparse/kept.rs"]
mod kept;
#[path = "sparse/sparselt.rs"]
mod sparselt;

use benches::Series;
use case::Case;
use cublaslt::CublasLt;
use data::{Pool, Random};
use gemm::cost::Machine;
use gemm::{
    Element, Gemm, Problem, SPARSE_CONFIGS, SparseGemm, SparsePlan, sparse_bytes, sparse_plan,
    sparse_plans,
};
use kept::Kept;
use kernels::{Device, Result};
use sparselt::SparseLt;
use timing::median;

/// Outputs and inputs: Llama-3-8B's gate and up, and down; Llama-3-70B's o.
const LAYERS: &[(usize, usize)] = &[(28672, 4096), (4096, 14336), (8192, 8192)];
const TOKENS: &[usize] = &[1, 16, 64, 256, 2048, 8192];
/// Samples of a product, each of all contestants in turn.
const ROUNDS: usize = 15;

/// Everything that the record's figures depend on.
const SOURCES: &[&str] = &[
    "kernels/gemm/k17_stream_k.cu",
    "kernels/gemm/k19_sparse.cu",
    "kernels/src/tensor_map.rs",
    "kernels/include/gpu.h",
    "kernels/include/sm90.h",
    "kernels/include/wgmma.h",
    "kernels/include/wgmma_sparse.h",
    "kernels/include/stream_k.h",
    "kernels/include/cluster_sum.h",
    "kernels/include/cluster_tiles.h",
    "kernels/include/epilogue.h",
    "stages/05-gemm/src",
    "stages/05-gemm/tuned.csv",
    "stages/05-gemm/benches/sparse.rs",
    "stages/05-gemm/benches/sparse",
    "stages/05-gemm/benches/gemm",
];

fn name(plan: &SparsePlan) -> String {
    let c = plan.config;
    format!(
        "{}x{} {}x{} c{} o{} s{} w{} whole{}",
        c.rows,
        c.tokens,
        c.width,
        c.ks,
        c.cluster,
        c.occupancy,
        c.stages(),
        plan.workers,
        plan.whole
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
        Err(_) => LAYERS
            .iter()
            .flat_map(|(n, k)| TOKENS.iter().map(|m| (*m, *n, *k)))
            .collect(),
    }
}

fn main() -> Result<()> {
    let set = |name: &str| std::env::var_os(name).is_some();
    if set("PRECOMPILE") {
        for config in SPARSE_CONFIGS {
            let source = kernels::Source::load("gemm/k19_sparse.cu", &config.parameters())?;
            kernels::Cubin::of(&source, "sm_90a")?;
        }
        return Ok(());
    }
    let device = Device::open()?;
    let sms = device.multiprocessors() as usize;
    println!("{}, {sms} multiprocessors", device.name());
    let (dense, gemm) = (Gemm::new(&device)?, SparseGemm::new(&device)?);
    let library = CublasLt::new(&device);
    let sparselt = SparseLt::load(&device);
    if let Err(why) = &sparselt {
        println!("without cuSPARSELt: {why}");
    }
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let pool = Pool::new(&device, Element::Bf16, &mut random)?;
    let kept = Kept::new(&device, &mut random)?;
    let mut series = Vec::new();
    let mut wrong = 0;
    for (m, n, k) in products() {
        let problem = Problem {
            m,
            n,
            k,
            element: Element::Bf16,
        };
        let (sets, weights) = (pool.sets(&problem), kept.sets(n, k));
        let enough = ((2000.0 / Machine::H200.floor(&problem)) as usize).clamp(2, 20);
        let case = Case {
            device: &device,
            problem,
            launches: enough.max(sets.len()).next_multiple_of(weights.len()),
            sets,
            weights,
        };
        let chosen = sparse_plan(m, n, k, sms);
        let candidates = if set("TUNE") {
            sparse_plans(m, n, k, sms)
        } else {
            vec![chosen]
        };
        let mut found = Vec::new();
        for plan in candidates {
            let graph = case.sparse(&gemm, &plan)?;
            let error = case.sparse_error(&graph, &kept, &mut random)?;
            if error.is_nan() || error > 1e-2 {
                println!("{m},{n},{k} {} WRONG: error {error}", name(&plan));
                wrong += 1;
                continue;
            }
            found.push((plan, graph));
        }
        let graphs: Vec<_> = found.iter().map(|(_, graph)| graph).collect();
        let times = timing::in_turns(3, &graphs, |graph| case.time(graph))?;
        let mut timed: Vec<_> = times.into_iter().map(median).zip(&found).collect();
        timed.sort_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, (plan, graph))) = timed.first() else {
            continue;
        };
        let peer = sparselt.as_ref().ok();
        let peer = peer.and_then(|library| case.cusparselt(library, &mut random));
        let (of_dense, of_cublaslt) = (case.dense(&dense)?, case.cublaslt(&library)?);
        let mut graphs = vec![
            ("sparse", graph),
            ("dense", &of_dense),
            ("cublaslt", &of_cublaslt),
        ];
        graphs.extend(peer.as_ref().map(|(_, graph)| ("cusparselt", graph)));
        let all: Vec<_> = graphs.iter().map(|(_, graph)| *graph).collect();
        let times = timing::in_turns(ROUNDS, &all, |graph| case.time(graph))?;
        let error = case.sparse_error(graph, &kept, &mut random)?;
        if error.is_nan() || error > 1e-2 {
            println!(
                "{m},{n},{k} {} WRONG after timing: error {error}",
                name(plan)
            );
            wrong += 1;
        }
        let bytes = (sparse_bytes(n, k) + 2 * m * (n + k)) as f64;
        let ours = median(times[0].clone());
        print!(
            "{m},{n},{k} {ours:.2} us, {:.2} TB/s, {:.0} dense TFLOP/s",
            bytes / ours / 1e6,
            problem.operations() / ours / 1e6
        );
        let point = |label: &str, unit: &str, floor: Option<f64>, samples: Vec<f64>| Series {
            name: format!("{label}-{n}x{k}/{m}"),
            unit: unit.to_owned(),
            floor,
            samples,
        };
        for (i, (label, _)) in graphs.iter().enumerate() {
            // No product is faster than its bytes through the memory's pins, 4.8 TB/s.
            let floor = if label.contains("sparse") {
                bytes
            } else {
                problem.bytes()
            };
            let ns = times[i].iter().map(|time| time * 1e3).collect();
            series.push(point(label, "ns", Some(floor / 4.8e3), ns));
            if i > 0 {
                let ratios = times[i]
                    .iter()
                    .zip(&times[0])
                    .map(|(other, ours)| other / ours);
                let ratios: Vec<f64> = ratios.collect();
                print!(
                    " | {label} {:.2} us, {:.2}x",
                    median(times[i].clone()),
                    median(ratios.clone())
                );
                series.push(point(&format!("over-{label}"), "x", None, ratios));
            }
        }
        print!(" | {}", name(plan));
        let was = timed.iter().find(|(_, (plan, _))| *plan == chosen);
        if let Some((time, (was, _))) = was.filter(|_| *plan != chosen) {
            print!(" | chosen {time:.2} {}", name(was));
        }
        println!();
    }
    if set("RECORD") && wrong == 0 {
        let nvrtc = kernels::nvrtc_version().unwrap_or_default();
        let mut record = benches::gpu::record(
            "05-gemm-sparse",
            "2:4 weights beside dense ones",
            "RECORD=1 cargo bench -p stage-05 --bench sparse",
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
