//! This stage's GEMM beside cuBLASLt on a GPU, product by product, in one run.
//!
//! `ELEMENT` is bf16, f16, fp8 or int8; `SHAPES` names products as `M,N,K M,N,K …`, else the list in `gemm/shapes.rs` is taken.
//! `TUNE=FILE` tries every plan (or the present one and those whose names have a word of `TRY`) and writes the best of each product to
//! FILE, the form of `tuned.csv`; without it, each product runs as [`gemm::plan`] says, and `RECORD=1` writes the record. `PRECOMPILE=1`
//! compiles all configurations with all epilogues into the cache, which needs no GPU; `PRECOMPILE=plain` leaves the epilogues out. `PEER=1`
//! says which of cuBLASLt's algorithms was the fastest.

#[path = "gemm/case.rs"]
mod case;
#[path = "gemm/cublaslt.rs"]
mod cublaslt;
#[path = "gemm/data.rs"]
mod data;
#[path = "gemm/fastest.rs"]
mod fastest;
#[path = "gemm/means.rs"]
mod means;
#[path = "gemm/rank.rs"]
mod rank;
#[path = "gemm/settle.rs"]
mod settle;
#[path = "gemm/shapes.rs"]
mod shapes;
#[path = "gemm/timing.rs"]
mod timing;

use benches::Series;
use case::Case;
use cublaslt::CublasLt;
use data::{Pool, Random};
use gemm::cost::Machine;
use gemm::{Config, Element, Epilogue, Gemm, Plan, Split, plan, plans, tuned_line};
use kernels::{Device, Graph, Result};
use means::geometric_means;
use rank::rank;
use settle::settle;
use std::io::Write;
use timing::median;

/// Pairs of measurements for each product once the clock has settled; three before show what a pause of some milliseconds is worth.
const PAIRS: usize = 11;

/// Everything that the record's figures depend on.
const SOURCES: &[&str] = &[
    "kernels/gemm/k17_stream_k.cu",
    "kernels/src/tensor_map.rs",
    "kernels/include/gpu.h",
    "kernels/include/sm90.h",
    "kernels/include/wgmma.h",
    "kernels/include/stream_k.h",
    "kernels/include/cluster_sum.h",
    "kernels/include/cluster_tiles.h",
    "kernels/include/epilogue.h",
    "stages/05-gemm/src",
    "stages/05-gemm/tuned.csv",
    "stages/05-gemm/benches/gemm.rs",
    "stages/05-gemm/benches/gemm",
];

fn main() -> Result<()> {
    let variable = |name: &str| std::env::var(name).ok();
    let (label, element) = match variable("ELEMENT").as_deref() {
        Some("fp8") => ("fp8", Element::E4m3),
        Some("int8") => ("int8", Element::Int8),
        Some("f16") => ("f16", Element::F16),
        _ => ("bf16", Element::Bf16),
    };
    if let Some(what) = variable("PRECOMPILE") {
        return precompile(element, what == "plain");
    }
    let device = Device::open()?;
    println!("{}", device.name());
    let (gemm, library) = (Gemm::new(&device)?, CublasLt::new(&device));
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let pool = Pool::new(&device, element, &mut random)?;
    let problems = shapes::problems(variable("SHAPES"), element);
    let mut tuned =
        variable("TUNE").map(|path| std::fs::File::create(path).expect("TUNE names a file"));
    let mut series = Vec::new();
    let mut ratios: Vec<Vec<f64>> = Vec::new();
    let mut rested_ratios: Vec<Vec<f64>> = Vec::new();
    // With up to 16 tokens: megabytes of weights, and gigabytes a second of all operands.
    let mut streams: Vec<(f64, f64)> = Vec::new();
    for &problem in &problems {
        let case = Case::new(&device, &pool, problem);
        let Some(peer) = case.peers(&library)? else {
            println!("{problem:?}: cuBLASLt has no algorithm");
            continue;
        };
        let chosen = match &mut tuned {
            Some(file) => {
                let (split, best) = best(&case, &gemm, &peer)?;
                let line = tuned_line(&problem, &best.config, split);
                writeln!(file, "{line}").expect("the file can be written");
                best
            }
            None => plan(&problem, device.multiprocessors() as usize),
        };
        let ours = case.ours(&gemm, &chosen)?;
        let error = pool.error(&problem, &case.sets[0], 200, &mut random)?;
        assert!(
            error < 1e-2,
            "{problem:?} {}: error {error}",
            case::name(&chosen)
        );
        let pair = || Ok((case.time(&peer)? * 1e3, case.time(&ours)? * 1e3));
        let rested = [pair()?, pair()?, pair()?];
        settle(&Machine::H200, &problem, || pair().map(|_| ()))?;
        let pairs = (0..PAIRS).map(|_| pair()).collect::<Result<Vec<_>>>()?;
        let of_pairs =
            |pairs: &[(f64, f64)]| pairs.iter().map(|(peer, ours)| peer / ours).collect();
        let (at_first, ratio): (Vec<f64>, Vec<f64>) = (of_pairs(&rested), of_pairs(&pairs));
        let (there, here): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
        let floor = Machine::H200.floor(&problem) * 1e3;
        let (ns, share) = (median(here.clone()), floor / median(here.clone()));
        let rates = (problem.operations() / ns / 1e3, problem.bytes() / ns / 1e3);
        println!(
            "{} {:.3} ours {:.2} us, cuBLASLt {:.2} us, {share:.2} of the floor, {:.0} TFLOP/s, {:.2} TB/s, {}",
            case::size(&problem),
            median(ratio.clone()),
            ns / 1e3,
            median(there.clone()) / 1e3,
            rates.0,
            rates.1,
            case::name(&chosen)
        );
        let line = |name: &str| format!("{name}-{}x{}/{}", problem.n, problem.k, problem.m);
        for (name, samples) in [("ours", here), ("cublaslt", there)] {
            series.push(Series {
                name: line(name),
                unit: "ns".to_owned(),
                floor: None,
                samples,
            });
        }
        if problem.m <= 16 {
            let weights = problem.n * problem.k * element.bytes();
            streams.push((weights as f64 / 1e6, problem.bytes() / ns));
        }
        ratios.push(ratio);
        rested_ratios.push(at_first);
    }
    let (means, at_first) = (geometric_means(&ratios), geometric_means(&rested_ratios));
    let worst = ratios
        .iter()
        .map(|ratio| median(ratio.clone()))
        .fold(f64::INFINITY, f64::min);
    println!(
        "{} products, geometric mean {:.4}, after a pause {:.4}, worst {worst:.3}",
        ratios.len(),
        median(means.clone()),
        median(at_first.clone())
    );
    if variable("RECORD").is_some() {
        for (name, from, to) in [
            ("least-rate/100", 100.0, f64::INFINITY),
            ("least-rate/32", 32.0, 64.0),
        ] {
            let of_size = streams.iter().filter(|(size, _)| (from..to).contains(size));
            series.push(Series {
                name: name.to_owned(),
                unit: "GB/s".to_owned(),
                floor: None,
                samples: vec![of_size.map(|(_, rate)| *rate).fold(f64::INFINITY, f64::min)],
            });
        }
        for (name, samples) in [
            ("geometric-mean", means),
            ("geometric-mean-after-a-pause", at_first),
            ("worst", vec![worst]),
        ] {
            series.push(Series {
                name: name.to_owned(),
                unit: "x".to_owned(),
                floor: None,
                samples,
            });
        }
        save(label, &device, series);
    }
    Ok(())
}

