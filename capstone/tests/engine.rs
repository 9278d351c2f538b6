//! The engine on a real, tiny model: batching, chunking, preemption, prefix reuse, forks and cancellation must not show in what a
//! request gets.

use attention_variants::hf::Source;
use attention_variants::models::load;
use attention_variants::ops::{Cpu, Isa, Vectorised};
use attention_variants::step::StepLimits;
use decoding::{Logprobs, SamplingParams};
use fastserve::engine::{Engine, EngineConfig};
use memory_hierarchy::Pool;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use scheduling::Policy;
use serving::engine::{
    EngineEvent, EngineHandle, FinishReason, GenerationRequest, SubmitError, engine_channel,
};
use serving::metrics::Metrics;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;

const VOCAB: u32 = 97;
const POSITIONS: usize = 96;

fn rng() -> StdRng {
    let seed = std::env::var("TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

struct Running {
    handle: EngineHandle,
    thread: std::thread::JoinHandle<()>,
}

/// Starts an engine with `blocks` blocks of 4 tokens and a budget of `tokens` a step.
fn start(blocks: usize, tokens: usize, prefix_caching: bool, max_queue: usize) -> Running {
    let root =
        std::env::var("CARGO_MANIFEST_DIR").expect("cargo and nextest say where the crate lies");
    let folder = Path::new(&root).join("../stages/03-attention-variants/tests/fixtures/qwen3");
    let source = Source::Dir(folder);
    let limits = StepLimits {
        tokens,
        logit_rows: 5,
        blocks,
        block_size: 4,
        positions: POSITIONS,
    };
    let config = source.config().expect("the fixture has a configuration");
    let weights = source.weights().expect("the fixture has weights");
    // As the server would: the weights are in bf16.
    let isa = Isa::detect();
    let operations = Vectorised::fastest(isa, Pool::global().clone());
    let model = load(Cpu::new(operations), config, weights, limits).expect("the fixture loads");
    let (handle, inbox) = engine_channel(max_queue, Arc::new(Metrics::default()));
    let config = EngineConfig {
        max_sequences: tokens.min(16),
        policy: Policy::Fcfs,
        prefix_caching,
    };
    let engine = Engine::new(Box::new(model), config, inbox).expect("workable limits");
    let thread = std::thread::spawn(move || engine.run());
    Running { handle, thread }
}

impl Running {
    /// Ends the engine and looks for a panic.
    fn stop(self) {
        drop(self.handle);
        self.thread.join().expect("the engine ends without a panic");
    }

    fn submit(&self, request: GenerationRequest) -> Vec<Receiver<EngineEvent>> {
        self.handle
            .submit(request)
            .expect("there is a place in the queue")
    }

    fn blocks_in_use(&self) -> i64 {
        self.handle.metrics().kv_blocks_in_use.get()
    }
}

fn request(prompt: &[u32], max_new_tokens: usize, params: SamplingParams) -> GenerationRequest {
    GenerationRequest {
        prompt: prompt.into(),
        choices: 1,
        params,
        max_new_tokens,
        min_new_tokens: 0,
        stop_token_ids: vec![],
        priority: 0,
        cache_salt: 0,
        prompt_logprobs: None,
    }
}

fn greedy() -> SamplingParams {
    SamplingParams {
        temperature: 0.0,
        ..SamplingParams::default()
    }
}

#[derive(Debug, PartialEq)]
struct Outcome {
    tokens: Vec<u32>,
    logprobs: Vec<Option<Logprobs>>,
    prompt: Vec<Option<Logprobs>>,
    reason: FinishReason,
}

/// Everything that a choice gets.
fn collect(mut events: Receiver<EngineEvent>) -> Outcome {
    let Some(EngineEvent::Prompt {
        logprobs: prompt, ..
    }) = events.blocking_recv()
    else {
        panic!("the prompt comes first");
    };
    let (mut tokens, mut logprobs) = (vec![], vec![]);
    loop {
        match events
            .blocking_recv()
            .expect("a choice ends with its finish")
        {
            EngineEvent::Token {
                token,
                logprobs: reported,
            } => {
                tokens.push(token);
                logprobs.push(reported);
            }
            EngineEvent::Finished(reason) => {
                assert!(
                    events.blocking_recv().is_none(),
                    "nothing follows the finish"
                );
                return Outcome {
                    tokens,
                    logprobs,
                    prompt,
                    reason,
                };
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// Requests of mixed lengths, many of which share a beginning.
fn mixed_requests(rng: &mut StdRng, count: usize) -> Vec<GenerationRequest> {
    let shared: Vec<u32> = (0..40).map(|_| rng.random_range(0..VOCAB)).collect();
    (0..count)
        .map(|index| {
            let mut prompt = shared[..rng.random_range(0..=shared.len())].to_vec();
            prompt.extend((0..rng.random_range(1..20)).map(|_| rng.random_range(0..VOCAB)));
            let params = SamplingParams {
                temperature: if index % 2 == 0 { 0.0 } else { 0.9 },
                presence_penalty: 0.4,
                repetition_penalty: 1.1,
                seed: rng.random(),
                logprobs: Some(3),
                ..SamplingParams::default()
            };
            request(&prompt, rng.random_range(1..=36), params)
        })
        .collect()
}

/// 64 requests together, in a cache so small that sequences are preempted, get what each gets alone: tokens and, to the last
/// bit, log-probabilities.
#[test]
fn company_does_not_change_an_answer() {
    let rng = &mut rng();
    let requests = mixed_requests(rng, 64);
    let alone = start(24, 96, false, 64);
    let want: Vec<Outcome> = requests
        .iter()
        .map(|r| collect(alone.submit(r.clone()).remove(0)))
        .collect();
    alone.stop();
    for (blocks, tokens, prefix_caching) in [
        (400, 96, false),
        (30, 7, false),
        (30, 16, true),
        (400, 33, true),
    ] {
        let together = start(blocks, tokens, prefix_caching, 64);
        let events: Vec<_> = requests
            .iter()
            .map(|r| together.submit(r.clone()).remove(0))
            .collect();
        let got: Vec<Outcome> = events.into_iter().map(collect).collect();
        assert_eq!(
            got, want,
            "{blocks} blocks, {tokens} tokens a step, prefix caching {prefix_caching}"
        );
        let metrics = together.handle.metrics();
        assert!(
            blocks > 30 || metrics.preemptions.get() > 0,
            "a small cache must have preempted"
        );
        assert!(
            !prefix_caching || metrics.cached_tokens.get() > 0,
            "shared prompts must have been reused"
        );
        together.stop();
    }
}

/// Choice `i` of a request is what a request of its own with `seed + i` gets, although its prompt was computed once.
#[test]
fn choices_are_requests_of_their_own() {
    let rng = &mut rng();
    for max_new_tokens in [1, 2, 17] {
        let engine = start(60, 32, true, 8);
        let prompt: Vec<u32> = (0..23).map(|_| rng.random_range(0..VOCAB)).collect();
        let params = SamplingParams {
            seed: rng.random(),
            logprobs: Some(1),
            ..SamplingParams::default()
        };
        let several = GenerationRequest {
            choices: 5,
            ..request(&prompt, max_new_tokens, params.clone())
        };
        let got: Vec<Outcome> = engine.submit(several).into_iter().map(collect).collect();
        for (index, got) in got.iter().enumerate() {
            let params = SamplingParams {
                seed: params.seed.wrapping_add(index as u64),
                ..params.clone()
            };
            let want = collect(
                engine
                    .submit(request(&prompt, max_new_tokens, params))
                    .remove(0),
            );
            assert_eq!(*got, want, "choice {index}");
        }
        engine.stop();
    }
}

/// A prompt's own log-probabilities do not depend on how it was cut, and agree with those of generating it.
#[test]
fn prompt_logprobs_are_those_of_generation() {
    let rng = &mut rng();
    let prompt: Vec<u32> = (0..9).map(|_| rng.random_range(0..VOCAB)).collect();
    let engine = start(60, 32, true, 8);
    let params = SamplingParams {
        logprobs: Some(2),
        ..greedy()
    };
    let generated = collect(
        engine
            .submit(request(&prompt, 20, params.clone()))
            .remove(0),
    );
    let mut whole = prompt.clone();
    whole.extend(&generated.tokens);
    for (tokens, max_new_tokens) in [(32, 0), (5, 0), (32, 3)] {
        let engine = start(60, tokens, true, 8);
        let scored = GenerationRequest {
            prompt_logprobs: Some(2),
            ..request(&whole, max_new_tokens, params.clone())
        };
        let got = collect(engine.submit(scored).remove(0));
        assert_eq!(got.tokens.len(), max_new_tokens);
        assert_eq!(got.prompt.len(), whole.len());
        assert_eq!(got.prompt[0], None, "the first token follows nothing");
        assert_eq!(
            got.prompt[prompt.len()..],
            generated.logprobs[..],
            "budget {tokens}"
        );
        engine.stop();
    }
    engine.stop();
}

#[test]
fn stop_tokens_end_a_choice_once_it_may_end() {
    let engine = start(60, 32, true, 8);
    let free = collect(engine.submit(request(&[5, 6, 7], 12, greedy())).remove(0));
    assert_eq!((free.tokens.len(), free.reason), (12, FinishReason::Length));
    let stop = free.tokens[6];
    let at = free
        .tokens
        .iter()
        .position(|token| *token == stop)
        .expect("it is there");
    let stopping = GenerationRequest {
        stop_token_ids: vec![stop],
        ..request(&[5, 6, 7], 12, greedy())
    };
    let stopped = collect(engine.submit(stopping.clone()).remove(0));
    assert_eq!(
        (&stopped.tokens[..], stopped.reason),
        (&free.tokens[..at], FinishReason::Stop { token: stop })
    );
    let patient = GenerationRequest {
        min_new_tokens: 9,
        ..stopping
    };
    let patient = collect(engine.submit(patient).remove(0));
    assert!(patient.tokens.len() >= 9 && !patient.tokens[..9].contains(&stop));
    engine.stop();
}

/// A thousand requests of which a third are dropped at any moment, waiting or running, leave no block in use.
#[test]
fn dropped_receivers_free_their_blocks() {
    let rng = &mut rng();
    let engine = start(80, 24, true, 64);
    let requests = mixed_requests(rng, 1000);
    let (mut kept, mut dropped) = (vec![], vec![]);
    for (index, request) in requests.into_iter().enumerate() {
        let events = loop {
            match engine.handle.submit(request.clone()) {
                Ok(mut events) => break events.remove(0),
                Err(SubmitError::QueueFull { places }) => {
                    assert_eq!(places, 64);
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err(error) => panic!("{error}"),
            }
        };
        if index % 3 == 0 {
            dropped.push(events)
        } else {
            kept.push(events)
        }
        if rng.random_bool(0.3) && !dropped.is_empty() {
            dropped.swap_remove(rng.random_range(0..dropped.len()));
        }
    }
    drop(dropped);
    let finished = kept.into_iter().map(collect).count();
    assert_eq!(finished, 666);
    let deadline = Instant::now() + Duration::from_secs(10);
    while engine.blocks_in_use() > 0 {
        assert!(
            Instant::now() < deadline,
            "{} blocks are still in use",
            engine.blocks_in_use()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    engine.stop();
}

/// A request that can never run is told so, and the next one is served.
#[test]
fn impossible_requests_fail_alone() {
    let engine = start(60, 32, true, 8);
    let too_long = vec![1; POSITIONS + 1];
    let mut events = engine.submit(request(&too_long, 1, greedy())).remove(0);
    assert!(matches!(
        events.blocking_recv(),
        Some(EngineEvent::Failed(_))
    ));
    assert_eq!(
        collect(engine.submit(request(&[1, 2], 3, greedy())).remove(0))
            .tokens
            .len(),
        3
    );
    engine.stop();
}
