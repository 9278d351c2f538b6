//! Operands for measuring and checking: random, cold, and checked against f64.

use gemm::{Element, Problem};
use kernels::{Buffer, Device};

/// xorshift64*, seeded; enough for data, and fast enough for gigabytes.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    /// Uniform in [-1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// `count` random elements as bytes, and what they decode to.
pub fn elements(random: &mut Random, element: Element, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count * element.bytes());
    for _ in 0..count {
        match element {
            Element::Bf16 => bytes.extend(half::bf16::from_f32(random.unit()).to_le_bytes()),
            Element::F16 => bytes.extend(half::f16::from_f32(random.unit()).to_le_bytes()),
            // Any byte but the two NaNs, the exponent kept below 1: values in (-1, 1).
            Element::E4m3 => bytes
                .push((random.next() >> 32) as u8 & 0x80 | ((random.next() >> 32) % 0x38) as u8),
            Element::Int8 => bytes.push((random.next() >> 32) as u8),
        }
    }
    bytes
}

/// The value of the element at `index`.
pub fn value(bytes: &[u8], element: Element, index: usize) -> f64 {
    match element {
        Element::Bf16 => {
            half::bf16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]]).to_f64()
        }
        Element::F16 => half::f16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]]).to_f64(),
        Element::Int8 => f64::from(bytes[index] as i8),
        Element::E4m3 => {
            let byte = bytes[index];
            let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f64::from(byte & 7));
            let size = if exponent == 0 {
                mantissa / 8.0 * 2.0_f64.powi(-6)
            } else {
                (1.0 + mantissa / 8.0) * 2.0_f64.powi(exponent - 7)
            };
            if byte & 0x80 == 0 { size } else { -size }
        }
    }
}

/// Copies of one problem's operands that together are several times the L2 cache: run in turn, each is cold.
pub struct Sets {
    pub a: Vec<Buffer>,
    pub b: Vec<Buffer>,
    pub c: Vec<Buffer>,
    pub host_a: Vec<u8>,
    /// The block of random bytes that B repeats.
    pub host_b: Vec<u8>,
}

/// Random bytes that operands larger than this repeat. Odd in rows, so that neighbouring rows differ.
const BLOCK: usize = 16 << 20;

impl Sets {
    pub fn new(device: &Device, problem: &Problem, random: &mut Random) -> Self {
        let bytes = problem.element.bytes();
        let (size_a, size_b) = (problem.m * problem.k * bytes, problem.n * problem.k * bytes);
        let size_c = problem.m * problem.n * 4;
        // L2 is 60 MB (50 MB of it usable by one side): four times that between two uses of the same bytes.
        let count = (256_usize << 20).div_ceil(size_a + size_b).clamp(1, 16);
        let host_a = elements(random, problem.element, size_a.min(BLOCK) / bytes);
        let host_b = elements(random, problem.element, size_b.min(BLOCK) / bytes);
        let fill = |block: &[u8], size: usize| {
            let whole: Vec<u8> = block.iter().copied().cycle().take(size).collect();
            device.upload(&whole).expect("memory")
        };
        Self {
            a: (0..count).map(|_| fill(&host_a, size_a)).collect(),
            b: (0..count).map(|_| fill(&host_b, size_b)).collect(),
            c: (0..count)
                .map(|_| device.allocate(size_c).expect("memory"))
                .collect(),
            host_a,
            host_b,
        }
    }

    pub fn count(&self) -> usize {
        self.a.len()
    }

    /// The exact value of C's element (row, column), before rounding.
    pub fn exact(&self, problem: &Problem, row: usize, column: usize) -> f64 {
        let k = problem.k;
        let at = |bytes: &[u8], index: usize| {
            value(
                bytes,
                problem.element,
                index % (bytes.len() / problem.element.bytes()),
            )
        };
        (0..k)
            .map(|i| at(&self.host_a, row * k + i) * at(&self.host_b, column * k + i))
            .sum()
    }

    /// Relative Frobenius error of `samples` random elements of bf16 output set `set`; all elements if there are few.
    pub fn error(
        &self,
        device: &Device,
        problem: &Problem,
        set: usize,
        samples: usize,
        random: &mut Random,
        scale: impl Fn(usize, usize) -> f64,
    ) -> f64 {
        let (m, n) = (problem.m, problem.n);
        let out: Vec<u16> = device.download(&self.c[set], m * n).expect("output");
        if out.iter().any(|bits| bits & 0x7FFF > 0x7F80) {
            return f64::NAN;
        }
        let (mut difference, mut size) = (0.0, 0.0);
        let all = m * n <= samples;
        for i in 0..samples.min(m * n) {
            let at = if all {
                i
            } else {
                random.next() as usize % (m * n)
            };
            let exact = self.exact(problem, at / n, at % n) * scale(at / n, at % n);
            let got = half::bf16::from_bits(out[at]).to_f64();
            difference += (got - exact) * (got - exact);
            size += exact * exact;
        }
        (difference / size.max(1e-300)).sqrt()
    }
}
