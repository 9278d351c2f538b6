//! At which density each sparse format beats the dense product: for a weight of 4096 x 4096, which no cache holds, and one of
//! 512 x 512, which an L2 cache does, with one row of `x` and with 16.
//!
//! A decode step comes to a weight after all others of the model, so the large weight must not be found in a cache because it was
//! pruned small: before each timed product something else passes over more memory than the caches hold. Dense and sparse take turns,
//! so that a machine that slows down slows both, and a crossover is where their least times are equal: a product that ends when the
//! slower of its threads does is at the mercy of whatever else runs.

use benches::Bench;
use memory_hierarchy::gemm::{Panels, Rows};
use memory_hierarchy::{Isa, Pool, gemm};
use numerics::sparse::{Bitmap, Blocks, Csr, TwoFour, Weight, multiply, prune, shrink};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::time::{Duration, Instant};

const DENSITIES: [f64; 7] = [0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01];
/// Turns, each of which gives a sample of every series.
const TURNS: usize = 31;
/// A sample of a small product is as many in a row as take this long.
const SAMPLE: Duration = Duration::from_micros(400);

/// A product to be timed: `(x, rows, out)`.
type Product<'a> = Box<dyn Fn(&[f32], usize, &mut [f32]) + 'a>;

fn main() {
    let mut bench = Bench::new(
        "stage-02 --bench sparse",
        "02-sparse",
        "Sparse formats against the dense product, by density",
        &[
            "stages/02-numerics/src/sparse",
            "stages/01-memory-hierarchy/src",
        ],
    );
    for side in [4096, 512] {
        measure(&mut bench, side);
    }
    bench.finish();
}

fn measure(bench: &mut Bench, side: usize) {
    let (isa, pool) = (Isa::detect(), Pool::global());
    let mut rng = StdRng::seed_from_u64(2);
    let weight: Vec<f32> = (0..side * side)
        .map(|_| rng.random_range(-1.0..1.0))
        .collect();
    let x: Vec<f32> = (0..16 * side)
        .map(|_| rng.random_range(-1.0..1.0))
        .collect();
    let dense = packed(&weight, side, side);
    let mut dense_times = [Vec::new(), Vec::new()];
    // Series by rows and format: (density, least time of the format over that of the dense product).
    let mut ratios: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for density in DENSITIES {
        let kept = pruned(&weight, &prune::magnitude(&weight, density));
        let csr = Csr::from_dense(&kept, side, side);
        let bitmap = Bitmap::from_dense(&kept, side, side);
        let blocks = |width| {
            let mask = prune::blocks(&weight, side, 16, width, density);
            Blocks::from_dense(&pruned(&weight, &mask), side, side, width)
        };
        let (narrow, square) = (blocks(1), blocks(16));
        let scores = prune::l1_of_rows(&weight, side);
        let stays = prune::greatest(&scores, prune::kept(side, density));
        let fewer = shrink::rows(&weight, side, &stays);
        let rows = packed(&fewer, fewer.len() / side, side);
        let half = (density == 0.5).then(|| {
            let mask = prune::n_of_m(&weight, side, 2, 4);
            TwoFour::from_dense(&pruned(&weight, &mask), side, side).expect("pruned to 2:4")
        });
        let mut products: Vec<(&str, Product)> = vec![
            ("dense", dense_product(&dense)),
            ("csr", product(&csr, isa)),
            ("bitmap", product(&bitmap, isa)),
            ("block-16x1", product(&narrow, isa)),
            ("block-16x16", product(&square, isa)),
            ("rows-removed", dense_product(&rows)),
        ];
        if let Some(half) = &half {
            products.push(("2:4", product(half, isa)));
            bench.count(&format!("bytes-{side}/2:4"), "bytes", half.bytes() as f64);
        }
        for (name, bytes) in [
            ("csr", csr.bytes()),
            ("bitmap", bitmap.bytes()),
            ("block-16x1", narrow.bytes()),
            ("block-16x16", square.bytes()),
        ] {
            bench.count(
                &format!("bytes-{name}-{side}/{density}"),
                "bytes",
                bytes as f64,
            );
        }
        for (which, rows) in [1, 16].into_iter().enumerate() {
            let times = take_turns(&products, &x[..rows * side], rows, side, pool);
            dense_times[which].extend_from_slice(&times[0]);
            for ((name, _), samples) in products.iter().zip(&times).skip(1) {
                let series = format!("{name}-{side}-{rows}");
                let ratio = least(samples) / least(&times[0]);
                println!("{series} at {density}: {ratio:.3} of dense");
                bench.push(&format!("{series}/{density}"), "ns", samples.clone());
                match ratios.iter_mut().find(|(other, _)| *other == series) {
                    Some((_, points)) => points.push((density, ratio)),
                    None => ratios.push((series, vec![(density, ratio)])),
                }
            }
        }
    }
    for (rows, samples) in [1, 16].into_iter().zip(dense_times) {
        bench.push(&format!("dense-{side}-{rows}"), "ns", samples);
    }
    for (series, points) in ratios {
        if let [(_, ratio)] = points[..] {
            bench.count(&format!("speedup/{series}"), "", 1.0 / ratio);
        } else {
            bench.count(&format!("crossover/{series}"), "", crossover(&points));
        }
    }
}

