//! What the ladder's bench needs: operands, a launch of any step, the peer, and time.

use crate::cublaslt::CublasLt;
use crate::data::{Pool, Random};
use cudarc::driver::sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE;
use gemm::{Element, Operands, Problem};
use kernels::{Arguments, Buffer, Cubin, Device, Graph, Kernel, Launch, Result, Source, Values};

/// Launches in a graph, and how often it is timed.
#[derive(Clone, Copy)]
pub struct Effort {
    pub launches: usize,
    pub rounds: usize,
}

/// The GPU, operands on it, and room for what kernels leave for each other.
pub struct Ladder {
    pub device: Device,
    /// Operations a ns that the chip's highest clock allows: tensor cores with bf16, and f32 units.
    pub rates: [f64; 2],
    pub pool: Pool,
    random: Random,
    sums: Buffer,
    counts: Buffer,
}

/// f32 operands: on the host to check against, on the GPU, and a result.
pub struct Single {
    host: [Vec<f32>; 2],
    _on_gpu: [Buffer; 2],
    result: Buffer,
    pub operands: Operands,
}

impl Ladder {
    pub fn new() -> Result<Self> {
        let device = Device::open()?;
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let pool = Pool::new(&device, Element::Bf16, &mut random)?;
        let sms = device.multiprocessors() as f64;
        let khz = device.attribute(CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
        let clock = if khz > 0 { khz as f64 / 1e6 } else { 1.98 };
        let (sums, counts) = (device.allocate(64 << 20)?, device.allocate(64 << 10)?);
        device.fill(&counts, 0)?;
        Ok(Self {
            rates: [4096.0, 256.0].map(|a_clock| a_clock * sms * clock),
            device,
            pool,
            random,
            sums,
            counts,
        })
    }

    pub fn single(&mut self, problem: &Problem) -> Result<Single> {
        let Problem { m, n, k, .. } = *problem;
        let host = [m * k, n * k].map(|count| (0..count).map(|_| self.random.unit()).collect());
        let [a, b]: &[Vec<f32>; 2] = &host;
        let on_gpu = [self.device.upload(a)?, self.device.upload(b)?];
        let result = self.device.allocate(m * n * 4)?;
        let operands = Operands {
            a: on_gpu[0].address(),
            b: on_gpu[1].address(),
            c: result.address(),
            ..Operands::default()
        };
        Ok(Single {
            host,
            _on_gpu: on_gpu,
            result,
            operands,
        })
    }

    /// The launch of any step: each takes what its metadata names.
    pub fn launch(&self, kernel: &Kernel, problem: &Problem, set: &Operands) -> Result<Launch> {
        let Problem { m, n, k, .. } = *problem;
        // k16 and k17 give a tile of 256 x 256 to two multiprocessors. k17 shares the tiles of the last two waves, if the last is not full.
        let workers = self.device.multiprocessors() as usize / 2;
        let tiles = m.div_ceil(256) * n.div_ceil(256);
        let whole = match tiles % workers {
            0 => tiles,
            _ => (tiles / workers).saturating_sub(1) * workers,
        };
        kernel.prepare(
            &Arguments::default()
                .address("a", set.a)
                .address("b", set.b)
                .address("c", set.c)
                .address("p", set.a)
                .address("q", set.b)
                .buffer("sums", &self.sums)
                .buffer("counts", &self.counts)
                .buffer("flags", &self.counts)
                .address("scale_p", 0)
                .address("scale_q", 0)
                .float("alpha", 1.0)
                .address("bias", 0)
                .address("residual", 0)
                .address("out_scale", 0)
                .integer("M", m)
                .integer("N", n)
                .integer("K", k)
                .integer("P", m)
                .integer("Q", n)
                .integer("SPLIT", (workers / tiles).max(1))
                .integer("PANEL", 8)
                .integer("WHOLE", whole)
                .integer("WORKERS", workers),
        )
    }

    /// ns a launch of a graph of `launches`.
    pub fn time(&self, graph: &Graph, launches: usize) -> Result<f64> {
        let start = self.device.event()?;
        graph.launch()?;
        let end = self.device.event()?;
        Ok(start.microseconds_to(&end)? * 1e3 / launches as f64)
    }

    /// A graph of the launches in turn, as long as to make 4 ms, and how often to time it.
    pub fn graph(&self, launches: &[Launch]) -> Result<(Graph, Effort)> {
        let some = |count: usize| {
            let turn = |i: usize| launches[i % launches.len()].run();
            self.device.capture(|| (0..count).try_for_each(turn))
        };
        let one = some(1)?;
        self.time(&one, 1)?;
        let took = self.time(&one, 1)?;
        let effort = Effort {
            launches: ((4e6 / took) as usize).clamp(1, 20).max(launches.len()),
            rounds: if took > 20e6 { 3 } else { 15 },
        };
        Ok((some(effort.launches)?, effort))
    }

    /// The fastest of the algorithms that cuBLASLt's heuristic names.
    pub fn peer(&self, library: &CublasLt, problem: &Problem) -> Result<(Graph, usize)> {
        let sets = self.pool.sets(problem);
        let product = library.product(problem);
        let launches = 10.max(sets.len());
        let mut best: Option<(f64, Graph)> = None;
        for algorithm in &product.algorithms {
            let run = |set: &Operands| product.run(algorithm, set.a, set.b, set.c);
            if run(&sets[0]).is_err() {
                continue;
            }
            let graph = self.device.capture(|| {
                (0..launches).for_each(|i| run(&sets[i % sets.len()]).expect("it ran before"));
                Ok(())
            })?;
            self.time(&graph, launches)?;
            let time = self.time(&graph, launches)?;
            if best.as_ref().is_none_or(|(least, _)| time < *least) {
                best = Some((time, graph));
            }
        }
        let (_, graph) = best.expect("cuBLASLt has an algorithm for any bf16 product");
        Ok((graph, launches))
    }

    /// Relative error of 200 sampled bf16 results against f64; NaN if any result is NaN.
    pub fn error(&mut self, problem: &Problem, set: &Operands) -> Result<f64> {
        self.pool.error(problem, set, 200, &mut self.random)
    }

    /// Relative error of 200 sampled f32 results against f64; NaN if one of them is NaN.
    pub fn single_error(&mut self, problem: &Problem, single: &Single) -> Result<f64> {
        let Problem { m, n, k, .. } = *problem;
        let found: Vec<f32> = self.device.download(&single.result, m * n)?;
        let [a, b] = &single.host;
        let (mut off, mut size) = (0.0, 0.0);
        for _ in 0..200 {
            let (row, col) = (
                self.random.next() as usize % m,
                self.random.next() as usize % n,
            );
            let pairs = a[row * k..][..k].iter().zip(&b[col * k..][..k]);
            let exact: f64 = pairs.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            off += (f64::from(found[row * n + col]) - exact).powi(2);
            size += exact * exact;
        }
        Ok((off / size).sqrt())
    }
}

pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Registers of a thread at entry, and bytes of shared memory of a block: what it asks for at launch and what the compiler gave it.
pub fn resources(device: &Device, path: &str, values: &Values) -> Result<(usize, usize)> {
    let source = Source::load(path, values)?;
    let cubin = Cubin::of(&source, &device.arch())?;
    let parts = cubin.log.lines().flat_map(|line| line.split(','));
    let stated = parts.filter_map(|part| part.trim().strip_suffix(" bytes smem")?.parse().ok());
    let fixed: usize = stated.max().unwrap_or(0);
    let (_, _, asked) = source.metadata.block(&source.values)?;
    Ok((cubin.resources().registers, asked as usize + fixed))
}
