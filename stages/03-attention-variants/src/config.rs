//! What a model is: the hyperparameters that the definitions in [`crate::models`] are built from.
//!
//! Every family's `config.json` is read into this one description, so model code never asks which family it serves where a
//! number or a flag says it. Reading is in [`crate::hf`]; the rule there is that a field which is missing, unknown or
//! contradictory is an error that names it, never a silent default.

/// The model families whose Hugging Face folders load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// GPT-2: learned positions, LayerNorm, biases everywhere.
    Gpt2,
    /// Llama 2 and 3.
    Llama,
    /// Mistral 7B and its successors.
    Mistral,
    /// Mixtral: Mistral with softmax-routed experts.
    Mixtral,
    /// Qwen2 and Qwen2.5: Llama with biases on q, k and v.
    Qwen2,
    /// Qwen3: RMSNorm on each query and key head.
    Qwen3,
    /// Qwen3 with softmax-routed experts.
    Qwen3Moe,
    /// DeepSeek-V2: multi-head latent attention, softmax-routed experts.
    DeepseekV2,
    /// DeepSeek-V3: multi-head latent attention, sigmoid-routed experts.
    DeepseekV3,
}

/// Hyperparameters of a decoder-only transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The family, for tensor names.
    pub family: Family,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Longest sequence the model was made for, in tokens.
    pub max_positions: usize,
    /// Whether the output projection is the embedding table.
    pub tied_embeddings: bool,
    /// Epsilon of every norm of the residual stream.
    pub norm_eps: f32,
    /// Activation of the feed-forward blocks.
    pub activation: Activation,
    /// Attention, the same shape in every layer.
    pub attention: Attention,
    /// Rotary embedding; `None` where positions are learned (GPT-2).
    pub rope: Option<Rope>,
    /// What differs from layer to layer; its length is the depth.
    pub layers: Vec<Layer>,
    /// Tokens that end a generation.
    pub eos_token_ids: Vec<u32>,
}

/// One layer's own choices.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Keys further back than this many positions (the query's own included) are not seen; `None` sees all.
    pub sliding_window: Option<usize>,
    /// The feed-forward block.
    pub mlp: Mlp,
}

/// Attention shapes.
#[derive(Clone, Debug, PartialEq)]
pub enum Attention {
    /// Multi-head, multi-query and grouped-query attention.
    Grouped(Grouped),
    /// Multi-head latent attention.
    Latent(Latent),
}

impl Attention {
    /// Width of the part of a head that RoPE turns.
    pub fn rotated_width(&self) -> usize {
        match self {
            Attention::Grouped(shape) => shape.head_dim,
            Attention::Latent(shape) => shape.rope_dim,
        }
    }
}

/// Grouped-query attention (Ainslie et al., 2023); `kv_heads == heads` is MHA, `1` is MQA.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouped {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head; not always `hidden_size / heads`.
    pub head_dim: usize,
    /// Biases on the q, k and v projections.
    pub qkv_bias: bool,
    /// Bias on the output projection.
    pub out_bias: bool,
    /// RMSNorm of each query and key head before RoPE (Qwen3).
    pub qk_norm: bool,
}

/// Multi-head latent attention (DeepSeek-V2, 2024): keys and values are projections of one latent vector per token.
#[derive(Clone, Debug, PartialEq)]
pub struct Latent {
    /// Heads.
    pub heads: usize,
    /// Rank of the query's own compression; `None` projects queries directly.
    pub q_lora_rank: Option<usize>,
    /// Width of the cached latent.
    pub kv_lora_rank: usize,
    /// Part of a query or key head that carries no position.
    pub nope_dim: usize,
    /// Part of a query head, and the one shared key, that RoPE turns.
    pub rope_dim: usize,
    /// Width of a value head.
    pub v_dim: usize,
    /// Biases on the down projections and on the output projection.
    pub bias: bool,
}

/// The feed-forward block of a layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Mlp {
    /// One block, gated (`down(act(gate(x)) * up(x))`) or, in GPT-2, plain (`down(act(up(x)))`).
    Dense {
        /// Hidden width.
        intermediate: usize,
        /// Gated or plain.
        gated: bool,
        /// Biases on its projections.
        bias: bool,
    },
    /// Routed experts.
    Moe(Moe),
}

/// A mixture of experts.
#[derive(Clone, Debug, PartialEq)]
pub struct Moe {
    /// Routed experts.
    pub experts: usize,
    /// Experts a token visits.
    pub top_k: usize,
    /// Hidden width of a routed expert.
    pub intermediate: usize,
    /// Hidden width of all shared experts together; 0 where there are none.
    pub shared_intermediate: usize,
    /// How the router's outputs become weights.
    pub scoring: Scoring,
    /// Whether the chosen weights are scaled to sum to 1.
    pub renormalise: bool,
    /// Factor on the routed experts' weights.
    pub scale: f32,
    /// Group-limited choice: experts are in `groups` equal groups and only the best `top_groups` of them are considered.
    pub groups: usize,
    /// See `groups`; equal to it where the choice is not limited.
    pub top_groups: usize,
}

/// How the router scores experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scoring {
    /// Softmax over all experts; a group's score is its best expert's (DeepSeek-V2).
    Softmax,
    /// Sigmoid per expert, plus a bias that only the choice sees; a group's score is the sum of its best two (DeepSeek-V3).
    SigmoidWithBias,
}

/// Activations of the feed-forward blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// GELU by the error function.
    Gelu,
    /// GELU by the tanh approximation (GPT-2's `gelu_new`).
    GeluTanh,
}

/// Rotary position embedding (Su et al., 2021).
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f32,
    /// How the frequencies are stretched for longer contexts.
    pub scaling: RopeScaling,
    /// Pairs are neighbours `(2i, 2i + 1)` (DeepSeek) rather than halves `(i, i + dim / 2)`.
    pub interleaved: bool,
}

/// Context extension of RoPE.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// None.
    Plain,
    /// Positions divided by a factor.
    Linear {
        /// Divisor of every frequency.
        factor: f32,
    },
    /// Llama 3.1: low frequencies divided by the factor, high ones kept, a ramp between.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f32,
        /// Wavelengths above `original / low_freq_factor` are low frequencies.
        low_freq_factor: f32,
        /// Wavelengths below `original / high_freq_factor` are high frequencies.
        high_freq_factor: f32,
        /// Context the model was first trained on.
        original_max_positions: usize,
    },
    /// Each pair's frequency divided by a factor of its own, as GGUF has Llama 3.1's rule.
    Table {
        /// One a pair.
        factors: Vec<f32>,
    },
    /// YaRN (Peng et al., 2023).
    Yarn {
        /// Extension factor.
        factor: f32,
        /// Rotations at which interpolation ends.
        beta_fast: f32,
        /// Rotations at which interpolation is whole.
        beta_slow: f32,
        /// Context the model was first trained on.
        original_max_positions: usize,
        /// Factor on cos and sin.
        attention_factor: f32,
        /// Factor on the softmax scale beside it (DeepSeek's `mscale_all_dim`, already squared); 1 elsewhere.
        softmax_factor: f32,
        /// Whether the ramp's ends are rounded to whole dimensions.
        truncate: bool,
    },
}
