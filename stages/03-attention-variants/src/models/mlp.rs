//! The feed-forward blocks: gated, plain, and a mixture of experts.

use crate::config::{Activation, Mlp, ModelConfig};
use crate::ops::Ops;

/// One layer's feed-forward block.
pub(super) struct MlpBlock<O: Ops> {
    pub kind: MlpKind<O>,
    pub activation: Activation,
}

pub(super) enum MlpKind<O: Ops> {
    /// `down(act(gate(x)) * up(x))`.
    Gated(GatedMlp<O>),
    /// `down(act(up(x)))`.
    Plain { up: O::Linear, down: O::Linear },
    /// Routed experts, and shared ones that every token visits.
    Moe {
        router: O::Router,
        experts: O::Experts,
        shared: Option<GatedMlp<O>>,
    },
}

pub(super) struct GatedMlp<O: Ops> {
    /// Gate and up stacked, `[2 * intermediate, hidden]`.
    pub gate_up: O::Linear,
    pub down: O::Linear,
}

/// What the feed-forward blocks of a model write on the way; only those kinds that it has.
pub(super) struct MlpBuffers<O: Ops> {
    dense: Option<DenseBuffers<O>>,
    moe: Option<MoeBuffers<O>>,
}

/// Of a gated or plain block.
struct DenseBuffers<O: Ops> {
    /// `[tokens, 2 * intermediate]`, or half of it where there is no gate.
    wide: O::Tensor,
    /// `[tokens, intermediate]`.
    gated: O::Tensor,
}

struct MoeBuffers<O: Ops> {
    routing: O::Routing,
    shared: Option<DenseBuffers<O>>,
    /// What the shared experts add, `[tokens, hidden]`.
    shared_out: O::Tensor,
}

impl<O: Ops> DenseBuffers<O> {
    fn new(ops: &O, tokens: usize, intermediate: usize, gated: bool) -> Self {
        let width = if gated {
            2 * intermediate
        } else {
            intermediate
        };
        Self {
            wide: ops.tensor(tokens, width),
            gated: ops.tensor(tokens, intermediate),
        }
    }
}

impl<O: Ops> MlpBuffers<O> {
    pub(super) fn new(ops: &O, config: &ModelConfig, tokens: usize) -> Self {
        let mut buffers = Self {
            dense: None,
            moe: None,
        };
        for layer in &config.layers {
            match &layer.mlp {
                Mlp::Dense {
                    intermediate,
                    gated,
                    ..
                } => {
                    buffers.dense.get_or_insert_with(|| {
                        DenseBuffers::new(ops, tokens, *intermediate, *gated)
                    });
                }
                Mlp::Moe(moe) => {
                    buffers.moe.get_or_insert_with(|| MoeBuffers {
                        routing: ops.routing(tokens, config.hidden_size, moe),
                        shared: (moe.shared_intermediate > 0)
                            .then(|| DenseBuffers::new(ops, tokens, moe.shared_intermediate, true)),
                        shared_out: ops.tensor(tokens, config.hidden_size),
                    });
                }
            }
        }
        buffers
    }
}

impl<O: Ops> GatedMlp<O> {
    fn forward(
        &self,
        ops: &O,
        buffers: &mut DenseBuffers<O>,
        out: &mut O::Tensor,
        x: &O::Tensor,
        activation: Activation,
    ) {
        ops.project(&mut buffers.wide, x, &self.gate_up);
        ops.gate(&mut buffers.gated, &buffers.wide, activation);
        ops.project(out, &buffers.gated, &self.down);
    }
}

impl<O: Ops> MlpBlock<O> {
    /// `out = mlp(x)`.
    pub(super) fn forward(
        &self,
        ops: &O,
        buffers: &mut MlpBuffers<O>,
        out: &mut O::Tensor,
        x: &O::Tensor,
    ) {
        const MADE: &str = "a decoder's blocks and buffers are made from one configuration";
        match &self.kind {
            MlpKind::Gated(mlp) => {
                mlp.forward(
                    ops,
                    buffers.dense.as_mut().expect(MADE),
                    out,
                    x,
                    self.activation,
                );
            }
            MlpKind::Plain { up, down } => {
                let DenseBuffers { wide, .. } = buffers.dense.as_mut().expect(MADE);
                ops.project(wide, x, up);
                ops.activate(wide, self.activation);
                ops.project(out, wide, down);
            }
            MlpKind::Moe {
                router,
                experts,
                shared,
            } => {
                let MoeBuffers {
                    routing,
                    shared: shared_buffers,
                    shared_out,
                } = buffers.moe.as_mut().expect(MADE);
                ops.route(routing, x, router);
                ops.mix_experts(out, x, routing, experts, self.activation);
                if let Some(shared) = shared {
                    shared.forward(
                        ops,
                        shared_buffers.as_mut().expect(MADE),
                        shared_out,
                        x,
                        self.activation,
                    );
                    ops.add(out, shared_out);
                }
            }
        }
    }
}
