//! The pictures of "A request's way through the engine", drawn from runs of the engine on the embedded model.
//!
//! An engine takes any model, so a model that notes each step before it computes it sees all that the engine asks of one. Requests
//! come at fixed steps, and the engine runs on the test's own thread, so every run is the same.

use attention_variants::config::ModelConfig;
use attention_variants::hf::{ChatTemplate, Tokenizer};
use attention_variants::models::{LanguageModel, load};
use attention_variants::ops::Cpu;
use attention_variants::step::{StepInputs, StepLimits};
use benches::trace::{Cell, Grid, check};
use decoding::SamplingParams;
use fastserve::embedded;
use fastserve::engine::{Engine, EngineConfig};
use scheduling::Policy;
use serde_json::{Map, Value, json};
use serving::engine::{EngineEvent, EngineHandle, GenerationRequest, engine_channel};
use serving::metrics::Metrics;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc::Receiver;

/// What a model was asked for in one step.
#[derive(Clone, Default)]
struct Step {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    slots: Vec<u32>,
    query_starts: Vec<usize>,
    /// Blocks of each sequence, as many as the step's tokens need.
    tables: Vec<Vec<u32>>,
    /// Rows whose logits are wanted.
    rows: Vec<u32>,
}

/// A request that comes while step `after` is computed; 0 is before the first.
struct Arrival {
    after: usize,
    request: GenerationRequest,
}

/// A model that notes its steps, and lets requests come in the middle of them.
struct Watched {
    model: Box<dyn LanguageModel>,
    log: Arc<Mutex<Log>>,
    /// Gone with the last arrival, so that the engine ends when all is answered.
    handle: Option<EngineHandle>,
    arrivals: VecDeque<Arrival>,
}

#[derive(Default)]
struct Log {
    steps: Vec<Step>,
    /// The events of each request, in the order of arrival.
    events: Vec<Receiver<EngineEvent>>,
}

impl Watched {
    /// Submits what comes by the end of step `step`.
    fn arrive(&mut self, step: usize) {
        while self.arrivals.front().is_some_and(|next| next.after <= step) {
            let next = self.arrivals.pop_front().expect("one is in front");
            let handle = self.handle.as_ref().expect("kept until the last arrival");
            let mut events = handle.submit(next.request).expect("the queue has room");
            self.log.lock().unwrap().events.push(events.remove(0));
        }
        if self.arrivals.is_empty() {
            self.handle = None;
        }
    }
}

impl LanguageModel for Watched {
    fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    fn limits(&self) -> StepLimits {
        self.model.limits()
    }

    fn forward(&mut self, step: &StepInputs<'_>) {
        let starts: Vec<usize> = step.query_starts.iter().map(|row| *row as usize).collect();
        let block_size = self.model.limits().block_size;
        let tables = step.block_tables.chunks(step.blocks_per_sequence);
        let tables = tables.zip(&starts[1..]).map(|(table, end)| {
            let stored = step.positions[end - 1] as usize + 1;
            table[..stored.div_ceil(block_size)].to_vec()
        });
        let seen = Step {
            tokens: step.tokens.to_vec(),
            positions: step.positions.to_vec(),
            slots: step.slots.to_vec(),
            tables: tables.collect(),
            query_starts: starts,
            rows: step.outputs.to_vec(),
        };
        let count = {
            let mut log = self.log.lock().unwrap();
            log.steps.push(seen);
            log.steps.len()
        };
        self.arrive(count);
        self.model.forward(step);
    }

    fn logits(&mut self, outputs: Range<usize>) -> &[f32] {
        self.model.logits(outputs)
    }
}

/// A piece of work: what one step computed of one request.
#[derive(Clone, Copy, PartialEq)]
struct Piece {
    request: usize,
    start: usize,
    len: usize,
    /// Which of the step's sequences it is.
    index: usize,
}

/// A run to its end.
struct Run {
    steps: Vec<Step>,
    /// Prompt and answer of each request, in the order of arrival.
    sequences: Vec<Vec<u32>>,
    prompts: Vec<usize>,
    arrivals: Vec<usize>,
}

