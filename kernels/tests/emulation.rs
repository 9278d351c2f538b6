//! Every kernel that the emulator runs, against a reference in f64; and what it refuses to run.

mod emulated;

use emulated::{gemm, gemv, planted};
use kernels::{Argument, Emulated, Error, Metadata, Source, Values, sources};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Sizes [M, N, K]: one, odd, not multiples of any tile, multiples, longer than wide and the reverse.
const SIZES: &[[usize; 3]] = &[
    [1, 1, 1],
    [1, 7, 3],
    [5, 1, 33],
    [33, 31, 1],
    [32, 32, 32],
    [64, 64, 64],
    [17, 129, 8],
    [130, 67, 36],
    [31, 200, 65],
    [257, 3, 130],
];

fn generator() -> StdRng {
    let seed = rand::random();
    eprintln!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

fn random(generator: &mut StdRng, count: usize) -> Vec<f32> {
    (0..count)
        .map(|_| generator.random_range(-1.0..1.0))
        .collect()
}

/// `C[M, N] = A[M, K] * B[N, K]^T` in f64, with the sum of the products' sizes: the error of any order of summing is below
/// `K * 2^-24` of that.
fn reference(a: &[f32], b: &[f32], [m, n, k]: [usize; 3]) -> Vec<(f64, f64)> {
    let output = |i: usize| {
        let (row, col) = (i / n, i % n);
        let products = (0..k).map(|k0| f64::from(a[row * k + k0]) * f64::from(b[col * k + k0]));
        products.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()))
    };
    (0..m * n).map(output).collect()
}

fn check(what: &str, found: &[f32], expected: &[(f64, f64)], k: usize) {
    for (i, (found, (value, size))) in found.iter().zip(expected).enumerate() {
        let allowed = size * (k + 1) as f64 * f64::from(f32::EPSILON) / 2.0;
        let error = (f64::from(*found) - value).abs();
        // Written so that NaN fails.
        assert!(
            error <= allowed,
            "{what}: output {i} is {found}, not {value}"
        );
    }
}

/// The upper halves of random f32, and what they stand for.
fn random_bf16(generator: &mut StdRng, count: usize) -> (Vec<u16>, Vec<f32>) {
    let exact = random(generator, count);
    let bits: Vec<u16> = exact.iter().map(|x| (x.to_bits() >> 16) as u16).collect();
    let values = bits
        .iter()
        .map(|bits| f32::from_bits(u32::from(*bits) << 16));
    let values = values.collect();
    (bits, values)
}

#[test]
fn every_host_gemm_is_right_at_every_size() {
    let mut generator = generator();
    let mut count = 0;
    for path in sources() {
        let source = Source::load(path, &Values::new()).unwrap();
        let metadata = source.metadata;
        if !metadata.archs.iter().any(|arch| arch == "host")
            || metadata.args[..3] != ["a", "b", "c"]
        {
            continue;
        }
        for (name, values) in metadata.configurations() {
            let kernel = Emulated::build(path, &values).unwrap();
            count += 1;
            for &size in SIZES {
                let [m, n, k] = size;
                let (a, b) = (random(&mut generator, m * k), random(&mut generator, n * k));
                let mut c = vec![f32::NAN; m * n];
                gemm(&kernel, &a, &b, &mut c, size);
                let what = format!("{path} {name} {size:?}");
                check(&what, &c, &reference(&a, &b, size), k);
            }
        }
    }
    assert!(count >= 8, "five kernels and their variants, not {count}");
}

#[test]
fn the_gemv_is_right_at_every_size() {
    let mut generator = generator();
    for rows in [
        Values::new(),
        Values::from([("ROWS".to_owned(), 1), ("UNROLL".to_owned(), 4)]),
    ] {
        let kernel = Emulated::build("gemm/k18_gemv.cu", &rows).unwrap();
        for [n, k] in [
            [1, 1],
            [1, 8],
            [7, 5],
            [9, 264],
            [33, 1000],
            [8, 1024],
            [63, 777],
            [130, 2056],
        ] {
            let (bits, weights) = random_bf16(&mut generator, n * k);
            let x = random(&mut generator, k);
            let mut y = vec![f32::NAN; n];
            gemv(&kernel, &bits, &x, &mut y, [n, k]);
            check(
                &format!("gemv {n} x {k}"),
                &y,
                &reference(&x, &weights, [1, n, k]),
                k,
            );
        }
    }
}

#[test]
fn a_shared_tile_of_64_cubed_takes_well_under_a_second() {
    let kernel = Emulated::build("gemm/k03_shared.cu", &Values::new()).unwrap();
    let (a, b, mut c) = (vec![1.0; 4096], vec![1.0; 4096], vec![f32::NAN; 4096]);
    let start = std::time::Instant::now();
    gemm(&kernel, &a, &b, &mut c, [64, 64, 64]);
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("{:.1} ms", seconds * 1e3);
    // Some 30 ms on an idle core; the limit leaves room for a busy machine.
    assert!(seconds < 1.0, "{seconds} s");
}

#[test]
fn arguments_are_held_to_the_kernel() {
    let kernel = Emulated::build("gemm/k01_naive.cu", &Values::new()).unwrap();
    let (a, mut c) = (vec![1.0_f32; 4], vec![0.0_f32; 4]);
    let [wrong, b] = [vec![1_u16; 4], vec![0; 4]];
    let sizes = || ["M", "N", "K"].map(|name| Argument::integer(name, 2));
    let refused = |first: Argument<'_>, third: Option<Argument<'_>>| {
        let mut all = vec![first, Argument::input("b", &a)];
        all.extend(third);
        all.extend(sizes());
        kernel.run(&all).unwrap_err().to_string()
    };
    let text = refused(
        Argument::input("a", &wrong),
        Some(Argument::output("c", &mut c)),
    );
    assert!(text.contains("argument a is of another type"), "{text}");
    let text = refused(Argument::input("a", &a), Some(Argument::input("c", &a)));
    assert!(text.contains("argument c is written"), "{text}");
    let text = refused(Argument::input("a", &a), None);
    assert!(text.contains("nothing was given for `c`"), "{text}");
    let text = refused(Argument::input("a", &a), Some(Argument::input("x", &b)));
    assert!(text.contains("no argument `x`"), "{text}");
}

#[test]
fn only_kernels_for_the_host_are_taken() {
    let text = "//@ entry: f\n//@ arch: sm_90a\n//@ threads: 32\n//@ grid: 1\n//@ args: c\n";
    let outcome = Emulated::from_source(Source {
        metadata: Metadata::parse("sm.cu", text).unwrap(),
        values: Values::new(),
        text: String::new(),
    });
    let error = outcome.err().unwrap().to_string();
    assert!(error.contains("does not list host"), "{error}");
}

#[test]
fn what_does_not_compile_is_said_with_its_line() {
    let error = planted(32, "int x = ;", 1).err().unwrap();
    assert!(matches!(error, Error::Compile { .. }));
    assert!(error.to_string().contains("planted.cu:3"), "{error}");
    // A float kept by `auto` would be read later than it looks.
    let error = planted(32, "auto x = c[0];\nfloat y = x + 1.0f;\nc[0] = y;", 1)
        .err()
        .unwrap();
    assert!(matches!(error, Error::Compile { .. }), "{error}");
}
