//! One figure for many products.

/// The geometric mean over all products, one for each pair of measurements, so that the spread of the whole is seen: `ratios` has a row of as
/// many pairs for each product.
pub fn geometric_means(ratios: &[Vec<f64>]) -> Vec<f64> {
    let pairs = ratios.first().map_or(0, Vec::len);
    let mean = |pair: usize| {
        let logs = ratios.iter().map(|ratio| ratio[pair].ln()).sum::<f64>();
        (logs / ratios.len() as f64).exp()
    };
    (0..pairs).map(mean).collect()
}
