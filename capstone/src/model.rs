//! Loading a model with all that serving needs of it: weights on a device, tokenizer, chat template, and a KV cache that fits.

use crate::embedded;
use attention_variants::config::ModelConfig;
use attention_variants::hf::{ChatTemplate, LoadError, Source, Tokenizer, Weights};
use attention_variants::models::{LanguageModel, load};
use attention_variants::ops::{Cpu, Isa, KvType, RowType, Vectorised};
use attention_variants::step::StepLimits;
use memory_hierarchy::Pool;
use std::path::PathBuf;
use std::sync::Arc;

/// Which model to load, and how much of the machine it may take.
#[derive(Clone, Debug, clap::Args)]
pub struct ModelArgs {
    /// A Hugging Face folder (config.json, *.safetensors, tokenizer.json) or a GGUF file. Without it, the embedded model is used.
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Longest sequence, prompt and answer together. Default: what the model was made for, as far as --kv-memory goes.
    #[arg(long, value_name = "TOKENS")]
    pub max_model_len: Option<usize>,
    /// Tokens computed in one step, over all sequences.
    #[arg(long, value_name = "TOKENS", default_value_t = 512)]
    pub max_batched_tokens: usize,
    /// Sequences that run at a time.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub max_sequences: usize,
    /// Tokens in a KV block.
    #[arg(long, value_name = "TOKENS", default_value_t = 16)]
    pub block_size: usize,
    /// Memory of the KV cache at most, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub kv_memory: usize,
    /// How the KV cache stores its numbers: f32, f16 or int8.
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub kv_cache_dtype: KvType,
    /// What weights in bf16 are multiplied with: activations in f32 or rounded to bf16. Default: bf16 if the CPU has AVX-512 BF16.
    #[arg(long, value_name = "TYPE")]
    pub activations: Option<RowType>,
    /// Worker threads. Default: one a core.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Instruction set of the CPU to compute with: portable, avx2, avx512, neon. Default: the best that there is.
    #[arg(long, value_name = "ISA")]
    pub isa: Option<String>,
}

/// A model ready to serve.
pub struct Loaded {
    /// The name it is served under.
    pub name: String,
    /// The model on its device.
    pub model: Box<dyn LanguageModel>,
    /// The threads that it computes on: whoever calls it should be their first ([`Pool::pin_caller`]).
    pub pool: Arc<Pool>,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its chat template, where it has one.
    pub chat_template: Option<ChatTemplate>,
}

/// Why a model cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The folder or file does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An option makes no sense for this model.
    #[error("{option}: {message}")]
    Option {
        /// The option, as it is typed.
        option: &'static str,
        /// What is wrong and what would do.
        message: String,
    },
}

impl ModelArgs {
    /// Where the model comes from, and its name.
    fn source(&self) -> Result<(Source, String), LoadError> {
        let Some(path) = &self.model else {
            return Ok((embedded::SOURCE, embedded::NAME.to_owned()));
        };
        let source = Source::at(path)?;
        let name = match source {
            Source::Gguf(_) => path.file_stem(),
            _ => path.file_name(),
        };
        let name = name.unwrap_or(path.as_os_str()).to_string_lossy();
        Ok((source, name.into_owned()))
    }

    /// Loads the model. `progress` is called with the bytes of all weights, and returns what is told of each part that is
    /// loaded.
    ///
    /// # Errors
    /// A folder or file that does not load, or options that do not fit the model.
    pub fn load<P>(&self, progress: impl FnOnce(u64) -> P) -> Result<Loaded, ModelError>
    where
        P: FnMut(u64) + Send + 'static,
    {
        let (source, name) = self.source()?;
        let config = source.config()?;
        let limits = self.limits(&config)?;
        let tokenizer = source.tokenizer()?;
        let chat_template = source.chat_template()?;
        let weights: Weights = source.weights()?;
        let report = progress(weights.total_bytes());
        let pool = self.pool()?;
        let isa = self.instruction_set()?;
        let rows = self.activations.unwrap_or(RowType::fastest(isa));
        let operations = Vectorised::new(isa, pool.clone()).with_rows(rows);
        let device = Cpu::new(operations).with_kv(self.kv_cache_dtype);
        let model = load(device, config, weights.on_progress(report), limits)?;
        Ok(Loaded {
            name,
            model: Box::new(model),
            pool,
            tokenizer,
            chat_template,
        })
    }

    /// As many threads as were asked for.
    fn pool(&self) -> Result<Arc<Pool>, ModelError> {
        match self.threads {
            None => Ok(Pool::global().clone()),
            Some(0) => Err(ModelError::Option {
                option: "--threads",
                message: "0 threads compute nothing; leave it out for one a core".to_owned(),
            }),
            Some(threads) => Ok(Arc::new(Pool::new(threads))),
        }
    }

    fn instruction_set(&self) -> Result<Isa, ModelError> {
        let Some(wanted) = &self.isa else {
            return Ok(Isa::detect());
        };
        let available = Isa::available();
        let found = available.iter().find(|isa| isa.name() == wanted);
        found.copied().ok_or_else(|| {
            let names: Vec<&str> = available.iter().map(Isa::name).collect();
            ModelError::Option {
                option: "--isa",
                message: format!("this CPU has {}, not {wanted}", names.join(", ")),
            }
        })
    }

    /// What the model must have room for.
    fn limits(&self, config: &ModelConfig) -> Result<StepLimits, ModelError> {
        if self.block_size == 0 {
            let message = "0 tokens hold nothing".to_owned();
            return Err(ModelError::Option {
                option: "--block-size",
                message,
            });
        }
        let affordable = (self.kv_memory << 20)
            / (config.kv_bytes_per_token(self.kv_cache_dtype) * self.block_size);
        let positions = self.positions(config, affordable)?;
        // Enough for every sequence to grow to its full length, as far as the memory goes.
        let wanted = positions.div_ceil(self.block_size) * self.max_sequences.max(1);
        Ok(StepLimits {
            tokens: self.max_batched_tokens,
            logit_rows: self.max_sequences.clamp(1, 64),
            blocks: affordable.min(wanted),
            block_size: self.block_size,
            positions,
        })
    }

    /// The longest sequence: what was asked for, or what the model was made for as far as `affordable` blocks go.
    fn positions(&self, config: &ModelConfig, affordable: usize) -> Result<usize, ModelError> {
        let fits = affordable * self.block_size;
        let positions = self.max_model_len.unwrap_or(config.max_positions.min(fits));
        let error = |option, message| Err(ModelError::Option { option, message });
        if fits == 0 {
            let message = format!("{} MiB do not hold one block; give more", self.kv_memory);
            return error("--kv-memory", message);
        }
        if positions == 0 || positions > config.max_positions {
            let message = format!(
                "{positions} is not between 1 and the model's {}",
                config.max_positions
            );
            return error("--max-model-len", message);
        }
        if positions > fits {
            let message = format!(
                "the KV cache has room for {fits} tokens; give a larger --kv-memory, or fewer tokens"
            );
            return error("--max-model-len", message);
        }
        if positions < config.max_positions && self.max_model_len.is_none() {
            let whole = config.max_positions;
            tracing::warn!(
                "the context is cut from {whole} to {positions} tokens to fit --kv-memory"
            );
        }
        Ok(positions)
    }
}
