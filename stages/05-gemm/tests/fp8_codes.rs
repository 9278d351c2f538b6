//! The host's e4m3 is that of stage 02, code by code.

use gemm::fp8::{LARGEST, from_e4m3, to_e4m3};
use numerics::float::{E4M3, Overflow};

#[test]
fn e4m3_is_that_of_stage_02() {
    assert_eq!(LARGEST, E4M3.largest());
    for code in 0..=255_u8 {
        let (ours, theirs) = (from_e4m3(code), E4M3.decode(u16::from(code)));
        let nan = ours.is_nan() && theirs.is_nan();
        assert!(nan || ours.to_bits() == theirs.to_bits(), "{code:#x}");
    }
    // Every f32 of 12 significant bits: each tie of e4m3, what lies between, infinities and NaN.
    for bits in (0..=u32::MAX >> 12).map(|high| high << 12) {
        let value = f32::from_bits(bits);
        let (ours, theirs) = (to_e4m3(value), E4M3.encode(value, Overflow::Saturate));
        assert_eq!(u16::from(ours), theirs, "{value}");
    }
}
