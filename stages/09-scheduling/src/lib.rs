//! Stage 09: which tokens to compute next.
//!
//! [`Scheduler`] turns a set of sequences into one [`StepPlan`] after another: continuous batching (Orca, Yu et al., OSDI 2022)
//! with chunked prefill (Sarathi-Serve, Agrawal et al., OSDI 2024, arXiv:2403.02310) over the paged cache of stage 08.
//!
//! The contract:
//!
//! - There are no prefill and decode phases. A sequence has tokens that are known and tokens that are computed; a step computes
//!   some more of each, at most `max_batched_tokens` in all.
//! - One token for every sequence that generates comes first, then the rest of started prompts, then new sequences.
//! - When blocks run out, the least urgent running sequence is preempted: it gives its blocks back and is computed again later.
//! - Every sequence that is admitted finishes: urgency ([`Policy`]) is fixed on arrival, the most urgent running sequence always
//!   advances, and what could not run alone is refused by [`Scheduler::add`].
//! - No clock, no threads, no model, no randomness: equal calls give equal plans.
//!
//! [`simulator`] runs the scheduler against static and dynamic batching on a simulated clock.

mod config;
mod id;
mod plan;
mod planner;
mod scheduler;
mod sequence;
pub mod simulator;

pub use config::{AdmitError, ConfigError, ForkError, Policy, SchedulerConfig};
pub use id::SeqId;
pub use plan::{StepPlan, Work};
pub use scheduler::{Scheduler, SchedulerStats};
pub use sequence::SequenceSpec;
