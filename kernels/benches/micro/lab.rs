//! What every probe needs: a device, data on it, time, and a place for results.

use cudarc::driver::{result, sys};
use kernels::{Arguments, Buffer, Device, Kernel, Values};
use serde_json::{Value, json};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a probe returns.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// GB/s of the H200's memory by its data sheet, and what is predicted to remain of it for copying and for reading.
pub const PINS: f64 = 4800.0;
pub const COPY: f64 = 4300.0;
pub const READ: f64 = 4400.0;

/// A measured point and what was predicted for it.
pub struct Point {
    name: String,
    unit: String,
    predicted: f64,
    /// What arithmetic on the data sheet's numbers says that the quantity cannot be better than.
    bound: Option<f64>,
    samples: Vec<f64>,
}

/// A GPU with its clock and a kernel that keeps it awake.
pub struct Lab {
    pub device: Device,
    /// Multiprocessors.
    pub sms: usize,
    /// Highest clock of a multiprocessor in cycles a ns.
    pub clock: f64,
    pub points: Vec<Point>,
    busy: Kernel,
    sink: Buffer,
    noise: u64,
}

impl Lab {
    /// Opens the GPU and wakes it up.
    pub fn open() -> Outcome<Self> {
        let device = Device::open()?;
        let sms = device.multiprocessors() as usize;
        let khz = device.attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
        let clock = if khz > 0 { khz as f64 / 1e6 } else { 1.98 };
        let busy = Kernel::load(&device, "micro/fma_rate.cu", &Values::new())?;
        let sink = device.allocate(sms * 2 * (1024 * 4 + 8))?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let seed = std::env::var("SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let noise = seed.unwrap_or(since.as_nanos() as u64);
        println!("seed {noise}");
        let lab = Self {
            device,
            sms,
            clock,
            points: Vec::new(),
            busy,
            sink,
            noise,
        };
        for _ in 0..10 {
            lab.warm()?;
        }
        Ok(lab)
    }

    /// Driver and compiler, for the record.
    pub fn toolchain(&self) -> String {
        let nvrtc = kernels::nvrtc_version().unwrap_or_default();
        format!("driver {}, NVRTC {nvrtc}", benches::gpu::driver())
    }

    /// About 20 ms of arithmetic, so that the clock is up when time is taken.
    pub fn warm(&self) -> Outcome {
        let cycles = self.sms * 2 * 8;
        let arguments = Arguments::default()
            .buffer("cycles", &self.sink)
            .address("out", self.sink.address() + cycles as u64)
            .float("a", 0.5)
            .float("b", 0.5)
            .integer("ROUNDS", 20_000);
        self.busy.prepare(&arguments)?.run()?;
        Ok(self.device.synchronize()?)
    }

    /// The kernel `micro/NAME.cu` with these parameters.
    pub fn kernel(&self, name: &str, parameters: &[(&str, usize)]) -> Outcome<Kernel> {
        let values = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value as i64));
        Ok(Kernel::load(
            &self.device,
            &format!("micro/{name}.cu"),
            &values.collect(),
        )?)
    }

    /// The next random word. A few lines of arithmetic (splitmix64): all that is asked of it is that data are not all alike.
    pub fn random(&mut self) -> u32 {
        self.noise = self.noise.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.noise;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) as u32
    }

    /// `bytes` bytes on the GPU that repeat a random pattern of `pattern` bytes, and the pattern.
    pub fn filled(&mut self, bytes: usize, pattern: usize) -> Outcome<(Vec<u32>, Buffer)> {
        let words: Vec<u32> = (0..pattern / 4).map(|_| self.random()).collect();
        let buffer = self.device.allocate(bytes)?;
        self.write(&buffer, &words)?;
        for at in (pattern..bytes).step_by(pattern) {
            let (to, from) = (buffer.address() + at as u64, buffer.address());
            // SAFETY: both ranges lie in the buffer, since `bytes` is a multiple of `pattern`.
            unsafe { result::memcpy_dtod_async(to, from, pattern, self.device.stream())? };
        }
        self.device.synchronize()?;
        Ok((words, buffer))
    }

    /// Writes `data` to the start of a buffer.
    pub fn write(&self, buffer: &Buffer, data: &[u32]) -> Outcome {
        assert!(std::mem::size_of_val(data) <= buffer.bytes());
        // SAFETY: the buffer is large enough, and the call returns when the data have been read.
        unsafe { result::memcpy_htod_sync(buffer.address(), data)? };
        Ok(())
    }

    /// A buffer of zeros.
    pub fn zeros(&self, bytes: usize) -> Outcome<Buffer> {
        let buffer = self.device.allocate(bytes)?;
        self.device.fill(&buffer, 0)?;
        Ok(buffer)
    }

    /// ns a piece, in `samples` samples of `pieces` pieces of work each; `work(i)` puts the i-th piece on the stream.
    pub fn time(
        &self,
        samples: usize,
        pieces: usize,
        mut work: impl FnMut(usize) -> kernels::Result<()>,
    ) -> Outcome<Vec<f64>> {
        self.warm()?;
        (0..pieces).try_for_each(&mut work)?;
        self.device.synchronize()?;
        let mut taken = Vec::new();
        for _ in 0..samples {
            let begin = self.device.event()?;
            (0..pieces).try_for_each(&mut work)?;
            let end = self.device.event()?;
            taken.push(begin.microseconds_to(&end)? * 1e3 / pieces as f64);
        }
        Ok(taken)
    }

    /// Cycles by the kernel's own count, the median over its blocks, in `samples` launches.
    pub fn cycles(
        &self,
        samples: usize,
        counts: &Buffer,
        launch: &kernels::Launch,
    ) -> Outcome<Vec<f64>> {
        self.warm()?;
        launch.run()?;
        let mut taken = Vec::new();
        for _ in 0..samples {
            self.device.fill(counts, 0xff)?;
            launch.run()?;
            let halves: Vec<u32> = self.device.download(counts, counts.bytes() / 4)?;
            let wide = |pair: &[u32]| (u64::from(pair[1]) << 32 | u64::from(pair[0])) as f64;
            taken.push(median(
                &halves.chunks_exact(2).map(wide).collect::<Vec<_>>(),
            ));
        }
        Ok(taken)
    }

    /// Keeps a result: its prediction, and its samples.
    pub fn point(&mut self, name: String, unit: &str, predicted: f64, samples: Vec<f64>) {
        self.points.push(Point {
            name,
            unit: unit.to_owned(),
            predicted,
            bound: None,
            samples,
        });
    }

    /// As [`Lab::point`], with what it cannot be better than.
    pub fn bounded(
        &mut self,
        name: String,
        unit: &str,
        predicted: f64,
        bound: f64,
        samples: Vec<f64>,
    ) {
        self.point(name, unit, predicted, samples);
        self.points.last_mut().expect("just pushed").bound = Some(bound);
    }
}

