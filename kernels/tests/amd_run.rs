//! The matrix-core GEMMs run, instruction by instruction, on this machine: in the emulator of tinygrad's tests, which is in no package, so
//! by hand and not in CI.
//!
//! ```text
//! TINYGRAD=<a checkout of tinygrad> cargo test -p kernels --test amd_run -- --ignored
//! ```
//!
//! It knows gfx942's and gfx1100's encodings, not gfx90a's; it stores only to whole words, so bf16 results have an even number of columns
//! here; and it takes e4m3 as OCP has it, not as MI300 does.

use kernels::{AmdObject, Source, Values};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::path::Path;
use std::process::Command;

/// M, N, K: one element, odd ones, tails along every side, several tiles, more tiles than a die has, and no k at all.
const SHAPES: [[usize; 3]; 6] = [
    [1, 2, 1],
    [131, 78, 203],
    [129, 258, 390],
    [17, 130, 7],
    [1200, 400, 40],
    [3, 6, 0],
];

#[derive(Clone, Copy, PartialEq)]
enum Element {
    Bf16,
    Int8,
    Fp8,
}

impl Element {
    /// A random value and its bytes.
    fn sample(self, random: &mut StdRng, bytes: &mut Vec<u8>) -> f64 {
        match self {
            Self::Bf16 => {
                let bits = (random.random_range(-1.0..1.0_f32).to_bits() >> 16) as u16;
                bytes.extend(bits.to_le_bytes());
                bf16(bits)
            }
            Self::Int8 => {
                let value: i8 = random.random();
                bytes.push(value.to_le_bytes()[0]);
                f64::from(value)
            }
            Self::Fp8 => {
                // Up to 1.875, subnormal ones among them.
                let code: u8 = random.random::<u8>() & 0xbf;
                bytes.push(code);
                let (exponent, fraction) = (i32::from(code >> 3 & 15), f64::from(code & 7) / 8.0);
                let size = match exponent {
                    0 => fraction * 2.0_f64.powi(-6),
                    _ => (1.0 + fraction) * 2.0_f64.powi(exponent - 7),
                };
                if code & 0x80 == 0 { size } else { -size }
            }
        }
    }
}

fn bf16(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

/// Compiles `path` and compares what it computes for every shape with sums in f64. The result is poisoned with NaN, or with a number that no
/// sum reaches, and has one row more, which must stay so.
fn check(path: &str, changes: &[(&str, i64)], arch: &str, element: Element) {
    let root = std::env::var("TINYGRAD").expect("TINYGRAD names a checkout of tinygrad");
    let changes: Values = changes.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
    let source = Source::load(path, &changes).unwrap();
    let object = AmdObject::of(&source, arch).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("object"), &object.image).unwrap();
    let seed: u64 = rand::random();
    println!("{path} {arch}: seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for [m, n, k] in SHAPES {
        let mut bytes = [vec![], vec![]];
        let a: Vec<_> = (0..m * k)
            .map(|_| element.sample(&mut random, &mut bytes[0]))
            .collect();
        let b: Vec<_> = (0..n * k)
            .map(|_| element.sample(&mut random, &mut bytes[1]))
            .collect();
        let scales: [Vec<f32>; 2] =
            [m, n].map(|count| (0..count).map(|_| random.random_range(0.5..2.0)).collect());
        let poison: &[u8] = match element {
            Element::Int8 => &[0, 0, 0, 0x80],
            _ => &[0xff, 0x7f],
        };
        std::fs::write(file("a"), &bytes[0]).unwrap();
        std::fs::write(file("b"), &bytes[1]).unwrap();
        std::fs::write(file("c"), poison.repeat((m + 1) * n)).unwrap();
        for (name, scale) in ["scale_a", "scale_b"].iter().zip(&scales) {
            let bytes: Vec<u8> = scale.iter().flat_map(|value| value.to_le_bytes()).collect();
            std::fs::write(file(name), bytes).unwrap();
        }
        let mut sized = source.values.clone();
        sized.extend([("M", m), ("N", n), ("K", k)].map(|(s, v)| (s.to_owned(), v as i64)));
        let metadata = &source.metadata;
        let (threads, ..) = metadata.block(&sized).unwrap();
        let [grid, 1, 1] = metadata.blocks(&sized).unwrap() else {
            panic!("{path}: the emulator is given one dimension");
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/amd_emulator.py");
        let mut python = Command::new("python3");
        python.arg(script).arg(&root).arg(file("object"));
        python.args([
            &metadata.entry,
            arch,
            &threads.to_string(),
            &grid.to_string(),
        ]);
        for name in &metadata.args {
            match sized.get(name) {
                Some(value) => python.arg(value.to_string()),
                None => python.arg(file(name)),
            };
        }
        // The emulator compiles every instruction with a C compiler, clang by default.
        let status = python.env("CC", "clang-22").status().unwrap();
        assert!(status.success(), "{path} {m}x{n}x{k}: {status}");
        let c = std::fs::read(file("c")).unwrap();
        let row = n * poison.len();
        assert!(c[m * row..] == poison.repeat(n), "{path}: the row after C");
        for (at, got) in c[..m * row].chunks(poison.len()).enumerate() {
            let (i, j) = (at / n, at % n);
            let pairs = a[i * k..][..k].iter().zip(&b[j * k..][..k]);
            let sum: f64 = pairs.map(|(x, y)| x * y).sum();
            let (got, expected, tolerance) = match element {
                Element::Int8 => {
                    let got = i32::from_le_bytes(got.try_into().unwrap());
                    (f64::from(got), sum, 0.0)
                }
                _ => {
                    let scale = match element {
                        Element::Fp8 => f64::from(scales[0][i]) * f64::from(scales[1][j]),
                        _ => 1.0,
                    };
                    let got = bf16(u16::from_le_bytes(got.try_into().unwrap()));
                    // Rounding to 8 bits, and f32 sums of terms that may cancel.
                    let tolerance = (sum.abs() / 256.0 + 1e-5 * (k as f64).sqrt()) * scale;
                    (got, sum * scale, tolerance)
                }
            };
            // Written so that NaN fails.
            let close = (got - expected).abs() <= tolerance;
            assert!(
                close,
                "{path} {arch} {m}x{n}x{k} [{i}, {j}]: {got}, not {expected}"
            );
        }
    }
}

#[test]
#[ignore = "needs clang-22, python3 and tinygrad's source"]
fn cdna_multiplies() {
    let path = "gemm/cdna_mfma.cu";
    check(path, &[], "gfx942", Element::Bf16);
    check(path, &[("BITS", 8)], "gfx942", Element::Int8);
    let wide = [("BM", 256), ("BN", 256), ("WM", 2), ("WN", 4)];
    check(path, &wide, "gfx942", Element::Bf16);
    check("gemm/cdna_fp8.cu", &[], "gfx942", Element::Fp8);
    check("gemm/cdna_fp8.cu", &wide, "gfx942", Element::Fp8);
}

#[test]
#[ignore = "needs clang-22, python3 and tinygrad's source"]
fn rdna_multiplies() {
    let path = "gemm/rdna_wmma.cu";
    check(path, &[], "gfx1100", Element::Bf16);
    check(path, &[("BITS", 8)], "gfx1100", Element::Int8);
    let small = [("BM", 64), ("BN", 64), ("WM", 2), ("WN", 2)];
    check(path, &small, "gfx1100", Element::Bf16);
}
