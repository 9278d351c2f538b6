//! Task 6: what a prompt costs is known before it begins.

mod common;

use paged_kv::{PageTable, PagedKv};
use rand::RngExt;

fn store(kv: &mut PagedKv, tokens: &[u32], salt: u64) -> PageTable {
    let mut table = kv.match_prefix(tokens, salt);
    let missing = tokens.len() - table.len();
    kv.reserve(&mut table, missing).unwrap();
    kv.commit(&mut table, tokens);
    table
}

#[test]
fn the_price_of_starting_counts_free_and_shared_blocks_right() {
    let mut kv = PagedKv::new(16, 2, true);
    let held = store(&mut kv, &[1, 2, 3], 0);
    let gone = store(&mut kv, &[1, 2, 3, 4, 5], 0);
    kv.release(gone);
    // [1, 2] is held by another and costs nothing, [3, 4] is stored in a free block, [5] is new.
    assert_eq!(kv.blocks_to_start(&[1, 2, 3, 4, 5], 0), 2);
    let before = kv.free_blocks();
    let table = store(&mut kv, &[1, 2, 3, 4, 5], 0);
    assert_eq!(before - kv.free_blocks(), 2);
    kv.check_tables([&held, &table]);
}

/// The price is right in every state of the cache: what starting takes is what was asked for it.
#[test]
fn the_price_is_what_starting_takes() {
    let mut rng = common::rng();
    let mut kv = PagedKv::new(64, 3, true);
    let mut live = Vec::new();
    for _ in 0..2_000 {
        // Few distinct tokens, so that prompts often begin alike.
        let tokens: Vec<u32> = (0..rng.random_range(1..20))
            .map(|_| rng.random_range(0..2))
            .collect();
        let (price, before) = (kv.blocks_to_start(&tokens, 0), kv.free_blocks());
        if price <= before {
            live.push(store(&mut kv, &tokens, 0));
            assert_eq!(before - kv.free_blocks(), price, "{tokens:?}");
        }
        while live.len() > rng.random_range(0..8) {
            kv.release(live.swap_remove(rng.random_range(0..live.len())));
        }
    }
    kv.check_tables(&live);
}
