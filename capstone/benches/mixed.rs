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
use fastserve::quantize::evaluate::{Score, divergence, exact_rate, mean_loss, score, with_model};
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
const CONVERSATIONS: usize = 32;
const TEXTS: usize = 4;
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
        &["capstone/src/quantize", "stages/02-numerics/src"],
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

/// What a model makes of all questions, and of the held-out windows.
fn judged(lists: &Lists, model: &QuantisedModel) -> [Vec<Score>; 2] {
    let judged = with_model(&model.dequantised(), |model| {
        let mut answers = score(model, &lists.trained);
        answers.extend(score(model, &lists.unseen));
        [answers, score(model, &lists.held_out)]
    });
    judged.expect("the model loads")
}

/// Several widths and one, on the same questions and windows.
fn compare(bench: &mut Bench, lists: &Lists, size: &str, models: [&QuantisedModel; 2]) {
    let scores = models.map(|model| judged(lists, model));
    for ((name, model), [answers, windows]) in ["mixed", "uniform"].iter().zip(models).zip(&scores)
    {
        let (exact, perplexity) = (100.0 * exact_rate(answers), mean_loss(windows).exp());
        println!("{size}, {name}: {exact:.2} % exact, perplexity {perplexity:.3}");
        bench.count(&format!("exact-rate/{name}-{size}"), "%", exact);
        bench.count(&format!("perplexity/{name}-{size}"), "", perplexity);
        let bytes = model.bytes() as f64 / 1e6;
        bench.count(&format!("bytes/{name}-{size}"), "MB", bytes);
    }
    let [[several, several_windows], [one, one_windows]] = &scores;
    let only = |a: &[Score], b: &[Score]| {
        let pairs = a.iter().zip(b);
        pairs.filter(|(a, b)| a.exact && !b.exact).count() as f64
    };
    bench.count(&format!("only-mixed/{size}"), "answers", only(several, one));
    bench.count(
        &format!("only-uniform/{size}"),
        "answers",
        only(one, several),
    );
    // An item's two phrasings stand or fall together, so an item is drawn with both.
    let right = |scores: &[Score], item: usize| {
        let phrasings = [item, item + lists.trained.len()];
        phrasings
            .map(|at| f64::from(u8::from(scores[at].exact)))
            .iter()
            .sum::<f64>()
            / 2.0
    };
    let items = 0..lists.trained.len();
    let gains: Vec<f64> = items
        .map(|item| right(several, item) - right(one, item))
        .collect();
    let [low, high] = interval(&gains).map(|gain| 100.0 * gain);
    println!("{size}: {low:.2} to {high:.2} points more exact answers");
    // A record holds no negative number: 0 says that the gain may be none.
    bench.count(&format!("exact-gain-low/{size}"), "points", low.max(0.0));
    bench.count(&format!("exact-gain-high/{size}"), "points", high.max(0.0));
    let windows = several_windows.iter().zip(one_windows);
    let ratios: Vec<f64> = windows
        .map(|(several, one)| several.loss / several.tokens as f64 - one.loss / one.tokens as f64)
        .collect();
    let [low, high] = interval(&ratios).map(f64::exp);
    println!("{size}: perplexity times {low:.4} to {high:.4}");
    bench.count(&format!("perplexity-ratio-low/{size}"), "x", low);
    bench.count(&format!("perplexity-ratio-high/{size}"), "x", high);
}
