//! Task 2: f32 to f16, bf16, e4m3 and e5m2, over all codes, all ties, what overflows, and against `half` and `ml_dtypes`.

mod common;

use common::rng;
use half::{bf16, f16};
use numerics::float::{BF16, E4M3, E5M2, F16, Overflow, SmallFloat};
use rand::RngExt;

const FORMATS: [SmallFloat; 4] = [F16, BF16, E4M3, E5M2];
const BOTH: [Overflow; 2] = [Overflow::Saturate, Overflow::Special];

/// Every code of the format.
fn codes(format: SmallFloat) -> std::ops::RangeInclusive<u16> {
    0..=u16::MAX >> (16 - format.bits())
}

fn sign(format: SmallFloat) -> u16 {
    1 << (format.bits() - 1)
}

/// Equal codes, or NaN both.
fn same(format: SmallFloat, a: u16, b: u16) -> bool {
    a == b || (format.decode(a).is_nan() && format.decode(b).is_nan())
}

#[test]
fn every_code_comes_back() {
    for format in FORMATS {
        for code in codes(format) {
            let value = format.decode(code);
            let wanted = if value.is_nan() {
                format.nan_code() | code & sign(format)
            } else {
                code
            };
            assert_eq!(
                format.encode(value, Overflow::Special),
                wanted,
                "{format:?} {code:#x} is {value}"
            );
            let finite = if value.is_infinite() {
                format.largest_code() | code & sign(format)
            } else {
                wanted
            };
            assert_eq!(
                format.encode(value, Overflow::Saturate),
                finite,
                "{format:?} {code:#x} is {value}"
            );
        }
    }
}

#[test]
fn codes_stand_for_what_the_definitions_say() {
    let finite = |format: SmallFloat| {
        codes(format)
            .filter(|&code| format.decode(code).is_finite())
            .count()
    };
    assert_eq!(
        FORMATS.map(finite),
        [2 * 31 * 1024, 2 * 255 * 128, 256 - 2, 2 * 31 * 4]
    );
    assert_eq!(
        FORMATS.map(SmallFloat::largest),
        [65504.0, bf16::MAX.to_f32(), 448.0, 57344.0]
    );
    assert_eq!(
        FORMATS.map(SmallFloat::smallest),
        [-24, -133, -9, -16].map(|power| 2.0_f64.powi(power) as f32)
    );
    for code in codes(F16) {
        let (ours, theirs) = (F16.decode(code), f16::from_bits(code).to_f32());
        assert!(
            ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(),
            "f16 {code:#x}"
        );
        let (ours, theirs) = (BF16.decode(code), bf16::from_bits(code).to_f32());
        assert!(
            ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(),
            "bf16 {code:#x}"
        );
    }
    for code in 0..256 {
        // e5m2 is the upper byte of an f16.
        let (ours, theirs) = (E5M2.decode(code), f16::from_bits(code << 8).to_f32());
        assert!(
            ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(),
            "e5m2 {code:#x}"
        );
    }
}

#[test]
fn ties_between_all_neighbours_go_to_the_even_code() {
    for format in FORMATS {
        for low in 0..format.largest_code() {
            let (below, above) = (format.decode(low), format.decode(low + 1));
            let middle = (f64::from(below) + f64::from(above)) / 2.0;
            let tie = middle as f32;
            assert_eq!(f64::from(tie), middle, "a tie is an f32");
            for (value, wanted) in [
                (tie.next_down(), low),
                (tie, low + low % 2),
                (tie.next_up(), low + 1),
            ] {
                for overflow in BOTH {
                    assert_eq!(
                        format.encode(value, overflow),
                        wanted,
                        "{format:?}: {value}"
                    );
                    assert_eq!(
                        format.encode(-value, overflow),
                        wanted | sign(format),
                        "{format:?}: -{value}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_overflows_saturates_or_shows() {
    // Half a step beyond the largest: the tie would go to the next code, which is even but with e4m3, whose largest is even itself.
    let limits = [
        (F16, 65520.0, false),
        (E5M2, 61440.0, false),
        (E4M3, 464.0, true),
    ];
    for (format, limit, fits) in limits {
        for (value, fits) in [
            (limit, fits),
            (f32::next_down(limit), true),
            (f32::next_up(limit), false),
            (f32::MAX, false),
            (f32::INFINITY, false),
        ] {
            for (value, sign) in [(value, 0), (-value, sign(format))] {
                assert_eq!(
                    format.encode(value, Overflow::Saturate),
                    format.largest_code() | sign
                );
                let code = format.encode(value, Overflow::Special);
                let special = if format == E4M3 {
                    0x7F
                } else {
                    format.largest_code() + 1
                };
                let wanted = if fits { format.largest_code() } else { special };
                assert_eq!(code, wanted | sign, "{format:?}: {value}");
            }
        }
    }
    assert_eq!(BF16.encode(f32::MAX, Overflow::Saturate), 0x7F7F);
    assert_eq!(BF16.encode(f32::MAX, Overflow::Special), 0x7F80);
    for format in FORMATS {
        for overflow in BOTH {
            assert!(format.round(f32::NAN, overflow).is_nan());
            assert_eq!(format.encode(-0.0, overflow), sign(format));
            assert_eq!(format.encode(f32::from_bits(1), overflow), 0);
        }
    }
}

#[test]
fn random_patterns_agree_with_half() {
    let rng = &mut rng();
    for _ in 0..1_000_000 {
        let value = f32::from_bits(rng.random());
        let (ours, theirs) = (
            F16.encode(value, Overflow::Special),
            f16::from_f32(value).to_bits(),
        );
        assert!(
            same(F16, ours, theirs),
            "f16: {value} ({:#x})",
            value.to_bits()
        );
        let (ours, theirs) = (
            BF16.encode(value, Overflow::Special),
            bf16::from_f32(value).to_bits(),
        );
        assert!(
            same(BF16, ours, theirs),
            "bf16: {value} ({:#x})",
            value.to_bits()
        );
    }
}

#[test]
fn fp8_agrees_with_ml_dtypes() {
    let text = include_str!("fixtures/fp8.txt");
    let number = |field: &str| u32::from_str_radix(field, 16).unwrap();
    let lines = text
        .lines()
        .map(|line| line.split(' ').map(number).collect::<Vec<_>>());
    let (mut tables, mut numbers) = (0, 0);
    for (at, line) in lines.enumerate() {
        for (format, &theirs) in [E4M3, E5M2].into_iter().zip(&line[1..]) {
            if at < 256 {
                let (ours, theirs) = (format.decode(line[0] as u16), f32::from_bits(theirs));
                assert!(
                    ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan(),
                    "{format:?} {at:#x}"
                );
                tables += 1;
            } else {
                let value = f32::from_bits(line[0]);
                let ours = format.encode(value, Overflow::Special);
                assert!(
                    same(format, ours, theirs as u16),
                    "{format:?}: {value} is {ours:#x}, not {theirs:#x}"
                );
                numbers += 1;
            }
        }
    }
    assert!(
        tables == 512 && numbers > 3000,
        "{tables} and {numbers} were read"
    );
}
