//! Task `swizzle`: the place of a byte in a tile that TMA wrote and wgmma reads.

use gemm::{CHUNK, LINE, swizzle};
use std::collections::BTreeSet;

const SPANS: [usize; 3] = [32, 64, 128];
/// Where the pattern begins anew.
const PERIOD: usize = 8 * LINE;

#[test]
fn every_byte_has_a_place_of_its_own_and_the_way_back_is_the_way_there() {
    for span in SPANS {
        let places: BTreeSet<_> = (0..3 * PERIOD)
            .map(|offset| swizzle(offset, span))
            .collect();
        assert_eq!(places.len(), 3 * PERIOD, "span {span}");
        assert_eq!(places.last(), Some(&(3 * PERIOD - 1)), "span {span}");
        for offset in 0..3 * PERIOD {
            assert_eq!(swizzle(swizzle(offset, span), span), offset);
        }
    }
}

#[test]
fn chunks_stay_whole_and_rows_keep_their_bytes() {
    for span in SPANS {
        for offset in 0..2 * PERIOD {
            let place = swizzle(offset, span);
            assert_eq!(place % CHUNK, offset % CHUNK, "span {span} byte {offset}");
            assert_eq!(place / span, offset / span, "span {span} byte {offset}");
        }
        let moved = (0..PERIOD).filter(|offset| swizzle(*offset, span) != *offset);
        assert!(moved.count() >= PERIOD / 2, "span {span}: most bytes move");
    }
}

/// Most chunks of eight rows that want the same four banks at once.
fn ways(span: usize, chunk: usize, place: impl Fn(usize, usize) -> usize) -> usize {
    let group = |row: usize| place(row * span + chunk * CHUNK, span) % LINE / CHUNK;
    let mut wanted = [0; LINE / CHUNK];
    (0..8).for_each(|row| wanted[group(row)] += 1);
    wanted.into_iter().max().unwrap_or(0)
}

#[test]
fn eight_rows_of_a_matrix_meet_every_bank_once() {
    for span in SPANS {
        for chunk in 0..span / CHUNK {
            assert_eq!(ways(span, chunk, swizzle), 1, "span {span} chunk {chunk}");
            // Plainly laid out, they wait for one another.
            assert_eq!(ways(span, chunk, |offset, _| offset), span / CHUNK);
        }
    }
}

#[test]
fn it_is_what_the_hardware_does() {
    // The bits of CUTLASS's Swizzle<B, 4, 3>: bits 7.. of the offset onto bits 4.., B of them.
    for (span, bits) in [(32, 1), (64, 2), (128, 3)] {
        for offset in 0..2 * PERIOD {
            let mask = ((1 << bits) - 1) << 7;
            assert_eq!(swizzle(offset, span), offset ^ ((offset & mask) >> 3));
        }
    }
    // And the addresses that epilogue.h writes to, for rows of 128 bytes and of 64.
    for row in 0..64 {
        for chunk in 0..8 {
            assert_eq!(
                swizzle(row * 128 + chunk * 16, 128),
                row * 128 + (chunk ^ (row % 8)) * 16
            );
        }
        for chunk in 0..4 {
            assert_eq!(
                swizzle(row * 64 + chunk * 16, 64),
                row * 64 + (chunk ^ (row / 2 % 4)) * 16
            );
        }
    }
}
