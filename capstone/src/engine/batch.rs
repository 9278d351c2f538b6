//! `prepare`: from the scheduler's plan to the ragged batch that a model takes.

use super::sample::Outputs;
use attention_variants::step::StepInputs;
use scheduling::{Scheduler, StepPlan};

/// The arrays behind [`StepInputs`], reused from step to step.
#[derive(Debug, Default)]
pub(super) struct Batch {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    slots: Vec<u32>,
    query_starts: Vec<u32>,
    block_tables: Vec<u32>,
    blocks_per_sequence: usize,
    block_copies: Vec<(u32, u32)>,
}

impl Batch {
    /// Lays the planned chunks one behind another.
    pub(super) fn prepare(&mut self, plan: &StepPlan, scheduler: &Scheduler) {
        let block_size = scheduler.kv().block_size();
        self.tokens.clear();
        self.positions.clear();
        self.slots.clear();
        self.query_starts.clear();
        self.query_starts.push(0);
        for work in &plan.work {
            let table = scheduler.page_table(work.id);
            let chunk = work.start..work.start + work.len;
            self.tokens
                .extend_from_slice(&scheduler.tokens(work.id)[chunk.clone()]);
            self.positions
                .extend(chunk.clone().map(|position| position as u32));
            self.slots
                .extend(chunk.map(|position| table.slot(position, block_size) as u32));
            self.query_starts.push(self.tokens.len() as u32);
        }
        self.lay_tables(plan, scheduler);
        self.block_copies.clear();
        self.block_copies
            .extend(plan.copies.iter().map(|copy| (copy.src.0, copy.dst.0)));
    }

    /// Page tables as one rectangle, as wide as the longest.
    fn lay_tables(&mut self, plan: &StepPlan, scheduler: &Scheduler) {
        let blocks = |id| scheduler.page_table(id).blocks();
        self.blocks_per_sequence = plan
            .work
            .iter()
            .map(|work| blocks(work.id).len())
            .max()
            .unwrap_or(0);
        self.block_tables.clear();
        for work in &plan.work {
            let row_end = self.block_tables.len() + self.blocks_per_sequence;
            self.block_tables
                .extend(blocks(work.id).iter().map(|block| block.0));
            self.block_tables.resize(row_end, 0);
        }
    }

    /// Row of the batch that computes the last token of the `index`-th piece of work.
    pub(super) fn last_row(&self, index: usize) -> u32 {
        self.query_starts[index + 1] - 1
    }

    /// First row of the `index`-th piece of work.
    pub(super) fn first_row(&self, index: usize) -> u32 {
        self.query_starts[index]
    }

    /// What the model takes.
    pub(super) fn inputs<'a>(&'a self, outputs: &'a Outputs) -> StepInputs<'a> {
        StepInputs {
            tokens: &self.tokens,
            positions: &self.positions,
            slots: &self.slots,
            query_starts: &self.query_starts,
            block_tables: &self.block_tables,
            blocks_per_sequence: self.blocks_per_sequence,
            block_copies: &self.block_copies,
            outputs: outputs.rows(),
        }
    }
}