/// Samples of each product in ns, taken in turn.
fn take_turns(
    products: &[(&str, Product)],
    x: &[f32],
    rows: usize,
    side: usize,
    pool: &Pool,
) -> Vec<Vec<f64>> {
    let mut out = vec![0.0; rows * side];
    let mut times = vec![Vec::new(); products.len()];
    // Larger than any cache: each product finds only `x` there, if that.
    let cold = side * side * size_of::<f32>() > 32 << 20;
    let large: Vec<f32> = vec![1.0; if cold { 32 << 20 } else { 0 }];
    for turn in 0..=TURNS {
        for ((_, product), times) in products.iter().zip(&mut times) {
            pool.for_each_chunk(large.len(), 1 << 18, |part| {
                std::hint::black_box(large[part].iter().step_by(16).sum::<f32>());
            });
            let (start, mut runs) = (Instant::now(), 0);
            while runs == 0 || !cold && start.elapsed() < SAMPLE {
                product(x, rows, &mut out);
                runs += 1;
            }
            // The first turn warms up.
            if turn > 0 {
                times.push(start.elapsed().as_nanos() as f64 / f64::from(runs));
            }
        }
    }
    std::hint::black_box(out);
    times
}

fn pruned(weight: &[f32], mask: &[bool]) -> Vec<f32> {
    let mut weight = weight.to_vec();
    prune::apply(&mut weight, mask);
    weight
}

fn product<'a>(weight: &'a impl Weight, isa: Isa) -> Product<'a> {
    let pool = Pool::global();
    Box::new(move |x, rows, out| multiply(weight, isa, pool, x, rows, out))
}

fn packed(weight: &[f32], n: usize, k: usize) -> Panels<f32> {
    Panels::pack(weight, n, k)
}

/// The engine's own dense product; `out` may be wider than the weight.
fn dense_product(weight: &Panels<f32>) -> Product<'_> {
    let (isa, pool) = (Isa::detect(), Pool::global());
    Box::new(move |x, rows, out| {
        let x = Rows {
            values: x,
            stride: weight.k(),
            rows,
        };
        gemm::multiply(pool, isa, out, weight.n(), x, weight, None);
    })
}

fn least(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The density below which the format is faster, between two measured ones on a line through the logarithms; the highest measured
/// if it is faster there already, 0 if it never is.
fn crossover(points: &[(f64, f64)]) -> f64 {
    if points[0].1 <= 1.0 {
        return points[0].0;
    }
    let pair = points
        .windows(2)
        .find(|pair| pair[0].1 > 1.0 && pair[1].1 <= 1.0);
    pair.map_or(0.0, |pair| {
        let [(high, slower), (low, faster)] = [pair[0], pair[1]];
        let share = slower.ln() / (slower.ln() - faster.ln());
        (high.ln() + share * (low.ln() - high.ln())).exp()
    })
}
