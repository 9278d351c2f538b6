//! `fastserve classify`: which digit a picture shows.

use super::CliError;
use crate::digits::picture::{PictureError, decode, normalise};
use crate::digits::{CLASSES, Digits};
use crate::embedded;
use crate::quantize::QuantizeError;
use attention_variants::hf::Source;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Options of `classify`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ClassifyArgs {
    /// `digits`, the embedded network, or a safetensors file of the same shape.
    #[arg(long, value_name = "MODEL", default_value = "digits")]
    model: PathBuf,
    /// The picture: a PNG of one digit, dark on light or light on dark, of any size.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// How many of the likeliest digits to print.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=CLASSES as i64))]
    top: u8,
    /// Compute in fewer bits.
    #[arg(long, value_enum)]
    quantize: Option<Quantize>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Quantize {
    /// Weights and activations in integers of 8 bits.
    Int8,
}

/// Why a picture was not classified.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClassifyError {
    #[error("{file}: cannot be read: {source}; check that the path is right and readable")]
    Read {
        file: String,
        source: std::io::Error,
    },
    #[error("{file}: {source}")]
    Picture { file: String, source: PictureError },
    #[error(
        "--model: {0} (it takes `digits`, or a safetensors file of the shape in capstone/digits/cnn.py)"
    )]
    Model(#[from] QuantizeError),
}

/// Reads the picture and prints what it shows.
pub(super) fn run(args: &ClassifyArgs) -> Result<(), CliError> {
    let source = if args.model.as_os_str() == "digits" {
        embedded::DIGITS
    } else {
        Source::File(args.model.clone())
    };
    // One small picture: to start a second thread would take longer than to read it.
    let digits = match args.quantize {
        None => Digits::load(&source, 1, 1).map_err(QuantizeError::from),
        Some(Quantize::Int8) => Digits::load_int8(&source, 1),
    };
    let mut digits = digits.map_err(ClassifyError::Model)?;
    let file = args.input.display().to_string();
    let bytes = match std::fs::read(&args.input) {
        Ok(bytes) => bytes,
        Err(source) => return Err(ClassifyError::Read { file, source }.into()),
    };
    let began = Instant::now();
    let image = decode(&bytes)
        .and_then(|picture| normalise(&picture))
        .map_err(|source| ClassifyError::Picture { file, source })?;
    let read = began.elapsed();
    let probabilities = digits.probabilities(&image);
    let computed = began.elapsed() - read;
    let mut ranked: Vec<usize> = (0..CLASSES).collect();
    ranked.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
    let (first, top) = (ranked[0], &ranked[..usize::from(args.top)]);
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    if args.json {
        let top: Vec<_> = top
            .iter()
            .map(|digit| json!({"digit": digit, "probability": probabilities[*digit]}))
            .collect();
        let time = json!({"picture": ms(read), "network": ms(computed)});
        println!(
            "{}",
            json!({"digit": first, "top": top, "milliseconds": time})
        );
    } else {
        for digit in top {
            println!("{digit} {:6.2} %", 100.0 * probabilities[*digit]);
        }
        println!("picture {:.2} ms, network {:.2} ms", ms(read), ms(computed));
    }
    Ok(())
}
