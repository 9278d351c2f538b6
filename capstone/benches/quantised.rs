//! The embedded model in fewer bits: exact answers, perplexity and bytes by format and method, the sensitivity of each layer, and
//! mixed widths against uniform ones of the same size.
//!
//! Weights are rounded and widened again, so that formats without a kernel can be measured; a format's numbers are the same in both.

#[path = "../tests/support/measured.rs"]
mod measured;

use attention_variants::ops::Vectorised;
use benches::Bench;
use fastserve::embedded::SOURCE;
use fastserve::quantize::checkpoint::Checkpoint;
use fastserve::quantize::evaluate::{mean_loss, score, with_model};
use fastserve::quantize::observe::{Observation, observe};
use fastserve::quantize::policy::{allocate, sensitivity};
use fastserve::quantize::recipe::{Method, QuantisedModel, quantise};
use fastserve::quantize::units::{Unit, units};
use measured::Lists;
use numerics::quant::{Mapping, Scheme};

/// Questions in each of two phrasings, and windows of held-out text.
const QUESTIONS: usize = 250;
const WINDOWS: usize = 12;
/// Calibration conversations that sensitivity is measured on.
const PROBES: usize = 64;

fn main() {
    // `cargo test --benches` asks only whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut bench = Bench::new(
        "capstone --bench quantised",
        "02-embedded-model",
        "The embedded model by the bits of its linear layers: scales for groups of 32 in f16, embedding and norms in bf16",
        &["capstone/src/quantize", "stages/02-numerics/src"],
    );
    let lists = Lists::new(&SOURCE, QUESTIONS, WINDOWS);
    let checkpoint = Checkpoint::read(&SOURCE).expect("the embedded model is there");
    let units = units(checkpoint.tensors.keys());
    let seen = {
        let (config, weights) = (SOURCE.config().unwrap(), SOURCE.weights().unwrap());
        observe(Vectorised::default(), config, weights, &lists.calibration).unwrap()
    };
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
    table.mixed(&mut bench);
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
        let measured = self.lists.measure(model);
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

    /// Widths by sensitivity, in the bytes of 3 bits everywhere.
    fn mixed(&self, bench: &mut Bench) {
        let probes = &self.lists.calibration[..PROBES];
        let widths = [2, 3, 4].map(int);
        let loss = |model: &Checkpoint| with_model(model, |model| mean_loss(&score(model, probes)));
        let costs = |widths: &[Scheme], others| {
            let costs = sensitivity(&self.checkpoint, &self.units, widths, others, loss);
            costs.expect("the models load")
        };
        let alone = costs(&[int(2), int(4)], None);
        for (unit, choices) in self.units.iter().zip(&alone) {
            let name = unit.name.trim_start_matches("model.layers.");
            for choice in choices {
                // A record holds no negative number, and a rise below zero is noise.
                bench.count(
                    &format!("loss-rise-int{}/{name}", choice.bits),
                    "nats",
                    choice.rise.max(0.0),
                );
            }
        }
        let costs = costs(&widths, Some(int(3)));
        let budget = costs.iter().map(|choices| choices[1].bytes).sum();
        let chosen = allocate(&costs, budget).expect("2 bits are less than 3");
        for ((unit, choices), &at) in self.units.iter().zip(&costs).zip(&chosen) {
            let name = unit.name.trim_start_matches("model.layers.");
            bench.count(
                &format!("mixed-bits/{name}"),
                "bits",
                f64::from(choices[at].bits),
            );
        }
        for (method, name) in [(Method::Rtn, "mixed3-rtn"), (Method::Gptq, "mixed3-gptq")] {
            let model = self.quantised(method, |unit| {
                let at = self.units.iter().position(|it| it == unit)?;
                Some(widths[chosen[at]])
            });
            self.row(bench, name, &model.dequantised(), model.bytes());
        }
    }
}
