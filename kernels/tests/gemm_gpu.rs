//! Every step of the GEMM ladder on a GPU, against f64.
//!
//! Operands are fresh random numbers, followed by NaN, so that a read beyond their end shows; C is poisoned with NaN, and so are 16
//! elements after it, which no kernel may touch. A function a step, so that a record can name what ran.

use kernels::{Arguments, Buffer, Device, Kernel, Metadata, Values, read};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

type Size = [usize; 3];

/// [M, N, K] with rows of 16 bytes: one tile and less, tiles cut at each edge, more than one step of k.
const ALIGNED: &[Size] = &[
    [1, 8, 8],
    [3, 24, 72],
    [17, 136, 200],
    [130, 264, 520],
    [257, 520, 1032],
];
/// Rows that begin anywhere.
const ODD: &[Size] = &[[1, 1, 1], [3, 5, 7], [33, 65, 129], [70, 9, 64]];
/// Elements behind each array: NaN behind operands, untouched behind results.
const GUARD: usize = 16;

/// The type of a kernel's operands and results, with the relative Frobenius error that its rounding leaves room for.
#[derive(Clone, Copy, PartialEq)]
enum Element {
    F32,
    Bf16,
}

impl Element {
    fn tolerance(self) -> f64 {
        match self {
            Self::F32 => 1e-5,
            Self::Bf16 => 1e-2,
        }
    }
}

