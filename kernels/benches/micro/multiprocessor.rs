//! Probes within one multiprocessor: shared memory, schedulers, warps, registers. All of them in cycles of its own clock, which do
//! not change with the clock's rate.

use crate::lab::{Lab, Outcome, close, same};
use kernels::{Arguments, Cubin, Source, Values};

/// `cycles / work` for every sample.
fn each(samples: Vec<f64>, work: impl Fn(f64) -> f64) -> Vec<f64> {
    samples.into_iter().map(work).collect()
}

pub fn shared_bandwidth(lab: &mut Lab) -> Outcome {
    let (counts, sum) = (lab.zeros(lab.sms * 8)?, lab.zeros(4)?);
    let (threads, rounds, unroll) = (1024, 256, 8);
    for width in [4, 8, 16] {
        let kernel = lab.kernel("shared_bandwidth", &[("WIDTH", width)])?;
        let arguments = Arguments::default()
            .buffer("cycles", &counts)
            .buffer("sum", &sum);
        let launch = kernel.prepare(&arguments.integer("ROUNDS", rounds))?;
        lab.device.fill(&sum, 0)?;
        let samples = lab.cycles(15, &counts, &launch)?;
        // Word i holds i, and the threads of a block read the first threads*width/4 words.
        let words = (threads * width / 4) as u32;
        let block = (words * (words - 1) / 2).wrapping_mul((rounds * unroll) as u32);
        let expected = block.wrapping_mul((16 * lab.sms) as u32);
        same("the sum", lab.device.download(&sum, 1)?[0], expected)?;
        let bytes = (threads * width * rounds * unroll) as f64;
        let name = format!("shared-bandwidth/{width}");
        lab.bounded(
            name,
            "B/cycle",
            128.0,
            128.0,
            each(samples, |cycles| bytes / cycles),
        );
    }
    Ok(())
}

pub fn bank_conflicts(lab: &mut Lab) -> Outcome {
    let kernel = lab.kernel("bank_conflicts", &[])?;
    let (counts, sum) = (lab.zeros(lab.sms * 8)?, lab.zeros(4)?);
    let (warps, rounds, unroll) = (32_u32, 256_u32, 8_u32);
    for stride in [1_u32, 2, 3, 4, 5, 6, 7, 8, 12, 16, 17, 24, 31, 32, 33] {
        let arguments = Arguments::default()
            .buffer("cycles", &counts)
            .buffer("sum", &sum);
        let arguments = arguments.integer("STRIDE", stride as usize);
        let launch = kernel.prepare(&arguments.integer("ROUNDS", rounds as usize))?;
        lab.device.fill(&sum, 0)?;
        let samples = lab.cycles(15, &counts, &launch)?;
        // Lane l reads the words l*stride + 32*u.
        let round = unroll * stride * (31 * 32 / 2) + 32 * 32 * (unroll * (unroll - 1) / 2);
        let expected = [warps, rounds, 16, lab.sms as u32]
            .into_iter()
            .fold(round, u32::wrapping_mul);
        same("the sum", lab.device.download(&sum, 1)?[0], expected)?;
        let loads = f64::from(warps * rounds * unroll);
        let predicted = f64::from(1 << stride.trailing_zeros().min(5));
        let name = format!("bank-conflicts/{stride}");
        lab.bounded(
            name,
            "cycles",
            predicted,
            predicted,
            each(samples, |cycles| cycles / loads),
        );
    }
    Ok(())
}

pub fn occupancy_ilp(lab: &mut Lab) -> Outcome {
    let (a, b, rounds) = (0.999_f32, 0.5_f32, 2048);
    for chains in [1, 2, 4, 8] {
        for warps in [1, 2, 4, 8, 16, 32] {
            let kernel = lab.kernel("occupancy_ilp", &[("ILP", chains), ("WARPS", warps)])?;
            let counts = lab.zeros(lab.sms * 8)?;
            let out = lab.zeros(lab.sms * warps * 32 * chains * 4)?;
            let arguments = Arguments::default()
                .buffer("cycles", &counts)
                .buffer("out", &out);
            let arguments = arguments
                .float("a", a)
                .float("b", b)
                .integer("ROUNDS", rounds);
            let launch = kernel.prepare(&arguments)?;
            let samples = lab.cycles(11, &counts, &launch)?;
            let found: Vec<f32> = lab.device.download(&out, warps * 32 * chains)?;
            let at = |i: usize| (i / chains + i % chains) as f32;
            let chain = |x: f32| (0..rounds * 16).fold(x, |x, _| x.mul_add(a, b));
            let checked = [0, found.len() / 2, found.len() - 1];
            let expected = checked.map(|i| chain(at(i)));
            close("a chain", &checked.map(|i| found[i]), &expected, 1e-6)?;
            let work = (warps * 32 * chains * rounds * 16) as f64;
            let scheduler = |s: usize| (((warps + 3 - s) / 4 * chains) as f64 / 4.0).min(1.0);
            let predicted = 32.0 * (0..4).map(scheduler).sum::<f64>();
            let name = format!("fma-chains{chains}/{warps}");
            lab.bounded(
                name,
                "FMA/cycle",
                predicted,
                128.0,
                each(samples, |cycles| work / cycles),
            );
        }
    }
    Ok(())
}

