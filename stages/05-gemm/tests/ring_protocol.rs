//! The ring of `k17_stream_k.cu` as a model: one producer, two consumers, mbarriers with their parity, loads that land late, and a
//! scheduler that lets any of them lag. Wrong protocols read a stage too early or stop; right ones never do, in thousands of runs.

mod barrier;

use barrier::Barrier;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How the consumers share the work.
#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    /// Each takes half the rows of every tile.
    Halves,
    /// Each takes every other tile, and starts on it when the other has asked for its last products.
    Turns,
    /// As `Turns`, but the other may start before the last tile of this one's turn was seen to arrive.
    TurnsEarly,
    /// As `Turns`, with no barrier between the two: what was tried first, and failed on the GPU.
    TurnsUnordered,
}

struct Consumer {
    segment: usize,
    step: usize,
    /// The step whose products are under way: its stage is not free before they are done.
    under_way: Option<usize>,
    /// Whether those are the segment's last.
    last: bool,
    /// Steps of the epilogue that are left.
    storing: usize,
    /// Turns taken: the phase of the barrier of turns.
    turns: usize,
    began: bool,
    /// Whether the other may start.
    handed: bool,
}

/// The stage of a step that is being read must hold that step.
fn held(step: usize, slots: &[Option<usize>]) -> Result<(), String> {
    let stage = step % slots.len();
    match slots[stage] {
        Some(there) if there == step => Ok(()),
        other => Err(format!("step {step} read {other:?} from stage {stage}")),
    }
}

/// The products under way have read their stage, which is given back.
fn done(
    consumer: &mut Consumer,
    slots: &[Option<usize>],
    empty: &mut [Barrier],
) -> Result<(), String> {
    if let Some(step) = consumer.under_way.take() {
        held(step, slots)?;
        empty[step % slots.len()].arrive();
    }
    Ok(())
}

/// Runs the protocol over segments of these numbers of k-steps; says what went wrong.
fn run(
    protocol: Protocol,
    stages: usize,
    segments: &[usize],
    random: &mut StdRng,
) -> Result<(), String> {
    let first: Vec<usize> = segments
        .iter()
        .scan(0, |at, steps| {
            let here = *at;
            *at += steps;
            Some(here)
        })
        .collect();
    let total: usize = segments.iter().sum();
    let in_turn = matches!(protocol, Protocol::Turns | Protocol::TurnsEarly);
    let consumers_of_a_stage = if protocol == Protocol::Halves { 2 } else { 1 };
    let mut full = vec![Barrier::new(1); stages];
    let mut empty = vec![Barrier::new(consumers_of_a_stage); stages];
    let mut turn = vec![Barrier::new(1); 2];
    let mut slots: Vec<Option<usize>> = vec![None; stages];
    let mut in_flight: Vec<usize> = Vec::new();
    let mut produced = 0;
    let mut consumers = [0, 1].map(|_| Consumer {
        segment: 0,
        step: 0,
        under_way: None,
        last: false,
        storing: 0,
        turns: 0,
        began: false,
        handed: false,
    });
    // Who is slow differs from run to run.
    let weights: [u32; 4] = [0; 4].map(|_| random.random_range(1..20));
    let mut idle = 0;
    while consumers
        .iter()
        .any(|consumer| consumer.segment < segments.len())
    {
        if idle > 10_000 {
            return Err("nobody can go on".to_owned());
        }
        idle += 1;
        let mut pick = random.random_range(0..weights.iter().sum());
        let actor = weights.iter().position(|weight| {
            if pick < *weight {
                true
            } else {
                pick -= weight;
                false
            }
        });
        match actor.expect("the weights add up") {
            0 if produced < total => {
                let (stage, phase) = (produced % stages, produced / stages % 2);
                if empty[stage].passed(phase ^ 1) {
                    in_flight.push(produced);
                    (produced, idle) = (produced + 1, 0);
                }
            }
            1 if !in_flight.is_empty() => {
                // Loads land in any order.
                let step = in_flight.swap_remove(random.random_range(0..in_flight.len()));
                slots[step % stages] = Some(step);
                full[step % stages].arrive();
                idle = 0;
            }
            who @ (2 | 3) => {
                let me = who - 2;
                let consumer = &mut consumers[me];
                if consumer.segment == segments.len() {
                    continue;
                }
                if consumer.storing > 0 {
                    (consumer.storing, idle) = (consumer.storing - 1, 0);
                    continue;
                }
                if consumer.last {
                    done(consumer, &slots, &mut empty)?;
                    (consumer.segment, consumer.step) = (consumer.segment + 1, 0);
                    (consumer.last, consumer.began, consumer.handed) = (false, false, false);
                    idle = 0;
                    consumer.storing = random.random_range(0..30);
                    continue;
                }
                if protocol != Protocol::Halves && consumer.segment % 2 != me {
                    (consumer.segment, idle) = (consumer.segment + 1, 0);
                    continue;
                }
                if in_turn && !consumer.began {
                    // The first consumer's first turn waits for nobody: the parity of the phase before the first.
                    if !turn[me].passed((consumer.turns % 2) ^ usize::from(me == 0)) {
                        continue;
                    }
                    (consumer.turns, consumer.began) = (consumer.turns + 1, true);
                }
                let step = first[consumer.segment] + consumer.step;
                let (stage, phase) = (step % stages, step / stages % 2);
                let at_last = consumer.step + 1 == segments[consumer.segment];
                if protocol == Protocol::TurnsEarly && at_last && !consumer.handed {
                    turn[1 - me].arrive();
                    consumer.handed = true;
                }
                if !full[stage].passed(phase) {
                    continue;
                }
                idle = 0;
                held(step, &slots)?;
                done(consumer, &slots, &mut empty)?;
                consumer.under_way = Some(step);
                (consumer.step, consumer.last) = (consumer.step + 1, at_last);
                if at_last && protocol == Protocol::Turns {
                    turn[1 - me].arrive();
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn runs(protocol: Protocol, count: usize) -> Result<(), String> {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..count {
        let stages = random.random_range(2..8);
        let segments: Vec<usize> = (0..random.random_range(1..9))
            .map(|_| random.random_range(1..20))
            .collect();
        run(protocol, stages, &segments, &mut random)
            .map_err(|error| format!("{stages} stages, segments {segments:?}: {error}"))?;
    }
    Ok(())
}

#[test]
fn halves_of_a_tile_keep_the_ring_right() {
    runs(Protocol::Halves, 2000).unwrap();
}

#[test]
fn tiles_in_turn_keep_the_ring_right_with_a_barrier_between_turns() {
    runs(Protocol::Turns, 2000).unwrap();
}

#[test]
fn tiles_in_turn_without_that_barrier_read_a_stage_a_lap_early_or_stop() {
    assert!(runs(Protocol::TurnsUnordered, 2000).is_err());
}

#[test]
fn a_turn_that_is_handed_over_before_its_last_tile_was_seen_reads_a_stage_too_early() {
    // One run of some six hundred fails, and the first to fail is the last.
    let error = runs(Protocol::TurnsEarly, 20_000).unwrap_err();
    assert!(error.contains("read"), "{error}");
}
