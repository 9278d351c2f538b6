//! The GEMM ladder, step by step, beside cuBLASLt in one run: what each idea gained.
//!
//! All steps compute 4096³, the f32 ones too; those from k09 on also 8192³; the last three a product of few tiles, where they differ. Words
//! after `--` choose steps by parts of their names. `RECORD=1` writes the record; with it, `GPU_TESTS` names built programs of
//! tests, which then run first: those that pass are listed in the record ([`benches::gpu::tests`]).

// It can say which algorithm ran, which nobody asks here.
#[allow(dead_code)]
#[path = "gemm/cublaslt.rs"]
mod cublaslt;
#[path = "gemm/data.rs"]
mod data;
#[path = "ladder/lab.rs"]
mod lab;

use benches::Series;
use cublaslt::CublasLt;
use gemm::{Element, Operands, Problem};
use kernels::{Graph, Kernel, Metadata, Result, Values, read};
use lab::{Ladder, Single, median, resources};
use std::process::ExitCode;

/// The files of the ladder; the step's name is what stands before the underscore.
const STEPS: &[&str] = &[
    "k01_naive",
    "k02_coalesced",
    "k03_shared",
    "k04_register_tile",
    "k05_vectorised",
    "k06_mma",
    "k07_swizzle",
    "k08_multistage",
    "k09_tma_wgmma",
    "k10_ring",
    "k11_producer",
    "k12_registers",
    "k13_persistent",
    "k14_cluster",
    "k15_tma_store",
    "k16_split_k",
    "k17_stream_k",
];

/// Products, with the label of their series and the first step that computes them.
const PRODUCTS: &[(&str, &str, [usize; 3], &str)] = &[
    ("ladder", "4096", [4096, 4096, 4096], "k01"),
    ("ladder-8192", "8192", [8192, 8192, 8192], "k09"),
    ("few-tiles", "256x4096x14336", [256, 4096, 14336], "k15"),
];

/// Everything else that the figures depend on.
const SOURCES: &[&str] = &[
    "kernels/src/tensor_map.rs",
    "kernels/include/gpu.h",
    "kernels/include/sm80.h",
    "kernels/include/sm90.h",
    "kernels/include/wgmma.h",
    "kernels/include/direct.h",
    "kernels/include/cluster_sum.h",
    "kernels/include/cluster_tiles.h",
    "kernels/include/epilogue.h",
    "kernels/include/epilogue_tma.h",
    "kernels/include/stream_k.h",
    "stages/05-gemm/benches/ladder.rs",
    "stages/05-gemm/benches/ladder",
    "stages/05-gemm/benches/gemm/cublaslt.rs",
    "stages/05-gemm/benches/gemm/data.rs",
];

/// A product, the peer's graph of it, and what has been measured.
struct Table<'a> {
    label: &'a str,
    problem: Problem,
    peer: (Graph, usize),
    theirs: Vec<f64>,
    /// f32 operands, if a step asks for them.
    single: Option<Single>,
    series: Vec<Series>,
    wrong: usize,
}

fn series(name: String, unit: &str, floor: Option<f64>, samples: Vec<f64>) -> Series {
    let unit = unit.to_owned();
    Series {
        name,
        unit,
        floor,
        samples,
    }
}