impl Run {
    /// The work of every step, each piece with the request whose tokens it has.
    fn pieces(&self) -> Vec<Vec<Piece>> {
        let mut computed: Vec<Option<usize>> = vec![None; self.sequences.len()];
        let mut of_step = |(at, step): (usize, &Step)| {
            let piece = |index: usize| {
                let rows = step.query_starts[index]..step.query_starts[index + 1];
                let (start, len) = (step.positions[rows.start] as usize, rows.len());
                let fits = |request: &usize| {
                    let known = &self.sequences[*request];
                    self.arrivals[*request] <= at
                        && computed[*request].is_none_or(|computed| computed == start)
                        && known.get(start..start + len) == Some(&step.tokens[rows.clone()])
                };
                let found: Vec<usize> = (0..self.sequences.len()).filter(fits).collect();
                let [request] = found[..] else {
                    panic!("the tokens from position {start} on belong to {found:?}");
                };
                computed[request] = Some(start + len);
                Piece {
                    request,
                    start,
                    len,
                    index,
                }
            };
            (0..step.tables.len()).map(piece).collect()
        };
        self.steps.iter().enumerate().map(&mut of_step).collect()
    }

    /// Steps, counted from one, as labels.
    fn columns(&self) -> Vec<String> {
        (1..=self.steps.len())
            .map(|step| step.to_string())
            .collect()
    }
}

/// The embedded model's words and tokens.
struct Speech {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    end: u32,
}

impl Speech {
    fn load() -> Self {
        let source = embedded::SOURCE;
        let template = source.chat_template().expect("the template is sound");
        Self {
            tokenizer: source.tokenizer().expect("the tokenizer is sound"),
            template: template.expect("the model has one"),
            end: source
                .config()
                .expect("it has a configuration")
                .eos_token_ids[0],
        }
    }

    /// A greedy request: questions with the answers between them, the last question open.
    fn ask(&self, turns: &[&str]) -> GenerationRequest {
        let role = |index: usize| ["user", "assistant"][index % 2];
        let messages: Vec<Value> = (turns.iter().enumerate())
            .map(|(index, text)| json!({"role": role(index), "content": text}))
            .collect();
        let text = self.template.render(&messages, true, &Map::new());
        let text = text.expect("the conversation renders");
        let prompt = self
            .tokenizer
            .encode(&text, false)
            .expect("text has tokens");
        GenerationRequest {
            prompt: prompt.into(),
            choices: 1,
            params: SamplingParams {
                temperature: 0.0,
                ..SamplingParams::default()
            },
            max_new_tokens: 64,
            min_new_tokens: 0,
            stop_token_ids: vec![self.end],
            priority: 0,
            cache_salt: 0,
            prompt_logprobs: None,
        }
    }
}

/// Serves the arrivals, in order, to their ends.
fn run(tokens: usize, blocks: usize, block_size: usize, arrivals: Vec<Arrival>) -> Run {
    let limits = StepLimits {
        tokens,
        logit_rows: 8,
        blocks,
        block_size,
        positions: 256,
    };
    let source = embedded::SOURCE;
    let config = source.config().expect("it has a configuration");
    let weights = source.weights().expect("it has weights");
    let model = load(Cpu::default(), config, weights, limits).expect("the model loads");
    let (handle, inbox) = engine_channel(arrivals.len(), Arc::new(Metrics::default()));
    let log = Arc::new(Mutex::new(Log::default()));
    let prompts = arrivals
        .iter()
        .map(|arrival| arrival.request.prompt.clone());
    let mut sequences: Vec<Vec<u32>> = prompts.map(|prompt| prompt.to_vec()).collect();
    let prompts = sequences.iter().map(Vec::len).collect();
    let come = arrivals.iter().map(|arrival| arrival.after).collect();
    let mut watched = Watched {
        model: Box::new(model),
        log: Arc::clone(&log),
        handle: Some(handle),
        arrivals: arrivals.into(),
    };
    watched.arrive(0);
    let config = EngineConfig {
        max_sequences: 8,
        policy: Policy::Fcfs,
        prefix_caching: true,
    };
    let engine = Engine::new(Box::new(watched), config, inbox).expect("workable limits");
    engine.run();
    let log = std::mem::take(&mut *log.lock().unwrap());
    for (sequence, mut events) in sequences.iter_mut().zip(log.events) {
        let mut finished = false;
        while let Ok(event) = events.try_recv() {
            match event {
                EngineEvent::Token { token, .. } => sequence.push(token),
                EngineEvent::Finished(_) => finished = true,
                EngineEvent::Prompt { .. } => {}
                EngineEvent::Failed(failure) => panic!("{failure}"),
            }
        }
        assert!(finished, "every request is answered");
    }
    Run {
        steps: log.steps,
        sequences,
        prompts,
        arrivals: come,
    }
}

