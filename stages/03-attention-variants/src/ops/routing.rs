//! Experts in host memory: who visits whom, and the rows on their way there and back.

use super::host::{HostLinear, HostTensor};
use crate::config::Moe;

/// A router.
#[derive(Debug)]
pub struct HostRouter<W> {
    /// `[experts, hidden]`.
    pub linear: HostLinear<W>,
    /// Added to the scores for the choice alone, `[experts]`.
    pub bias: Option<Vec<f32>>,
    /// How to choose.
    pub moe: Moe,
}

/// The routed experts of a layer.
#[derive(Debug)]
pub struct HostExperts<W> {
    /// Per expert, gate and up stacked, `[2 * intermediate, hidden]`.
    pub gate_up: Vec<HostLinear<W>>,
    /// Per expert, `[hidden, intermediate]`.
    pub down: Vec<HostLinear<W>>,
}

/// Which experts each token visits, and room for what the experts compute.
#[derive(Debug)]
pub struct HostRouting {
    /// Experts a token visits.
    pub top_k: usize,
    /// `[tokens, top_k]`.
    pub experts: Vec<u32>,
    /// `[tokens, top_k]`.
    pub weights: Vec<f32>,
    /// The router's outputs, `[tokens, experts]`.
    pub logits: HostTensor,
    /// Room for one token's choice, `[experts]`.
    pub choice: Vec<f32>,
    /// The `(token, choice)` pairs that visit the expert at hand.
    pub visits: Vec<(u32, u32)>,
    /// The rows that visit the expert at hand, `[visits, hidden]`, then what it makes of them.
    pub gathered: HostTensor,
    /// `[visits, 2 * intermediate]`.
    pub gate_up: HostTensor,
    /// `[visits, intermediate]`.
    pub gated: HostTensor,
}

impl HostRouting {
    /// Room for `rows` tokens of width `hidden`.
    pub fn new(rows: usize, hidden: usize, moe: &Moe) -> Self {
        Self {
            top_k: moe.top_k,
            experts: vec![0; rows * moe.top_k],
            weights: vec![f32::NAN; rows * moe.top_k],
            logits: HostTensor::new(rows, moe.experts),
            choice: vec![f32::NAN; moe.experts],
            visits: Vec::with_capacity(rows),
            gathered: HostTensor::new(rows, hidden),
            gate_up: HostTensor::new(rows, 2 * moe.intermediate),
            gated: HostTensor::new(rows, moe.intermediate),
        }
    }

    /// Chooses experts from the logits that are already in place.
    pub fn choose(&mut self, bias: Option<&[f32]>, moe: &Moe) {
        let width = self.logits.cols();
        for (token, logits) in self.logits.values_mut().chunks_exact_mut(width).enumerate() {
            let chosen = token * self.top_k..(token + 1) * self.top_k;
            let (experts, weights) = (&mut self.experts[chosen.clone()], &mut self.weights[chosen]);
            crate::moe::route(logits, &mut self.choice, bias, moe, experts, weights);
        }
    }

    /// Collects the tokens that visit `expert` into `visits` and their rows of `x` into `gathered`. A token visits an expert at
    /// most once, so there are never more visits than tokens.
    pub fn gather_visits(&mut self, expert: u32, x: &HostTensor) {
        self.visits.clear();
        for (at, _) in self.experts[..x.rows() * self.top_k]
            .iter()
            .enumerate()
            .filter(|(_, e)| **e == expert)
        {
            self.visits
                .push(((at / self.top_k) as u32, (at % self.top_k) as u32));
        }
        let width = x.cols();
        let rows = self.gathered.resize(self.visits.len());
        for (row, &(token, _)) in rows.chunks_exact_mut(width).zip(&self.visits) {
            row.copy_from_slice(x.row(token as usize));
        }
    }

    /// Adds what the expert made of its visitors, weighted, to their rows of `out`.
    pub fn scatter_visits(&self, out: &mut HostTensor) {
        let width = out.cols();
        let out = out.values_mut();
        for (visit, &(token, choice)) in self.visits.iter().enumerate() {
            let weight = self.weights[token as usize * self.top_k + choice as usize];
            let row = &mut out[token as usize * width..][..width];
            for (sum, made) in row.iter_mut().zip(self.gathered.row(visit)) {
                *sum += weight * made;
            }
        }
    }
}
