//! The ladder of matrix products on one core, its last rung on two, numbers of fewer bits, and peers: as GFLOP/s, and as ratios within a round.

mod common;

use benches::Bench;
use common::{Contender, push_ratio, take_turns};
use half::bf16;
use libloading::Library;
use memory_hierarchy::gemm::*;
use memory_hierarchy::probe::peak::fma_rate;
use memory_hierarchy::simd::dot::DotIsa;
use memory_hierarchy::{Isa, Pool, pool};
use std::ffi::c_int;
use std::time::Duration;

type Rung = fn(&mut [f32], &[f32], &[f32], usize, usize, usize);

fn main() {
    // Cargo also starts benches to see that they run.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    // SAFETY: no other thread runs yet. Peers that are loaded below look at these once.
    unsafe {
        std::env::set_var("OPENBLAS_NUM_THREADS", "1");
        std::env::set_var("OMP_NUM_THREADS", "1");
    }
    pool::pin_to(pool::allowed_cores()[0]);
    // A machine that has AMX is another one: its figures stand beside these, not in their place.
    let name = match DotIsa::detect::<bf16>() {
        DotIsa::Amx => "01-gemm-amx",
        _ => "01-gemm",
    };
    let mut bench = Bench::new(
        "stage-01 --bench gemm",
        name,
        "Matrix products, rung by rung, beside the peak of the FMA units and other libraries",
        &[
            "stages/01-memory-hierarchy/src/gemm",
            "stages/01-memory-hierarchy/src/simd",
            "stages/01-memory-hierarchy/benches/gemm.rs",
        ],
    );
    climb(&mut bench, 512, &LADDER);
    climb(&mut bench, 1024, &LADDER[1..]);
    compete(&mut bench, 1024);
    bench.finish();
}

const LADDER: [(&str, Rung); 7] = [
    ("naive", k01_naive::multiply),
    ("loop-order", k02_loop_order::multiply),
    ("blocked", k03_blocked::multiply),
    ("packed", k04_packed::multiply),
    ("register-tile", k05_register_tile::multiply),
    ("prefetch", k06_prefetch::multiply),
    ("threads-1", |c, a, b, m, n, k| {
        std::thread_local!(static ONE: Pool = Pool::new(1));
        ONE.with(|one| k07_threads::multiply_on(one, c, a, b, m, n, k));
    }),
];

/// Every rung on one core, `b` packed anew at each call where it is packed at all.
fn climb(bench: &mut Bench, size: usize, rungs: &[(&str, Rung)]) {
    let (a, b) = (values(size * size, 1), values(size * size, 2));
    let mut outs = vec![vec![0.0; size * size]; rungs.len()];
    let contenders = rungs
        .iter()
        .zip(&mut outs)
        .map(|((name, rung), c)| {
            Contender::new(format!("{name}/{size}"), flops(size), || {
                rung(c, &a, &b, size, size, size);
            })
        })
        .collect();
    take_turns(bench, "GFLOP/s", contenders, 5);
}

