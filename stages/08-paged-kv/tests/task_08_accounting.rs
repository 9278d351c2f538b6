//! A million random operations against a model that remembers what every block holds: no block is lost, none is owned twice, and
//! reuse never serves a wrong content.

mod common;

use paged_kv::{PageTable, PagedKv};
use proptest::prelude::*;
use rand::RngExt;
use rand::rngs::StdRng;

const BLOCKS: usize = 24;
const BLOCK_SIZE: usize = 3;

/// What a slot of the device buffer would hold: keys and values depend on all tokens up to their own, and on the salt.
type Stored = Option<(u64, Vec<u32>)>;

/// The cache, the sequences that use it, and a buffer that is written as a device would write it.
struct Model {
    kv: PagedKv,
    slots: Vec<Stored>,
    live: Vec<(PageTable, Vec<u32>, u64)>,
}

impl Model {
    fn new() -> Self {
        let kv = PagedKv::new(BLOCKS, BLOCK_SIZE, true);
        Self {
            kv,
            slots: vec![None; BLOCKS * BLOCK_SIZE],
            live: Vec::new(),
        }
    }

    /// Begins a sequence with as much of its prompt as fits.
    fn start(&mut self, tokens: Vec<u32>, salt: u64) {
        let price = self.kv.blocks_to_start(&tokens, salt);
        let fits = price <= self.kv.free_blocks();
        let mut table = self.kv.match_prefix(&tokens, salt);
        assert!(
            table.len() < tokens.len().max(1),
            "the last token is covered"
        );
        assert_eq!(table.len() % BLOCK_SIZE, 0);
        let missing = tokens.len() - table.len();
        let reserved = self.kv.reserve(&mut table, missing);
        assert_eq!(reserved.is_ok(), fits, "the price was {price} blocks");
        match reserved {
            Ok(copy) => {
                assert_eq!(copy, None, "a reused prefix ends with a full block");
                self.live.push((table, tokens, salt));
                self.write(self.live.len() - 1);
            }
            Err(_) => self.kv.release(table),
        }
    }

    fn grow(&mut self, index: usize, new: &[u32]) {
        let (table, tokens, _) = &mut self.live[index];
        let Ok(copy) = self.kv.reserve(table, new.len()) else {
            return;
        };
        tokens.extend_from_slice(new);
        if let Some(copy) = copy {
            for offset in 0..BLOCK_SIZE {
                let from = copy.src.0 as usize * BLOCK_SIZE + offset;
                self.slots[copy.dst.0 as usize * BLOCK_SIZE + offset] = self.slots[from].clone();
            }
        }
        self.write(index);
    }

    /// Computes what is not stored yet.
    fn write(&mut self, index: usize) {
        let (table, tokens, salt) = &mut self.live[index];
        for position in table.len()..tokens.len() {
            let slot = table.slot(position, BLOCK_SIZE);
            self.slots[slot] = Some((*salt, tokens[..=position].to_vec()));
        }
        self.kv.commit(table, tokens);
        self.verify(index);
    }

    fn fork(&mut self, index: usize) {
        let (table, tokens, salt) = &self.live[index];
        let fork = (self.kv.fork(table), tokens.clone(), *salt);
        self.live.push(fork);
    }

    fn release(&mut self, index: usize) {
        self.verify(index);
        let (table, _, _) = self.live.swap_remove(index);
        self.kv.release(table);
    }

    /// Every position of a sequence must read what that sequence computed.
    fn verify(&self, index: usize) {
        let (table, tokens, salt) = &self.live[index];
        for position in 0..tokens.len() {
            let stored = self.slots[table.slot(position, BLOCK_SIZE)].as_ref();
            let right =
                stored.is_some_and(|(by, prefix)| by == salt && prefix[..] == tokens[..=position]);
            assert!(right, "position {position} of {tokens:?} reads {stored:?}");
        }
    }

    fn check(&self) {
        self.kv
            .check_tables(self.live.iter().map(|(table, _, _)| table));
        let mut held: Vec<_> = self
            .live
            .iter()
            .flat_map(|(table, _, _)| table.blocks())
            .collect();
        held.sort();
        held.dedup();
        assert_eq!(self.kv.used_blocks(), held.len());
        assert_eq!(self.kv.free_blocks() + self.kv.used_blocks(), BLOCKS);
        (0..self.live.len()).for_each(|index| self.verify(index));
    }
}

/// Few distinct tokens, so that prompts often begin alike.
fn prompt(rng: &mut StdRng) -> Vec<u32> {
    let len = rng.random_range(0..16);
    let spread = rng.random_range(1..4);
    (0..len).map(|_| rng.random_range(0..spread)).collect()
}

#[test]
fn a_million_operations_lose_no_block_and_own_none_twice() {
    let mut rng = common::rng();
    let mut model = Model::new();
    for operation in 0..1_000_000 {
        let live = model.live.len();
        match rng.random_range(0..10) {
            0..=2 => model.start(prompt(&mut rng), rng.random_range(0..2)),
            3..=5 if live > 0 => {
                let new: Vec<u32> = (0..rng.random_range(0..4))
                    .map(|_| rng.random_range(0..2))
                    .collect();
                model.grow(rng.random_range(0..live), &new);
            }
            6 if live > 0 && live < 32 => model.fork(rng.random_range(0..live)),
            7..=9 if live > 0 => model.release(rng.random_range(0..live)),
            _ => {}
        }
        if operation % 64 == 0 {
            model.check();
        }
    }
    while !model.live.is_empty() {
        model.release(0);
    }
    model.check();
    assert_eq!(model.kv.free_blocks(), BLOCKS);
    let stats = model.kv.stats();
    println!("{stats:?}");
    assert!(
        stats.hit_tokens > 0 && stats.evictions > 0 && stats.copies > 0,
        "a case was never met: {stats:?}"
    );
}

#[derive(Debug, Clone)]
enum Operation {
    Start(Vec<u32>, u64),
    Grow(usize, Vec<u32>),
    Fork(usize),
    Release(usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    let tokens = |max| proptest::collection::vec(0..2u32, 0..max);
    prop_oneof![
        (tokens(14), 0..2u64).prop_map(|(tokens, salt)| Operation::Start(tokens, salt)),
        (any::<usize>(), tokens(5)).prop_map(|(index, tokens)| Operation::Grow(index, tokens)),
        any::<usize>().prop_map(Operation::Fork),
        any::<usize>().prop_map(Operation::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// The same model, checked after every operation, with failures shrunk to a short story.
    #[test]
    fn short_stories(operations in proptest::collection::vec(operation(), 0..80)) {
        let mut model = Model::new();
        for operation in operations {
            let live = model.live.len();
            match operation {
                Operation::Start(tokens, salt) => model.start(tokens, salt),
                Operation::Grow(index, new) if live > 0 => model.grow(index % live, &new),
                Operation::Fork(index) if live > 0 => model.fork(index % live),
                Operation::Release(index) if live > 0 => model.release(index % live),
                _ => {}
            }
            model.check();
        }
    }
}
