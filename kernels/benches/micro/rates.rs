//! Probes of the arithmetic units: f32, and the tensor cores by both of their instructions.

use crate::lab::{Lab, Outcome, close, median};
use kernels::{Arguments, Buffer};

/// bf16 FMAs a cycle and multiprocessor: 989 TFLOP/s by the data sheet at 1.83 GHz.
const TENSOR: f64 = 2048.0;

pub fn fma_rate(lab: &mut Lab) -> Outcome {
    let kernel = lab.kernel("fma_rate", &[])?;
    let (threads, chains, rounds) = (1024, 8, 4096);
    let (a, b) = (0.999_f32, 0.5_f32);
    let (counts, out) = (
        lab.zeros(lab.sms * 16)?,
        lab.zeros(lab.sms * 2 * threads * 4)?,
    );
    let arguments = Arguments::default()
        .buffer("cycles", &counts)
        .buffer("out", &out);
    let arguments = arguments
        .float("a", a)
        .float("b", b)
        .integer("ROUNDS", rounds);
    let launch = kernel.prepare(&arguments)?;
    let times = lab.time(15, 1, |_| launch.run())?;
    let found: Vec<f32> = lab.device.download(&out, threads)?;
    let chain = |x: usize| (0..rounds * 16).fold(x as f32, |x, _| x.mul_add(a, b));
    let thread = |t: usize| (t..t + chains).map(chain).sum::<f32>();
    close(
        "a thread",
        &[found[0], found[900]],
        &[thread(0), thread(900)],
        1e-6,
    )?;
    let work = (lab.sms * 2 * threads * chains * rounds * 16 * 2) as f64;
    let peak = lab.sms as f64 * 128.0 * 2.0 * lab.clock / 1e3;
    let tflops = times.iter().map(|ns| work / ns / 1e3).collect();
    lab.bounded(
        "fma-rate".to_owned(),
        "TFLOP/s",
        66.0 / 66.9 * peak,
        peak,
        tflops,
    );
    // Both blocks of a multiprocessor run at the same time, each for nearly all of the kernel's.
    let cycles = lab.cycles(15, &counts, &launch)?;
    let megahertz = cycles
        .iter()
        .map(|cycles| cycles / median(&times) * 1e3)
        .collect();
    lab.point("clock".to_owned(), "MHz", lab.clock * 1e3, megahertz);
    Ok(())
}

/// Random multiples of 1/64 between -1 and 1, which bf16 holds exactly, and the same on the GPU.
fn bf16(lab: &mut Lab, count: usize) -> Outcome<(Vec<f32>, Buffer)> {
    let values: Vec<f32> = (0..count)
        .map(|_| (lab.random() % 129) as f32 / 64.0 - 1.0)
        .collect();
    let bits: Vec<u16> = values
        .iter()
        .map(|value| (value.to_bits() >> 16) as u16)
        .collect();
    let buffer = lab.device.upload(&bits)?;
    Ok((values, buffer))
}

/// times * a[m, k] * b[n, k]^T
fn product(a: &[f32], b: &[f32], k: usize, times: usize) -> Vec<f32> {
    let dot = |row: &[f32], col: &[f32]| row.iter().zip(col).map(|(x, y)| x * y).sum::<f32>();
    let rows = a.chunks_exact(k);
    rows.flat_map(|row| {
        b.chunks_exact(k)
            .map(move |col| dot(row, col) * times as f32)
    })
    .collect()
}

