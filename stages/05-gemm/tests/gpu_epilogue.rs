//! Fused epilogues of the bf16 GEMM, in every configuration, against f64.

use gemm::fp8::from_e4m3;
use gemm::{CONFIGS, Element, Epilogue, Gemm, Operands, Plan, Problem, interleaved_row};
use half::bf16;
use kernels::{Cubin, Device, Source};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Operands on the host, as f64 what the device has in bf16.
struct Data {
    m: usize,
    /// Rows of the weight.
    n: usize,
    k: usize,
    a: Vec<bf16>,
    b: Vec<bf16>,
    bias: Vec<bf16>,
    residual: Vec<bf16>,
    out_scale: Vec<f32>,
}

impl Data {
    fn new((m, n, k): (usize, usize, usize), random: &mut StdRng) -> Self {
        let mut values = |count: usize, size: f32| -> Vec<bf16> {
            let value = |_| bf16::from_f32(size * random.random_range(-1.0..1.0));
            (0..count).map(value).collect()
        };
        // Sums of about 2: GELU and SiLU bend there, and no term is lost in another.
        let size = 6.0 / (k as f32).sqrt();
        let (a, b) = (values(m * k, 1.0), values(n * k, size));
        let (bias, residual) = (values(n, 3.0), values(m * n, 3.0));
        let out_scale = (0..m).map(|_| random.random_range(0.02..0.1)).collect();
        Self {
            m,
            n,
            k,
            a,
            b,
            bias,
            residual,
            out_scale,
        }
    }

    fn dot(&self, row: usize, column: usize) -> f64 {
        let (a, b) = (&self.a[row * self.k..], &self.b[column * self.k..]);
        let terms = a[..self.k].iter().zip(b);
        terms.map(|(a, b)| a.to_f64() * b.to_f64()).sum()
    }

    /// All products, `[m, n]`.
    fn products(&self) -> Vec<f64> {
        let row = |row| (0..self.n).map(move |column| self.dot(row, column));
        (0..self.m).flat_map(row).collect()
    }

    /// What the result stands for, before it is rounded to its type.
    fn exact(&self, products: &[f64], epilogue: Epilogue) -> Vec<f64> {
        let columns = epilogue.columns(self.n);
        let value = |index: usize| {
            let (row, column) = (index / columns, index % columns);
            let at = |column: usize| products[row * self.n + column];
            match epilogue {
                Epilogue::None => at(column),
                Epilogue::Bias => at(column) + self.bias[column].to_f64(),
                Epilogue::BiasGelu => {
                    let x = at(column) + self.bias[column].to_f64();
                    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                    0.5 * x * (1.0 + inner.tanh())
                }
                Epilogue::Residual => at(column) + self.residual[index].to_f64(),
                Epilogue::SiluMul => {
                    let gate = at(interleaved_row(column, false));
                    gate / (1.0 + (-gate).exp()) * at(interleaved_row(column, true))
                }
                Epilogue::E4m3 => (at(column) / f64::from(self.out_scale[0])).clamp(-448.0, 448.0),
                Epilogue::Int8 => {
                    (at(column) / f64::from(self.out_scale[row])).clamp(-127.0, 127.0)
                }
            }
        };
        (0..self.m * columns).map(value).collect()
    }
}

/// What the result's bytes stand for.
fn read(bytes: &[u8], epilogue: Epilogue) -> Vec<f64> {
    match epilogue {
        Epilogue::E4m3 => bytes
            .iter()
            .map(|code| f64::from(from_e4m3(*code)))
            .collect(),
        Epilogue::Int8 => bytes.iter().map(|value| f64::from(*value as i8)).collect(),
        _ => {
            let pairs = bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
            pairs
                .map(|pair| bf16::from_le_bytes(pair).to_f64())
                .collect()
        }
    }
}

fn error(got: &[f64], exact: &[f64]) -> f64 {
    let difference: f64 = got
        .iter()
        .zip(exact)
        .map(|(got, exact)| (got - exact).powi(2))
        .sum();
    let size: f64 = exact.iter().map(|exact| exact * exact).sum();
    (difference / size).sqrt()
}

/// For results of bytes, the first that is not the nearest to what it stands for: an e4m3 is off by up to 1/16 of its size or half its
/// least step, an s8 by a half. The slack is for sums in f32.
fn beyond(got: &[f64], exact: &[f64], epilogue: Epilogue) -> Option<(usize, f64)> {
    let most = |exact: f64| match epilogue {
        Epilogue::E4m3 => (exact.abs() / 16.0).max(1.0 / 1024.0) * 1.01 + 1e-3,
        Epilogue::Int8 => 0.505,
        _ => f64::INFINITY,
    };
    let pairs = got.iter().zip(exact).enumerate();
    // Written so that NaN is beyond everything.
    let within = |got: f64, exact: f64| (got - exact).abs() <= most(exact);
    let mut wrong =
        pairs.filter(|(_, (got, exact))| epilogue.bytes() == 1 && !within(**got, **exact));
    wrong
        .next()
        .map(|(index, (_, exact))| (index, most(*exact)))
}

