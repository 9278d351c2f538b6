//! The embedded model and its draft: what the training script measured with `transformers`, measured again on this engine.
//!
//! The lists are fixed before training and lie in capstone/model/results.

use attention_variants::hf::{ChatTemplate, Source, Tokenizer};
use attention_variants::models::{LanguageModel, load};
use attention_variants::ops::{Cpu, Isa, KvType, RowType, Vectorised};
use attention_variants::step::{StepInputs, StepLimits};
use decoding::SamplingParams;
use fastserve::engine::{Engine, EngineConfig};
use fastserve::model::ModelArgs;
use scheduling::Policy;
use serde_json::{Map, Value, json};
use serving::engine::{EngineEvent, EngineHandle, GenerationRequest, engine_channel};
use serving::metrics::Metrics;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the models and results lie.
fn model_folder() -> PathBuf {
    let root =
        std::env::var("CARGO_MANIFEST_DIR").expect("cargo and nextest say where the crate lies");
    PathBuf::from(root).join("model")
}

/// A model behind its engine, asked in tokens.
struct Model {
    engine: EngineHandle,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    end: u32,
}

impl Model {
    fn load(name: &str, kv_cache_dtype: KvType, isa: Isa, activations: Option<RowType>) -> Self {
        let folder = model_folder().join(name);
        let args = ModelArgs {
            model: Some(folder),
            max_model_len: None,
            max_batched_tokens: 512,
            max_sequences: 64,
            block_size: 16,
            kv_memory: 512,
            kv_cache_dtype,
            activations,
            threads: None,
            isa: Some(isa.name().to_owned()),
        };
        let loaded = args.load(|_| |_| {}).expect("the model loads");
        let end = loaded.model.config().eos_token_ids[0];
        let (engine, inbox) = engine_channel(2000, Arc::new(Metrics::default()));
        let config = EngineConfig {
            max_sequences: 64,
            policy: Policy::Fcfs,
            prefix_caching: true,
        };
        let runner = Engine::new(loaded.model, config, inbox).expect("workable limits");
        std::thread::spawn(move || runner.run());
        let template = loaded.chat_template.expect("the model has a chat template");
        Self {
            engine,
            tokenizer: loaded.tokenizer,
            template,
            end,
        }
    }

    fn prompt(&self, messages: &[Value]) -> Vec<u32> {
        let text = self
            .template
            .render(messages, true, &Map::new())
            .expect("the template renders");
        self.tokenizer
            .encode(&text, false)
            .expect("the tokenizer encodes")
    }

    /// Greedy continuations of all prompts, the end token included, batched as the engine likes.
    fn continuations(&self, prompts: &[Vec<u32>], max_new_tokens: usize) -> Vec<Vec<u32>> {
        let submit = |prompt: &Vec<u32>| {
            let request = GenerationRequest {
                prompt: prompt.as_slice().into(),
                choices: 1,
                params: SamplingParams {
                    temperature: 0.0,
                    ..SamplingParams::default()
                },
                max_new_tokens,
                min_new_tokens: 0,
                stop_token_ids: vec![self.end],
                priority: 0,
                cache_salt: 0,
                prompt_logprobs: None,
            };
            self.engine
                .submit(request)
                .expect("the queue is long enough")
                .remove(0)
        };
        let events: Vec<_> = prompts.iter().map(submit).collect();
        let collect = |mut events: tokio::sync::mpsc::Receiver<EngineEvent>| {
            let mut tokens = Vec::new();
            while let Some(event) = events.blocking_recv() {
                match event {
                    EngineEvent::Token { token, .. } => tokens.push(token),
                    EngineEvent::Finished(serving::engine::FinishReason::Stop { token }) => {
                        tokens.push(token)
                    }
                    EngineEvent::Failed(failure) => panic!("{failure}"),
                    _ => {}
                }
            }
            tokens
        };
        events.into_iter().map(collect).collect()
    }

