//! How blocks of a cluster share a ring and take leave of each other in `k17_stream_k.cu`, as a model: each block fetches a part of a tile for
//! all, its consumers give a stage back to all who fetch for them, and what one block does to another arrives late, in any order. A block that has
//! left has no barriers and no shared memory.

mod barrier;

use barrier::Barrier;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What is on its way to block `to`.
enum Message {
    /// A part of the tile of a step.
    Part { to: usize, step: usize },
    /// A consumer has read a stage.
    GivenBack { to: usize, stage: usize },
    /// Sums of a block's share, into the memory of its ring.
    Sums { to: usize },
}

struct Consumer {
    step: usize,
    /// The step whose products still read their stage.
    under_way: Option<usize>,
    met: bool,
    done: bool,
}

struct Block {
    full: Vec<Barrier>,
    empty: Vec<Barrier>,
    /// The parts that each stage holds, by their step.
    slots: Vec<Vec<usize>>,
    produced: usize,
    consumers: Vec<Consumer>,
    /// Sums that it has heard.
    heard: usize,
    left: bool,
}

/// What the kernel does for its blocks to end well, and what leaving it out would be.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// Each fetches for all; the producer waits until all its stages have been given back (`await_all`).
    Awaited,
    /// As soon as a block's own work is done it leaves.
    AtOnce,
    /// Each has its own ring and part of k; all consumers meet, then send their sums to the first block (`share_tile`).
    Met,
    /// They send without having met.
    Unmet,
}

impl End {
    /// Whether a block's loads are for all.
    fn shares(self) -> bool {
        matches!(self, Self::Awaited | Self::AtOnce)
    }
}

struct Cluster {
    end: End,
    steps: usize,
    stages: usize,
    blocks: Vec<Block>,
    messages: Vec<Message>,
}

impl Cluster {
    fn new(end: End, steps: usize, stages: usize, blocks: usize, consumers: usize) -> Self {
        let sharers = if end.shares() { blocks } else { 1 };
        let block = |_| Block {
            // The producer's own arrival, which says what will come, and every part.
            full: vec![Barrier::new(1 + sharers); stages],
            empty: vec![Barrier::new(sharers * consumers); stages],
            slots: vec![Vec::new(); stages],
            produced: 0,
            consumers: (0..consumers)
                .map(|_| Consumer {
                    step: 0,
                    under_way: None,
                    met: false,
                    done: false,
                })
                .collect(),
            heard: 0,
            left: false,
        };
        Self {
            end,
            steps,
            stages,
            blocks: (0..blocks).map(block).collect(),
            messages: Vec::new(),
        }
    }

    /// Who needs what block `me` loads, and loads what it needs.
    fn sharers(&self, me: usize) -> std::ops::Range<usize> {
        if self.end.shares() {
            0..self.blocks.len()
        } else {
            me..me + 1
        }
    }

    /// How often a producer waits for a stage: before each step, and for each stage at the end if it awaits them.
    fn turns(&self) -> usize {
        match self.end {
            End::Awaited => self.steps + self.stages,
            _ => self.steps,
        }
    }

    /// A producer's turn: whether it could go on.
    fn produce(&mut self, me: usize) -> bool {
        let sharers = self.sharers(me);
        let turns = self.turns();
        let block = &mut self.blocks[me];
        let (stage, phase) = (
            block.produced % self.stages,
            block.produced / self.stages % 2,
        );
        if block.produced == turns || !block.empty[stage].passed(phase ^ 1) {
            return false;
        }
        if block.produced < self.steps {
            block.full[stage].arrive();
            let step = block.produced;
            self.messages
                .extend(sharers.map(|to| Message::Part { to, step }));
        }
        block.produced += 1;
        true
    }

    fn give_back(&mut self, me: usize, step: usize) {
        let stage = step % self.stages;
        self.blocks[me].empty[stage].arrive();
        let others = self.sharers(me).filter(|to| *to != me);
        self.messages
            .extend(others.map(|to| Message::GivenBack { to, stage }));
    }

