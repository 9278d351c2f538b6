//! The exponential of vectors, on every instruction set, against the double precision of the standard library.

use memory_hierarchy::simd::{Isa, Kernel, Simd, math};

/// `out = exp(x)`; lengths are whole vectors.
struct Exp<'a> {
    out: &'a mut [f32],
    x: &'a [f32],
}

impl Kernel for Exp<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        assert!(self.out.len() == self.x.len() && self.x.len().is_multiple_of(S::LANES));
        for at in (0..self.x.len()).step_by(S::LANES) {
            // SAFETY: `Isa::run` chose S; LANES numbers are left.
            unsafe {
                math::exp(S::load(self.x.as_ptr().add(at))).store(self.out.as_mut_ptr().add(at))
            };
        }
    }
}

fn exp(isa: Isa, x: &[f32]) -> Vec<f32> {
    let mut padded = x.to_vec();
    padded.resize(x.len().next_multiple_of(16), 0.0);
    let mut out = vec![f32::NAN; padded.len()];
    isa.run(Exp {
        out: &mut out,
        x: &padded,
    });
    out.truncate(x.len());
    out
}

/// Every 1009th of all floats between the ends of the normal range: within 1.2e-7 of the value, two units in the last place at most.
#[test]
fn exp_is_right_over_its_range() {
    let all: Vec<f32> = (0..=u32::MAX)
        .step_by(1009)
        .map(f32::from_bits)
        .filter(|x| (-87.3..=88.7).contains(x))
        .collect();
    for isa in Isa::available() {
        let mut worst = (0.0, 0.0);
        for (x, got) in all.iter().zip(exp(isa, &all)) {
            let want = f64::from(*x).exp();
            let error = (f64::from(got) / want - 1.0).abs();
            if error > worst.0 || error.is_nan() {
                worst = (error, *x);
            }
        }
        println!("{isa:?}: {:e} at {}", worst.0, worst.1);
        assert!(
            worst.0 <= 1.2e-7,
            "{isa:?}: {:e} off at {}",
            worst.0,
            worst.1
        );
    }
}

/// Below the normal range the result is within the spacing of subnormal numbers; beyond all range it is 0 or infinity; and what is no
/// number stays none.
#[test]
fn exp_ends_where_floats_end() {
    let spacing = f64::from(f32::from_bits(1));
    let low: Vec<f32> = (0..2000).map(|i| -87.0 - i as f32 * 0.01).collect();
    let ends = [
        0.0,
        -0.0,
        -200.0,
        f32::MIN,
        f32::NEG_INFINITY,
        88.8,
        89.5,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
    ];
    for isa in Isa::available() {
        for (x, got) in low.iter().zip(exp(isa, &low)) {
            let want = f64::from(*x).exp();
            assert!(
                (f64::from(got) - want).abs() <= spacing + 1.2e-7 * want,
                "{isa:?}: exp({x}) = {got:e}"
            );
        }
        let got = exp(isa, &ends);
        assert_eq!(
            got[..9],
            [
                1.0,
                1.0,
                0.0,
                0.0,
                0.0,
                f32::INFINITY,
                f32::INFINITY,
                f32::INFINITY,
                f32::INFINITY
            ],
            "{isa:?}"
        );
        assert!(got[9].is_nan(), "{isa:?}");
    }
}
