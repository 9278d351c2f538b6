//! Probes of global memory and the caches before it.

use crate::lab::{COPY, Lab, Outcome, PINS, READ, same};
use kernels::{Arguments, Buffer};

/// Bytes that the probes of bandwidth walk through: 34 times the L2, so that going round finds nothing again.
const POOL: usize = 2 << 30;
/// What random data repeat, a 64th of the pool.
const PATTERN: usize = 32 << 20;

/// Sums are taken modulo 2^32, so that their order does not matter.
fn total<'a>(words: impl IntoIterator<Item = &'a u32>) -> u32 {
    words
        .into_iter()
        .fold(0, |sum, word| sum.wrapping_add(*word))
}

fn megabytes(sizes: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    sizes.iter().map(|mb| (*mb, mb << 20))
}

/// GB/s from ns for so many bytes.
fn rate(times: Vec<f64>, bytes: usize) -> Vec<f64> {
    times.iter().map(|ns| bytes as f64 / ns).collect()
}

/// The first word of a buffer.
fn word(lab: &Lab, buffer: &Buffer) -> Outcome<u32> {
    Ok(lab.device.download::<u32>(buffer, 1)?[0])
}

pub fn copy(lab: &mut Lab) -> Outcome {
    let (kernel, adder) = (lab.kernel("copy", &[])?, lab.kernel("read", &[])?);
    let (pattern, from) = lab.filled(POOL, PATTERN)?;
    let (to, sum) = (lab.device.allocate(POOL)?, lab.zeros(4)?);
    for (mb, bytes) in megabytes(&[32, 64, 128, 256, 512, 1024, 2048]) {
        lab.device.fill(&to, 0xa5)?;
        let mut launches = Vec::new();
        for at in (0..POOL).step_by(bytes) {
            let arguments = Arguments::default()
                .address("from", from.address() + at as u64)
                .address("to", to.address() + at as u64)
                .integer("N", bytes / 16);
            launches.push(kernel.prepare(&arguments)?);
        }
        let times = lab.time(20, launches.len(), |i| launches[i].run())?;
        // All of it by its sum, the beginning word by word.
        lab.device.fill(&sum, 0)?;
        let arguments = Arguments::default().buffer("data", &to).buffer("sum", &sum);
        adder.prepare(&arguments.integer("N", POOL / 16))?.run()?;
        let expected = total(&pattern).wrapping_mul((POOL / PATTERN) as u32);
        same("the copy's sum", word(lab, &sum)?, expected)?;
        if lab.device.download::<u32>(&to, pattern.len())? != pattern {
            return Err("the copy is not the original".into());
        }
        let (both, ramp) = (2.0 * bytes as f64, 2000.0);
        let predicted = both / (both / COPY + ramp);
        lab.bounded(
            format!("copy/{mb}"),
            "GB/s",
            predicted,
            PINS,
            rate(times, 2 * bytes),
        );
    }
    Ok(())
}

pub fn read(lab: &mut Lab) -> Outcome {
    let kernel = lab.kernel("read", &[])?;
    let (pattern, data) = lab.filled(POOL, PATTERN)?;
    let sum = lab.zeros(4)?;
    for (mb, bytes) in megabytes(&[32, 64, 128, 256, 512, 1024, 2048]) {
        let mut launches = Vec::new();
        for at in (0..POOL).step_by(bytes) {
            let arguments = Arguments::default()
                .address("data", data.address() + at as u64)
                .buffer("sum", &sum)
                .integer("N", bytes / 16);
            launches.push(kernel.prepare(&arguments)?);
        }
        lab.device.fill(&sum, 0)?;
        let samples = 20;
        let times = lab.time(samples, launches.len(), |i| launches[i].run())?;
        let expected = total(&pattern).wrapping_mul(((samples + 1) * POOL / PATTERN) as u32);
        same("the sum", word(lab, &sum)?, expected)?;
        let predicted = bytes as f64 / (bytes as f64 / READ + 2000.0);
        lab.bounded(
            format!("read/{mb}"),
            "GB/s",
            predicted,
            PINS,
            rate(times, bytes),
        );
    }
    Ok(())
}