impl Table<'_> {
    /// Times one configuration of a step, round by round with the peer; then checks what it has computed.
    fn measure(
        &mut self,
        lab: &mut Ladder,
        file: &str,
        variant: &str,
        values: &Values,
    ) -> Result<()> {
        let path = format!("gemm/{file}.cu");
        let (step, _) = file
            .split_once('_')
            .expect("a step has a number and a name");
        let kernel = Kernel::load(&lab.device, &path, values)?;
        let (registers, shared) = resources(&lab.device, &path, values)?;
        let wide = step < "k06";
        if wide && self.single.is_none() {
            self.single = Some(lab.single(&self.problem)?);
        }
        let sets: Vec<Operands> = match &self.single {
            Some(single) if wide => vec![single.operands],
            _ => lab.pool.sets(&self.problem),
        };
        let launches = sets
            .iter()
            .map(|set| lab.launch(&kernel, &self.problem, set));
        let launches = launches.collect::<Result<Vec<_>>>()?;
        if wide {
            let bytes = self.problem.m * self.problem.n * 4;
            lab.device.set(sets[0].c, 0xFF, bytes)?;
        } else {
            lab.pool.poison(&self.problem, &sets[0])?;
        }
        let (graph, effort) = lab.graph(&launches)?;
        let mut ours = Vec::new();
        for _ in 0..effort.rounds {
            self.theirs.push(lab.time(&self.peer.0, self.peer.1)?);
            ours.push(lab.time(&graph, effort.launches)?);
        }
        let (error, most) = match &self.single {
            Some(single) if wide => (lab.single_error(&self.problem, single)?, 1e-5),
            _ => (lab.error(&self.problem, &sets[0])?, 1e-2),
        };
        let name = if variant == "default" {
            step.to_owned()
        } else {
            format!("{step}-{variant}")
        };
        let (time, peer) = (median(&ours), median(&self.theirs));
        let rate = self.problem.operations() / time / 1e3;
        let fraction = peer / time;
        print!(
            "{name:<14} {:>11.1} {rate:>8.1} {fraction:>7.3} {registers:>5} {shared:>7}",
            time / 1e3
        );
        // Written so that NaN is wrong.
        if error <= most {
            println!();
        } else {
            self.wrong += 1;
            println!("  WRONG: error {error:.1e}");
            return Ok(());
        }
        let floor = self.problem.operations() / lab.rates[usize::from(wide)];
        self.series.push(series(
            format!("{}/{name}", self.label),
            "ns",
            Some(floor),
            ours,
        ));
        if self.label == "ladder" {
            for (label, unit, value) in [
                ("registers", "registers", registers),
                ("shared-memory", "bytes", shared),
            ] {
                self.series.push(series(
                    format!("{label}/{name}"),
                    unit,
                    None,
                    vec![value as f64],
                ));
            }
        }
        Ok(())
    }
}

fn main() -> Result<ExitCode> {
    let passed = benches::gpu::tests();
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let chosen =
        |file: &str| words.is_empty() || words.iter().any(|word| file.contains(word.as_str()));
    let mut lab = Ladder::new()?;
    let library = CublasLt::new(&lab.device);
    println!("{}", lab.device.name());
    let (mut all, mut wrong) = (Vec::new(), 0);
    for &(label, place, [m, n, k], first) in PRODUCTS {
        let problem = Problem {
            m,
            n,
            k,
            element: Element::Bf16,
        };
        let peer = lab.peer(&library, &problem)?;
        println!(
            "\n{m} x {n} x {k}\n{:<14} {:>11} {:>8} {:>7} {:>5} {:>7}",
            "step", "us", "TFLOP/s", "/ peer", "regs", "shared"
        );
        let mut table = Table {
            label,
            problem,
            peer,
            theirs: Vec::new(),
            single: None,
            series: Vec::new(),
            wrong: 0,
        };
        for file in STEPS.iter().filter(|file| **file >= first && chosen(file)) {
            let path = format!("gemm/{file}.cu");
            let metadata = Metadata::parse(&path, &read(&path)?)?;
            // Variants stand beside their step once; those of the f32 steps are much slower, those of k17 other element types and sizes.
            let variants = label == "ladder" && *file >= "k06" && *file < "k17";
            let count = if variants { usize::MAX } else { 1 };
            for (variant, values) in metadata.configurations().iter().take(count) {
                table.measure(&mut lab, file, variant, values)?;
            }
        }
        let floor = problem.operations() / lab.rates[0];
        let time = median(&table.theirs);
        println!(
            "{:<14} {:>11.1} {:>8.1}",
            "cuBLASLt",
            time / 1e3,
            problem.operations() / time / 1e3
        );
        table.series.push(series(
            format!("cublaslt/{place}"),
            "ns",
            Some(floor),
            table.theirs,
        ));
        all.append(&mut table.series);
        wrong += table.wrong;
    }
    if std::env::var_os("RECORD").is_some() {
        let nvrtc = kernels::nvrtc_version().unwrap_or_default();
        let toolchain = format!("driver {}, NVRTC {nvrtc}", benches::gpu::driver());
        let files: Vec<String> = STEPS
            .iter()
            .map(|file| format!("kernels/gemm/{file}.cu"))
            .collect();
        let sources: Vec<&str> = files
            .iter()
            .map(String::as_str)
            .chain(SOURCES.iter().copied())
            .collect();
        let mut record = benches::gpu::record(
            "05-gemm-ladder",
            "The GEMM ladder, step by step, beside cuBLASLt",
            "RECORD=1 cargo bench -p stage-05 --bench ladder",
            &lab.device.name(),
            &toolchain,
            &sources,
        );
        record.tests_passed = passed;
        record.series = all;
        match record.save(&benches::gpu::root()) {
            Ok(path) => println!("wrote {}", path.display()),
            Err(error) => {
                // The samples cost device time: they are not lost with the file.
                println!("{error}; the record:\n{record:?}");
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::from(u8::from(wrong > 0)))
}
