//! The embedded model's questions and texts in tokens, and what a model makes of them. For the tests of quantisation and their bench.
#![allow(dead_code, reason = "each target uses its own part")]

use attention_variants::hf::Source;
use attention_variants::ops::{Arithmetic, Vectorised};
use fastserve::quantize::checkpoint::{Checkpoint, Tensor};
use fastserve::quantize::evaluate::{exact_rate, mean_loss, score, with_model_on};
use fastserve::quantize::observe::{Observation, observe};
use fastserve::quantize::text::{Reader, Sequence};
use fastserve::quantize::units::Unit;
use serde_json::Value;
use std::path::PathBuf;

/// What a model is measured on.
pub struct Lists {
    /// "What does X do?", with the answers.
    pub trained: Vec<Sequence>,
    /// The same in a phrasing that training never used.
    pub unseen: Vec<Sequence>,
    /// Two chapters of the Book that training never saw.
    pub held_out: Vec<Sequence>,
    /// What to calibrate with: in none of the above.
    pub calibration: Vec<Sequence>,
}

/// What it makes of them.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Share of the questions answered exactly, in both phrasings.
    pub exact: f64,
    /// Of the held-out chapters.
    pub perplexity: f64,
}

fn file(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("model")
        .join(name);
    std::fs::read_to_string(path).expect("the list is there")
}

impl Lists {
    /// Of the first `questions` sampled items and `windows` of the held-out chapters.
    pub fn new(source: &Source, questions: usize, windows: usize) -> Self {
        let (tokenizer, template) = (source.tokenizer().unwrap(), source.chat_template().unwrap());
        let end = source.config().unwrap().eos_token_ids[0];
        let reader = Reader {
            tokenizer: &tokenizer,
            template: template.as_ref(),
        };
        let sampled = file("results/sampled_items.jsonl");
        let lists: Value = serde_json::from_str(&file("results/held_out.json")).unwrap();
        let asked = |phrasing: &str| {
            let sequence = |line: &str| {
                let item: Value = serde_json::from_str(line).unwrap();
                let text = |field: &str| item[field].as_str().expect("text").to_owned();
                let question = phrasing.replace("{}", &format!("`{}`", text("path")));
                reader.question(&question, &text("summary"), end).unwrap()
            };
            sampled.lines().take(questions).map(sequence).collect()
        };
        let lines = |name: &str| reader.lines(name, &file(name)).unwrap();
        let mut held_out = lines("results/held_out.jsonl");
        held_out.truncate(windows);
        Self {
            trained: asked("What does {} do?"),
            unseen: asked(lists["phrasings"][0].as_str().expect("a phrasing")),
            held_out,
            calibration: lines("calibration.jsonl"),
        }
    }

    /// A model in numbers.
    pub fn measure(&self, checkpoint: &Checkpoint) -> Measured {
        self.measure_on(Vectorised::default(), checkpoint)
    }

    /// The same on other arithmetic.
    pub fn measure_on(&self, arithmetic: impl Arithmetic, checkpoint: &Checkpoint) -> Measured {
        let measured = with_model_on(arithmetic, checkpoint, |model| Measured {
            exact: {
                let mut scores = score(model, &self.trained);
                scores.extend(score(model, &self.unseen));
                exact_rate(&scores)
            },
            perplexity: mean_loss(&score(model, &self.held_out)).exp(),
        });
        measured.expect("the checkpoint loads")
    }
}

/// What flows into the layers of a model that is in memory.
pub fn observed(checkpoint: &Checkpoint, sequences: &[Sequence]) -> Observation {
    let folder = tempfile::tempdir().unwrap();
    checkpoint.write(folder.path()).unwrap();
    let source = Source::Dir(folder.path().to_owned());
    let (config, weights) = (source.config().unwrap(), source.weights().unwrap());
    observe(Vectorised::default(), config, weights, sequences).unwrap()
}

/// The same function with outliers, as large models have them: every 48th channel that a norm makes is `factor` times as loud, and what
/// reads it has weights as much smaller. A power of two changes no bit of any product.
pub fn with_outliers(checkpoint: &Checkpoint, units: &[Unit], factor: f32) -> Checkpoint {
    let mut loud = checkpoint.clone();
    let mut scale = |name: &String, width: usize, by: f32| {
        let tensor = &loud.tensors[name];
        let mut values = tensor.to_f32().expect("floats");
        for value in values
            .chunks_mut(width)
            .flat_map(|row| row.iter_mut().step_by(48))
        {
            *value *= by;
        }
        let scaled = Tensor::floats(tensor.dtype, &tensor.shape, &values);
        loud.tensors.insert(name.clone(), scaled);
    };
    for unit in units {
        let Some(feeder) = &unit.feeder else { continue };
        if let [width] = checkpoint.tensors[feeder].shape[..] {
            scale(feeder, width, factor);
            for weight in &unit.weights {
                scale(weight, width, 1.0 / factor);
            }
        }
    }
    loud
}