pub fn coalescing(lab: &mut Lab) -> Outcome {
    let kernel = lab.kernel("coalescing", &[])?;
    let (pattern, data) = lab.filled(POOL, PATTERN)?;
    let sum = lab.zeros(4)?;
    for stride in [1, 2, 4, 8, 16, 32] {
        let count = POOL / 4 / stride;
        let arguments = Arguments::default()
            .buffer("data", &data)
            .buffer("sum", &sum);
        let arguments = arguments.integer("N", count).integer("STRIDE", stride);
        let launch = kernel.prepare(&arguments)?;
        lab.device.fill(&sum, 0)?;
        let (samples, pieces) = (15, 2);
        let times = lab.time(samples, pieces, |_| launch.run())?;
        let walks = (samples + 1) * pieces * POOL / PATTERN;
        let expected = total(pattern.iter().step_by(stride)).wrapping_mul(walks as u32);
        same("the sum", word(lab, &sum)?, expected)?;
        let worst = stride.min(8) as f64;
        let useful = rate(times, count * 4);
        lab.bounded(
            format!("coalescing/{stride}"),
            "GB/s",
            READ / worst,
            PINS / worst,
            useful,
        );
    }
    Ok(())
}

pub fn pointer_chase(lab: &mut Lab) -> Outcome {
    let kernel = lab.kernel("pointer_chase", &[])?;
    let (state, cycles) = (lab.zeros(8)?, lab.zeros(8)?);
    for kilobytes in [
        16,
        64,
        128,
        1 << 10,
        2 << 10,
        4 << 10,
        8 << 10,
        16 << 10,
        32 << 10,
        1 << 20,
    ] {
        let lines = kilobytes * 1024 / 128;
        let mut order: Vec<u32> = (0..lines as u32).collect();
        for i in (1..lines).rev() {
            let j = ((u64::from(lab.random()) * (i as u64 + 1)) >> 32) as usize;
            order.swap(i, j);
        }
        let chain = lab.device.allocate(lines * 128)?;
        let address = |position: usize| chain.address() + u64::from(order[position % lines]) * 128;
        let mut words = vec![0_u32; lines * 32];
        for position in 0..lines {
            let next = address(position + 1);
            let at = order[position] as usize * 32;
            (words[at], words[at + 1]) = (next as u32, (next >> 32) as u32);
        }
        lab.write(&chain, &words)?;
        drop(words);
        // The last of what was written lies in the L2: other zeros take its place.
        drop(lab.zeros(256 << 20)?);
        let first = address(0);
        lab.write(&state, &[first as u32, (first >> 32) as u32])?;
        let go = |warm: usize, steps: usize| -> Outcome<()> {
            let arguments = Arguments::default()
                .buffer("state", &state)
                .buffer("cycles", &cycles);
            let arguments = arguments.integer("WARM", warm).integer("STEPS", steps);
            Ok(kernel.prepare(&arguments)?.run()?)
        };
        // What fits into the L2 is brought there; the L1 starts empty at every launch.
        let steps = 4096;
        let filling = if kilobytes <= 32 << 10 { lines } else { 64 };
        let warm = if kilobytes <= 128 { 2 * lines } else { 64 };
        lab.warm()?;
        go(filling, steps)?;
        let mut position = filling + steps;
        let mut samples = Vec::new();
        for _ in 0..15 {
            go(warm, steps)?;
            position += warm + steps;
            let count: Vec<u32> = lab.device.download(&cycles, 2)?;
            samples.push((u64::from(count[1]) << 32 | u64::from(count[0])) as f64 / steps as f64);
        }
        let stopped: Vec<u32> = lab.device.download(&state, 2)?;
        let expected = address(position);
        same("the last line", stopped[0], expected as u32)?;
        same("the last line", stopped[1], (expected >> 32) as u32)?;
        let predicted = match kilobytes {
            0..=128 => 40.0,
            129..=32768 => 265.0,
            _ => 540.0,
        };
        lab.point(format!("latency/{kilobytes}"), "cycles", predicted, samples);
    }
    Ok(())
}

