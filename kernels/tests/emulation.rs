//! Every kernel that the emulator runs, against a reference in f64 and against counts worked out by hand.

use kernels::{Argument, Counts, Emulated, Source, Values, sources};
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

fn gemm(kernel: &Emulated, a: &[f32], b: &[f32], c: &mut [f32], [m, n, k]: [usize; 3]) -> Counts {
    let outcome = kernel.run(&[
        Argument::input("a", a),
        Argument::input("b", b),
        Argument::output("c", c),
        Argument::integer("M", m),
        Argument::integer("N", n),
        Argument::integer("K", k),
    ]);
    outcome.unwrap_or_else(|error| panic!("{m} x {n} x {k}: {error}"))
}

fn gemv(kernel: &Emulated, b: &[u16], x: &[f32], y: &mut [f32], [n, k]: [usize; 2]) -> Counts {
    let outcome = kernel.run(&[
        Argument::input("b", b),
        Argument::input("x", x),
        Argument::output("y", y),
        Argument::integer("N", n),
        Argument::integer("K", k),
    ]);
    outcome.unwrap_or_else(|error| panic!("{n} x {k}: {error}"))
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

fn counts(path: &str, values: &[(&str, i64)], size: [usize; 3]) -> Counts {
    let values = values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value));
    let kernel = Emulated::build(path, &values.collect()).unwrap();
    let [m, n, k] = size;
    let (a, b, mut c) = (vec![1.0; m * k], vec![2.0; n * k], vec![f32::NAN; m * n]);
    let counts = gemm(&kernel, &a, &b, &mut c, size);
    assert!(c.iter().all(|x| *x == 2.0 * k as f32));
    counts
}

/// (instructions, partial, bytes, transactions, ideal, worst)
fn numbers(t: kernels::Traffic) -> [u64; 6] {
    [
        t.instructions,
        t.partial,
        t.bytes,
        t.transactions,
        t.ideal,
        t.worst,
    ]
}

#[test]
fn the_naive_kernel_touches_a_sector_for_every_value_of_a() {
    // 64 x 32 outputs are 2 blocks of 32 warps. Each warp has 32 rows and one column, and for each of 64 k loads
    //   A: rows lie 256 bytes apart: 32 lanes, 32 sectors, where 128 bytes together would be 4;
    //   B: one value for all lanes: 1 sector.
    // Then it stores 32 rows of C, 128 bytes apart: 32 sectors instead of 4.
    let counts = counts("gemm/k01_naive.cu", &[], [64, 32, 64]);
    assert_eq!([counts.blocks, counts.threads], [2, 1024]);
    let warps = 64;
    assert_eq!(
        numbers(counts.global_loads),
        [
            warps * 64 * 2,
            0,
            warps * 64 * 2 * 128,
            warps * 64 * 33,
            warps * 64 * 5,
            32
        ]
    );
    assert_eq!(
        numbers(counts.global_stores),
        [warps, 0, warps * 128, warps * 32, warps * 4, 32]
    );
    assert_eq!(counts.shared_loads, kernels::Traffic::default());
    assert_eq!(
        [counts.barriers, counts.warp_barriers, counts.shuffles],
        [0, 0, 0]
    );
    let line = counts
        .sites
        .iter()
        .map(|site| (site.array.as_str(), site.store, site.traffic.transactions));
    let expected = [
        ("a", false, warps * 64 * 32),
        ("b", false, warps * 64),
        ("c", true, warps * 32),
    ];
    assert_eq!(line.collect::<Vec<_>>(), expected);
}

#[test]
fn lanes_along_k_use_every_byte_of_a_sector() {
    // One warp an output: 2048 of them in 64 x 4 blocks of 8. Of 64 k each lane takes 2, so 2 loads of A and 2 of B, each
    // 128 bytes in a row: 4 sectors. Five shuffles; one lane stores 4 bytes, 31 idle.
    let counts = counts("gemm/k02_coalesced.cu", &[], [64, 32, 64]);
    assert_eq!([counts.blocks, counts.threads], [256, 256]);
    let warps = 2048;
    assert_eq!(
        numbers(counts.global_loads),
        [
            warps * 4,
            0,
            warps * 4 * 128,
            warps * 4 * 4,
            warps * 4 * 4,
            4
        ]
    );
    assert_eq!(
        numbers(counts.global_stores),
        [warps, warps, warps * 4, warps, warps, 1]
    );
    assert_eq!(counts.shuffles, warps * 5);
    // The same bytes as the naive kernel asks for, and about a quarter of its sectors.
    let naive = self::counts("gemm/k01_naive.cu", &[], [64, 32, 64]);
    assert_eq!(naive.global_loads.bytes, counts.global_loads.bytes);
    assert!(naive.sectors() > 4 * counts.sectors() - counts.global_stores.transactions * 4);
}