pub fn divergence(lab: &mut Lab) -> Outcome {
    let kernel = lab.kernel("divergence", &[])?;
    let (counts, out) = (lab.zeros(lab.sms * 8)?, lab.zeros(lab.sms * 128)?);
    let (a, rounds) = (0.5_f32, 256);
    for paths in [1, 2, 4, 8, 16, 32] {
        let arguments = Arguments::default()
            .buffer("cycles", &counts)
            .buffer("out", &out);
        let arguments = arguments.float("a", a).integer("PATHS", paths);
        let launch = kernel.prepare(&arguments.integer("ROUNDS", rounds))?;
        let samples = lab.cycles(15, &counts, &launch)?;
        let found: Vec<f32> = lab.device.download(&out, 32)?;
        let path = |lane: usize| {
            let b = f32::from_bits(0x3f80_0000 + (lane % paths) as u32);
            (0..rounds * 16).fold(lane as f32, |x, _| x.mul_add(a, b))
        };
        let expected: Vec<f32> = (0..32).map(path).collect();
        if found != expected {
            return Err(format!("with {paths} paths the lanes hold {found:?}").into());
        }
        let round = each(samples, |cycles| cycles / rounds as f64);
        let (predicted, bound) = ((68 * paths) as f64, (16 * paths) as f64);
        lab.bounded(
            format!("divergence/{paths}"),
            "cycles",
            predicted,
            bound,
            round,
        );
    }
    Ok(())
}

pub fn shuffle_reduce(lab: &mut Lab) -> Outcome {
    let (counts, out) = (lab.zeros(lab.sms * 8)?, lab.zeros(lab.sms * 128)?);
    let rounds = 1024;
    for (method, (name, predicted)) in [("shuffle", 145.0), ("shared", 225.0), ("redux", 30.0)]
        .into_iter()
        .enumerate()
    {
        let kernel = lab.kernel("shuffle_reduce", &[("METHOD", method)])?;
        let arguments = Arguments::default()
            .buffer("cycles", &counts)
            .buffer("out", &out);
        let launch = kernel.prepare(&arguments.integer("ROUNDS", rounds))?;
        let samples = lab.cycles(15, &counts, &launch)?;
        let mut lanes: Vec<u32> = (0..32).collect();
        for _ in 0..rounds {
            let sum = lanes
                .iter()
                .fold(0_u32, |sum, lane| sum.wrapping_add(*lane));
            lanes = (0..32).map(|lane| sum.wrapping_add(lane)).collect();
        }
        if lab.device.download::<u32>(&out, 32)? != lanes {
            return Err(format!("the reduction by {name} is wrong").into());
        }
        let one = each(samples, |cycles| cycles / rounds as f64);
        lab.point(format!("reduce-{name}"), "cycles", predicted, one);
    }
    Ok(())
}

pub fn register_pressure(lab: &mut Lab) -> Outcome {
    let (live, threads, rounds) = (160, 128, 1024);
    let data: Vec<f32> = (0..live * threads)
        .map(|_| lab.random() as f32 / 4e9)
        .collect();
    let (input, out) = (
        lab.device.upload(&data)?,
        lab.zeros(lab.sms * 16 * threads * 4)?,
    );
    for cap in [32, 64, 96, 128, 168, 255] {
        let kernel = lab.kernel("register_pressure", &[("REGISTERS", cap)])?;
        let resident = lab.zeros(4096 * 4)?;
        let arguments = Arguments::default()
            .buffer("in", &input)
            .buffer("out", &out);
        let arguments = arguments
            .buffer("resident", &resident)
            .integer("ROUNDS", rounds);
        let launch = kernel.prepare(&arguments)?;
        let times = lab.time(10, 1, |_| launch.run())?;
        let found: Vec<f32> = lab.device.download(&out, threads)?;
        let thread = |t: usize| {
            let mut x: Vec<f32> = (0..live).map(|i| data[i * threads + t]).collect();
            for _ in 0..rounds {
                (0..live).for_each(|i| x[i] = x[(i + 1) % live].mul_add(0.5, 0.25));
            }
            x.iter().sum()
        };
        close(
            "a thread",
            &[found[0], found[77]],
            &[thread(0), thread(77)],
            1e-5,
        )?;
        let most = lab
            .device
            .download::<i32>(&resident, 4096)?
            .into_iter()
            .max()
            .unwrap_or(0);
        let values = Values::from([("REGISTERS".to_owned(), cap as i64)]);
        let source = Source::load("micro/register_pressure.cu", &values)?;
        let used = Cubin::of(&source, &lab.device.arch())?.resources();
        let needs = 168;
        let blocks = (65536 / (cap.min(needs) * threads)).min(2048 / threads);
        let lacking = needs.saturating_sub(cap);
        let cycles = (live as f64 / 4.0).max(2.0 * lacking as f64);
        let predicted = (16 * threads / 32 * rounds) as f64 * cycles / lab.clock;
        lab.point(format!("registers-time/{cap}"), "ns", predicted, times);
        let warps = |blocks: f64| blocks * threads as f64 / 32.0;
        lab.point(
            format!("registers-warps/{cap}"),
            "warps",
            warps(blocks as f64),
            vec![warps(f64::from(most))],
        );
        lab.point(
            format!("registers-used/{cap}"),
            "registers",
            cap.min(needs) as f64,
            vec![used.registers as f64],
        );
    }
    Ok(())
}
