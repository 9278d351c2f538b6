//! What the emulator counts, against numbers worked out by hand.

mod emulated;

use emulated::{gemm, gemv, planted};
use kernels::{Counts, Emulated, Values};

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
fn a_stride_of_32_words_is_a_conflict_of_all_32_lanes() {
    for (stride, ways) in [(1, 1), (2, 2), (3, 1), (8, 8), (32, 32), (33, 1), (0, 1)] {
        let body = format!(
            "SHARED(float, tile, 1057);\nfor (int i = threadIdx.x; i < 1057; i += 32) tile[i] = 1.0f;\n__syncthreads();\nc[threadIdx.x] = tile[threadIdx.x * {stride}];"
        );
        let (counts, _) = planted(32, &body, 32).unwrap();
        assert_eq!(counts.shared_loads.worst, ways, "stride {stride}");
        assert_eq!(counts.bank_conflicts(), ways - 1, "stride {stride}");
        // 33 full stores and one by a single lane.
        assert_eq!(
            (
                counts.shared_stores.instructions,
                counts.shared_stores.partial
            ),
            (34, 1)
        );
    }
}

#[test]
fn lanes_that_take_different_ways_make_partial_instructions() {
    let (counts, c) = planted(
        32,
        "int t = threadIdx.x;\nif (t % 2)\nc[t] = 1.0f;\nelse\nc[t] = 2.0f;",
        32,
    )
    .unwrap();
    assert_eq!((c[0], c[1]), (2.0, 1.0));
    let stores = counts.global_stores;
    assert_eq!((stores.instructions, stores.partial), (2, 2));
    // 16 values, every second one: all four sectors, twice.
    assert_eq!((stores.transactions, stores.ideal), (8, 4));
    // Lanes that do not exist do not idle; accesses of two widths are two instructions, even in one line.
    let both = "float4 v = vector_load<float4>(a); c[threadIdx.x] = v.y + a[threadIdx.x];";
    let (counts, c) = planted(16, both, 16).unwrap();
    assert_eq!(c[3], 4.0);
    assert_eq!(
        (
            counts.global_loads.instructions,
            counts.global_loads.partial
        ),
        (2, 0)
    );
    assert_eq!(counts.global_loads.bytes, 16 * (16 + 4));
    assert_eq!(counts.sites.len(), 3);
}