/// Writes the record.
fn save(label: &str, device: &Device, series: Vec<Series>) {
    let mut record = benches::gpu::record(
        &format!("05-gemm-{label}"),
        &format!("GEMM in {label} beside cuBLASLt"),
        &format!("ELEMENT={label} RECORD=1 cargo bench -p stage-05 --bench gemm"),
        &device.name(),
        &benches::gpu::driver(),
        SOURCES,
    );
    record.series = series;
    let path = record
        .save(&benches::gpu::root())
        .expect("the record can be written");
    println!("wrote {}", path.display());
}

/// The fastest plan.
fn best(case: &Case<'_>, gemm: &Gemm, peer: &Graph) -> Result<(Split, Plan)> {
    let (sms, words) = (case.device.multiprocessors() as usize, std::env::var("TRY"));
    let present = case::name(&plan(&case.problem, sms));
    let tried = |name: &str| match &words {
        Ok(words) => name == present || words.split(' ').any(|word| name.contains(word)),
        Err(_) => true,
    };
    let all = plans(&case.problem, sms);
    let all = all.into_iter().filter(|(_, plan)| tried(&case::name(plan)));
    let graphs = all.map(|plan| Ok((plan, case.ours(gemm, &plan.1)?)));
    let graphs = graphs.collect::<Result<_>>()?;
    settle(&Machine::H200, &case.problem, || {
        case.time(peer).map(|_| ())
    })?;
    let found = rank(graphs, peer, |graph| case.time(graph))?;
    for (ratio, (_, plan)) in &found {
        println!("  {:.3} {}", 1.0 / ratio, case::name(plan));
    }
    Ok(found[0].1)
}

/// Compiles every configuration, with every epilogue or, `plain`, with none, into the cache, on all cores.
fn precompile(element: Element, plain: bool) -> Result<()> {
    let configs = gemm::CONFIGS.iter().filter(|c| c.suits(element));
    let all: Vec<_> = configs
        .flat_map(|config| Epilogue::ALL.map(|epilogue| (config, epilogue)))
        .filter(|(_, epilogue)| !plain || *epilogue == Epilogue::None)
        .filter(|(config, epilogue)| epilogue.suits(config))
        .collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let compile = |(config, epilogue): &(&Config, Epilogue)| {
        let parameters = epilogue.parameters(config, element);
        let source = kernels::Source::load("gemm/k17_stream_k.cu", &parameters)?;
        let cubin = kernels::Cubin::of(&source, "sm_90a")?;
        let resources = cubin.resources();
        if resources.spills > 0 || cubin.log.contains("C75") {
            println!("{config:?} {epilogue:?}: {resources:?}");
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let parts = all.chunks(all.len().div_ceil(cores));
        let parts: Vec<_> = parts
            .map(|part| scope.spawn(move || part.iter().try_for_each(compile)))
            .collect();
        parts
            .into_iter()
            .try_for_each(|part| part.join().expect("no compilation panics"))
    })
}