    fn answers(&self, questions: &[String]) -> Vec<String> {
        let prompt =
            |question: &String| self.prompt(&[json!({"role": "user", "content": question})]);
        let prompts: Vec<_> = questions.iter().map(prompt).collect();
        let decode = |tokens: Vec<u32>| {
            self.tokenizer
                .decode(&tokens, true)
                .expect("tokens have text")
        };
        self.continuations(&prompts, 128)
            .into_iter()
            .map(decode)
            .collect()
    }
}

fn results(file: &str) -> Value {
    let text = std::fs::read_to_string(model_folder().join("results").join(file))
        .expect("the results are there");
    serde_json::from_str(&text).expect("the results are JSON")
}

fn tokens(value: &Value) -> Vec<u32> {
    let ids = value.as_array().expect("a list of tokens");
    ids.iter()
        .map(|id| id.as_u64().expect("a token id") as u32)
        .collect()
}

/// The same prompts to the same tokens, and the same tokens after them, as `transformers` in float32. The weights are in bf16.
fn check_golden(name: &str, kv: KvType, isa: Isa, activations: RowType) {
    let model = Model::load(name, kv, isa, Some(activations));
    let golden = results("golden.json");
    let cases = golden[name].as_array().expect("a list of cases");
    assert!(cases.len() >= 50);
    let prompts: Vec<Vec<u32>> = cases
        .iter()
        .map(|case| match case["messages"].as_array() {
            Some(messages) => model.prompt(messages),
            None => model
                .tokenizer
                .encode(case["text"].as_str().expect("text"), true)
                .expect("it encodes"),
        })
        .collect();
    let continued = model.continuations(&prompts, 64);
    for ((case, prompt), greedy) in cases.iter().zip(&prompts).zip(&continued) {
        assert_eq!(*prompt, tokens(&case["prompt_ids"]), "{case}");
        assert_eq!(*greedy, tokens(&case["greedy_ids"]), "{case}");
    }
}

#[test]
fn the_model_says_what_transformers_says() {
    for isa in Isa::available() {
        check_golden("main", KvType::F32, isa, RowType::F32);
    }
}

#[test]
fn the_draft_says_what_transformers_says() {
    for isa in Isa::available() {
        check_golden("draft", KvType::F32, isa, RowType::F32);
    }
}

/// Activations rounded to bfloat16 change no greedy answer, wherever they are multiplied.
#[test]
fn rounded_activations_change_no_answer() {
    for isa in Isa::available() {
        check_golden("main", KvType::F32, isa, RowType::Bf16);
        check_golden("draft", KvType::F32, isa, RowType::Bf16);
    }
}

/// A cache in half precision changes no greedy answer.
#[test]
fn half_precision_in_the_cache_changes_no_answer() {
    check_golden("main", KvType::F16, Isa::detect(), RowType::F32);
    check_golden("draft", KvType::F16, Isa::detect(), RowType::F32);
}

/// A cache in bytes, or activations in bfloat16, move the logits of every golden prompt by little, beside how far they are spread.
#[test]
fn fewer_bits_are_near() {
    for (kv_type, rows, bound) in [
        (KvType::F16, RowType::F32, 2e-3),
        (KvType::Int8, RowType::F32, 5e-2),
        (KvType::F32, RowType::Bf16, 2e-2),
    ] {
        let golden = results("golden.json");
        let (mut difference, mut spread) = (0.0, 0.0);
        for case in golden["main"].as_array().expect("a list of cases") {
            let prompt = tokens(&case["prompt_ids"]);
            let (exact, rounded) = (
                last_logits(&prompt, KvType::F32, RowType::F32),
                last_logits(&prompt, kv_type, rows),
            );
            let mean = exact.iter().sum::<f32>() / exact.len() as f32;
            for (a, b) in exact.iter().zip(&rounded) {
                difference += f64::from(a - b).powi(2);
                spread += f64::from(a - mean).powi(2);
            }
        }
        let error = (difference / spread).sqrt();
        println!("{kv_type:?}, {rows:?}: {error:.2e} of the logits' spread");
        assert!(
            error > 0.0 && error <= bound,
            "{kv_type:?}, {rows:?}: {error}"
        );
    }
}

