//! The decoder: embedding, layers, final norm, logits.

use super::attention::{AttentionBlock, AttentionBuffers};
use super::mlp::{MlpBlock, MlpBuffers};
use crate::config::ModelConfig;
use crate::ops::Ops;
use crate::step::{StepInputs, StepLimits};
use std::ops::Range;

/// A model that an engine can run, whatever its family and device.
pub trait LanguageModel: Send {
    /// What it is.
    fn config(&self) -> &ModelConfig;
    /// The most a step may ask for.
    fn limits(&self) -> StepLimits;
    /// Writes the keys and values of every token of the step to the cache, and computes the final hidden states of its outputs.
    ///
    /// # Panics
    /// If the step is over the limits, its outputs do not ascend, or it names a token, a slot, a block or a row that does not exist.
    fn forward(&mut self, step: &StepInputs<'_>);
    /// Logits `[outputs, vocab_size]` of a part of the last step's [`outputs`](StepInputs::outputs), at most
    /// [`StepLimits::logit_rows`] of them.
    fn logits(&mut self, outputs: Range<usize>) -> &[f32];
}

/// A decoder-only transformer on a device.
pub struct Decoder<O: Ops> {
    pub(super) ops: O,
    pub(super) config: ModelConfig,
    pub(super) limits: StepLimits,
    pub(super) embedding: O::Linear,
    /// Learned positions (GPT-2).
    pub(super) positions: Option<O::Linear>,
    pub(super) rope: Option<O::Rope>,
    pub(super) layers: Vec<DecoderLayer<O>>,
    pub(super) norm: O::Norm,
    /// `None` where the output projection is the embedding.
    pub(super) lm_head: Option<O::Linear>,
    pub(super) kv: Vec<O::Kv>,
    pub(super) buffers: Buffers<O>,
}

/// One layer's weights.
pub(super) struct DecoderLayer<O: Ops> {
    pub attention_norm: O::Norm,
    pub attention: AttentionBlock<O>,
    pub mlp_norm: O::Norm,
    pub mlp: MlpBlock<O>,
}

/// Every tensor that a step writes, allocated once and shared by all layers.
pub(super) struct Buffers<O: Ops> {
    /// The residual stream, `[tokens, hidden]`.
    residual: O::Tensor,
    /// The residual stream, normalised, `[tokens, hidden]`.
    normed: O::Tensor,
    /// What a block adds to the residual stream, `[tokens, hidden]`.
    update: O::Tensor,
    attention: AttentionBuffers<O>,
    mlp: MlpBuffers<O>,
    /// The outputs whose logits are wanted, `[logit_rows, hidden]`.
    last: O::Tensor,
    /// `[logit_rows, vocab]`.
    logits: O::Tensor,
}

impl<O: Ops> Buffers<O> {
    pub(super) fn new(ops: &O, config: &ModelConfig, limits: &StepLimits) -> Self {
        let (tokens, hidden) = (limits.tokens, config.hidden_size);
        Self {
            residual: ops.tensor(tokens, hidden),
            normed: ops.tensor(tokens, hidden),
            update: ops.tensor(tokens, hidden),
            attention: AttentionBuffers::new(ops, config, tokens),
            mlp: MlpBuffers::new(ops, config, tokens),
            last: ops.tensor(limits.logit_rows, hidden),
            logits: ops.tensor(limits.logit_rows, config.vocab_size),
        }
    }
}

impl<O: Ops> LanguageModel for Decoder<O> {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn limits(&self) -> StepLimits {
        self.limits
    }

    fn forward(&mut self, step: &StepInputs<'_>) {
        let Self {
            ops,
            layers,
            kv,
            buffers,
            ..
        } = self;
        let Buffers {
            residual,
            normed,
            update,
            attention,
            mlp,
            ..
        } = buffers;
        ops.begin(step);
        ops.embed(residual, &self.embedding, self.positions.as_ref());
        ops.normalise(normed, residual, &layers[0].attention_norm);
        for (index, layer) in layers.iter().enumerate() {
            ops.copy_blocks(&mut kv[index]);
            layer.attention.forward(
                ops,
                attention,
                update,
                normed,
                &mut kv[index],
                self.rope.as_ref(),
            );
            if index + 1 == layers.len() {
                // No layer behind this one reads the others.
                ops.keep_outputs(residual);
                ops.keep_outputs(update);
            }
            ops.add_normalise(normed, residual, update, &layer.mlp_norm);
            layer.mlp.forward(ops, mlp, update, normed);
            let next_norm = layers
                .get(index + 1)
                .map_or(&self.norm, |next| &next.attention_norm);
            ops.add_normalise(normed, residual, update, next_norm);
        }
    }

    fn logits(&mut self, outputs: Range<usize>) -> &[f32] {
        let Buffers {
            normed,
            last,
            logits,
            ..
        } = &mut self.buffers;
        self.ops.take_rows(last, normed, outputs);
        self.ops.project(
            logits,
            last,
            self.lm_head.as_ref().unwrap_or(&self.embedding),
        );
        self.ops.read(logits)
    }
}
