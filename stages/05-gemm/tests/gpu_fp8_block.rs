//! The e4m3 GEMM with block scales, in every configuration, against f64 products of what the operands stand for.

use gemm::fp8::GROUP;
use gemm::{
    BLOCK_CONFIGS, BlockGemm, BlockOperands, Config, Element, Plan, Problem, Quantised,
    block_parameters, block_plan, block_plans,
};
use kernels::{Cubin, Device, Source};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// Values whose size differs fourfold from one 128 of k to the next, and from row to row: a scale of the wrong place shows.
fn values(random: &mut impl Rng, rows: usize, k: usize) -> Vec<f32> {
    let groups = k.div_ceil(GROUP);
    let mut all = Vec::with_capacity(rows * k);
    for _ in 0..rows {
        let sizes: Vec<f32> = (0..groups)
            .map(|_| 4.0_f32.powf(random.random_range(-0.5..0.5)))
            .collect();
        all.extend((0..k).map(|i| sizes[i / GROUP] * random.random_range(-1.0_f32..1.0)));
    }
    all
}

/// The same for weights: sizes that differ from block to block.
fn weights(random: &mut impl Rng, rows: usize, k: usize) -> Vec<f32> {
    let groups = k.div_ceil(GROUP);
    let sizes: Vec<f32> = (0..rows.div_ceil(GROUP) * groups)
        .map(|_| 4.0_f32.powf(random.random_range(-0.5..0.5)))
        .collect();
    let at = |index: usize| sizes[index / k / GROUP * groups + index % k / GROUP];
    (0..rows * k)
        .map(|index| at(index) * random.random_range(-1.0_f32..1.0))
        .collect()
}

/// Every element for small products; for large ones some rows and columns, the edges among them.
fn some(count: usize) -> Vec<usize> {
    if count <= 300 {
        return (0..count).collect();
    }
    let spread = (0..60).map(|i| i * (count - 1) / 59);
    spread
        .chain([63, 64, 127, 128, 255, 256, count - 2])
        .collect()
}

/// Runs the product under all `plans`, each twice, into poisoned memory.
fn check(device: &Device, gemm: &BlockGemm, (m, n, k): (usize, usize, usize), plans: &[Plan]) {
    let element = Element::E4m3;
    let problem = Problem { m, n, k, element };
    let seed = rand::random::<u64>();
    let mut random = StdRng::seed_from_u64(seed);
    let a = Quantised::tokens(&values(&mut random, m, k), m, k);
    let b = Quantised::weights(&weights(&mut random, n, k), n, k);
    let (exact_a, exact_b) = (a.values(), b.values());
    let dot = |row: usize, column: usize| -> f64 {
        let (a, b) = (&exact_a[row * k..], &exact_b[column * k..]);
        a[..k].iter().zip(b).map(|(a, b)| a * b).sum()
    };
    let (rows, columns) = (some(m), some(n));
    let pairs = rows
        .iter()
        .flat_map(|row| columns.iter().map(move |column| (*row, *column)));
    let exact: Vec<(usize, f64)> = pairs
        .map(|(row, column)| (row * n + column, dot(row, column)))
        .collect();

    let up = |bytes: &[u8]| device.upload(bytes).unwrap();
    let (codes_a, codes_b) = (up(&a.codes), up(&b.codes));
    let (scales_a, scales_b) = (
        device.upload(&a.scales).unwrap(),
        device.upload(&b.scales).unwrap(),
    );
    // A line more than the result, which no kernel may touch.
    let c = device.allocate((m * n + 64) * 2).unwrap();
    let operands = BlockOperands {
        a: codes_a.address(),
        scales_a: scales_a.address(),
        stride: a.stride,
        b: codes_b.address(),
        scales_b: scales_b.address(),
        c: c.address(),
    };
    for plan in plans {
        let at = format!("m {m}, n {n}, k {k}, seed {seed}, {plan:?}");
        let launch = gemm.prepare(&problem, plan, &operands).unwrap();
        let mut first: Option<Vec<u16>> = None;
        for _ in 0..2 {
            device.fill(&c, 0xFF).unwrap();
            launch.run().unwrap();
            let out: Vec<u16> = device.download(&c, m * n + 64).unwrap();
            let (mut difference, mut size) = (0.0, 0.0);
            for (index, exact) in &exact {
                let got = half::bf16::from_bits(out[*index]).to_f64();
                difference += (got - exact) * (got - exact);
                size += exact * exact;
            }
            let error = (difference / size).sqrt();
            assert!(error <= 1e-2, "{at}: error {error}");
            let nan = |bits: &&u16| **bits & 0x7FFF > 0x7F80;
            assert_eq!(
                out[..m * n].iter().filter(nan).count(),
                0,
                "{at}: not all was written"
            );
            assert!(
                out[m * n..].iter().all(|bits| *bits == 0xFFFF),
                "{at}: wrote beyond C"
            );
            // Sums are added in a fixed order.
            if let Some(first) = &first {
                assert!(*first == out, "{at}: a second launch gave another result");
            }
            first = Some(out);
        }
    }
}

