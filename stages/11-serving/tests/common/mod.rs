//! A server on a real socket over a scripted engine, for tests that speak HTTP to it.
//!
//! The tokenizer has one token for each byte (its id is the byte), so texts and tokens are easy to tell from each other;
//! token 256 ends a sequence.
#![allow(dead_code)] // each test target uses its own part

use attention_variants::hf::Source;
use decoding::{Logprobs, SamplingParams};
use serde_json::{Map, Value, json};
use serving::engine::{
    EngineEvent, EngineFailure, EngineHandle, EngineInbox, EngineRequest, FinishReason,
    GenerationRequest, engine_channel,
};
use serving::metrics::Metrics;
use serving::{App, Drained, Limits, ServedModel};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The end of a sequence.
pub const END: u32 = 256;
/// Tokens of prompt and answer.
pub const CONTEXT: usize = 2048;

/// The tokens of a choice of a request.
pub type TokensOf = dyn Fn(&GenerationRequest, usize) -> Vec<u32> + Send + Sync;

/// What the engine does with requests.
#[derive(Clone)]
pub struct Script {
    /// The tokens of choice `i`.
    pub tokens: Arc<TokensOf>,
    /// Time before each token.
    pub delay: Duration,
    /// Keeps requests in the queue while set.
    pub hold: Arc<AtomicBool>,
    /// Gives choices up after so many tokens.
    pub fail_after: Option<usize>,
}

impl Script {
    /// Answers every request with a text.
    pub fn says(text: &str) -> Self {
        let tokens: Vec<u32> = text.bytes().map(u32::from).chain([END]).collect();
        Self {
            tokens: Arc::new(move |_, _| tokens.clone()),
            delay: Duration::ZERO,
            hold: Arc::default(),
            fail_after: None,
        }
    }

    /// Answers `x` without end.
    pub fn endless(delay: Duration) -> Self {
        Self {
            tokens: Arc::new(|request, _| vec![u32::from(b'x'); request.max_new_tokens]),
            delay,
            ..Self::says("")
        }
    }
}

/// A running server.
pub struct Server {
    pub url: String,
    pub app: Arc<App>,
    /// Choices whose receiver was gone before their end.
    pub cancelled: Arc<AtomicUsize>,
    /// The prompts that reached the engine.
    pub prompts: Arc<std::sync::Mutex<Vec<Vec<u32>>>>,
    pub stop: Option<oneshot::Sender<()>>,
    pub ended: JoinHandle<std::io::Result<Drained>>,
    pub client: reqwest::Client,
}

/// Starts a server with room for `max_queue` waiting requests.
pub async fn start(script: Script, limits: Limits, max_queue: usize) -> Server {
    let (handle, inbox) = engine_channel(max_queue, Arc::new(Metrics::default()));
    let cancelled = Arc::new(AtomicUsize::new(0));
    let prompts: Arc<std::sync::Mutex<Vec<Vec<u32>>>> = Arc::default();
    let (counter, seen) = (Arc::clone(&cancelled), Arc::clone(&prompts));
    std::thread::spawn(move || engine(inbox, script, counter, seen));
    let server = listen(limits, handle, cancelled, prompts).await;
    eventually("ready", || server.app.engine.is_ready()).await;
    server
}

/// Starts a server whose engine is gone.
pub async fn without_engine() -> Server {
    let (handle, inbox) = engine_channel(4, Arc::new(Metrics::default()));
    inbox.set_ready();
    drop(inbox);
    listen(Limits::default(), handle, Arc::default(), Arc::default()).await
}

/// Starts a server whose engine took a request and never came back from its step.
pub async fn with_hanging_engine(limits: Limits) -> Server {
    let (handle, mut inbox) = engine_channel(4, Arc::new(Metrics::default()));
    std::thread::spawn(move || {
        inbox.set_ready();
        let held = inbox.wait();
        std::thread::sleep(Duration::from_secs(600));
        drop(held);
    });
    let server = listen(limits, handle, Arc::default(), Arc::default()).await;
    eventually("ready", || server.app.engine.is_ready()).await;
    server
}

async fn listen(
    limits: Limits,
    handle: EngineHandle,
    cancelled: Arc<AtomicUsize>,
    prompts: Arc<std::sync::Mutex<Vec<Vec<u32>>>>,
) -> Server {
    let app = App::new(model(), limits, handle, "<title>page</title>", "0.0.0");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(serving::run(listener, Arc::clone(&app), async {
        let _ = stopped.await;
    }));
    Server {
        url,
        app,
        cancelled,
        prompts,
        stop: Some(stop),
        ended,
        client: reqwest::Client::new(),
    }
}

/// Starts a server with defaults.
pub async fn serve(script: Script) -> Server {
    start(script, Limits::default(), 64).await
}

