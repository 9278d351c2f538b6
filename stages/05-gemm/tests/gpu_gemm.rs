//! Every plan of every element type, on a GPU, against f64.

use gemm::{Element, Gemm, Operands, Problem, plans};
use kernels::Device;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Sizes that TMA can address: rows are multiples of 16 bytes, so k is a multiple of 16 and n of 8; m is anything.
const SIZES: [(usize, usize, usize); 6] = [
    (1, 8, 64),
    (3, 24, 80),
    (17, 136, 208),
    (130, 264, 528),
    (300, 1000, 1008),
    (257, 2056, 1040),
];

/// 16-bit words beyond C that no kernel may touch.
const BEYOND: usize = 64;
const POISON: u16 = 0xFFFF;

#[test]
#[ignore = "needs a CUDA GPU"]
fn bf16_is_right() {
    every_plan_is_right(Element::Bf16, &SIZES);
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn sizes_that_tma_cannot_address_are_right_too() {
    every_plan_is_right(
        Element::Bf16,
        &[(1, 1, 1), (3, 5, 7), (33, 65, 129), (130, 250, 515)],
    );
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn f16_is_right() {
    every_plan_is_right(Element::F16, &SIZES);
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn e4m3_is_right() {
    every_plan_is_right(Element::E4m3, &SIZES);
}

#[test]
#[ignore = "needs a CUDA GPU"]
fn int8_is_right() {
    every_plan_is_right(Element::Int8, &SIZES);
}

fn every_plan_is_right(element: Element, sizes: &[(usize, usize, usize)]) {
    let device = Device::open().unwrap();
    let gemm = Gemm::new(&device).unwrap();
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for &(m, n, k) in sizes {
        let problem = Problem { m, n, k, element };
        let (a, a_values) = operand(&mut random, element, m * k);
        let (b, b_values) = operand(&mut random, element, n * k);
        let scales_a: Vec<f32> = (0..m).map(|_| random.random_range(0.001..0.01)).collect();
        let scales_b: Vec<f32> = (0..n).map(|_| random.random_range(0.001..0.01)).collect();
        let alpha = 0.75;
        let exact: Vec<f64> = (0..m * n)
            .map(|at| {
                let (row, column) = (at / n, at % n);
                let sum: f64 = (0..k)
                    .map(|i| a_values[row * k + i] * b_values[column * k + i])
                    .sum();
                match element {
                    Element::Int8 => sum * f64::from(scales_a[row]) * f64::from(scales_b[column]),
                    Element::E4m3 => sum * f64::from(alpha),
                    Element::Bf16 | Element::F16 => sum,
                }
            })
            .collect();
        let size: f64 = exact.iter().map(|x| x * x).sum();
        let buffers = [&a, &b].map(|data| device.upload(data).unwrap());
        let scales = [&scales_a, &scales_b].map(|data| device.upload(data).unwrap());
        let c = device.allocate((m * n + BEYOND) * 2).unwrap();
        let operands = Operands {
            a: buffers[0].address(),
            b: buffers[1].address(),
            c: c.address(),
            alpha,
            scale_a: scales[0].address(),
            scale_b: scales[1].address(),
            ..Operands::default()
        };
        for (_, plan) in plans(&problem, device.multiprocessors() as usize) {
            device.fill(&c, POISON as u8).unwrap();
            gemm.prepare(&problem, &plan, &operands)
                .unwrap()
                .run()
                .unwrap();
            let out: Vec<u16> = device.download(&c, m * n + BEYOND).unwrap();
            let difference: f64 = out
                .iter()
                .zip(&exact)
                .map(|(bits, x)| (f64::from(bf16(*bits)) - x).powi(2))
                .sum();
            let error = (difference / size).sqrt();
            // Rounding to bf16 is 2^-9 at most and a third of that on average; NaN compares as too large.
            assert!(error < 4e-3, "{problem:?} {plan:?}: error {error}");
            assert!(
                out[m * n..].iter().all(|bits| *bits == POISON),
                "{problem:?} {plan:?} wrote beyond C"
            );
        }
    }
}

fn bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Random elements as bytes, and their values.
fn operand(random: &mut StdRng, element: Element, count: usize) -> (Vec<u8>, Vec<f64>) {
    let mut bytes = Vec::new();
    let values = (0..count).map(|_| match element {
        Element::Bf16 => {
            let x = half::bf16::from_f32(random.random_range(-1.0..1.0));
            bytes.extend(x.to_le_bytes());
            x.to_f64()
        }
        Element::F16 => {
            let x = half::f16::from_f32(random.random_range(-1.0..1.0));
            bytes.extend(x.to_le_bytes());
            x.to_f64()
        }
        Element::Int8 => {
            let x: i8 = random.random();
            bytes.push(x as u8);
            f64::from(x)
        }
        Element::E4m3 => {
            // Sign, exponent up to 7 (values below 2), mantissa: (1 + mantissa / 8) * 2^(exponent - 7), or mantissa / 8 * 2^-6.
            let (sign, exponent, mantissa) = (
                random.random_range(0..2_u8),
                random.random_range(0..8_u8),
                random.random_range(0..8_u8),
            );
            bytes.push(sign << 7 | exponent << 3 | mantissa);
            let (lead, power) = if exponent == 0 {
                (0.0, -6)
            } else {
                (1.0, i32::from(exponent) - 7)
            };
            (lead + f64::from(mantissa) / 8.0)
                * 2.0_f64.powi(power)
                * if sign == 1 { -1.0 } else { 1.0 }
        }
    });
    let values = values.collect();
    (bytes, values)
}