fn generator() -> StdRng {
    let seed = rand::random();
    eprintln!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

fn bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Random values that the type has, and their copy on the device.
fn operand(
    device: &Device,
    generator: &mut StdRng,
    element: Element,
    count: usize,
) -> (Vec<f32>, Buffer) {
    let exact = (0..count).map(|_| generator.random_range(-1.0_f32..1.0));
    match element {
        Element::F32 => {
            let values: Vec<f32> = exact.collect();
            let mut guarded = values.clone();
            guarded.resize(count + GUARD, f32::NAN);
            (values, device.upload(&guarded).unwrap())
        }
        Element::Bf16 => {
            let mut bits: Vec<u16> = exact.map(|x| (x.to_bits() >> 16) as u16).collect();
            let values = bits.iter().map(|bits| bf16(*bits)).collect();
            bits.resize(count + GUARD, 0x7FC0);
            (values, device.upload(&bits).unwrap())
        }
    }
}

/// A poisoned result of `count` elements and what must stay untouched behind it.
fn poisoned(device: &Device, element: Element, count: usize) -> Buffer {
    let bytes = if element == Element::F32 { 4 } else { 2 };
    let buffer = device.allocate((count + GUARD) * bytes).unwrap();
    device.fill(&buffer, 0xFF).unwrap();
    buffer
}

/// `A[m, k] * B[n, k]^T` in f64.
fn reference(a: &[f32], b: &[f32], [m, n, k]: Size) -> Vec<f64> {
    let output = |i: usize| {
        let (row, col) = (&a[i / n * k..][..k], &b[i % n * k..][..k]);
        let products = row.iter().zip(col);
        products.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    (0..m * n).map(output).collect()
}

/// Holds the result to the reference, and what lies behind it to the poison.
fn check(what: &str, device: &Device, element: Element, c: &Buffer, expected: &[f64]) {
    let count = expected.len() + GUARD;
    let (found, behind): (Vec<f32>, bool) = match element {
        Element::F32 => {
            let bits: Vec<u32> = device.download(c, count).unwrap();
            let behind = bits[expected.len()..].iter().all(|bits| *bits == u32::MAX);
            (bits.into_iter().map(f32::from_bits).collect(), behind)
        }
        Element::Bf16 => {
            let bits: Vec<u16> = device.download(c, count).unwrap();
            let behind = bits[expected.len()..].iter().all(|bits| *bits == u16::MAX);
            (bits.into_iter().map(bf16).collect(), behind)
        }
    };
    assert!(behind, "{what}: wrote beyond the end");
    let (mut off, mut size) = (0.0, 0.0);
    for (found, exact) in found.iter().zip(expected) {
        off += (f64::from(*found) - exact).powi(2);
        size += exact * exact;
    }
    let error = (off / size).sqrt();
    // Written so that NaN fails.
    assert!(error <= element.tolerance(), "{what}: error {error:.1e}");
}

/// Runs every configuration of the kernel in `path` at each size, twice, with the arguments that `more` adds to a, b, c, M, N and K.
fn run(
    path: &str,
    element: Element,
    sizes: &[&[Size]],
    more: impl Fn(&Kernel, Size, Arguments) -> Arguments,
) {
    let (device, mut generator) = (Device::open().unwrap(), generator());
    let metadata = Metadata::parse(path, &read(path).unwrap()).unwrap();
    for (name, values) in metadata.configurations() {
        let kernel = Kernel::load(&device, path, &values).unwrap();
        for size in sizes.iter().copied().flatten() {
            let [m, n, k] = *size;
            let (a, on_a) = operand(&device, &mut generator, element, m * k);
            let (b, on_b) = operand(&device, &mut generator, element, n * k);
            let expected = reference(&a, &b, *size);
            let c = poisoned(&device, element, m * n);
            let arguments = Arguments::default()
                .buffer("a", &on_a)
                .buffer("b", &on_b)
                .buffer("c", &c)
                .integer("M", m)
                .integer("N", n)
                .integer("K", k);
            let launch = kernel.prepare(&more(&kernel, *size, arguments)).unwrap();
            // The second launch finds what the first left in workspaces and caches.
            for time in ["first", "second"] {
                device.fill(&c, 0xFF).unwrap();
                launch.run().unwrap();
                let what = format!("{path} {name} {size:?}, {time} launch");
                check(&what, &device, element, &c, &expected);
            }
        }
    }
}

fn step(path: &str, element: Element, sizes: &[&[Size]]) {
    run(path, element, sizes, |_, _, arguments| arguments);
}

macro_rules! steps {
    ($($name:ident $element:ident $sizes:expr;)*) => { $(
        #[test]
        #[ignore = "needs a CUDA GPU"]
        fn $name() {
            step(concat!("gemm/", stringify!($name), ".cu"), Element::$element, $sizes);
        }
    )* };
}

steps! {
    k01_naive F32 &[ALIGNED, ODD];
    k02_coalesced F32 &[ALIGNED, ODD];
    k03_shared F32 &[ALIGNED, ODD];
    k04_register_tile F32 &[ALIGNED, ODD];
    k05_vectorised F32 &[ALIGNED, ODD];
    k06_mma Bf16 &[ALIGNED, ODD];
    k07_swizzle Bf16 &[ALIGNED, ODD];
    k08_multistage Bf16 &[ALIGNED, ODD];
    k09_tma_wgmma Bf16 &[ALIGNED];
    k10_ring Bf16 &[ALIGNED];
    k11_producer Bf16 &[ALIGNED];
    k12_registers Bf16 &[ALIGNED];
    k13_persistent Bf16 &[ALIGNED];
    k14_cluster Bf16 &[ALIGNED];
    k15_tma_store Bf16 &[ALIGNED];
}

/// More tiles than multiprocessors, so that persistent blocks go round, and a ring that goes round many times.
const LARGE: &[Size] = &[[1544, 3080, 72], [136, 24, 4104]];

#[test]
#[ignore = "needs a CUDA GPU"]
fn the_last_steps_at_large_sizes() {
    for path in [
        "k12_registers",
        "k13_persistent",
        "k14_cluster",
        "k15_tma_store",
    ] {
        step(&format!("gemm/{path}.cu"), Element::Bf16, &[LARGE]);
    }
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn k16_split_k() {
    let device = Device::open().unwrap();
    // Three parts, and more parts than most sizes have steps. The largest size is 6 tiles of a cluster.
    for split in [1, 3, 20] {
        let sums = device.allocate(6 * split * 256 * 256 * 4).unwrap();
        let counts = device.allocate(6 * 4 * 4).unwrap();
        device.fill(&sums, 0xFF).unwrap();
        device.fill(&counts, 0).unwrap();
        let path = "gemm/k16_split_k.cu";
        let sizes = [ALIGNED, &LARGE[1..]];
        run(
            path,
            Element::Bf16,
            &sizes,
            |kernel, [m, n, _], arguments| {
                let of = |name: &str| kernel.parameter(name).unwrap() as usize;
                assert_eq!([of("BM") * of("CL"), of("BN")], [256, 256]);
                assert!(m.div_ceil(256) * n.div_ceil(256) <= 6);
                arguments
                    .buffer("sums", &sums)
                    .buffer("counts", &counts)
                    .integer("SPLIT", split)
            },
        );
        let counts: Vec<u32> = device.download(&counts, 24).unwrap();
        assert_eq!(counts, [0; 24], "the counters are not set back");
    }
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn k17_stream_k() {
    let device = Device::open().unwrap();
    let path = "gemm/k17_stream_k.cu";
    let kernel = Kernel::load(&device, path, &Values::new()).unwrap();
    let mut generator = generator();
    let sums = device.allocate(8 * 2 * 128 * 256 * 4).unwrap();
    let flags = device.allocate(8 * 4 * 4).unwrap();
    device.fill(&flags, 0).unwrap();
    // Every tile shared by 8 workers where there are so many steps, and no tile shared.
    for &[m, n, k] in ALIGNED {
        let (a, on_a) = operand(&device, &mut generator, Element::Bf16, m * k);
        let (b, on_b) = operand(&device, &mut generator, Element::Bf16, n * k);
        let expected = reference(&a, &b, [m, n, k]);
        let c = poisoned(&device, Element::Bf16, m * n);
        let (tiles, steps) = (m.div_ceil(256) * n.div_ceil(256), k.div_ceil(64));
        for (whole, workers) in [(0, 8.min(tiles * steps)), (tiles, 8.min(tiles))] {
            let arguments = Arguments::default()
                .buffer("p", &on_a)
                .buffer("q", &on_b)
                .buffer("c", &c)
                .buffer("sums", &sums)
                .buffer("flags", &flags)
                .address("scale_p", 0)
                .address("scale_q", 0)
                .float("alpha", 1.0)
                .address("bias", 0)
                .address("residual", 0)
                .address("out_scale", 0)
                .integer("P", m)
                .integer("Q", n)
                .integer("K", k)
                .integer("PANEL", 8)
                .integer("WHOLE", whole)
                .integer("WORKERS", workers);
            device.fill(&c, 0xFF).unwrap();
            kernel.prepare(&arguments).unwrap().run().unwrap();
            let what = format!("{path} {:?}, {whole} of {tiles} tiles whole", [m, n, k]);
            check(&what, &device, Element::Bf16, &c, &expected);
        }
    }
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn k18_gemv() {
    let (device, mut generator) = (Device::open().unwrap(), generator());
    let path = "gemm/k18_gemv.cu";
    let metadata = Metadata::parse(path, &read(path).unwrap()).unwrap();
    for (name, values) in metadata.configurations() {
        let kernel = Kernel::load(&device, path, &values).unwrap();
        for [n, k] in [[1, 1], [7, 5], [8, 8], [33, 129], [264, 520], [1030, 4104]] {
            let (b, on_b) = operand(&device, &mut generator, Element::Bf16, n * k);
            let (x, on_x) = operand(&device, &mut generator, Element::F32, k);
            let y = poisoned(&device, Element::F32, n);
            let arguments = Arguments::default()
                .buffer("b", &on_b)
                .buffer("x", &on_x)
                .buffer("y", &y)
                .integer("N", n)
                .integer("K", k);
            kernel.prepare(&arguments).unwrap().run().unwrap();
            let what = format!("{path} {name} {:?}", [n, k]);
            let expected = reference(&x, &b, [1, n, k]);
            check(&what, &device, Element::F32, &y, &expected);
        }
    }
}
