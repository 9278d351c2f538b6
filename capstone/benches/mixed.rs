//! Mixed widths on the embedded model against one width of the same size, all by GPTQ: what each unit's codes do to the predictions, which
//! codes a policy chooses, and whether the result is better by more than chance.
//!
//! Sensitivity is measured on calibration text, answers and prose; models are compared on questions and chapters that are not in it.

#[path = "../tests/support/measured.rs"]
mod measured;
#[path = "../tests/support/paired.rs"]
mod paired;

use benches::Bench;
use fastserve::embedded::SOURCE;
use fastserve::quantize::checkpoint::Checkpoint;
use fastserve::quantize::evaluate::{Score, divergence, mean_loss, score, with_model};
use fastserve::quantize::policy::{Choice, allocate, mixed, sensitivity};
use fastserve::quantize::recipe::{Method, QuantisedModel, quantise};
use fastserve::quantize::text::Sequence;
use fastserve::quantize::units::{Unit, units};
use measured::{Lists, observed};
use numerics::quant::{Mapping, Scheme};
use paired::interval;

/// Sampled items, each asked in two phrasings; all there are.
const QUESTIONS: usize = 1000;
/// All windows of the held-out chapters.
const WINDOWS: usize = usize::MAX;
/// Calibration conversations, of 192, and texts, of 12, that sensitivity is measured on.
const CONVERSATIONS: usize = 64;
const TEXTS: usize = 6;
/// What a policy chooses from, in order of size: bits, and weights that share a scale.
const VARIANTS: [(u32, usize); 7] = [
    (2, 128),
    (2, 64),
    (2, 32),
    (3, 128),
    (3, 64),
    (3, 32),
    (4, 32),
];
/// Widths that are looked at unit by unit, and not chosen from.
const WIDE: [u32; 2] = [8, 16];
/// The uniform models that a mixed one of their size is compared with.
const COMPARED: [usize; 2] = [2, 5];

fn main() {
    // `cargo test --benches` asks only whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut bench = Bench::new(
        "capstone --bench mixed",
        "02-mixed-widths",
        "The embedded model with several widths and with one of the same size, by GPTQ; embedding and norms in bf16",
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
    let variant = |(bits, group): (u32, usize)| {
        let scheme = int(bits).blocks(group);
        let model = quantise(
            checkpoint.clone(),
            &units,
            Some(&seen),
            Method::Gptq,
            |_| Some(scheme),
        );
        model.expect("finite weights")
    };
    let variants = VARIANTS.map(variant);
    let probes = {
        let (lines, texts) = (&lists.calibration, lists.calibration.len() - TEXTS);
        [&lines[..CONVERSATIONS], &lines[texts..]].concat()
    };
    let wide = WIDE.map(|bits| variant((bits, 32)));
    let of_wide = costs(&checkpoint, &units, &wide, &probes);
    let costs = costs(&checkpoint, &units, &variants, &probes);
    for ((unit, choices), wide) in units.iter().zip(&costs).zip(&of_wide) {
        for choice in [2, 5, 6].map(|at| &choices[at]).into_iter().chain(wide) {
            let series = format!("divergence-int{}/{}", choice.bits, short(unit));
            bench.count(&series, "nats", choice.rise);
        }
    }
    let at_3 = costs.iter().map(|choices| choices[5]);
    let spread = spread(at_3.map(|choice| (choice.rise, choice.bytes as f64)));
    println!("sensitivities spread by {spread:.2}");
    bench.count("spread", "x", spread);
    for (at, uniform) in variants.iter().enumerate() {
        let sum: f64 = costs.iter().map(|choices| choices[at].rise).sum();
        let all = with_model(&checkpoint, |whole| {
            with_model(&uniform.dequantised(), |model| {
                divergence(whole, model, &probes)
            })
        });
        let all = all.expect("the model loads").expect("the models load");
        let (bits, group) = VARIANTS[at];
        println!("{bits} bits in groups of {group}: {sum:.4} in sum, {all:.4} together");
        bench.count(&format!("divergence-sum/int{bits}-{group}"), "nats", sum);
        bench.count(&format!("divergence-whole/int{bits}-{group}"), "nats", all);
    }
    for at in COMPARED {
        let uniform = &variants[at];
        let budget = costs.iter().map(|choices| choices[at].bytes).sum();
        let chosen = allocate(&costs, budget).expect("some choices are smaller");
        let (bits, group) = VARIANTS[at];
        let size = format!("int{bits}-{group}");
        for (unit, &choice) in units.iter().zip(&chosen) {
            let (bits, group) = VARIANTS[choice];
            println!("{size}: {} has {bits} bits in groups of {group}", unit.name);
            let series = format!("mixed-bits-{size}/{}", short(unit));
            bench.count(&series, "bits", f64::from(bits) + 16.0 / group as f64);
        }
        let at = |unit: &Unit| units.iter().position(|it| it == unit).expect("a unit");
        let several = mixed(&checkpoint, &units, |unit| &variants[chosen[at(unit)]]);
        assert!(several.bytes() <= uniform.bytes());
        compare(&mut bench, &lists, &size, [&several, uniform]);
    }
    bench.finish();
}