/// The engine's product (weights packed once) on one core and on two, peers, and numbers of fewer bits. `x w^T` for all.
fn compete(bench: &mut Bench, size: usize) {
    let (x, w) = (values(size * size, 3), values(size * size, 4));
    let narrow = |of: &[f32]| -> Vec<bf16> { of.iter().map(|v| bf16::from_f32(*v)).collect() };
    let bytes = |of: &[f32]| -> Vec<i8> { of.iter().map(|v| (v * 127.0) as i8).collect() };
    let (x16, w16, x8, w8) = (narrow(&x), narrow(&w), bytes(&x), bytes(&w));
    let panels = Panels::pack(&w, size, size);
    let panels16 = Panels::pack(&w16, size, size);
    let (dots16, dots8) = (
        NarrowPanels::<bf16>::pack(&w16, size, size),
        NarrowPanels::<i8>::pack(&w8, size, size),
    );
    let (isa, one, two) = (Isa::detect(), Pool::new(1), Pool::new(2));
    let rows = || Rows {
        values: &x,
        stride: size,
        rows: size,
    };
    let out = || vec![0.0f32; size * size];
    let mut outs: [Vec<f32>; 8] = std::array::from_fn(|_| out());
    let [ours, ours2, as16, as16_2, openblas, onednn, crate_, dot16] = &mut outs;
    let (mut dot8, mut dot8_2) = (vec![0; size * size], vec![0; size * size]);
    let (isa16, isa8) = (DotIsa::detect::<bf16>(), DotIsa::detect::<i8>());
    println!("f32 on {isa:?}, bf16 on {isa16:?}, int8 on {isa8:?}");
    let product = |pool, out: &mut [f32]| multiply(pool, isa, out, size, rows(), &panels, None);
    let product16 = |pool, out: &mut [f32]| multiply(pool, isa, out, size, rows(), &panels16, None);
    let product8 = |pool, out: &mut [i32]| multiply_i8(pool, isa8, out, &x8, size, &dots8);
    let mut contenders = vec![
        Contender::sampled("peak", || fma_rate(isa, 12, Duration::from_millis(20))),
        Contender::new("f32-1", flops(size), || product(&one, ours)),
        Contender::new("f32-2", flops(size), || product(&two, ours2)),
        Contender::new("bf16-weights-1", flops(size), || product16(&one, as16)),
        Contender::new("bf16-weights-2", flops(size), || product16(&two, as16_2)),
        Contender::new("bf16-1", flops(size), || {
            multiply_bf16(&one, isa16, dot16, &x16, size, &dots16);
        }),
        Contender::new("int8-1", flops(size), || product8(&one, &mut dot8)),
        Contender::new("int8-2", flops(size), || product8(&two, &mut dot8_2)),
        Contender::new("gemm-crate", flops(size), || {
            gemm_crate(crate_, &x, &w, size)
        }),
    ];
    let peers = Peers::load();
    let (x_start, w_start) = (x.as_ptr(), w.as_ptr());
    if let Some(sgemm) = peers.openblas() {
        contenders.push(Contender::new("openblas", flops(size), move || {
            let n = size as c_int;
            // SAFETY: row-major (101), `x` as it is (111), `w` transposed (112); all matrices are `size` by `size`.
            unsafe {
                sgemm(
                    101,
                    111,
                    112,
                    n,
                    n,
                    n,
                    1.0,
                    x_start,
                    n,
                    w_start,
                    n,
                    0.0,
                    openblas.as_mut_ptr(),
                    n,
                )
            };
        }));
    }
    if let Some(sgemm) = peers.onednn() {
        contenders.push(Contender::new("onednn", flops(size), move || {
            let n = size as i64;
            // SAFETY: row-major, as above.
            unsafe {
                sgemm(
                    b'N',
                    b'T',
                    n,
                    n,
                    n,
                    1.0,
                    x_start,
                    n,
                    w_start,
                    n,
                    0.0,
                    onednn.as_mut_ptr(),
                    n,
                )
            };
        }));
    }
    let rates = take_turns(bench, "GFLOP/s", contenders, 20);
    for (name, of, to) in [
        ("f32-of-peak", "f32-1", "peak"),
        ("f32-two-cores-to-one", "f32-2", "f32-1"),
        ("f32-to-gemm-crate", "f32-1", "gemm-crate"),
        ("f32-to-openblas", "f32-1", "openblas"),
        ("f32-to-onednn", "f32-1", "onednn"),
        ("bf16-to-f32", "bf16-1", "f32-1"),
        ("int8-to-f32", "int8-1", "f32-1"),
    ] {
        push_ratio(bench, name, &rates, of, to);
    }
    // What was timed is compared afterwards: all computed the same product.
    for (name, other) in [
        ("gemm-crate", &outs[6]),
        ("openblas", &outs[4]),
        ("onednn", &outs[5]),
    ] {
        if rates.iter().any(|it| it.0 == name) {
            let largest = outs[0]
                .iter()
                .zip(other)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(largest < 1e-2, "{name} differs by {largest}");
        }
    }
}

/// `gemm::gemm` hands a row-major product to this function as `w x^T`, whose columns are then neighbours.
fn gemm_crate(out: &mut [f32], x: &[f32], w: &[f32], size: usize) {
    let product = gemm_f32::gemm::f32::get_gemm_fn();
    let (stride, alone) = (size as isize, gemm_common::Parallelism::None);
    let (out, x, w) = (out.as_mut_ptr(), x.as_ptr(), w.as_ptr());
    // SAFETY: the matrices are `size` by `size`; each comes with the distance of its columns and of its rows.
    unsafe {
        product(
            size, size, size, out, stride, 1, false, w, 1, stride, x, stride, 1, 0.0, 1.0, false,
            false, false, alone,
        );
    }
}

type CblasSgemm = unsafe extern "C" fn(
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    f32,
    *const f32,
    c_int,
    *const f32,
    c_int,
    f32,
    *mut f32,
    c_int,
);
type DnnlSgemm = unsafe extern "C" fn(
    u8,
    u8,
    i64,
    i64,
    i64,
    f32,
    *const f32,
    i64,
    *const f32,
    i64,
    f32,
    *mut f32,
    i64,
) -> c_int;

/// Libraries of Debian's packages libopenblas0 and libdnnl2 (libdnnl3 in later releases), if they are installed.
struct Peers {
    openblas: Option<Library>,
    onednn: Option<Library>,
}

impl Peers {
    fn load() -> Self {
        let load = |what: &str, names: &[&str]| {
            // SAFETY: the libraries' initialisers start threads at most.
            let found = names
                .iter()
                .find_map(|name| unsafe { Library::new(*name).ok() });
            if found.is_none() {
                println!("{what} is not installed and not measured: none of {names:?} was found");
            }
            found
        };
        Self {
            openblas: load("OpenBLAS", &["libopenblas.so.0"]),
            onednn: load("oneDNN", &["libdnnl.so.3", "libdnnl.so.2"]),
        }
    }

    fn openblas(&self) -> Option<CblasSgemm> {
        // SAFETY: the type is the function's, by its C header.
        self.openblas
            .as_ref()
            .and_then(|it| unsafe { it.get(b"cblas_sgemm\0").ok().map(|it| *it) })
    }

    fn onednn(&self) -> Option<DnnlSgemm> {
        // SAFETY: as above.
        self.onednn
            .as_ref()
            .and_then(|it| unsafe { it.get(b"dnnl_sgemm\0").ok().map(|it| *it) })
    }
}

fn flops(size: usize) -> f64 {
    2.0 * (size * size * size) as f64
}

/// Values between -1 and 1 by a hash of their place.
fn values(len: usize, seed: u32) -> Vec<f32> {
    let hash = |i: usize| (i as u32 ^ seed << 24).wrapping_mul(2_654_435_761) >> 8;
    (0..len)
        .map(|i| hash(i) as f32 / (1 << 23) as f32 - 1.0)
        .collect()
}
