//! The random stream: Philox as published, a pure function of seed and position, uniform and independent.

mod support;

use decoding::philox::{philox4x32, uniform};
use decoding::{Sampler, SamplingParams, TokenHistory};
use rand::RngExt;
use support::{assert_distributed, logits, rng};

/// The known answers that the authors publish with their Random123 library.
#[test]
fn philox_gives_its_published_answers() {
    let cases = [
        (
            [0; 4],
            [0; 2],
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
        ),
        (
            [u32::MAX; 4],
            [u32::MAX; 2],
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
        ),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ];
    for (counter, key, want) in cases {
        assert_eq!(philox4x32(counter, key), want);
    }
}

#[test]
fn a_draw_is_a_function_of_seed_and_position() {
    let rng = &mut rng();
    let logits = logits(rng, 200);
    let params = SamplingParams {
        seed: rng.random(),
        top_p: 0.9,
        ..SamplingParams::default()
    };
    let history = TokenHistory::default();
    let draw = |params: &SamplingParams, position| {
        Sampler::new(200)
            .sample(&logits, params, &history, &[], position)
            .token
    };
    let forward: Vec<u32> = (0..300).map(|position| draw(&params, position)).collect();
    let mut backward: Vec<u32> = (0..300)
        .rev()
        .map(|position| draw(&params, position))
        .collect();
    backward.reverse();
    assert_eq!(forward, backward, "the order of draws does not matter");
    let other = SamplingParams {
        seed: params.seed.wrapping_add(1),
        ..params
    };
    let others: Vec<u32> = (0..300).map(|position| draw(&other, position)).collect();
    assert_ne!(forward, others, "a neighbouring seed is another stream");
}

#[test]
fn draws_are_uniform() {
    let seed = rng().random();
    let mut counts = vec![0; 256];
    for position in 0..200_000 {
        let x = uniform(seed, position);
        assert!((0.0..1.0).contains(&x));
        counts[(x * 256.0) as usize] += 1;
    }
    assert_distributed(&counts, &[1.0 / 256.0; 256], "one stream");
}

/// Pairs of neighbouring positions, and of neighbouring seeds, fill the square evenly.
#[test]
fn neighbours_are_independent() {
    let seed: u64 = rng().random();
    let cell = |a: f64, b: f64| (a * 12.0) as usize * 12 + (b * 12.0) as usize;
    let (mut positions, mut seeds) = (vec![0; 144], vec![0; 144]);
    for i in 0..100_000u64 {
        positions[cell(uniform(seed, 2 * i), uniform(seed, 2 * i + 1))] += 1;
        let even = seed.wrapping_add(2 * i);
        seeds[cell(uniform(even, 7), uniform(even.wrapping_add(1), 7))] += 1;
    }
    assert_distributed(&positions, &[1.0 / 144.0; 144], "neighbouring positions");
    assert_distributed(&seeds, &[1.0 / 144.0; 144], "neighbouring seeds");
}
