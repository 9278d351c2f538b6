//! One layer's attention on the engine's CPU operations: what a decoded token costs over the context, by variant; and what the cache saves.

use attention_variants::ops::{AttentionShape, Cpu, HostKv, HostTensor, KvType, Ops};
use attention_variants::step::StepInputs;
use benches::Bench;
use memory_hierarchy::Pool;
use std::time::Instant;

const HEADS: usize = 32;
const HEAD_DIM: usize = 64;
/// Widths of a latent cache in the proportion that DeepSeek-V2 has.
const LATENT: usize = 256;
const ROPE: usize = 32;
const BLOCK: usize = 16;

fn main() {
    // Cargo also starts benches to see that they run.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    Pool::global().pin_caller();
    let mut bench = Bench::new(
        "stage-03",
        "03-attention",
        "Attention of one layer, 32 heads of 64, on the engine's CPU operations",
        &[
            "stages/03-attention-variants/src/ops",
            "stages/03-attention-variants/src/variants",
        ],
    );
    let variants = [
        ("mha", shape(32)),
        ("gqa", shape(8)),
        ("mqa", shape(1)),
        ("latent", latent()),
    ];
    for (name, shape) in &variants {
        let (keys, values) = cached(shape);
        bench.count(
            &format!("cached-numbers-{name}"),
            "per token and layer",
            (keys + values) as f64,
        );
        for context in [256usize, 1024, 4096, 16_384] {
            let mut step = Step::new(shape, context, context - 1);
            let series = format!("decode-{name}/{context}");
            cost(&mut bench, &series, 1, || step.attend());
        }
    }
    // One more token with a cache, and computing all positions again as one must without.
    for context in [64usize, 256, 1024] {
        let gqa = shape(8);
        let (mut one, mut all) = (
            Step::new(&gqa, context, context - 1),
            Step::new(&gqa, context, 0),
        );
        let series = format!("next-token-cached/{context}");
        cost(&mut bench, &series, 1, || one.attend());
        let series = format!("next-token-recomputed/{context}");
        cost(&mut bench, &series, 1, || all.attend());
        // Tokens of one prompt share what is read; the last token alone reads it for itself.
        let series = format!("prefill-per-token/{context}");
        cost(&mut bench, &series, context, || all.attend());
    }
    for (model, heads, kv_heads) in [("llama-3.2-1b", 32, 8), ("qwen2.5-0.5b", 14, 2)] {
        let shape = grouped(heads, kv_heads);
        for kv in [KvType::F32, KvType::F16, KvType::Int8] {
            prefill_and_decode(&mut bench, model, &shape, kv);
        }
    }
    bench.finish();
}

/// One layer of a published model: a prompt of 512 as floating-point operations a ns (each row sees half of the prompt on average), and
/// a token of each of 8 sequences at position 640 as bytes of the cache a ns.
fn prefill_and_decode(bench: &mut Bench, model: &str, shape: &AttentionShape, kv: KvType) {
    const PROMPT: usize = 512;
    const CONTEXT: usize = 640;
    const SEQUENCES: usize = 8;
    let width = shape.kv_heads * (shape.key_dim + shape.value_dim);
    let name = format!("{kv:?}").to_lowercase();
    let mut prefill = Step::batch(shape, kv, 1, PROMPT, 0);
    let pairs = PROMPT * (PROMPT + 1) / 2 * shape.heads;
    let operations = 2 * pairs * (shape.key_dim + shape.value_dim);
    rate(
        bench,
        &format!("prefill-{model}-{name}"),
        "flop/ns",
        operations,
        || prefill.attend(),
    );
    let mut decode = Step::batch(shape, kv, SEQUENCES, CONTEXT, CONTEXT - 1);
    let bytes = SEQUENCES * CONTEXT * kv.bytes(width);
    rate(
        bench,
        &format!("decode-{model}-{name}"),
        "byte/ns",
        bytes,
        || decode.attend(),
    );
}

/// Measures how much of `amount` a call does in a ns.
fn rate(bench: &mut Bench, series: &str, unit: &str, amount: usize, call: impl FnMut() -> f32) {
    let ns = times(call).into_iter();
    let rates: Vec<f64> = ns.map(|ns| amount as f64 / ns).collect();
    let best = rates.iter().copied().fold(0.0, f64::max);
    println!("{series:<40} {best:8.2} {unit} at best");
    bench.push(series, unit, rates);
}

