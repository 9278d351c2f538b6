//! Weights in 4 bits: quantising, packing, and that what a thread loads is what the tensor core wants from it.

use gemm::{GROUP, UNIT_BYTES, W4, packed_bytes, place, w4_line, w4_plan};
use half::bf16;
use proptest::prelude::*;

/// A matrix with random codes and scales.
fn matrix() -> impl Strategy<Value = W4> {
    (1..40_usize, 1..4_usize).prop_flat_map(|(rows, groups)| {
        // From one row to twenty strips of 16, the last one full or not.
        let (n, k) = (rows * 8 + rows % 3, groups * GROUP);
        let codes = proptest::collection::vec(0..16_u8, n * k);
        let scales = proptest::collection::vec(any::<u16>(), n * groups);
        (codes, scales).prop_map(move |(codes, scales)| W4 {
            n,
            k,
            codes,
            scales,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn unpacking_undoes_packing(weights in matrix()) {
        let packed = weights.pack();
        prop_assert_eq!(packed.len(), packed_bytes(weights.n, weights.k));
        prop_assert_eq!(W4::unpack(&packed, weights.n, weights.k), weights);
    }

    #[test]
    fn a_code_is_the_nearest(values in proptest::collection::vec(-3.0_f32..3.0, GROUP), power in -60..60_i32) {
        let values: Vec<f32> = values.iter().map(|v| v * 2.0_f32.powi(power)).collect();
        let made = W4::quantise(&values, 1, GROUP);
        let scale = bf16::from_bits(made.scales[0]).to_f64();
        let most = values.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
        // bf16 keeps 8 bits: the scale is within 2^-8 of a seventh of the largest.
        prop_assert!((scale * 7.0 / f64::from(most) - 1.0).abs() <= 1.0 / 256.0);
        for (column, value) in values.iter().enumerate() {
            let off = (made.weight(0, column) - f64::from(*value)).abs();
            prop_assert!(off <= scale * 0.54, "{value} became {}", made.weight(0, column));
        }
    }
}

#[test]
fn ties_go_to_even_and_zeros_stay_zeros() {
    let mut values = [0.0_f32; 2 * GROUP];
    // The largest magnitude is 7 and the scale 1.
    values[..8].copy_from_slice(&[7.0, 0.5, 1.5, 2.5, -0.5, -1.5, -7.0, -6.5]);
    let made = W4::quantise(&values, 1, 2 * GROUP);
    assert_eq!(made.codes[..9], [15, 8, 10, 10, 8, 6, 1, 2, 8]);
    assert_eq!(
        made.scales,
        [bf16::ONE.to_bits(), 0],
        "a group of zeros has no scale"
    );
    assert!((GROUP..2 * GROUP).all(|column| made.weight(0, column) == 0.0));
    let narrow: Vec<u16> = values
        .iter()
        .map(|v| bf16::from_f32(*v).to_bits())
        .collect();
    assert_eq!(W4::quantise_bf16(&narrow, 1, 2 * GROUP), made);
}

#[test]
fn units_follow_each_other_as_the_kernel_fetches_them() {
    // Five strips of 16 rows, the last one not full, and three groups: five units of the first group, then those of the next.
    let unit = |strip: usize, group: usize| place(strip * 16, group * GROUP, 5 * 16 - 7).unit;
    assert_eq!(
        [unit(0, 0), unit(4, 0), unit(0, 1), unit(3, 2)],
        [0, 4, 5, 13]
    );
}

#[test]
fn a_measured_layer_gets_the_plan_of_its_line() {
    let lines = include_str!("../tuned_w4.csv");
    assert!(!lines.is_empty());
    for line in lines.lines() {
        let numbers: Vec<usize> = line.split(',').filter_map(|n| n.parse().ok()).collect();
        let (tokens, n, k) = (numbers[0], numbers[1], numbers[2]);
        // Of as many tokens as a line names, and of fewer that the same tile is for.
        let fewer = if tokens > 4 { tokens / 2 + 1 } else { 1 };
        assert_eq!(
            w4_plan(fewer, n, k, 132).config,
            w4_plan(tokens, n, k, 132).config
        );
        assert_eq!(w4_line(&w4_plan(tokens, n, k, 132), n, k), line);
    }
}

/// The numbers in the header's `dequantise`, in order: of the lower codes mask, LOP3's table, magic, factor and summand; of the upper ones
/// mask, factor and summand.
fn constants() -> [u32; 8] {
    let header = kernels::read("include/w4.h").unwrap();
    let (_, body) = header.split_once("DEVICE void dequantise(").unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let numbers = body.split("0x").skip(1).map(|text| {
        let digits = text.split(|c: char| !c.is_ascii_hexdigit()).next();
        u32::from_str_radix(digits.unwrap(), 16).unwrap()
    });
    numbers.collect::<Vec<_>>().try_into().unwrap()
}

/// LOP3: for each bit, the table's bit of the number that the three inputs make.
fn lop3(a: u32, b: u32, c: u32, table: u32) -> u32 {
    let bit = |i: u32| table >> ((a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1)) & 1;
    (0..32).fold(0, |all, i| all | bit(i) << i)
}

/// Half `half` of a register as a number.
fn number(register: u32, half: usize) -> f64 {
    bf16::from_bits((register >> (16 * half)) as u16).to_f64()
}

/// What `dequantise` makes of a word: four registers of two bf16, lower half first, as the GPU computes them, to the bit.
fn dequantise(word: u32) -> [[f64; 2]; 4] {
    let [
        mask,
        table,
        magic,
        quarter,
        less,
        other_mask,
        large,
        other_less,
    ] = constants();
    std::array::from_fn(|j| {
        let shifted = word >> (j / 2 * 8);
        let (x, by, plus) = if j % 2 == 0 {
            (lop3(shifted, mask, magic, table), quarter, less)
        } else {
            (shifted & other_mask, large, other_less)
        };
        // Exact in f64, then rounded once, as a bf16 FMA is.
        std::array::from_fn(|half| {
            let sum = number(x, half).mul_add(number(by, half), number(plus, half));
            bf16::from_f64(sum).to_f64()
        })
    })
}

#[test]
fn all_codes_become_exact_quarters_at_every_place() {
    for code in 0..16_u32 {
        for place in 0..8 {
            for others in [0, !0_u32, 0x5a5a_5a5a] {
                let word = others & !(15 << (4 * place)) | code << (4 * place);
                let (register, half) = (place % 4, place / 4);
                let found = dequantise(word)[register][half];
                assert_eq!(found * 4.0, f64::from(code) - 8.0, "{word:08x} {place}");
            }
        }
    }
}

/// Row and column of the 16 x 16 weights whose element `half` (lower, upper) is in register `register` of a lane: the PTX ISA's table for
/// A of mma.m16n8k16, `.bf16`, its elements a0 to a7 being two a register. A warp of a warpgroup has the same of its 16 rows for wgmma.
fn fragment(lane: usize, register: usize, half: usize) -> (usize, usize) {
    let i = register * 2 + half;
    let (group, within) = (lane >> 2, lane % 4);
    let first_rows = i < 2 || (4..6).contains(&i);
    let row = group + if first_rows { 0 } else { 8 };
    let column = within * 2 + (i & 1) + if i < 4 { 0 } else { 8 };
    (row, column)
}

#[test]
fn a_lanes_loads_are_its_operands() {
    // Two strips of 16 rows, two groups; all weights of a row and group differ as far as 16 codes can.
    let (n, k) = (32, 2 * GROUP);
    let code = |row: usize, column: usize| ((row * 7 + column * 5 + row * column / 3) % 16) as u8;
    let scale = |row: usize, group: usize| bf16::from_f32(1.0 + (row * 2 + group) as f32 / 256.0);
    let weights = W4 {
        n,
        k,
        codes: (0..n * k).map(|at| code(at / k, at % k)).collect(),
        scales: (0..n * 2)
            .map(|at| scale(at / 2, at % 2).to_bits())
            .collect(),
    };
    let packed = weights.pack();
    let mut seen = vec![false; n * k];
    for (strip, group) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        // A group's units lie side by side.
        let unit = &packed[(group * 2 + strip) * UNIT_BYTES..][..UNIT_BYTES];
        for lane in 0..32 {
            for step in 0..8 {
                // The kernel: 16 bytes at half * 512 + lane * 16, and of them a word for each 16 of k.
                let at = step / 4 * 512 + lane * 16 + step % 4 * 4;
                let word = u32::from_le_bytes(unit[at..at + 4].try_into().unwrap());
                let registers = dequantise(word);
                for (register, half) in (0..4).flat_map(|r| [(r, 0), (r, 1)]) {
                    let (row, column) = fragment(lane, register, half);
                    let (row, column) = (strip * 16 + row, group * GROUP + step * 16 + column);
                    let wanted = f64::from(code(row, column)) - 8.0;
                    assert_eq!(registers[register][half] * 4.0, wanted, "{row}, {column}");
                    assert!(!std::mem::replace(&mut seen[row * k + column], true));
                }
            }
            // The kernel: a word of two scales at 1024 + lane / 4 * 4, for accumulators of rows 8 apart.
            for high in 0..2 {
                let at = 1024 + lane / 4 * 4 + high * 2;
                let row = strip * 16 + lane / 4 + high * 8;
                let bits = u16::from_le_bytes([unit[at], unit[at + 1]]);
                assert_eq!(bits, scale(row, group).to_bits(), "{row}");
            }
        }
    }
    assert!(
        seen.iter().all(|seen| *seen),
        "every weight reaches some thread"
    );
}