pub fn hmma_rate(lab: &mut Lab) -> Outcome {
    let kernel = lab.kernel("hmma_rate", &[])?;
    let (warps, tiles, rounds) = (16, 4, 4096);
    let ((a, left), (b, right)) = (bf16(lab, 16 * 16)?, bf16(lab, 8 * tiles * 16)?);
    let (counts, out) = (lab.zeros(lab.sms * 8)?, lab.zeros(16 * 8 * tiles * 4)?);
    lab.device.fill(&out, 0xff)?;
    let arguments = Arguments::default()
        .buffer("a", &left)
        .buffer("b", &right)
        .buffer("c", &out);
    let arguments = arguments
        .buffer("cycles", &counts)
        .integer("ROUNDS", rounds);
    let launch = kernel.prepare(&arguments)?;
    let times = lab.time(15, 1, |_| launch.run())?;
    let cycles = lab.cycles(15, &counts, &launch)?;
    let found: Vec<f32> = lab.device.download(&out, 16 * 8 * tiles)?;
    close("the product", &found, &product(&a, &b, 16, rounds), 1e-2)?;
    let work = (warps * tiles * rounds * 16 * 8 * 16) as f64;
    let a_cycle = cycles.iter().map(|cycles| work / cycles).collect();
    lab.bounded(
        "hmma".to_owned(),
        "FMA/cycle",
        0.63 * TENSOR,
        TENSOR,
        a_cycle,
    );
    let chip = work * lab.sms as f64 * 2.0 / 1e3;
    let peak = lab.sms as f64 * 2.0 * TENSOR * lab.clock / 1e3;
    let tflops = times.iter().map(|ns| chip / ns).collect();
    lab.bounded("hmma-rate".to_owned(), "TFLOP/s", 0.63 * peak, peak, tflops);
    Ok(())
}

pub fn wgmma_rate(lab: &mut Lab) -> Outcome {
    let rounds = 4096;
    let mut failures = String::new();
    for (groups, line) in [(1, "wgmma-one-group"), (2, "wgmma")] {
        for n in [8, 16, 32, 64, 128, 256] {
            if let Err(error) = wgmma(lab, n, groups, rounds, line) {
                failures += &format!("N={n} with {groups} groups: {error}; ");
                // After some errors nothing runs any more in this process.
                if lab.device.synchronize().is_err() {
                    return Err(failures.into());
                }
            }
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.into())
    }
}

fn wgmma(lab: &mut Lab, n: usize, groups: usize, rounds: usize, line: &str) -> Outcome {
    let kernel = lab.kernel("wgmma_rate", &[("N", n), ("GROUPS", groups)])?;
    let ((a, left), (b, right)) = (bf16(lab, 64 * 64)?, bf16(lab, n * 64)?);
    let (counts, out) = (lab.zeros(lab.sms * 8)?, lab.zeros(64 * n * 4)?);
    lab.device.fill(&out, 0xff)?;
    let arguments = Arguments::default()
        .buffer("a", &left)
        .buffer("b", &right)
        .buffer("c", &out);
    let arguments = arguments
        .buffer("cycles", &counts)
        .integer("ROUNDS", rounds);
    let launch = kernel.prepare(&arguments)?;
    let cycles = lab.cycles(15, &counts, &launch)?;
    let found: Vec<f32> = lab.device.download(&out, 64 * n)?;
    close("the product", &found, &product(&a, &b, 64, rounds), 1e-2)?;
    let instructions = (rounds * 4 * groups) as f64;
    let (arithmetic, operands) = (n as f64 / 2.0, 16.0 + n as f64 / 4.0);
    let each = cycles.iter().map(|cycles| cycles / instructions).collect();
    lab.bounded(
        format!("{line}/{n}"),
        "cycles",
        arithmetic.max(operands),
        arithmetic,
        each,
    );
    if (n, groups) == (256, 2) {
        let times = lab.time(15, 1, |_| launch.run())?;
        let work = instructions * (64 * n * 16 * 2 * lab.sms) as f64;
        let peak = lab.sms as f64 * 2.0 * TENSOR * lab.clock / 1e3;
        let tflops = times.iter().map(|ns| work / ns / 1e3).collect();
        lab.bounded("wgmma-rate".to_owned(), "TFLOP/s", peak, peak, tflops);
    }
    Ok(())
}
