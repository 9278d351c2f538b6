//! How a step is planned: running sequences that generate, running prompts, then admission.
//!
//! Invariants: a step's tokens stay within the budget; whatever is planned has its blocks; the most urgent running sequence is in
//! the plan, so there is progress whenever there is work.

use crate::id::SeqId;
use crate::plan::{StepPlan, Work};
use crate::scheduler::Scheduler;
use crate::sequence::Sequence;

impl Scheduler {
    /// Plans the next step: admits, reserves blocks, preempts if they run out.
    ///
    /// Every plan must be executed and committed before the next is made; its copies are reported once.
    pub fn plan(&mut self) -> StepPlan {
        let mut plan = StepPlan::default();
        if !self.running.is_empty() {
            self.plan_running(&mut plan, Sequence::is_decoding);
            self.plan_running(&mut plan, |sequence| !sequence.is_decoding());
        }
        // A victim may find more of itself stored than it gave back; it must not return in the same plan.
        if plan.preempted.is_empty() {
            self.admit(&mut plan);
        }
        plan
    }

    /// Continues the running sequences that `selects` names, the most urgent first, each by as many tokens as the budget has left.
    fn plan_running(&mut self, plan: &mut StepPlan, selects: fn(&Sequence) -> bool) {
        // ANCHOR: solve-budget
        let order: Vec<_> = self.running.iter().copied().collect();
        for urgency in order {
            let budget = self.config.max_batched_tokens - plan.tokens();
            let sequence = &self.sequences[&urgency.1];
            let len = sequence.pending().min(budget);
            // It may have been preempted by one before it.
            let planned = self.running.contains(&urgency) && selects(sequence) && len > 0;
            if planned && self.make_room(urgency.1, len, plan) {
                self.plan_chunk(urgency.1, len, plan);
            }
        }
        // ANCHOR_END: solve-budget
    }

    /// Reserves blocks for `len` more tokens, preempting until they are there; false if the sequence itself had to go.
    fn make_room(&mut self, id: SeqId, len: usize, plan: &mut StepPlan) -> bool {
        loop {
            let sequence = self
                .sequences
                .get_mut(&id)
                .expect("a running sequence is known");
            if let Ok(copy) = self.kv.reserve(&mut sequence.table, len) {
                plan.copies.extend(copy);
                return true;
            }
            let victim = self.preempt_least_urgent(plan);
            if victim == id {
                return false;
            }
        }
    }

    /// Sends the least urgent running sequence back to wait, to be recomputed. It is not in the plan yet: only sequences that
    /// generate can lack blocks, and they are planned from the most urgent down. It keeps its tokens and its place in the order,
    /// and finds again what is then still stored of it.
    fn preempt_least_urgent(&mut self, plan: &mut StepPlan) -> SeqId {
        // ANCHOR: solve-preempt
        let victim = *self.running.last().expect("one that asks for room runs");
        plan.preempted.push(victim.1);
        self.withdraw(victim.1);
        self.waiting.insert(victim);
        self.stats.preemptions += 1;
        victim.1
        // ANCHOR_END: solve-preempt
    }

    /// Starts waiting sequences in order while budget, batch and blocks allow. None overtakes one that does not fit, so a large
    /// one cannot starve.
    fn admit(&mut self, plan: &mut StepPlan) {
        // ANCHOR: solve-admit
        while self.running.len() < self.config.max_sequences {
            let budget = self.config.max_batched_tokens - plan.tokens();
            let Some(&urgency) = self.waiting.first() else {
                break;
            };
            if budget == 0 || !self.has_blocks_for(urgency.1) {
                break;
            }
            self.waiting.remove(&urgency);
            self.running.insert(urgency);
            self.start(urgency.1);
            plan.admitted.push(urgency.1);
            let len = self.sequences[&urgency.1].pending().min(budget);
            self.plan_chunk(urgency.1, len, plan);
        }
        // ANCHOR_END: solve-admit
    }

    /// Whether all known tokens of a waiting sequence can have blocks, and each running sequence one more: a newcomer that would
    /// be preempted at the next block boundary does not start.
    fn has_blocks_for(&self, id: SeqId) -> bool {
        let sequence = &self.sequences[&id];
        let needed = if sequence.reuse_prefix {
            self.kv.blocks_to_start(&sequence.tokens, sequence.salt)
        } else {
            self.kv.blocks_for(sequence.tokens.len())
        };
        needed + self.running.len() <= self.kv.free_blocks()
    }

    /// Gives a sequence the blocks of all its known tokens, stored ones where there are. A prompt that has begun thus never
    /// stops for lack of blocks; only growth can run out of them.
    fn start(&mut self, id: SeqId) {
        let sequence = self
            .sequences
            .get_mut(&id)
            .expect("a waiting sequence is known");
        if sequence.reuse_prefix {
            sequence.table = self.kv.match_prefix(&sequence.tokens, sequence.salt);
        }
        let stored = sequence.computed();
        sequence.cached_tokens.get_or_insert(stored);
        let pending = sequence.pending();
        self.kv
            .reserve(&mut sequence.table, pending)
            .expect("admission has counted the blocks");
    }

    fn plan_chunk(&mut self, id: SeqId, len: usize, plan: &mut StepPlan) {
        let sequence = &self.sequences[&id];
        let samples = len == sequence.pending();
        plan.work.push(Work {
            id,
            start: sequence.computed(),
            len,
            samples,
        });
    }
}