fn check(shape: (usize, usize, usize), epilogues: &[Epilogue]) {
    let device = Device::open().unwrap();
    let (gemm, sms) = (
        Gemm::new(&device).unwrap(),
        device.multiprocessors() as usize,
    );
    let seed = rand::random::<u64>();
    let data = Data::new(shape, &mut StdRng::seed_from_u64(seed));
    let (m, n, k) = shape;
    let element = Element::Bf16;
    let problem = Problem { m, n, k, element };
    let products = data.products();
    let bits = |values: &[bf16]| {
        values
            .iter()
            .map(|value| value.to_bits())
            .collect::<Vec<_>>()
    };
    let up = |values: &[bf16]| device.upload(&bits(values)).unwrap();
    let (a, b, bias, residual) = (up(&data.a), up(&data.b), up(&data.bias), up(&data.residual));
    let out_scale = device.upload(&data.out_scale).unwrap();
    // 64 bytes more than the result, which no kernel may touch.
    let c = device.allocate(m * n * 2 + 64).unwrap();
    for &epilogue in epilogues {
        let exact = data.exact(&products, epilogue);
        let bytes = exact.len() * epilogue.bytes();
        for config in CONFIGS.iter().filter(|config| epilogue.suits(config)) {
            let (tiles, steps) = config.tiles(&problem);
            let most = sms / config.blocks();
            // Whole tiles only, and all of them cut: whoever owns a tile must do the epilogue, once. Where blocks divide k, a tile each.
            let plans = match config.split {
                1 => vec![(most.min(tiles), tiles), (most.min(tiles * steps), 0)],
                split if steps >= split => vec![(tiles, tiles)],
                _ => vec![],
            };
            for (workers, whole) in plans {
                let plan = Plan {
                    config: *config,
                    workers,
                    whole,
                };
                // The residual elsewhere, and in C itself.
                for in_place in [false, true] {
                    if in_place && epilogue != Epilogue::Residual {
                        continue;
                    }
                    let operands = Operands {
                        a: a.address(),
                        b: b.address(),
                        c: c.address(),
                        alpha: 1.0,
                        epilogue,
                        bias: bias.address(),
                        residual: if in_place {
                            c.address()
                        } else {
                            residual.address()
                        },
                        out_scale: out_scale.address(),
                        ..Operands::default()
                    };
                    let at = format!(
                        "{shape:?}, seed {seed}, {epilogue:?}, in place {in_place}, {plan:?}"
                    );
                    let launch = gemm.prepare(&problem, &plan, &operands).unwrap();
                    // 0xFF is NaN in bf16 and e4m3; for s8 it is -1, far from most results.
                    device.fill(&c, 0xFF).unwrap();
                    if in_place {
                        device
                            .copy(residual.address(), c.address(), m * n * 2)
                            .unwrap();
                    }
                    launch.run().unwrap();
                    let out: Vec<u8> = device.download(&c, bytes + 64).unwrap();
                    let got = read(&out[..bytes], epilogue);
                    if let Some((index, most)) = beyond(&got, &exact, epilogue) {
                        panic!(
                            "{at}: {index} is {} for {}, off by more than {most}",
                            got[index], exact[index]
                        );
                    }
                    let error = error(&got, &exact);
                    assert!(
                        epilogue.bytes() == 1 || error <= 1e-2,
                        "{at}: error {error}"
                    );
                    assert!(
                        out[bytes..].iter().all(|byte| *byte == 0xFF),
                        "{at}: wrote beyond C"
                    );
                    // Once more: flags were lowered again, and nothing depends on what lay in C.
                    if !in_place {
                        launch.run().unwrap();
                        let again: Vec<u8> = device.download(&c, bytes + 64).unwrap();
                        assert!(out == again, "{at}: a second launch gave another result");
                    }
                }
            }
        }
    }
}

#[test]
#[ignore = "needs NVRTC"]
fn no_combination_spills() {
    for config in CONFIGS {
        for epilogue in Epilogue::ALL.into_iter().filter(|e| e.suits(config)) {
            let values = epilogue.parameters(config, Element::Bf16);
            let source = Source::load("gemm/k17_stream_k.cu", &values).unwrap();
            let (_, _, bytes) = source.metadata.block(&source.values).unwrap();
            let room = 228 * 1024 / config.occupancy - 1024;
            assert!(
                bytes as usize <= room,
                "{config:?} {epilogue:?} takes {bytes} bytes"
            );
            let cubin = Cubin::of(&source, "sm_90a").unwrap();
            let resources = cubin.resources();
            let clean = resources.spills == 0 && resources.stack == 0;
            assert!(clean, "{config:?} {epilogue:?}: {resources:?}");
            assert!(
                !cubin.log.contains("C75"),
                "{config:?} {epilogue:?}: {}",
                cubin.log
            );
        }
    }
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn one_token() {
    check((1, 16, 16), &Epilogue::ALL);
    check((1, 272, 1040), &Epilogue::ALL);
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn some_tokens() {
    check((7, 144, 528), &Epilogue::ALL);
    check((33, 432, 272), &Epilogue::ALL);
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn many_tokens() {
    check((129, 656, 208), &Epilogue::ALL);
    check((301, 1040, 336), &Epilogue::ALL);
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn a_multiple_of_8_columns() {
    // Results of bytes, or of half the columns, need a multiple of 16.
    let wide = [
        Epilogue::None,
        Epilogue::Bias,
        Epilogue::BiasGelu,
        Epilogue::Residual,
    ];
    check((1, 8, 16), &wide);
    check((67, 136, 80), &wide);
}
