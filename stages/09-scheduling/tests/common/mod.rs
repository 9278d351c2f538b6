//! A seeded generator, and a model whose next token is a function of all tokens before it.
#![allow(dead_code)] // each task file uses its part

use rand::SeedableRng;
use rand::rngs::StdRng;
use scheduling::{Policy, Scheduler, SchedulerConfig, SeqId, SequenceSpec, StepPlan};
use std::collections::HashMap;

/// Seeds from TEST_SEED, or anew; prints the seed so that a failure can be run again.
pub fn rng() -> StdRng {
    let given = std::env::var("TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u64>);
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

pub fn config() -> SchedulerConfig {
    SchedulerConfig {
        max_batched_tokens: 16,
        max_sequences: 4,
        max_model_len: 64,
        block_size: 4,
        num_blocks: 64,
        policy: Policy::Fcfs,
        prefix_caching: true,
    }
}

/// A prompt of `len` tokens that no other id shares.
pub fn spec(id: u64, len: usize, max_new_tokens: usize) -> SequenceSpec {
    let prompt = (0..len as u32)
        .map(|position| id as u32 * 1000 + position)
        .collect();
    SequenceSpec {
        id: SeqId(id),
        prompt,
        max_new_tokens,
        priority: 0,
        salt: 0,
        reuse_prefix: true,
    }
}

/// The token that follows `tokens`.
pub fn next_token(tokens: &[u32]) -> u32 {
    tokens.iter().fold(17, |hash: u32, &token| {
        hash.wrapping_mul(31).wrapping_add(token + 1)
    }) % 5
}

/// What a sequence must be when it is done, computed alone.
pub fn solo(spec: &SequenceSpec) -> Vec<u32> {
    let mut tokens = spec.prompt.clone();
    for _ in 0..spec.max_new_tokens {
        tokens.push(next_token(&tokens));
    }
    tokens
}

/// A device: it writes to slots what a model would, and refuses to read anything else than what was written.
#[derive(Default)]
pub struct Device {
    slots: HashMap<usize, Vec<u32>>,
}

impl Device {
    /// Executes a plan and returns what it samples, from what is read through the page tables.
    pub fn execute(&mut self, scheduler: &Scheduler, plan: &StepPlan) -> Vec<(SeqId, u32)> {
        let block_size = scheduler.kv().block_size();
        for copy in &plan.copies {
            for offset in 0..block_size {
                let content = self
                    .slots
                    .get(&(copy.src.0 as usize * block_size + offset))
                    .cloned();
                let dst = copy.dst.0 as usize * block_size + offset;
                content.map(|content| self.slots.insert(dst, content));
            }
        }
        let mut sampled = Vec::new();
        for work in &plan.work {
            let (tokens, table) = (scheduler.tokens(work.id), scheduler.page_table(work.id));
            let end = work.start + work.len;
            for position in work.start..end {
                self.slots.insert(
                    table.slot(position, block_size),
                    tokens[..=position].to_vec(),
                );
            }
            for position in 0..end {
                let read = self.slots.get(&table.slot(position, block_size));
                assert_eq!(
                    read.map(|read| &read[..]),
                    Some(&tokens[..=position]),
                    "{:?} reads a wrong slot",
                    work.id
                );
            }
            assert_eq!(work.samples, end == tokens.len());
            if work.samples {
                sampled.push((work.id, next_token(tokens)));
            }
        }
        sampled
    }

    /// One whole step, with the invariants of plans checked.
    pub fn step(&mut self, scheduler: &mut Scheduler, limits: &SchedulerConfig) -> StepPlan {
        let idle = scheduler.is_idle();
        let plan = scheduler.plan();
        assert_eq!(plan.work.is_empty(), idle, "a step without progress");
        assert!(
            plan.tokens() <= limits.max_batched_tokens && plan.work.iter().all(|work| work.len > 0)
        );
        let mut ids: Vec<_> = plan.work.iter().map(|work| work.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), plan.work.len(), "a sequence is planned twice");
        let lost = |id| plan.preempted.contains(id);
        assert!(
            !ids.iter().any(lost),
            "a sequence is planned and has lost its blocks"
        );
        scheduler.check();
        let sampled = self.execute(scheduler, &plan);
        scheduler.commit(&plan, &sampled);
        scheduler.check();
        plan
    }
}
