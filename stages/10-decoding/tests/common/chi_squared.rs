//! Pearson's chi-squared test, set so that it raises a false alarm once in ten million runs.

/// The standard normal quantile of 1 - 1e-7.
const NORMAL_QUANTILE: f64 = 5.199_337_582;
/// Cells that expect fewer are pooled. The usual 5 is for false alarms of a few per cent: so far out in the tail a count that
/// expects 5 is nothing like normal (a Poisson count reaches the critical value about once in 200,000 runs).
const LEAST_EXPECTED: f64 = 50.0;

/// Whether `counts` may come from `probabilities`; if not, why. A count where the probability is 0 never may.
pub fn fit(counts: &[u64], probabilities: &[f64]) -> Result<(), String> {
    assert_eq!(counts.len(), probabilities.len());
    let sum: f64 = probabilities.iter().sum();
    assert!((sum - 1.0).abs() < 1e-9, "probabilities add up to {sum}");
    let draws = counts.iter().sum::<u64>() as f64;
    for (cell, (count, p)) in counts.iter().zip(probabilities).enumerate() {
        if *p == 0.0 && *count > 0 {
            return Err(format!("{cell} came {count} times and never should"));
        }
    }
    let cells = pool(counts, probabilities, draws);
    let statistic: f64 = cells
        .iter()
        .map(|(count, expected)| (count - expected).powi(2) / expected)
        .sum();
    let limit = critical(cells.len() - 1);
    if statistic <= limit {
        return Ok(());
    }
    Err(format!(
        "chi-squared is {statistic:.1} over {} cells; up to {limit:.1} is chance",
        cells.len()
    ))
}

/// `(count, expected)` of each cell, small ones put together until they are large enough.
fn pool(counts: &[u64], probabilities: &[f64], draws: f64) -> Vec<(f64, f64)> {
    let mut single: Vec<(f64, f64)> = counts
        .iter()
        .zip(probabilities)
        .map(|(count, p)| (*count as f64, p * draws))
        .collect();
    single.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut pooled = Vec::new();
    let mut open = (0.0, 0.0);
    for (count, expected) in single {
        open = (open.0 + count, open.1 + expected);
        if open.1 >= LEAST_EXPECTED {
            pooled.push(std::mem::take(&mut open));
        }
    }
    // Rising order: the last cell is the largest, so nothing but rounding can be left open.
    pooled
}

/// The value that chi-squared exceeds once in ten million times, by the approximation of Wilson and Hilferty (1931). So far in
/// the tail it is too large for few degrees of freedom (33.7 for 28.4 at one), which makes false alarms rarer still.
fn critical(degrees: usize) -> f64 {
    if degrees == 0 {
        return f64::INFINITY;
    }
    let degrees = degrees as f64;
    let spread = 2.0 / (9.0 * degrees);
    degrees * (1.0 - spread + NORMAL_QUANTILE * spread.sqrt()).powi(3)
}