#[test]
fn a_shared_tile_is_loaded_once_and_read_32_times() {
    // 2 blocks of 32 warps, 64 / 32 = 2 tiles. A tile, for each warp: one load of A and one of B, 4 sectors each; one store to
    // each shared tile; 32 k with one read of each. Two barriers a tile and block. At the end a row of 32 outputs: 4 sectors.
    let size = [64, 32, 64];
    let padded = counts("gemm/k03_shared.cu", &[], size);
    let (blocks, tiles) = (2, 2);
    let turns = blocks * 32 * tiles;
    assert_eq!(
        numbers(padded.global_loads),
        [turns * 2, 0, turns * 256, turns * 8, turns * 8, 4]
    );
    assert_eq!(
        numbers(padded.global_stores),
        [64, 0, 64 * 128, 64 * 4, 64 * 4, 4]
    );
    assert_eq!(
        numbers(padded.shared_stores),
        [turns * 2, 0, turns * 256, turns * 2, turns * 2, 1]
    );
    let reads = turns * 32;
    assert_eq!(
        numbers(padded.shared_loads),
        [reads * 2, 0, reads * 256, reads * 2, reads * 2, 1]
    );
    assert_eq!(padded.barriers, blocks * tiles * 2);
    assert_eq!(padded.bank_conflicts(), 0);
    // Without padding, a column of the tile of B lies in one bank: 32 wavefronts instead of 1.
    let conflicts = counts("gemm/k03_shared.cu", &[("PAD", 0)], size);
    assert_eq!(
        numbers(conflicts.shared_loads),
        [reads * 2, 0, reads * 256, reads * 33, reads * 2, 32]
    );
    assert_eq!(conflicts.bank_conflicts(), reads * 31);
    assert_eq!(conflicts.global_loads, padded.global_loads);
}

#[test]
fn each_step_of_the_ladder_gains_what_its_head_says() {
    let size = [256, 128, 64];
    let products = (256 * 128 * 64) as u64;
    let tile = counts("gemm/k03_shared.cu", &[], size);
    let patch = counts("gemm/k04_register_tile.cu", &[], size);
    let vector = counts("gemm/k05_vectorised.cu", &[], size);
    for (name, counts) in [("k03", &tile), ("k04", &patch), ("k05", &vector)] {
        assert_eq!(counts.shared_loads.excess(), 0, "{name}:\n{counts}");
        assert_eq!(counts.global_loads.excess(), 0, "{name}:\n{counts}");
        assert_eq!(counts.global_stores.excess(), 0, "{name}:\n{counts}");
    }
    // Only k04 has conflicts: two wavefronts for each store to its tiles.
    assert_eq!([tile.bank_conflicts(), vector.bank_conflicts()], [0, 0]);
    assert_eq!(
        patch.shared_stores.transactions,
        2 * patch.shared_stores.instructions
    );
    // Two reads for a product; 16 for 64; 4 of 16 bytes for 64.
    assert_eq!(tile.shared_loads.instructions, products / 32 * 2);
    assert_eq!(patch.shared_loads.instructions, products / 32 / 4);
    assert_eq!(vector.shared_loads.instructions, products / 32 / 16);
    // A tile four times as long on each side loads each operand a quarter as often.
    assert_eq!(tile.global_loads.bytes, 4 * patch.global_loads.bytes);
    assert_eq!(vector.global_loads.bytes, patch.global_loads.bytes);
    assert_eq!(
        patch.global_loads.instructions,
        4 * vector.global_loads.instructions
    );
    let unpadded = counts("gemm/k05_vectorised.cu", &[("PAD", 0)], size);
    assert!(unpadded.shared_stores.worst > 1 && unpadded.bank_conflicts() > 0);
}

#[test]
fn the_gemv_moves_each_weight_once() {
    let (n, k) = (16, 1024);
    let (bits, x) = (vec![0x3f80; n * k], vec![1.0; k]);
    let mut y = vec![f32::NAN; n];
    let kernel = Emulated::build("gemm/k18_gemv.cu", &Values::new()).unwrap();
    let counts = gemv(&kernel, &bits, &x, &mut y, [n, k]);
    assert!(y.iter().all(|y| *y == k as f32));
    let weights = counts.sites.iter().find(|site| site.array == "b").unwrap();
    assert_eq!(weights.traffic.transactions, (n * k / 16) as u64);
    assert_eq!(weights.traffic.excess(), 0);
    // 8 weights a lane; 8 warps of two rows with five shuffles each.
    assert_eq!(weights.traffic.instructions, (n * k / 256) as u64);
    assert_eq!(counts.shuffles, n as u64 * 5);
}

#[test]
fn counts_say_that_they_are_emulated_and_where_they_come_from() {
    let shown = counts("gemm/k03_shared.cu", &[("PAD", 0)], [32, 32, 32]).to_string();
    assert!(
        shown.starts_with("EMULATED on the host, not measured on a GPU"),
        "{shown}"
    );
    assert!(
        shown.contains("load tile_b") && shown.contains("store c"),
        "{shown}"
    );
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
