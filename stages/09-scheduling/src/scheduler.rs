//! The scheduler's state and what its caller does to it; [`Scheduler::plan`] has a file of its own.
//!
//! Invariant: a live sequence is waiting (no blocks), running (blocks), or complete (no blocks, kept until it is finished for its
//! tokens to be read). Waiting and running sequences are ordered by urgency, the most urgent first.

use crate::config::{AdmitError, ConfigError, ForkError, SchedulerConfig};
use crate::id::SeqId;
use crate::plan::StepPlan;
use crate::sequence::{Sequence, SequenceSpec, Urgency};
use paged_kv::{PageTable, PagedKv};
use std::collections::{BTreeSet, HashMap};

/// Counters since the scheduler was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchedulerStats {
    /// Times that a sequence lost its blocks to a more urgent one.
    pub preemptions: u64,
    /// Sequences that were ended by [`Scheduler::finish`].
    pub finished: u64,
    /// Sequences that were ended by [`Scheduler::abort`].
    pub aborted: u64,
    /// Tokens that committed steps computed, recomputation included.
    pub computed_tokens: u64,
}

/// Decides what each step computes.
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) config: SchedulerConfig,
    pub(crate) kv: PagedKv,
    pub(crate) sequences: HashMap<SeqId, Sequence>,
    pub(crate) waiting: BTreeSet<Urgency>,
    pub(crate) running: BTreeSet<Urgency>,
    pub(crate) stats: SchedulerStats,
    arrivals: u64,
}

