//! What the server counts and times, by name: the one place where metric names stand.
//!
//! The engine thread writes to plain atomics; text is made when somebody asks for `/metrics`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the latency histograms, in seconds.
const LATENCIES: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
];
/// Upper bounds of the token histogram.
const TOKENS: [f64; 12] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0,
];

/// One label: why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// A word from a fixed list.
    pub reason: &'static str,
}

/// The labels of an HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Answer {
    /// The route's pattern, not the path that was asked for.
    pub route: String,
    /// The status code.
    pub status: u16,
}

/// Every metric of the server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Sequences that hold blocks.
    pub requests_running: Gauge,
    /// Sequences that wait for their first step, or again after preemption.
    pub requests_waiting: Gauge,
    /// Blocks that sequences hold.
    pub kv_blocks_in_use: Gauge,
    /// Blocks of the cache.
    pub kv_blocks_total: Gauge,
    /// Free blocks whose content can be reused.
    pub kv_blocks_cached: Gauge,
    /// Prompt tokens taken in.
    pub prompt_tokens: Counter,
    /// Prompt tokens that were found in the cache.
    pub cached_tokens: Counter,
    /// Tokens generated.
    pub generated_tokens: Counter,
    /// Steps of the engine.
    pub steps: Counter,
    /// Tokens computed in a step.
    pub step_tokens: Histogram,
    /// Duration of a step.
    pub step_seconds: Histogram,
    /// Sequences preempted.
    pub preemptions: Counter,
    /// From submission to the first step.
    pub queue_seconds: Histogram,
    /// From submission to the first token.
    pub time_to_first_token_seconds: Histogram,
    /// Between two tokens of a choice.
    pub inter_token_seconds: Histogram,
    /// From submission to the end of a choice.
    pub request_seconds: Histogram,
    /// Choices that ended, by reason: `stop`, `length`, `cancelled`, `failed`.
    pub requests_finished: Family<Reason, Counter>,
    /// Requests that were not taken, by reason: `queue_full`, `draining`.
    pub requests_rejected: Family<Reason, Counter>,
    /// HTTP answers.
    pub http_requests: Family<Answer, Counter>,
}

/// Registers a metric and hands it back.
macro_rules! register {
    ($registry:ident, $metric:expr, $name:literal, $help:literal) => {{
        let metric = $metric;
        $registry.register($name, $help, metric.clone());
        metric
    }};
    ($registry:ident, $metric:expr, $name:literal, $help:literal, $unit:expr) => {{
        let metric = $metric;
        $registry.register_with_unit($name, $help, $unit, metric.clone());
        metric
    }};
}

impl Default for Metrics {
    fn default() -> Self {
        let mut r = Registry::with_prefix("fastserve");
        let latency = || Histogram::new(LATENCIES);
        Self {
            requests_running: register!(
                r,
                Gauge::default(),
                "requests_running",
                "Sequences that hold KV blocks"
            ),
            requests_waiting: register!(
                r,
                Gauge::default(),
                "requests_waiting",
                "Sequences that wait to run"
            ),
            kv_blocks_in_use: register!(
                r,
                Gauge::default(),
                "kv_blocks_in_use",
                "KV blocks held by sequences"
            ),
            kv_blocks_total: register!(
                r,
                Gauge::default(),
                "kv_blocks_total",
                "KV blocks of the cache"
            ),
            kv_blocks_cached: register!(
                r,
                Gauge::default(),
                "kv_blocks_cached",
                "Free KV blocks that can be reused"
            ),
            prompt_tokens: register!(
                r,
                Counter::default(),
                "prompt_tokens",
                "Prompt tokens taken in"
            ),
            cached_tokens: register!(
                r,
                Counter::default(),
                "cached_tokens",
                "Prompt tokens found in the cache"
            ),
            generated_tokens: register!(
                r,
                Counter::default(),
                "generated_tokens",
                "Tokens generated"
            ),
            steps: register!(r, Counter::default(), "steps", "Steps of the engine"),
            step_tokens: register!(
                r,
                Histogram::new(TOKENS),
                "step_tokens",
                "Tokens computed in a step"
            ),
            step_seconds: register!(r, latency(), "step", "Duration of a step", Unit::Seconds),
            preemptions: register!(r, Counter::default(), "preemptions", "Sequences preempted"),
            queue_seconds: register!(
                r,
                latency(),
                "queue",
                "From submission to the first step",
                Unit::Seconds
            ),
            time_to_first_token_seconds: register!(
                r,
                latency(),
                "time_to_first_token",
                "From submission to the first token",
                Unit::Seconds
            ),
            inter_token_seconds: register!(
                r,
                latency(),
                "inter_token",
                "Between two tokens",
                Unit::Seconds
            ),
            request_seconds: register!(
                r,
                latency(),
                "request",
                "From submission to the end",
                Unit::Seconds
            ),
            requests_finished: register!(
                r,
                Family::default(),
                "requests_finished",
                "Choices that ended, by reason"
            ),
            requests_rejected: register!(
                r,
                Family::default(),
                "requests_rejected",
                "Requests not taken, by reason"
            ),
            http_requests: register!(
                r,
                Family::default(),
                "http_requests",
                "HTTP answers, by route and status"
            ),
            registry: r,
        }
    }
}

impl Metrics {
    /// Counts a choice that ended.
    pub fn finished(&self, reason: &'static str) {
        self.requests_finished
            .get_or_create(&Reason { reason })
            .inc();
    }

    /// Counts a request that was not taken.
    pub fn rejected(&self, reason: &'static str) {
        self.requests_rejected
            .get_or_create(&Reason { reason })
            .inc();
    }

    /// The metrics as OpenMetrics text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a string does not fail");
        text
    }
}
