//! The drawings of the chapter: the same four requests under continuous and under static batching, step by step.

use benches::trace::{Cell, Grid, check};
use scheduling::{Policy, Scheduler, SchedulerConfig, SeqId, SequenceSpec};

/// When a request arrives (in steps), its prompt and its answer, in tokens.
const REQUESTS: [(usize, usize, usize); 5] =
    [(0, 6, 8), (0, 20, 5), (2, 3, 12), (4, 14, 4), (5, 4, 6)];

fn grid(title: &str, legend: &[&str], rows: Vec<Vec<Option<Cell>>>) -> Grid {
    let steps = rows.iter().map(Vec::len).max().unwrap_or(0);
    Grid {
        title: title.to_owned(),
        row_axis: "request".to_owned(),
        column_axis: "step".to_owned(),
        rows: ('A'..)
            .take(rows.len())
            .map(|name| name.to_string())
            .collect(),
        columns: (1..=steps).map(|step| step.to_string()).collect(),
        legend: legend.iter().map(|meaning| (*meaning).to_owned()).collect(),
        cells: rows
            .into_iter()
            .map(|mut row| {
                row.resize(steps, None);
                row
            })
            .collect(),
    }
}

/// Blocks are scarce enough that one sequence is preempted and computed again.
#[test]
fn continuous_batching_over_steps() {
    let limits = SchedulerConfig {
        max_batched_tokens: 10,
        max_sequences: 4,
        max_model_len: 64,
        block_size: 4,
        num_blocks: 10,
        policy: Policy::Fcfs,
        prefix_caching: false,
    };
    let mut scheduler = Scheduler::new(limits).unwrap();
    let mut rows = vec![Vec::new(); REQUESTS.len()];
    let (mut step, mut preempted) = (0, 0);
    loop {
        for (id, (_, prompt, output)) in REQUESTS
            .iter()
            .enumerate()
            .filter(|(_, request)| request.0 == step)
        {
            let spec = SequenceSpec {
                id: SeqId(id as u64),
                prompt: vec![1; *prompt],
                max_new_tokens: *output,
                priority: 0,
                salt: 0,
                reuse_prefix: false,
            };
            scheduler.add(spec).unwrap();
        }
        if scheduler.is_idle() {
            break;
        }
        let plan = scheduler.plan();
        preempted += plan.preempted.len();
        for (id, row) in rows.iter_mut().enumerate() {
            let id = SeqId(id as u64);
            let cell = match plan.work.iter().find(|work| work.id == id) {
                Some(work) if work.len > 1 || work.start == 0 => Cell::new(0, work.len),
                Some(_) => Cell::new(1, 1),
                None if plan.preempted.contains(&id) => Cell::new(3, "!"),
                None if REQUESTS[id.0 as usize].0 <= step && !is_complete(&scheduler, id) => {
                    Cell::new(2, "")
                }
                None => None,
            };
            row.push(cell);
        }
        let sampled: Vec<_> = plan
            .work
            .iter()
            .filter(|work| work.samples)
            .map(|work| (work.id, 1))
            .collect();
        scheduler.commit(&plan, &sampled);
        scheduler.check();
        step += 1;
    }
    assert!(preempted > 0, "the drawing shows a preemption");
    let title = "Continuous batching, a budget of ten tokens a step; a cell has the tokens computed of the request in that step";
    check(
        "09-continuous",
        &grid(
            title,
            &["prompt", "generating", "waiting", "preempted"],
            rows,
        ),
    );
}

fn is_complete(scheduler: &Scheduler, id: SeqId) -> bool {
    let (_, prompt, output) = REQUESTS[id.0 as usize];
    scheduler.tokens(id).len() == prompt + output
}

/// The rectangle that the simulator's static batch counts, drawn: one prefill of all prompts, then a step a token.
#[test]
fn a_static_batch_over_steps() {
    let batch = &REQUESTS[..4];
    let start = batch.iter().map(|request| request.0).max().unwrap();
    let longest = batch.iter().map(|request| request.1).max().unwrap();
    let steps = batch.iter().map(|request| request.2).max().unwrap();
    let rows: Vec<Vec<_>> = batch
        .iter()
        .map(|&(arrival, prompt, output)| {
            let waiting = (0..start).map(|step| {
                if step < arrival {
                    None
                } else {
                    Cell::new(2, "")
                }
            });
            let decode = (1..steps).map(|generated| {
                if generated < output {
                    Cell::new(1, 1)
                } else {
                    Cell::new(3, 1)
                }
            });
            waiting
                .chain([Cell::new(if prompt == longest { 0 } else { 4 }, longest)])
                .chain(decode)
                .collect()
        })
        .collect();
    // The drawing and the simulator count the same padding.
    let drawn: usize = rows
        .iter()
        .flatten()
        .flatten()
        .filter(|cell| cell.class == 3)
        .count();
    let requests: Vec<_> = batch
        .iter()
        .map(|&(_, prompt, output)| scheduling::simulator::Request {
            arrival: 0.0,
            prompt,
            output,
        })
        .collect();
    let cost = scheduling::simulator::CostModel {
        per_step: 1.0,
        per_token: 0.0,
    };
    let report = scheduling::simulator::static_batching(&requests, 4, cost);
    let prompts: usize = batch.iter().map(|request| longest - request.1).sum();
    assert_eq!(report.padded_tokens, drawn + prompts);
    let title = "The first four requests as one static batch: it starts when the last has come, and every row is computed to the end";
    check(
        "09-static",
        &grid(
            title,
            &[
                "prompt",
                "generating",
                "waiting",
                "ended, computed all the same",
                "prompt, padded",
            ],
            rows,
        ),
    );
}