/// Measures the ns that a call takes for each of `of` tokens.
fn cost(bench: &mut Bench, series: &str, of: usize, call: impl FnMut() -> f32) {
    let ns = times(call).into_iter();
    let costs: Vec<f64> = ns.map(|ns| ns / of as f64).collect();
    let best = costs.iter().copied().fold(f64::INFINITY, f64::min);
    println!("{series:<40} {best:8.0} ns at best");
    bench.push(series, "ns", costs);
}

/// The ns of a call, 20 times over some 10 ms each.
fn times(mut call: impl FnMut() -> f32) -> Vec<f64> {
    let mut time = |calls: u32| {
        let start = Instant::now();
        for _ in 0..calls {
            std::hint::black_box(call());
        }
        start.elapsed().as_nanos() as f64
    };
    time(2);
    let calls = (1e7 / time(1)).ceil() as u32;
    (0..20).map(|_| time(calls) / f64::from(calls)).collect()
}

fn shape(kv_heads: usize) -> AttentionShape {
    grouped(HEADS, kv_heads)
}

fn grouped(heads: usize, kv_heads: usize) -> AttentionShape {
    AttentionShape {
        heads,
        kv_heads,
        key_dim: HEAD_DIM,
        value_dim: HEAD_DIM,
        scale: 0.125,
        window: None,
    }
}

/// Absorbed latent attention: to the cache, one wide head.
fn latent() -> AttentionShape {
    AttentionShape {
        heads: HEADS,
        kv_heads: 1,
        key_dim: LATENT + ROPE,
        value_dim: LATENT,
        scale: 0.1,
        window: None,
    }
}

/// Numbers that a token keeps as keys and as values. A latent's values are the first part of its key.
fn cached(shape: &AttentionShape) -> (usize, usize) {
    let keys = shape.kv_heads * shape.key_dim;
    if shape.key_dim == shape.value_dim {
        (keys, keys)
    } else {
        (keys, 0)
    }
}

/// A step of some sequences whose tokens `first..context` are new.
struct Step {
    cpu: Cpu,
    kv: HostKv,
    queries: HostTensor,
    out: HostTensor,
    shape: AttentionShape,
}

impl Step {
    fn new(shape: &AttentionShape, context: usize, first: usize) -> Self {
        Self::batch(shape, KvType::F32, 1, context, first)
    }

    fn batch(
        shape: &AttentionShape,
        kv: KvType,
        sequences: usize,
        context: usize,
        first: usize,
    ) -> Self {
        let (key_width, value_width) = cached(shape);
        let mut cpu = Cpu::default().with_kv(kv);
        let blocks = context.div_ceil(BLOCK);
        let mut kv = cpu.kv(sequences * blocks, BLOCK, key_width, value_width);
        let (mut key, mut value) = (vec![0.0; key_width], vec![0.0; value_width]);
        for slot in 0..kv.slots {
            fill(&mut key, 2 * slot as u32 + 1);
            fill(&mut value, 2 * slot as u32 + 2);
            kv.store(slot, &key, &value);
        }
        // Pages lie backwards, so that nothing is contiguous by chance.
        let table: Vec<u32> = (0..(sequences * blocks) as u32).rev().collect();
        let positions: Vec<u32> = (0..sequences)
            .flat_map(|_| first as u32..context as u32)
            .collect();
        let new = positions.len();
        let starts: Vec<u32> = (0..=sequences)
            .map(|sequence| (sequence * (context - first)) as u32)
            .collect();
        cpu.begin(&StepInputs {
            tokens: &positions,
            positions: &positions,
            slots: &positions,
            query_starts: &starts,
            block_tables: &table,
            blocks_per_sequence: blocks,
            block_copies: &[],
            outputs: &[],
        });
        let mut queries = HostTensor::new(new, shape.heads * shape.key_dim);
        fill(queries.resize(new), 3);
        let out = HostTensor::new(new, shape.heads * shape.value_dim);
        Self {
            cpu,
            kv,
            queries,
            out,
            shape: *shape,
        }
    }

    fn attend(&mut self) -> f32 {
        self.cpu
            .attend(&mut self.out, &self.queries, &self.kv, &self.shape);
        self.out.values()[0]
    }
}

/// Numbers between -1 and 1 from a multiplicative sequence.
fn fill(values: &mut [f32], seed: u32) {
    let mut state = seed;
    for value in values {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *value = (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0;
    }
}
