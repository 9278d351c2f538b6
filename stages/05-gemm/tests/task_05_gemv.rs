//! Task `gemv`: one token; each weight is read once, sixteen bytes a lane.

mod common;

use common::{assert_product, build, random, random_bf16, rng};
use kernels::{Argument, Counts, Emulated};

const KERNEL: &str = "gemm/k18_gemv.cu";

fn gemv(kernel: &Emulated, b: &[u16], x: &[f32], [n, k]: [usize; 2]) -> (Vec<f32>, Counts) {
    let mut y = vec![f32::NAN; n];
    let outcome = kernel.run(&[
        Argument::input("b", b),
        Argument::input("x", x),
        Argument::output("y", &mut y),
        Argument::integer("N", n),
        Argument::integer("K", k),
    ]);
    let counts = outcome.unwrap_or_else(|error| panic!("{n} x {k}: {error}"));
    (y, counts)
}

#[test]
fn the_product_is_right_at_every_size() {
    let mut rng = rng();
    for variant in [&[][..], &[("ROWS", 1), ("UNROLL", 4)]] {
        let kernel = build(KERNEL, variant);
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
            let (bits, weights) = random_bf16(&mut rng, n * k);
            let x = random(&mut rng, k);
            let (y, _) = gemv(&kernel, &bits, &x, [n, k]);
            assert_product(&y, &x, &weights, [1, n, k]);
        }
    }
}

#[test]
fn each_weight_is_loaded_once_sixteen_bytes_a_lane() {
    let (n, k) = (16, 1024);
    let (_, counts) = gemv(
        &build(KERNEL, &[]),
        &vec![0x3f80; n * k],
        &vec![1.0; k],
        [n, k],
    );
    let weights = counts.sites.iter().filter(|site| site.array == "b").fold(
        (0, 0),
        |(instructions, sectors), site| {
            let traffic = site.traffic;
            (
                instructions + traffic.instructions,
                sectors + traffic.transactions,
            )
        },
    );
    assert_eq!(
        weights,
        ((n * k / 256) as u64, (n * k / 16) as u64),
        "{counts}"
    );
}

#[test]
fn a_value_of_the_token_serves_all_rows_of_the_warp() {
    let (n, k) = (16, 1024);
    let token = |changes: &[(&str, i64)]| {
        let kernel = build(KERNEL, changes);
        let (_, counts) = gemv(&kernel, &vec![0x3f80; n * k], &vec![1.0; k], [n, k]);
        let sites = counts.sites.iter().filter(|site| site.array == "x");
        sites.map(|site| site.traffic.bytes).sum::<u64>()
    };
    // A warp reads all of the token, 4 bytes a value, once for its rows.
    assert_eq!(token(&[("ROWS", 1)]), (n * k * 4) as u64);
    assert_eq!(token(&[("ROWS", 2)]), (n / 2 * k * 4) as u64);
}