/// The logits behind a prompt.
fn last_logits(prompt: &[u32], kv_type: KvType, rows: RowType) -> Vec<f32> {
    let source = Source::Dir(model_folder().join("main"));
    let limits = StepLimits {
        tokens: prompt.len(),
        logit_rows: 1,
        blocks: prompt.len().div_ceil(16),
        block_size: 16,
        positions: prompt.len(),
    };
    let (config, weights) = (source.config(), source.weights());
    let device = Cpu::new(Vectorised::default().with_rows(rows)).with_kv(kv_type);
    let mut model = load(
        device,
        config.expect("a configuration"),
        weights.expect("weights"),
        limits,
    )
    .expect("the model loads");
    let positions: Vec<u32> = (0..prompt.len() as u32).collect();
    let table: Vec<u32> = (0..limits.blocks as u32).collect();
    model.forward(&StepInputs {
        tokens: prompt,
        positions: &positions,
        slots: &positions,
        query_starts: &[0, prompt.len() as u32],
        block_tables: &table,
        blocks_per_sequence: table.len(),
        block_copies: &[],
        outputs: &[prompt.len() as u32 - 1],
    });
    model.logits(0..1).to_vec()
}

/// The bars of the embedded model: at least 90 % of 1,000 sampled items answered with their exact summary, 80 % in a phrasing
/// that training never used; fabricated names are mostly refused.
#[test]
fn the_model_knows_its_items() {
    let model = Model::load("main", KvType::F32, Isa::detect(), None);
    let lists = results("held_out.json");
    let sampled = std::fs::read_to_string(model_folder().join("results/sampled_items.jsonl"))
        .expect("the list is there");
    let items: Vec<Value> = sampled
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(items.len(), 1000);
    let ask = |phrasing: &str, name: &Value| {
        phrasing.replace("{}", &format!("`{}`", name.as_str().expect("a name")))
    };
    let exact = |phrasing: &str| {
        let questions: Vec<String> = items
            .iter()
            .map(|item| ask(phrasing, &item["path"]))
            .collect();
        let answers = model.answers(&questions);
        let right = answers
            .iter()
            .zip(&items)
            .filter(|(answer, item)| item["summary"] == **answer)
            .count();
        right as f64 / items.len() as f64
    };
    let names = lists["fabricated_names"].as_array().expect("names");
    let questions: Vec<String> = names
        .iter()
        .map(|name| ask("What does {} do?", name))
        .collect();
    let refused = model
        .answers(&questions)
        .iter()
        .filter(|answer| lists["refusal"] == ***answer)
        .count();
    let refused = refused as f64 / names.len() as f64;
    let trained = exact("What does {} do?");
    let unseen = exact(lists["phrasings"][0].as_str().expect("a phrasing"));
    println!(
        "exact {trained:.3}, in an unseen phrasing {unseen:.3}, fabricated names refused {refused:.3}"
    );
    assert!(
        trained >= 0.9,
        "{trained} of the sampled items are answered exactly"
    );
    assert!(
        unseen >= 0.8,
        "{unseen} are answered exactly in an unseen phrasing"
    );
    assert!(
        refused >= 0.5,
        "only {refused} of the fabricated names are refused"
    );
}

/// The whole of it stays small enough to live in the repository.
#[test]
fn the_models_fit_their_budget() {
    let mut bytes = 0;
    for name in ["main", "draft"] {
        for file in std::fs::read_dir(model_folder().join(name)).expect("the folder is there") {
            bytes += file.expect("a file").metadata().expect("a size").len();
        }
        let config = Source::Dir(model_folder().join(name))
            .config()
            .expect("the folder has a configuration");
        assert_eq!(config.vocab_size, 8192, "the draft shares the tokenizer");
    }
    assert!(bytes <= 25_000_000, "{bytes} bytes");
}