/// Integers that use all their codes where there are few.
fn int(bits: u32) -> Scheme {
    let mapping = if bits < 8 {
        Mapping::Furthest
    } else {
        Mapping::Symmetric
    };
    Scheme::int(bits).mapped(mapping).with_f16_scales()
}

fn short(unit: &Unit) -> &str {
    unit.name.trim_start_matches("model.layers.")
}

/// What each unit's codes of each variant do to the predictions on some text.
fn costs(
    checkpoint: &Checkpoint,
    units: &[Unit],
    variants: &[QuantisedModel],
    probes: &[Sequence],
) -> Vec<Vec<Choice>> {
    let costs = with_model(checkpoint, |whole| {
        sensitivity(checkpoint, units, variants, |model| {
            with_model(model, |model| divergence(whole, model, probes))
        })
    });
    costs.expect("the model loads").expect("the models load")
}

/// The arithmetic over the geometric mean of the sensitivity of a weight, of units' sensitivities and sizes. A bit more divides a
/// divergence by about four, so that the best widths, if they were no whole numbers, would divide the sum by this: what mixing can
/// gain, and 1 if all weights are alike.
fn spread(units: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut all, mut logarithms, mut size) = (0.0, 0.0, 0.0);
    for (rise, bytes) in units {
        all += rise;
        logarithms += bytes * (rise / bytes).ln();
        size += bytes;
    }
    all / size / (logarithms / size).exp()
}

/// What a model makes of the lists.
struct Judged {
    /// All questions in one phrasing, then in the other.
    answers: Vec<bool>,
    /// The held-out windows.
    windows: Vec<Score>,
    /// How far its predictions of each window are from those of the model that it was made of.
    divergences: Vec<f64>,
}

impl Judged {
    fn of(model: &QuantisedModel, lists: &Lists) -> Self {
        let judged = with_model(&model.checkpoint, |whole| {
            with_model(&model.dequantised(), |model| {
                let mut answers = score(model, &lists.trained);
                answers.extend(score(model, &lists.unseen));
                let apart = |window| divergence(whole, model, std::slice::from_ref(window));
                Self {
                    answers: answers.iter().map(|answer| answer.exact).collect(),
                    divergences: lists.held_out.iter().map(apart).collect(),
                    windows: score(model, &lists.held_out),
                }
            })
        });
        judged.expect("the model loads").expect("the model loads")
    }

    /// Exact answers of each item, of two: its phrasings stand or fall together, so an item is drawn with both.
    fn items(&self) -> Vec<f64> {
        let (first, second) = self.answers.split_at(self.answers.len() / 2);
        let pairs = first.iter().zip(second);
        pairs
            .map(|(a, b)| f64::from(u8::from(*a) + u8::from(*b)))
            .collect()
    }
}

/// Several widths and one, on the same questions and windows.
fn compare(bench: &mut Bench, lists: &Lists, size: &str, models: [&QuantisedModel; 2]) {
    let [mixed, uniform] = models.map(|model| Judged::of(model, lists));
    let mut count = |name: &str, unit: &str, value: f64| {
        println!("{name}: {value:.4} {unit}");
        bench.count(name, unit, value);
    };
    for ((name, model), judged) in ["mixed", "uniform"]
        .iter()
        .zip(models)
        .zip([&mixed, &uniform])
    {
        let exact = 50.0 * mean(&judged.items());
        count(&format!("exact-rate/{name}-{size}"), "%", exact);
        let perplexity = mean_loss(&judged.windows).exp();
        count(&format!("perplexity/{name}-{size}"), "", perplexity);
        let apart = mean(&judged.divergences);
        count(&format!("divergence-held-out/{name}-{size}"), "nats", apart);
        let bytes = model.bytes() as f64 / 1e6;
        count(&format!("bytes/{name}-{size}"), "MB", bytes);
    }
    let only = |a: &Judged, b: &Judged| {
        let pairs = a.answers.iter().zip(&b.answers);
        pairs.filter(|(a, b)| **a && !**b).count() as f64
    };
    count(
        &format!("only-mixed/{size}"),
        "answers",
        only(&mixed, &uniform),
    );
    count(
        &format!("only-uniform/{size}"),
        "answers",
        only(&uniform, &mixed),
    );
    let differences = |of: &dyn Fn(&Judged) -> Vec<f64>| -> Vec<f64> {
        let pairs = of(&mixed).into_iter().zip(of(&uniform));
        pairs.map(|(mixed, uniform)| mixed - uniform).collect()
    };
    // A record holds no negative number: 0 says that the gain may be none.
    let gain = interval(&differences(&Judged::items)).map(|gain| (50.0 * gain).max(0.0));
    let loss = interval(&differences(&|it| {
        it.windows
            .iter()
            .map(|it| it.loss / it.tokens as f64)
            .collect()
    }))
    .map(f64::exp);
    let apart = interval(&differences(&|it| {
        it.divergences.iter().map(|it| it.ln()).collect()
    }));
    for (name, unit, [low, high]) in [
        ("exact-gain", "points", gain),
        ("perplexity-ratio", "x", loss),
        ("divergence-ratio", "x", apart.map(f64::exp)),
    ] {
        count(&format!("{name}-low/{size}"), unit, low);
        count(&format!("{name}-high/{size}"), unit, high);
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
