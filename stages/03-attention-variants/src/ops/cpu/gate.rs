//! The activations of feed-forward blocks, a vector at a time.
//!
//! SiLU, and GELU by its tanh, are `x` times a logistic function: one exponential a vector. GELU by the error function, which no model that is fast
//! uses, stays scalar.

use crate::activation::activate;
use crate::config::Activation;
use memory_hierarchy::simd::{Kernel, Simd, math};

/// `out = activation(gate) * up`, or `out = activation(out)` where there is no gate.
pub(super) struct Activate<'a> {
    pub out: &'a mut [f32],
    /// Gate and up, each as long as `out`.
    pub gated: Option<(&'a [f32], &'a [f32])>,
    pub activation: Activation,
}

impl Kernel for Activate<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self {
            out,
            gated,
            activation,
        } = self;
        let len = out.len();
        assert!(gated.is_none_or(|(gate, up)| gate.len() == len && up.len() == len));
        let to = out.as_mut_ptr();
        let (x, up) = gated.map_or((to.cast_const(), None), |(gate, up)| {
            (gate.as_ptr(), Some(up.as_ptr()))
        });
        let whole = match activation {
            Activation::Gelu => 0,
            Activation::Silu | Activation::GeluTanh => len - len % S::LANES,
        };
        // SAFETY: `Isa::run` chose S; vectors and numbers are read and written only where there are some, and each is read before
        // its place is written.
        unsafe {
            for at in (0..whole).step_by(S::LANES) {
                let mut y = smooth::<S>(S::load(x.add(at)), activation);
                if let Some(up) = up {
                    y = y.mul(S::load(up.add(at)));
                }
                y.store(to.add(at));
            }
            // What is left of a row is at the same place whatever the batch.
            for at in whole..len {
                let y = activate(activation, *x.add(at));
                *to.add(at) = up.map_or(y, |up| y * *up.add(at));
            }
        }
    }
}

/// SiLU, or GELU by its tanh: `1 + tanh(u)` is twice the logistic function of `2 u`.
#[inline(always)]
unsafe fn smooth<S: Simd>(x: S, activation: Activation) -> S {
    // SAFETY: the caller's S.
    unsafe {
        match activation {
            Activation::Silu => math::logistic_gate(x, x),
            _ => {
                const SLOPE: f32 = 1.595_769_1; // 2 * sqrt(2 / pi)
                let bent = x.mul(x).mul_add(S::splat(0.044_715), S::splat(1.0));
                math::logistic_gate(x, x.mul(bent).mul(S::splat(SLOPE)))
            }
        }
    }
}