pub fn l2_bandwidth(lab: &mut Lab) -> Outcome {
    let kernel = lab.kernel("l2_bandwidth", &[])?;
    let (pattern, data) = lab.filled(256 << 20, PATTERN)?;
    let sum = lab.zeros(4)?;
    let words: Vec<u32> = pattern.chunks_exact(4).map(total).collect();
    let parameter = |name: &str| kernel.parameter(name).unwrap_or(0) as usize;
    let step = lab.sms * parameter("BLOCKS") * parameter("THREADS") * parameter("UNROLL");
    let rounds = POOL / 16 / step;
    for (mb, bytes) in megabytes(&[1, 2, 4, 8, 16, 32, 64, 128, 256]) {
        let arguments = Arguments::default()
            .buffer("data", &data)
            .buffer("sum", &sum);
        let arguments = arguments
            .integer("WORDS", bytes / 16)
            .integer("ROUNDS", rounds);
        let launch = kernel.prepare(&arguments)?;
        lab.device.fill(&sum, 0)?;
        let (samples, pieces) = (15, 2);
        let times = lab.time(samples, pieces, |_| launch.run())?;
        // The data repeat the pattern, so a walk through them is one through what of the pattern they hold.
        let held = &words[..words.len().min(bytes / 16)];
        let walks = (step * rounds / held.len()) as u32;
        let once = total(held).wrapping_mul(walks);
        let once = once.wrapping_add(total(&held[..step * rounds % held.len()]));
        let expected = once.wrapping_mul(((samples + 1) * pieces) as u32);
        same("the sum", word(lab, &sum)?, expected)?;
        let predicted = match mb {
            0..=32 => 0.65 * 5120.0 * lab.clock,
            33..=64 => (0.65 * 5120.0 * lab.clock + READ) / 2.0,
            _ => READ,
        };
        let line = format!("l2-bandwidth/{mb}");
        lab.point(line, "GB/s", predicted, rate(times, step * rounds * 16));
    }
    Ok(())
}

pub fn cp_async(lab: &mut Lab) -> Outcome {
    let (pattern, data) = lab.filled(POOL, PATTERN)?;
    let sum = lab.zeros(4)?;
    let mut failures = String::new();
    for (method, line) in ["plain", "async", "bulk"].into_iter().enumerate() {
        for stages in [1, 2, 4, 8, 16, 32] {
            let one = |lab: &mut Lab| -> Outcome {
                let kernel = lab.kernel("cp_async", &[("METHOD", method), ("STAGES", stages)])?;
                let arguments = Arguments::default()
                    .buffer("data", &data)
                    .buffer("sum", &sum);
                let launch = kernel.prepare(&arguments.integer("CHUNKS", POOL / 4096))?;
                lab.device.fill(&sum, 0)?;
                let samples = 10;
                let times = lab.time(samples, 1, |_| launch.run())?;
                let walks = ((samples + 1) * POOL / PATTERN) as u32;
                same(
                    "the sum",
                    word(lab, &sum)?,
                    total(&pattern).wrapping_mul(walks),
                )?;
                let (bytes, share) = (stages as f64 * 4096.0, READ / lab.sms as f64);
                let predicted = match method {
                    0 => bytes / (700.0 + bytes / share),
                    _ => (bytes / 700.0).min(share),
                };
                let name = format!("in-flight-{line}/{}", stages * 4);
                let predicted = predicted * lab.sms as f64;
                lab.bounded(name, "GB/s", predicted, PINS, rate(times, POOL));
                Ok(())
            };
            if let Err(error) = one(lab) {
                failures += &format!("{line} with {stages} stages: {error}; ");
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
