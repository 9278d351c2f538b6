//! One row of logits under different parameters, and a seed that draws the same whatever happens around it:
//! `cargo run -p stage-10 --example one_row`.

use decoding::{Sampler, SamplingParams, TokenHistory};

const WORDS: [&str; 6] = ["the", "a", "this", "one", "my", "zebra"];
const LOGITS: [f32; 6] = [3.0, 2.2, 1.5, 1.0, 0.4, -2.0];

fn main() {
    let plain = SamplingParams {
        seed: 42,
        ..SamplingParams::default()
    };
    println!(
        "{:26} {}",
        "",
        WORDS.map(|word| format!("{word:>6}")).join("")
    );
    show("temperature 1", &plain, &[]);
    show(
        "temperature 0.5",
        &SamplingParams {
            temperature: 0.5,
            ..plain.clone()
        },
        &[],
    );
    show(
        "temperature 2",
        &SamplingParams {
            temperature: 2.0,
            ..plain.clone()
        },
        &[],
    );
    show(
        "top-k 3",
        &SamplingParams {
            top_k: 3,
            ..plain.clone()
        },
        &[],
    );
    show(
        "top-p 0.8",
        &SamplingParams {
            top_p: 0.8,
            ..plain.clone()
        },
        &[],
    );
    show(
        "min-p 0.2",
        &SamplingParams {
            min_p: 0.2,
            ..plain.clone()
        },
        &[],
    );
    let penalised = SamplingParams {
        frequency_penalty: 0.7,
        ..plain.clone()
    };
    show("frequency 0.7, \"the\" x3", &penalised, &[0, 0, 0]);

    println!("\nseed 42, positions 0 to 11:");
    println!("  in order   {}", draw(&plain, 0..12));
    println!("  from 6 on              {}", draw(&plain, 6..12));
    println!(
        "  seed 43    {}",
        draw(&SamplingParams { seed: 43, ..plain }, 0..12)
    );
}

/// How often each word is drawn in 10,000 draws, in percent.
fn show(what: &str, params: &SamplingParams, generated: &[u32]) {
    let mut history = TokenHistory::new(&[]);
    generated.iter().for_each(|token| history.push(*token));
    let mut sampler = Sampler::new(LOGITS.len());
    let mut counts = [0; WORDS.len()];
    for position in 0..10_000 {
        counts[sampler
            .sample(&LOGITS, params, &history, &[], position)
            .token as usize] += 1;
    }
    let shares = counts.map(|count| format!("{:>5.1}%", f64::from(count) / 100.0));
    println!("{what:26} {}", shares.join(""));
}

fn draw(params: &SamplingParams, positions: std::ops::Range<u64>) -> String {
    let (mut sampler, history) = (Sampler::new(LOGITS.len()), TokenHistory::new(&[]));
    let words = positions.map(|position| {
        WORDS[sampler
            .sample(&LOGITS, params, &history, &[], position)
            .token as usize]
    });
    words.collect::<Vec<_>>().join(" ")
}