#[test]
#[ignore = "needs NVRTC"]
fn no_configuration_spills() {
    for config in BLOCK_CONFIGS {
        let source = Source::load("gemm/fp8_block.cu", &block_parameters(config)).unwrap();
        let cubin = Cubin::of(&source, "sm_90a").unwrap();
        let resources = cubin.resources();
        assert!(
            resources.spills == 0 && resources.stack == 0,
            "{config:?}: {resources:?}"
        );
        assert!(!cubin.log.contains("C75"), "{config:?}: {}", cubin.log);
    }
}

/// Every configuration, not only those that suit, with tiles that are whole, cut, and some of both.
fn check_all(shapes: &[(usize, usize, usize)]) {
    let device = Device::open().unwrap();
    let (gemm, sms) = (
        BlockGemm::new(&device).unwrap(),
        device.multiprocessors() as usize,
    );
    for &(m, n, k) in shapes {
        let element = Element::E4m3;
        let problem = Problem { m, n, k, element };
        let forced = BLOCK_CONFIGS.iter().flat_map(|config: &Config| {
            let (tiles, steps) = config.tiles(&problem);
            let most = sms / config.cluster;
            let plan = |workers, whole| Plan {
                config: *config,
                workers,
                whole,
            };
            [
                plan(most.min(tiles), tiles),
                plan(most.min(tiles * steps), 0),
                plan(7.min(tiles * steps), tiles / 2),
            ]
        });
        check(&device, &gemm, (m, n, k), &forced.collect::<Vec<_>>());
    }
}

/// Few enough for racecheck, which was not through the others after two minutes.
#[test]
#[ignore = "needs a CUDA GPU"]
fn every_configuration_is_right_on_one_shape() {
    check_all(&[(65, 200, 400)]);
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn every_configuration_is_right_on_every_shape() {
    // k within one scale, just beyond it, and not a multiple of it; n and m beside every tile's edge.
    check_all(&[
        (1, 8, 16),
        (1, 136, 2064),
        (7, 264, 144),
        (33, 2112, 512),
        (63, 1000, 1040),
        (65, 520, 3088),
        (129, 392, 272),
        (257, 776, 1152),
        (300, 1288, 7168),
    ]);
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn what_is_picked_is_right_on_a_model() {
    let device = Device::open().unwrap();
    let (gemm, sms) = (
        BlockGemm::new(&device).unwrap(),
        device.multiprocessors() as usize,
    );
    for (n, k) in [(2112, 7168), (7168, 2048), (4096, 7168)] {
        for m in [1, 16, 128, 515] {
            let element = Element::E4m3;
            let problem = Problem { m, n, k, element };
            let plans = block_plans(&problem, sms);
            let mut plans: Vec<Plan> = plans.into_iter().map(|(_, plan)| plan).collect();
            plans.push(block_plan(&problem, sms));
            check(&device, &gemm, (m, n, k), &plans);
        }
    }
}
