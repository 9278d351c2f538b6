//! Normalisation of one vector of the residual stream.

/// Root-mean-square norm (Zhang and Sennrich, 2019): `out = x / sqrt(mean(x^2) + eps) * weight`. All slices are `[width]`.
pub fn rms_norm(out: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
    let factor = rms_factor(x, eps);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * factor * weight;
    }
}

/// `1 / sqrt(mean(x^2) + eps)`; the sum is kept in double precision, since a residual stream may hold a few very large values, and in
/// several parts, since one would wait for each addition.
pub fn rms_factor(x: &[f32], eps: f32) -> f32 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let mut parts = [0.0f64; 32];
    let (whole, rest) = x.as_chunks::<32>();
    for numbers in whole {
        for (part, x) in parts.iter_mut().zip(numbers) {
            *part += square(*x);
        }
    }
    let rest: f64 = rest.iter().map(|x| square(*x)).sum();
    let squares = parts.iter().sum::<f64>() + rest;
    (squares / x.len() as f64 + f64::from(eps)).sqrt().recip() as f32
}

/// Layer norm (Ba et al., 2016): `out = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias`. All slices are `[width]`.
pub fn layer_norm(out: &mut [f32], x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) {
    let width = x.len() as f64;
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / width;
    let variance = x
        .iter()
        .map(|x| (f64::from(*x) - mean).powi(2))
        .sum::<f64>()
        / width;
    let factor = (variance + f64::from(eps)).sqrt().recip();
    for (i, out) in out.iter_mut().enumerate() {
        let normal = ((f64::from(x[i]) - mean) * factor) as f32;
        *out = normal * weight[i] + bias.map_or(0.0, |bias| bias[i]);
    }
}
