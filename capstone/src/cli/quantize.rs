//! `fastserve quantize`: a folder with fewer bits.

use super::CliError;
use crate::embedded;
use crate::quantize::checkpoint::Checkpoint;
use crate::quantize::observe::{Observation, observe};
use crate::quantize::policy::{self, Choice};
use crate::quantize::recipe::{Method, quantise};
use crate::quantize::text::{Reader, Sequence};
use crate::quantize::units::{Unit, units};
use crate::quantize::{QuantizeError, evaluate, packed};
use attention_variants::hf::Source;
use attention_variants::ops::Vectorised;
use numerics::quant::Scheme;
use std::collections::HashMap;
use std::path::PathBuf;

/// Text that the embedded model has read: conversations and prose.
const CALIBRATION: &str = include_str!("../../model/calibration.jsonl");

/// Options of `quantize`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct QuantizeArgs {
    /// A Hugging Face folder with weights in F32, F16 or BF16. Without it, the embedded model is used.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The folder to write, in the `compressed-tensors` format.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How weights become codes.
    #[arg(long, value_enum, default_value_t = Method::Rtn)]
    method: Method,
    /// Bits of a weight: 4 or 8.
    #[arg(long, default_value_t = 4)]
    bits: u32,
    /// Weights that share a scale; the engine's own blocks are of 32.
    #[arg(long, value_name = "N", default_value_t = 32)]
    group: usize,
    /// Text like that which the model will see: a conversation or a text a line (.jsonl), or one text. The embedded model has its own.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// `mixed` gives 8 bits to the layers that need them most, and 4 to the rest.
    #[arg(long, value_enum, default_value_t = Policy::Uniform)]
    policy: Policy,
    /// Mean bits of a weight with `--policy mixed`, scales not counted.
    #[arg(long, value_name = "BITS", default_value_t = 5.0)]
    target_bits: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Policy {
    /// The same bits everywhere.
    Uniform,
    /// Bits by sensitivity.
    Mixed,
}

/// Reads, quantises and writes.
pub(super) fn run(args: &QuantizeArgs) -> Result<(), CliError> {
    let source = args.model.clone().map_or(embedded::SOURCE, Source::Dir);
    let checkpoint = Checkpoint::read(&source)?;
    let units = units(checkpoint.tensors.keys());
    if units.is_empty() {
        let why = "no layer of this model can be quantised: it needs `layers.N.self_attn.q_proj.weight` and its like, as they were before any quantisation";
        return Err(QuantizeError::Unsupported(why.to_owned()).into());
    }
    let sequences = args.sequences(&source)?;
    let observation = match args.method {
        Method::Rtn => None,
        _ => {
            let (config, weights) = (source.config()?, source.weights()?);
            Some(observe(Vectorised::default(), config, weights, &sequences)?)
        }
    };
    let chosen = args.schemes(&checkpoint, &units, &sequences, observation.as_ref())?;
    let before = checkpoint.tensor_bytes();
    let scheme = |unit: &Unit| chosen.get(&unit.name).copied();
    let model = quantise(
        checkpoint,
        &units,
        observation.as_ref(),
        args.method,
        scheme,
    )?;
    let packed = packed::pack(model)?;
    packed.write(&args.out)?;
    let mebibytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    tracing::info!(
        "{:.1} MiB of weights became {:.1} MiB in {}",
        mebibytes(before),
        mebibytes(packed.tensor_bytes()),
        args.out.display()
    );
    Ok(())
}

impl QuantizeArgs {
    /// The calibration text in tokens; nothing if nobody needs it.
    fn sequences(&self, source: &Source) -> Result<Vec<Sequence>, CliError> {
        if self.method == Method::Rtn && self.policy == Policy::Uniform {
            return Ok(Vec::new());
        }
        let (name, text) = match (&self.calibration, &self.model) {
            (Some(path), _) => {
                let text = std::fs::read_to_string(path);
                let name = path.display().to_string();
                (name.clone(), text.map_err(CliError::io(name))?)
            }
            (None, None) => ("calibration.jsonl".to_owned(), CALIBRATION.to_owned()),
            (None, Some(_)) => {
                let why = "--calibration: this method must see what flows through the model; give a file of text like that which it will see";
                return Err(CliError::Other(why.to_owned()));
            }
        };
        let (tokenizer, template) = (source.tokenizer()?, source.chat_template()?);
        let reader = Reader {
            tokenizer: &tokenizer,
            template: template.as_ref(),
        };
        let sequences = reader.lines(&name, &text)?;
        match sequences.is_empty() {
            true => Err(CliError::Other(format!("{name}: there is no text in it"))),
            false => Ok(sequences),
        }
    }

    /// The scheme of each unit, by its name.
    fn schemes(
        &self,
        checkpoint: &Checkpoint,
        units: &[Unit],
        sequences: &[Sequence],
        seen: Option<&Observation>,
    ) -> Result<HashMap<String, Scheme>, CliError> {
        let names = units.iter().map(|unit| unit.name.clone());
        if self.policy == Policy::Uniform {
            let scheme = packed::scheme(self.bits, self.group)?;
            return Ok(names.map(|name| (name, scheme)).collect());
        }
        let schemes = [
            packed::scheme(4, self.group)?,
            packed::scheme(8, self.group)?,
        ];
        // AWQ and SmoothQuant fold scales into other units, so that no unit can be changed alone.
        let method = match self.method {
            Method::Gptq => Method::Gptq,
            _ => Method::Rtn,
        };
        let variant = |scheme| quantise(checkpoint.clone(), units, seen, method, |_| Some(scheme));
        let variants = [variant(schemes[0])?, variant(schemes[1])?];
        let costs = evaluate::with_model(checkpoint, |whole| {
            policy::sensitivity(checkpoint, units, &variants, |model| {
                evaluate::with_model(model, |model| evaluate::divergence(whole, model, sequences))
            })
        })??;
        let chosen = policy::allocate(&costs, self.budget(&costs)).ok_or_else(|| {
            CliError::Other(format!(
                "--target-bits: {} is less than 4",
                self.target_bits
            ))
        })?;
        for ((unit, at), choices) in units.iter().zip(&chosen).zip(&costs) {
            let Choice { bits, rise, .. } = choices[*at];
            tracing::info!(
                "{}: {bits} bits, which alone move the predictions by {rise:.5} nats",
                unit.name
            );
        }
        Ok(names
            .zip(chosen)
            .map(|(name, at)| (name, schemes[at]))
            .collect())
    }

    /// Bytes of all units at the mean of `target_bits`: as far between those at 4 and at 8 bits as the target is.
    fn budget(&self, costs: &[Vec<Choice>]) -> usize {
        let bytes = |at: usize| {
            costs
                .iter()
                .map(|choices| choices[at].bytes as f64)
                .sum::<f64>()
        };
        let (least, most) = (bytes(0), bytes(1));
        (least + (most - least) * (self.target_bits - 4.0) / 4.0).max(0.0) as usize
    }
}
