//! The engine thread: it owns the model and its cache, and turns requests into tokens.
//!
//! One loop, `schedule → prepare → forward → sample → emit`, on one thread that never waits for a client: requests come in
//! through a bounded queue, tokens leave through channels with room for all a request can get, and a choice whose receiver is
//! gone is dropped before the next step is planned.

mod batch;
mod emit;
mod sample;
mod sequence;

use self::batch::Batch;
use self::sample::Drawn;
use self::sequence::Sequence;
use attention_variants::models::LanguageModel;
use decoding::Sampler;
use scheduling::{ConfigError, Policy, Scheduler, SchedulerConfig, SeqId, SequenceSpec, StepPlan};
use serving::engine::{EngineEvent, EngineFailure, EngineInbox, EngineRequest};
use std::collections::HashMap;
use std::time::Instant;

/// What an engine does with its model.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Sequences that run at a time.
    pub max_sequences: usize,
    /// Who goes first.
    pub policy: Policy,
    /// Whether computed prompts are kept and reused.
    pub prefix_caching: bool,
}

/// The data plane.
pub struct Engine {
    model: Box<dyn LanguageModel>,
    scheduler: Scheduler,
    sampler: Sampler,
    batch: Batch,
    sequences: HashMap<SeqId, Sequence>,
    next_id: u64,
    inbox: EngineInbox,
}

impl Engine {
    /// An engine that serves what comes through `inbox`.
    ///
    /// # Errors
    /// Limits that no sequence could run in.
    pub fn new(
        model: Box<dyn LanguageModel>,
        config: EngineConfig,
        inbox: EngineInbox,
    ) -> Result<Self, ConfigError> {
        let limits = model.limits();
        let scheduler = Scheduler::new(SchedulerConfig {
            max_batched_tokens: limits.tokens,
            max_sequences: config.max_sequences,
            max_model_len: limits.positions,
            block_size: limits.block_size,
            num_blocks: limits.blocks,
            policy: config.policy,
            prefix_caching: config.prefix_caching,
        })?;
        inbox.metrics().kv_blocks_total.set(limits.blocks as i64);
        Ok(Self {
            sampler: Sampler::new(model.config().vocab_size),
            model,
            scheduler,
            batch: Batch::default(),
            sequences: HashMap::new(),
            next_id: 0,
            inbox,
        })
    }

    // ANCHOR: loop
    /// Serves until every [`serving::engine::EngineHandle`] is gone and the last sequence is done.
    pub fn run(mut self) {
        self.inbox.set_ready();
        while self.receive() {
            self.drop_abandoned();
            let started = Instant::now();
            let plan = self.scheduler.plan();
            self.note_admitted(&plan);
            if !plan.work.is_empty() {
                self.batch.prepare(&plan, &self.scheduler);
                let outputs = self.outputs(&plan);
                self.model.forward(&self.batch.inputs(&outputs));
                let drawn = self.sample(&outputs);
                self.commit(&plan, &drawn);
                self.emit(&plan, drawn);
            }
            self.report(&plan, started);
        }
    }
    // ANCHOR_END: loop

    /// Takes what has come in; waits only when there is nothing to do. `false` when all is done and nobody is left to ask.
    fn receive(&mut self) -> bool {
        if self.sequences.is_empty() {
            match self.inbox.wait() {
                Some(request) => self.accept(request),
                None => return false,
            }
        }
        while let Some(request) = self.inbox.try_next() {
            self.accept(request);
        }
        self.inbox.beat();
        true
    }

    fn accept(&mut self, queued: EngineRequest) {
        let id = self.fresh_id();
        let request = &queued.request;
        let spec = SequenceSpec {
            id,
            prompt: request.prompt.to_vec(),
            max_new_tokens: request.max_new_tokens,
            priority: request.priority,
            salt: request.cache_salt,
            // What is found in the cache is not computed, and so has no logits.
            reuse_prefix: request.prompt_logprobs.is_none(),
        };
        match self.scheduler.add(spec) {
            Ok(()) => {
                self.sequences.insert(id, Sequence::first_choice(queued));
            }
            Err(error) => {
                for events in &queued.events {
                    let _ = events.try_send(EngineEvent::Failed(EngineFailure(error.to_string())));
                }
                self.inbox.metrics().finished("failed");
            }
        }
    }

    fn fresh_id(&mut self) -> SeqId {
        self.next_id += 1;
        SeqId(self.next_id)
    }

    /// Frees what no client waits for any more.
    fn drop_abandoned(&mut self) {
        let abandoned: Vec<SeqId> = self
            .sequences
            .iter()
            .filter(|(_, sequence)| sequence.is_abandoned())
            .map(|(id, _)| *id)
            .collect();
        for id in abandoned {
            self.scheduler.abort(id);
            self.sequences.remove(&id);
            self.inbox.metrics().finished("cancelled");
        }
    }

    /// A request that runs for the first time gives its place in the queue to the next.
    fn note_admitted(&mut self, plan: &StepPlan) {
        for id in &plan.admitted {
            let sequence = self
                .sequences
                .get_mut(id)
                .expect("a planned sequence is known");
            if sequence.place.take().is_some() {
                self.inbox
                    .metrics()
                    .queue_seconds
                    .observe(sequence.arrived.elapsed().as_secs_f64());
            }
        }
    }

    /// Tells the scheduler what was computed.
    fn commit(&mut self, plan: &StepPlan, drawn: &[Drawn]) {
        let tokens: Vec<(SeqId, u32)> = drawn
            .iter()
            .map(|drawn| (drawn.id, drawn.sampled.token))
            .collect();
        self.scheduler.commit(plan, &tokens);
        #[cfg(debug_assertions)]
        self.scheduler.check();
    }

    /// Brings the metrics up to date.
    fn report(&self, plan: &StepPlan, started: Instant) {
        let metrics = self.inbox.metrics();
        let kv = self.scheduler.kv();
        metrics
            .requests_running
            .set(self.scheduler.running() as i64);
        metrics
            .requests_waiting
            .set(self.scheduler.waiting() as i64);
        metrics.kv_blocks_in_use.set(kv.used_blocks() as i64);
        metrics.kv_blocks_cached.set(kv.cached_blocks() as i64);
        metrics.preemptions.inc_by(plan.preempted.len() as u64);
        if !plan.work.is_empty() {
            metrics.steps.inc();
            metrics.step_tokens.observe(plan.tokens() as f64);
            metrics
                .step_seconds
                .observe(started.elapsed().as_secs_f64());
        }
    }
}
