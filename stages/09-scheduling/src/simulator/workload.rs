//! Requests with random lengths that arrive at random times, the same for the same seed.

/// One request, without its text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// Seconds from the start.
    pub arrival: f64,
    /// Prompt tokens, at least one.
    pub prompt: usize,
    /// Tokens generated, at least one.
    pub output: usize,
}

/// A Poisson process of requests whose lengths are log-uniform, as mixed traffic roughly is: many short, some long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workload {
    /// Number of requests.
    pub requests: usize,
    /// Mean arrivals a second.
    pub rate: f64,
    /// Shortest and longest prompt, in tokens.
    pub prompt: (usize, usize),
    /// Shortest and longest answer, in tokens.
    pub output: (usize, usize),
}

impl Workload {
    /// The requests in the order of arrival.
    pub fn generate(&self, seed: u64) -> Vec<Request> {
        let mut state = seed;
        let mut clock = 0.0;
        let request = |_| {
            clock -= uniform(&mut state).ln() / self.rate;
            let prompt = log_uniform(&mut state, self.prompt);
            Request {
                arrival: clock,
                prompt,
                output: log_uniform(&mut state, self.output),
            }
        };
        (0..self.requests).map(request).collect()
    }
}

fn log_uniform(state: &mut u64, (low, high): (usize, usize)) -> usize {
    let (low, high) = (low as f64, high as f64);
    (low * (high / low).powf(uniform(state))).round() as usize
}

/// A number in (0, 1) from SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}