fn name(request: usize) -> String {
    ["A", "B", "C", "D"][request].to_owned()
}

/// Four requests of different lengths under a budget of 24 tokens a step.
fn mixed_run() -> Run {
    let speech = Speech::load();
    let turns = [
        "What does `std::vec::Vec::push` do?",
        "Appends an element to the back of a collection.",
        "What does `std::vec::Vec::pop` do?",
        "Removes the last element from a vector and returns it, or None if it is empty.",
        "What does `std::collections::HashMap::entry` do?",
    ];
    let questions = [
        (0, speech.ask(&["What does `std::mem::swap` do?"])),
        (0, speech.ask(&turns)),
        (2, speech.ask(&["What is `Option` for?"])),
        (
            6,
            speech.ask(&["Describe `std::fs::File::open` in one sentence."]),
        ),
    ];
    let arrivals = questions.map(|(after, request)| Arrival { after, request });
    run(24, 40, 8, arrivals.into())
}

#[test]
fn tokens_of_every_step() {
    let run = mixed_run();
    let pieces = run.pieces();
    let requests = run.sequences.len();
    let mut rows = vec![vec![None; pieces.len()]; requests + 1];
    for (step, pieces) in pieces.iter().enumerate() {
        for piece in pieces {
            let prompt = run.prompts[piece.request];
            let class = match piece.start + piece.len {
                end if end < prompt => 0,
                end if end == prompt => 1,
                _ => 2,
            };
            rows[piece.request][step] = Cell::new(class, piece.len);
        }
        let tokens: usize = pieces.iter().map(|piece| piece.len).sum();
        rows[requests][step] = Cell::new(4, tokens);
    }
    for (request, row) in rows[..requests].iter_mut().enumerate() {
        let first = row.iter().position(Option::is_some).expect("it ran");
        row[run.arrivals[request]..first].fill(Cell::new(3, ""));
    }
    let labels = run.prompts.iter().enumerate();
    let mut labels: Vec<String> = labels
        .map(|(request, prompt)| format!("{} ({prompt})", name(request)))
        .collect();
    labels.push("all".to_owned());
    let legend = [
        "prompt, a part",
        "prompt, its end",
        "one new token",
        "waits",
        "sum",
    ];
    let grid = Grid {
        title: "Tokens that each step computes of four requests, under a budget of 24 a step"
            .to_owned(),
        row_axis: "request".to_owned(),
        column_axis: "step".to_owned(),
        rows: labels,
        columns: run.columns(),
        legend: legend.map(str::to_owned).to_vec(),
        cells: rows,
    };
    check("capstone-steps", &grid);
}

#[test]
fn batch_of_a_mixed_step() {
    let run = mixed_run();
    let pieces = run.pieces();
    let mixed = (pieces.iter().position(|pieces| pieces.len() > 2)).expect("three run together");
    let step = &run.steps[mixed];
    let mut rows = vec![Vec::new(); 5];
    for piece in &pieces[mixed] {
        for row in step.query_starts[piece.index]..step.query_starts[piece.index + 1] {
            let asked = step.rows.contains(&(row as u32));
            let cell = |text: String| Cell::new(piece.request, text);
            rows[0].push(cell(name(piece.request)));
            rows[1].push(cell(step.positions[row].to_string()));
            rows[2].push(cell((step.slots[row] / 8).to_string()));
            rows[3].push(cell(step.slots[row].to_string()));
            rows[4].push(asked.then(|| cell("yes".to_owned())).flatten());
        }
    }
    let grid = Grid {
        title: format!(
            "The batch of step {}: tokens of three sequences, one behind another",
            mixed + 1
        ),
        row_axis: "array".to_owned(),
        column_axis: "row of the batch".to_owned(),
        rows: ["sequence", "position", "block", "slot", "logits"]
            .map(str::to_owned)
            .to_vec(),
        columns: (0..step.tokens.len()).map(|row| row.to_string()).collect(),
        legend: (0..3).map(name).collect(),
        cells: rows,
    };
    check("capstone-batch", &grid);
}

