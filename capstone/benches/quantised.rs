//! The embedded model in fewer bits: exact answers, perplexity and bytes by format and method, activations of eight bits with and
//! without SmoothQuant, and the time of a step in the formats that have kernels.
//!
//! Weights and activations are rounded and widened again, so that formats without a kernel can be measured; a format's numbers are the
//! same in both.

#[path = "../tests/support/measured.rs"]
mod measured;

use attention_variants::ops::Vectorised;
use benches::Bench;
use fastserve::embedded::SOURCE;
use fastserve::quantize::activations::{Scales, outlier_ratio, rounded};
use fastserve::quantize::checkpoint::Checkpoint;
use fastserve::quantize::observe::Observation;
use fastserve::quantize::recipe::{Method, QuantisedModel, quantise};
use fastserve::quantize::units::{Unit, units};
use measured::{Lists, Measured, observed, with_outliers};
use numerics::quant::{Mapping, Scheme};

/// Questions in each of two phrasings, and windows of held-out text.
const QUESTIONS: usize = 500;
const WINDOWS: usize = 12;
/// How much louder the channels are that are made outliers.
const OUTLIERS: f32 = 64.0;

fn main() {
    // `cargo test --benches` asks only whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut bench = Bench::new(
        "capstone --bench quantised",
        "02-embedded-model",
        "The embedded model by the bits of its linear layers: scales for groups of 32 in f16, embedding and norms in bf16",
        &[
            "capstone/src/quantize",
            "stages/02-numerics/src/algorithms",
            "stages/02-numerics/src/float",
            "stages/02-numerics/src/quant",
        ],
    );
    let lists = Lists::new(&SOURCE, QUESTIONS, WINDOWS);
    let checkpoint = Checkpoint::read(&SOURCE).expect("the embedded model is there");
    let units = units(checkpoint.tensors.keys());
    let seen = observed(&checkpoint, &lists.calibration);
    let table = Table {
        lists,
        checkpoint,
        units,
        seen,
    };
    table.row(
        &mut bench,
        "bf16",
        &table.checkpoint,
        table.checkpoint.tensor_bytes(),
    );
    table.method(
        &mut bench,
        "fp8-rtn",
        Method::Rtn,
        Scheme::e4m3().with_f16_scales(),
    );
    table.method(&mut bench, "int8-rtn", Method::Rtn, int(8));
    for bits in [4, 3, 2] {
        for (method, name) in [
            (Method::Rtn, "rtn"),
            (Method::Awq, "awq"),
            (Method::Gptq, "gptq"),
        ] {
            table.method(&mut bench, &format!("int{bits}-{name}"), method, int(bits));
        }
    }
    table.method(
        &mut bench,
        "int4-group128-gptq",
        Method::Gptq,
        int(4).blocks(128),
    );
    table.activations(&mut bench);
    bench.finish();
}

/// Integers in groups of 32: all codes are used where there are few.
fn int(bits: u32) -> Scheme {
    let mapping = if bits < 8 {
        Mapping::Furthest
    } else {
        Mapping::Symmetric
    };
    Scheme::int(bits)
        .mapped(mapping)
        .blocks(32)
        .with_f16_scales()
}

struct Table {
    lists: Lists,
    checkpoint: Checkpoint,
    units: Vec<Unit>,
    seen: Observation,
}

impl Table {
    fn row(&self, bench: &mut Bench, name: &str, model: &Checkpoint, bytes: usize) {
        self.report(bench, name, self.lists.measure(model), bytes);
    }

    fn report(&self, bench: &mut Bench, name: &str, measured: Measured, bytes: usize) {
        println!("{name}: {measured:.4?}, {bytes} bytes");
        bench.count(&format!("exact-rate/{name}"), "%", 100.0 * measured.exact);
        bench.count(&format!("perplexity/{name}"), "", measured.perplexity);
        bench.count(&format!("bytes/{name}"), "MB", bytes as f64 / 1e6);
    }

    fn method(&self, bench: &mut Bench, name: &str, method: Method, scheme: Scheme) {
        let model = self.quantised(method, |_| Some(scheme));
        self.row(bench, name, &model.dequantised(), model.bytes());
    }

    fn quantised(
        &self,
        method: Method,
        scheme: impl Fn(&Unit) -> Option<Scheme> + Sync,
    ) -> QuantisedModel {
        quantise(
            self.checkpoint.clone(),
            &self.units,
            Some(&self.seen),
            method,
            scheme,
        )
        .expect("finite weights")
    }

    /// W8A8: weights in int8 with a scale for each output, activations in int8 with scales by block, by token or static, with and without
    /// SmoothQuant; for the model as it is, and for the same function with outliers.
    fn activations(&self, bench: &mut Bench) {
        let loud = with_outliers(&self.checkpoint, &self.units, OUTLIERS);
        for (model, prefix) in [(&self.checkpoint, ""), (&loud, "outliers-")] {
            let seen = observed(model, &self.lists.calibration);
            for (method, suffix) in [(Method::Rtn, ""), (Method::Smoothquant, "-smooth")] {
                let scheme = |_: &Unit| Some(Scheme::int(8));
                let codes = quantise(model.clone(), &self.units, Some(&seen), method, scheme);
                let codes = codes.expect("finite weights");
                let (model, bytes) = (codes.dequantised(), codes.bytes());
                let seen = observed(&model, &self.lists.calibration);
                self.loudest(bench, &format!("{prefix}model{suffix}"), &model, &seen);
                for (name, activations, scales) in [
                    ("block", Scheme::int(8).blocks(32), Scales::Dynamic),
                    ("token", Scheme::int(8), Scales::Dynamic),
                    ("static", Scheme::int(8).per_tensor(), Scales::Static),
                ] {
                    let arithmetic = Vectorised::default();
                    let arithmetic = rounded(arithmetic, seen.clone(), activations, scales);
                    let measured = self.lists.measure_on(arithmetic, &model);
                    let name = format!("{prefix}w8a8-{name}{suffix}");
                    self.report(bench, &name, measured, bytes);
                }
            }
        }
    }

    /// The outlier ratio of the unit whose inputs have the largest.
    fn loudest(&self, bench: &mut Bench, name: &str, model: &Checkpoint, seen: &Observation) {
        let ratio = |unit: &Unit| {
            let (weight, [_, cols]) = model.matrix(&unit.weights[0]).expect("a weight");
            outlier_ratio(seen.inputs(&weight, cols).expect("every unit runs"))
        };
        let ratios: Vec<f32> = self.units.iter().map(ratio).collect();
        println!("{name}: outlier ratios {ratios:?}");
        let most = ratios.into_iter().fold(0.0, f32::max);
        bench.count(&format!("outlier-ratio/{name}"), "x", f64::from(most));
    }
}