    /// A consumer's turn: whether it could go on.
    fn consume(&mut self, me: usize, which: usize) -> Result<bool, String> {
        let (steps, stages, parts) = (self.steps, self.stages, self.sharers(me).len());
        let mut all = self.blocks.iter().flat_map(|block| &block.consumers);
        let all_met = all.all(|consumer| consumer.met);
        let others = self.blocks.len() - 1;
        let block = &mut self.blocks[me];
        let wanted = others * block.consumers.len();
        let consumer = &mut block.consumers[which];
        if consumer.done {
            return Ok(false);
        }
        if consumer.step < steps {
            let (stage, phase) = (consumer.step % stages, consumer.step / stages % 2);
            if !block.full[stage].passed(phase) {
                return Ok(false);
            }
            if block.slots[stage] != vec![consumer.step; parts] {
                let there = &block.slots[stage];
                return Err(format!("step {} read {there:?}", consumer.step));
            }
            let before = consumer.under_way.replace(consumer.step);
            consumer.step += 1;
            if let Some(before) = before {
                self.give_back(me, before);
            }
            return Ok(true);
        }
        if let Some(last) = consumer.under_way.take() {
            consumer.done = self.end.shares();
            self.give_back(me, last);
            return Ok(true);
        }
        if !consumer.met {
            consumer.met = true;
            return Ok(true);
        }
        if self.end == End::Met && !all_met {
            return Ok(false);
        }
        if me == 0 {
            // One hears for all consumers of the block.
            consumer.done = block.heard == wanted;
            return Ok(consumer.done);
        }
        consumer.done = true;
        self.messages.push(Message::Sums { to: 0 });
        Ok(true)
    }

    fn deliver(&mut self, message: &Message) -> Result<(), String> {
        let (Message::Part { to, .. } | Message::GivenBack { to, .. } | Message::Sums { to }) =
            message;
        let stages = self.stages;
        let block = &mut self.blocks[*to];
        if block.left {
            return Err("something came to a block that had left".to_owned());
        }
        match message {
            Message::Part { step, .. } => {
                let slot = &mut block.slots[step % stages];
                slot.retain(|there| there == step);
                slot.push(*step);
                block.full[step % stages].arrive();
            }
            Message::GivenBack { stage, .. } => block.empty[*stage].arrive(),
            Message::Sums { .. } => {
                let reads = |consumer: &Consumer| !consumer.met;
                if block.consumers.iter().any(reads) {
                    return Err("sums overwrote a stage that was still read".to_owned());
                }
                block.heard += 1;
            }
        }
        Ok(())
    }

    /// Lets everybody go on in a random order, until all have left.
    fn run(&mut self, random: &mut StdRng) -> Result<(), String> {
        let consumers = self.blocks[0].consumers.len();
        let mut idle = 0;
        while self.blocks.iter().any(|block| !block.left) || !self.messages.is_empty() {
            idle += 1;
            if idle > 10_000 {
                return Err("nobody can go on".to_owned());
            }
            let me = random.random_range(0..self.blocks.len());
            let went_on = match random.random_range(0..consumers + 2) {
                0 if self.messages.is_empty() => false,
                0 => {
                    let which = random.random_range(0..self.messages.len());
                    let message = self.messages.swap_remove(which);
                    self.deliver(&message)?;
                    true
                }
                1 => self.produce(me),
                which => self.consume(me, which - 2)?,
            };
            let turns = self.turns();
            let block = &mut self.blocks[me];
            let consumed = block.consumers.iter().all(|consumer| consumer.done);
            block.left = block.produced == turns && consumed;
            if went_on {
                idle = 0;
            }
        }
        Ok(())
    }
}

fn runs(end: End) -> Result<(), String> {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..500 {
        let (steps, stages) = (random.random_range(1..30), random.random_range(2..7));
        let (blocks, consumers) = (random.random_range(2..5), random.random_range(1..3));
        Cluster::new(end, steps, stages, blocks, consumers)
            .run(&mut random)
            .map_err(|error| format!("{steps} steps, {stages} stages, {blocks} blocks: {error}"))?;
    }
    Ok(())
}

#[test]
fn blocks_that_share_tiles_take_leave_when_all_stages_have_been_given_back() {
    runs(End::Awaited).unwrap();
}

#[test]
fn a_block_that_leaves_at_once_misses_what_others_give_back() {
    let error = runs(End::AtOnce).unwrap_err();
    assert!(error.contains("left"), "{error}");
}

#[test]
fn sums_sent_after_all_have_met_find_a_ring_that_nobody_reads() {
    runs(End::Met).unwrap();
}

#[test]
fn sums_sent_without_meeting_overwrite_a_stage_that_is_still_read() {
    let error = runs(End::Unmet).unwrap_err();
    assert!(error.contains("still read"), "{error}");
}