impl Scheduler {
    /// A scheduler with no sequences and a pool of free blocks.
    ///
    /// # Errors
    /// [`ConfigError`] if the limits contradict each other.
    pub fn new(config: SchedulerConfig) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            kv: PagedKv::new(config.num_blocks, config.block_size, config.prefix_caching),
            config,
            sequences: HashMap::new(),
            waiting: BTreeSet::new(),
            running: BTreeSet::new(),
            stats: SchedulerStats::default(),
            arrivals: 0,
        })
    }

    /// Lets a sequence wait for its turn. What is accepted here will finish.
    ///
    /// # Errors
    /// [`AdmitError`] if the sequence has no prompt, has the id of another, or could not finish even if it ran alone.
    pub fn add(&mut self, spec: SequenceSpec) -> Result<(), AdmitError> {
        self.check_admission(&spec)?;
        let sequence = Sequence::new(spec, self.arrivals, self.config.policy);
        self.arrivals += 1;
        self.waiting.insert(sequence.urgency);
        self.sequences.insert(sequence.urgency.1, sequence);
        Ok(())
    }

    /// Notes that a plan was executed: its tokens are computed, and `sampled` are the tokens that follow.
    ///
    /// Sequences that ended in the meantime are passed over. A sequence that has all its tokens gives its blocks back here; it is
    /// kept, to be read, until it is finished.
    pub fn commit(&mut self, plan: &StepPlan, sampled: &[(SeqId, u32)]) {
        // ANCHOR: solve-commit
        for work in &plan.work {
            let Some(sequence) = running(&mut self.sequences, &self.running, work.id) else {
                continue;
            };
            if sequence.computed() == work.start {
                self.kv.commit(
                    &mut sequence.table,
                    &sequence.tokens[..work.start + work.len],
                );
                self.stats.computed_tokens += work.len as u64;
            }
        }
        for &(id, token) in sampled {
            let Some(sequence) = running(&mut self.sequences, &self.running, id) else {
                continue;
            };
            if sequence.pending() == 0 && sequence.tokens.len() < sequence.max_tokens {
                sequence.tokens.push(token);
            }
        }
        for work in &plan.work {
            let sequence = running(&mut self.sequences, &self.running, work.id);
            if let Some(sequence) = sequence.filter(|sequence| sequence.has_ended()) {
                sequence.complete = true;
                self.withdraw(work.id);
            }
        }
        // ANCHOR_END: solve-commit
    }

    /// Adds a sequence that equals `parent` but for the last token, which is `token`. It shares the parent's blocks until one of
    /// them writes to a shared one.
    ///
    /// To have several answers to one prompt: sample once for each after the step that computed the prompt, commit the parent's
    /// token, then fork the others with theirs. If the batch is full, or the parent is being recomputed,
    /// the child waits and finds the prompt stored later.
    ///
    /// # Errors
    /// [`ForkError`] if the parent has generated nothing, or the child's id is taken.
    pub fn fork(&mut self, parent: SeqId, child: SeqId, token: u32) -> Result<(), ForkError> {
        // ANCHOR: solve-fork
        if self.sequences.contains_key(&child) {
            return Err(ForkError::DuplicateId(child));
        }
        let source = self
            .sequences
            .get(&parent)
            .filter(|sequence| sequence.tokens.len() > sequence.prompt_len);
        let source = source.ok_or(ForkError::NotGenerating(parent))?;
        let runs = source.pending() == 1
            && self.running.contains(&source.urgency)
            && self.running.len() < self.config.max_sequences;
        let table = if runs {
            self.kv.fork(&source.table)
        } else {
            PageTable::new(source.salt)
        };
        let sequence = source.forked(child, token, table);
        if runs {
            self.running.insert(sequence.urgency);
        } else if !sequence.complete {
            self.waiting.insert(sequence.urgency);
        }
        self.sequences.insert(child, sequence);
        Ok(())
        // ANCHOR_END: solve-fork
    }

    /// Ends a sequence that has its answer; its blocks are free at once. An unknown id is ignored.
    pub fn finish(&mut self, id: SeqId) {
        self.stats.finished += u64::from(self.remove(id));
    }

    /// Ends a sequence whose answer nobody wants any more, in whatever state; its blocks are free at once.
    /// An unknown id is ignored.
    pub fn abort(&mut self, id: SeqId) {
        self.stats.aborted += u64::from(self.remove(id));
    }

    /// The prompt and what was generated; empty for an unknown id.
    pub fn tokens(&self, id: SeqId) -> &[u32] {
        self.sequences
            .get(&id)
            .map_or(&[], |sequence| &sequence.tokens)
    }

    /// Where a sequence's tokens are stored.
    ///
    /// # Panics
    /// If no live sequence has this id.
    pub fn page_table(&self, id: SeqId) -> &PageTable {
        &self.sequences[&id].table
    }

    /// Prompt tokens that were found stored when the sequence first ran; 0 for an unknown id.
    pub fn cached_tokens(&self, id: SeqId) -> usize {
        self.sequences
            .get(&id)
            .and_then(|sequence| sequence.cached_tokens)
            .unwrap_or(0)
    }

    /// Sequences that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Sequences that hold blocks.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether there is nothing to compute.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// The cache's accounts.
    pub fn kv(&self) -> &PagedKv {
        &self.kv
    }

    /// Counters.
    pub fn stats(&self) -> SchedulerStats {
        self.stats
    }

    /// Proves that each sequence is in one state and that blocks are owned as the page tables say.
    ///
    /// # Panics
    /// If that is not so.
    pub fn check(&self) {
        self.kv
            .check_tables(self.sequences.values().map(|sequence| &sequence.table));
        for sequence in self.sequences.values() {
            let (waits, runs) = (
                self.waiting.contains(&sequence.urgency),
                self.running.contains(&sequence.urgency),
            );
            assert_eq!(
                u8::from(waits) + u8::from(runs),
                u8::from(!sequence.complete),
                "{:?}",
                sequence.urgency
            );
            assert!(
                runs || sequence.table.blocks().is_empty(),
                "{:?} holds blocks and does not run",
                sequence.urgency
            );
        }
        assert!(
            self.waiting.len() + self.running.len() <= self.sequences.len(),
            "a sequence is queued that is gone"
        );
        assert!(
            self.running.len() <= self.config.max_sequences,
            "too many sequences run"
        );
    }

    /// Gives the blocks of a running sequence back, and takes any sequence out of its queue.
    pub(crate) fn withdraw(&mut self, id: SeqId) {
        let sequence = self
            .sequences
            .get_mut(&id)
            .expect("the caller knows the sequence");
        self.waiting.remove(&sequence.urgency);
        self.running.remove(&sequence.urgency);
        let empty = PageTable::new(sequence.salt);
        self.kv
            .release(std::mem::replace(&mut sequence.table, empty));
    }

    fn remove(&mut self, id: SeqId) -> bool {
        let known = self.sequences.contains_key(&id);
        if known {
            self.withdraw(id);
            self.sequences.remove(&id);
        }
        known
    }

    /// Refuses what could not finish alone: with this, the most urgent sequence can always get its blocks.
    fn check_admission(&self, spec: &SequenceSpec) -> Result<(), AdmitError> {
        // ANCHOR: solve-refuse
        let (prompt, new, limit) = (
            spec.prompt.len(),
            spec.max_new_tokens,
            self.config.max_model_len,
        );
        if prompt == 0 {
            return Err(AdmitError::EmptyPrompt);
        }
        if self.sequences.contains_key(&spec.id) {
            return Err(AdmitError::DuplicateId(spec.id));
        }
        if prompt.saturating_add(new) > limit {
            return Err(AdmitError::TooLong { prompt, new, limit });
        }
        // The last generated token is never stored.
        let needed = self.kv.blocks_for(prompt + new.saturating_sub(1));
        let total = self.config.num_blocks;
        if needed > total {
            Err(AdmitError::LargerThanPool { needed, total })
        } else {
            Ok(())
        }
        // ANCHOR_END: solve-refuse
    }
}

/// The sequence of that id, if it runs.
fn running<'a>(
    sequences: &'a mut HashMap<SeqId, Sequence>,
    running: &BTreeSet<Urgency>,
    id: SeqId,
) -> Option<&'a mut Sequence> {
    sequences
        .get_mut(&id)
        .filter(|sequence| running.contains(&sequence.urgency))
}