impl Point {
    /// The measured series, and the prediction as a second line beside it.
    pub fn series(&self) -> [benches::Series; 2] {
        let (line, x) = self.name.split_once('/').unwrap_or((&self.name, ""));
        let predicted = if x.is_empty() {
            format!("{line}-predicted")
        } else {
            format!("{line}-predicted/{x}")
        };
        let series = |name: &str, floor, samples: &[f64]| benches::Series {
            name: name.to_owned(),
            unit: self.unit.clone(),
            floor,
            samples: samples.to_vec(),
        };
        [
            series(&self.name, self.bound, &self.samples),
            series(&predicted, None, &[self.predicted]),
        ]
    }

    /// A line for the other process.
    pub fn to_json(&self) -> Value {
        json!([
            self.name,
            self.unit,
            self.predicted,
            self.bound,
            self.samples
        ])
    }

    /// What [`Point::to_json`] wrote.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        let (name, unit, predicted, bound, samples) = serde_json::from_str(text)?;
        Ok(Self {
            name,
            unit,
            predicted,
            bound,
            samples,
        })
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measured = median(&self.samples);
        let ratio = measured / self.predicted;
        let (name, unit) = (&self.name, &self.unit);
        write!(
            f,
            "{name:<34} {:>11.1} {measured:>11.1} {unit:<11} {ratio:>9.2}",
            self.predicted
        )
    }
}

/// The middle of some samples.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// Fails unless two integers are equal.
pub fn same(what: &str, found: u32, expected: u32) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} is {found}, not {expected}").into())
}

/// Fails unless `found` is within `tolerance` of `expected`, relative to the norm of `expected`; a NaN never is.
pub fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f64) -> Outcome {
    assert_eq!(found.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let pairs = found.iter().zip(expected);
    let off = norm(&mut pairs.map(|(f, e)| f64::from(*f) - f64::from(*e)));
    let error = off / norm(&mut expected.iter().map(|e| f64::from(*e)));
    if error <= tolerance {
        return Ok(());
    }
    Err(format!("{what} is off by {error:.1e} of its norm").into())
}
