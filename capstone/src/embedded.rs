//! The model that is part of the binary: fastserve answers with no download and no `--model`.
//!
//! How it was trained is in `capstone/model/README.md`.

use attention_variants::hf::Source;

macro_rules! model_file {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!("../model/main/", $name)) as &[u8],
        )
    };
}

/// The name under which the embedded model is served.
pub const NAME: &str = "rustdoc-11m";

/// The embedded model's Hugging Face folder.
pub const SOURCE: Source = Source::Embedded(&[
    model_file!("config.json"),
    model_file!("generation_config.json"),
    model_file!("model.safetensors"),
    model_file!("tokenizer.json"),
    model_file!("tokenizer_config.json"),
]);

/// The digits CNN. How it was trained is in `capstone/digits/README.md`.
pub const DIGITS: Source = Source::Embedded(&[(
    "model.safetensors",
    include_bytes!("../digits/model.safetensors"),
)]);