impl Server {
    /// Posts JSON.
    pub async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        let request = self.client.post(format!("{}{path}", self.url)).json(body);
        request.send().await.unwrap()
    }

    /// Posts JSON and reads a successful answer.
    pub async fn ask(&self, path: &str, body: &Value) -> Value {
        let response = self.post(path, body).await;
        let status = response.status();
        let value: Value = response.json().await.unwrap();
        assert_eq!(status, 200, "{value}");
        value
    }

    /// Posts JSON and reads a stream: its chunks without the closing `[DONE]`, which is checked.
    pub async fn stream(&self, path: &str, body: &Value) -> Vec<Value> {
        let response = self.post(path, body).await;
        assert_eq!(response.status(), 200);
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert_eq!(kind, "text/event-stream");
        let text = response.text().await.unwrap();
        assert!(text.ends_with("data: [DONE]\n\n"), "{text:?}");
        let events = text.trim_end().split("\n\n");
        let mut data: Vec<&str> = events
            .map(|event| event.strip_prefix("data: ").unwrap())
            .collect();
        data.pop();
        data.iter()
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        let request = self.client.get(format!("{}{path}", self.url));
        request.send().await.unwrap()
    }
}

/// A chat request with some fields changed.
pub fn chat(change: Value) -> Value {
    with(
        json!({"model": "bytes", "messages": [{"role": "user", "content": "hi"}]}),
        change,
    )
}

/// A completion request with some fields changed.
pub fn completion(change: Value) -> Value {
    with(json!({"model": "bytes", "prompt": "hi"}), change)
}

fn with(mut base: Value, change: Value) -> Value {
    let fields: Map<String, Value> = change.as_object().unwrap().clone();
    base.as_object_mut().unwrap().extend(fields);
    base
}

/// Waits until something holds, five seconds at most.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not happen within five seconds: {what}");
}

fn model() -> ServedModel {
    let template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";
    let tokenizer = tokenizer_json().to_string().into_bytes().leak();
    let config = json!({"chat_template": template})
        .to_string()
        .into_bytes()
        .leak();
    let files: Vec<(&'static str, &'static [u8])> = vec![
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", config),
    ];
    let source = Source::Embedded(files.leak());
    ServedModel {
        id: "bytes".to_owned(),
        created: 1,
        max_model_len: CONTEXT,
        vocab_size: 257,
        eos_token_ids: vec![END],
        tokenizer: Arc::new(source.tokenizer().unwrap()),
        chat_template: source.chat_template().unwrap().map(Arc::new),
        default_params: SamplingParams::default(),
    }
}

fn tokenizer_json() -> Value {
    let printable = |byte: u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut next = 0x100;
    let mut vocab = Map::new();
    for byte in 0..=0xFF {
        let code = if printable(byte) {
            byte
        } else {
            next += 1;
            next - 1
        };
        vocab.insert(char::from_u32(code).unwrap().to_string(), byte.into());
    }
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false});
    json!({
        "version": "1.0",
        "added_tokens": [{"id": END, "content": "<|end|>", "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false}],
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    })
}

/// The engine thread: one thread a request, so that requests overlap.
fn engine(
    mut inbox: EngineInbox,
    script: Script,
    cancelled: Arc<AtomicUsize>,
    prompts: Arc<std::sync::Mutex<Vec<Vec<u32>>>>,
) {
    inbox.set_ready();
    while let Some(request) = inbox.wait() {
        prompts
            .lock()
            .unwrap()
            .push(request.request.prompt.to_vec());
        let (script, cancelled) = (script.clone(), Arc::clone(&cancelled));
        std::thread::spawn(move || play(request, &script, &cancelled));
    }
}

fn play(queued: EngineRequest, script: &Script, cancelled: &AtomicUsize) {
    while script.hold.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(queued.place);
    let request = &queued.request;
    for (index, events) in queued.events.iter().enumerate() {
        let logprobs = match request.prompt_logprobs {
            Some(top) if index == 0 => {
                let of = |token: &u32| Some(fake_logprobs(*token, top));
                let rest = request.prompt[1..].iter().map(of);
                [None].into_iter().chain(rest).collect()
            }
            _ => Vec::new(),
        };
        let prompt = EngineEvent::Prompt {
            cached_tokens: 1,
            logprobs,
        };
        let _ = events.try_send(prompt);
    }
    let mut tokens: Vec<_> = (0..request.choices)
        .map(|index| (script.tokens)(request, index).into_iter())
        .collect();
    let mut open: Vec<_> = queued
        .events
        .iter()
        .enumerate()
        .map(|(i, e)| (i, 0, e))
        .collect();
    while !open.is_empty() {
        std::thread::sleep(script.delay);
        open.retain_mut(|(index, count, events)| {
            if events.is_closed() {
                cancelled.fetch_add(1, Ordering::AcqRel);
                return false;
            }
            if script.fail_after == Some(*count) {
                let failure = EngineFailure("out of luck".to_owned());
                let _ = events.try_send(EngineEvent::Failed(failure));
                return false;
            }
            if *count == request.max_new_tokens {
                let _ = events.try_send(EngineEvent::Finished(FinishReason::Length));
                return false;
            }
            let token = tokens[*index].next().unwrap_or(END);
            if request.stop_token_ids.contains(&token) {
                let _ = events.try_send(EngineEvent::Finished(FinishReason::Stop { token }));
                return false;
            }
            *count += 1;
            let logprobs = request.params.logprobs.map(|top| fake_logprobs(token, top));
            let _ = events.try_send(EngineEvent::Token { token, logprobs });
            true
        });
    }
}

/// Log-probabilities that can be told from the token.
fn fake_logprobs(token: u32, top: usize) -> Logprobs {
    Logprobs {
        logprob: -(token as f32) / 256.0,
        top: (0..top as u32)
            .map(|rank| (rank + 65, -(rank as f32)))
            .collect(),
    }
}