/// A conversation, its next turn, and another next turn: blocks of the first are found again by the second and the third.
#[test]
fn blocks_over_steps() {
    const BLOCK_SIZE: usize = 8;
    const BLOCKS: usize = 16;
    const OPENING: &str = "What does `std::mem::swap` do?";
    let speech = Speech::load();
    let first = || Arrival {
        after: 0,
        request: speech.ask(&[OPENING]),
    };
    let alone = run(32, BLOCKS, BLOCK_SIZE, vec![first()]);
    let answer = &alone.sequences[0][alone.prompts[0]..];
    let answer = speech
        .tokenizer
        .decode(answer, true)
        .expect("tokens have text");
    // Answers are cut short, so that the picture is not wide.
    let next = |after, question| Arrival {
        after,
        request: GenerationRequest {
            max_new_tokens: 12,
            ..speech.ask(&[OPENING, &answer, question])
        },
    };
    let last = alone.steps.len();
    let arrivals = vec![
        first(),
        next(last, "What does `std::mem::take` do?"),
        next(last + 2, "What does `std::mem::drop` do?"),
    ];
    let run = run(32, BLOCKS, BLOCK_SIZE, arrivals);
    check("capstone-blocks", &ownership(&run, BLOCKS, BLOCK_SIZE));
}

/// Who holds which block in each step, and how many tokens lie in it after the step.
fn ownership(run: &Run, blocks: usize, block_size: usize) -> Grid {
    let pieces = run.pieces();
    let last_step = |request: usize| {
        let runs = |pieces: &Vec<Piece>| pieces.iter().any(|piece| piece.request == request);
        pieces.iter().rposition(runs).expect("it ran")
    };
    let mut tables: BTreeMap<usize, &[u32]> = BTreeMap::new();
    let mut filled = vec![0; blocks];
    let mut rows = vec![vec![None; pieces.len()]; blocks];
    for (at, (step, pieces)) in run.steps.iter().zip(&pieces).enumerate() {
        for piece in pieces {
            tables.insert(piece.request, &step.tables[piece.index]);
        }
        for slot in &step.slots {
            filled[*slot as usize / block_size] = *slot as usize % block_size + 1;
        }
        for block in 0..blocks {
            let holds = |(_, table): &(&usize, &&[u32])| table.contains(&(block as u32));
            let owners: Vec<usize> = tables
                .iter()
                .filter(holds)
                .map(|(owner, _)| *owner)
                .collect();
            rows[block][at] = match owners[..] {
                [] if filled[block] == 0 => None,
                [] => Cell::new(4, filled[block]),
                [owner] => Cell::new(owner, filled[block]),
                _ => Cell::new(3, filled[block]),
            };
        }
        tables.retain(|request, _| last_step(*request) > at);
    }
    let used = rows.iter().rposition(|row| row.iter().any(Option::is_some));
    rows.truncate(used.expect("blocks are used") + 1);
    let legend = [
        "A, a question",
        "B, the next turn",
        "C, another one",
        "B and C",
        "free, still filled",
    ];
    Grid {
        title:
            "A conversation and two ways on: who holds which block, and how many tokens lie in it"
                .to_owned(),
        row_axis: "block".to_owned(),
        column_axis: "step".to_owned(),
        rows: (0..rows.len())
            .map(|block| format!("block {block}"))
            .collect(),
        columns: run.columns(),
        legend: legend.map(str::to_owned).to_vec(),
        cells: rows,
    }
}
