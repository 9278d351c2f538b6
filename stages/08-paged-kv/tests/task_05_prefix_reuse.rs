//! Task 5: a prompt that begins like an earlier one begins in the earlier one's blocks.

use paged_kv::{PageTable, PagedKv};

fn store(kv: &mut PagedKv, tokens: &[u32], salt: u64) -> PageTable {
    let mut table = kv.match_prefix(tokens, salt);
    let missing = tokens.len() - table.len();
    kv.reserve(&mut table, missing).unwrap();
    kv.commit(&mut table, tokens);
    table
}

fn hit(kv: &mut PagedKv, tokens: &[u32], salt: u64) -> usize {
    let table = kv.match_prefix(tokens, salt);
    let len = table.len();
    kv.release(table);
    len
}

#[test]
fn full_blocks_are_reused_and_the_last_token_never() {
    let mut kv = PagedKv::new(16, 4, true);
    let table = store(&mut kv, &[1, 2, 3, 4, 5, 6, 7, 8, 9], 0);
    assert_eq!(hit(&mut kv, &[1, 2, 3, 4, 5, 6, 7, 8, 9], 0), 8);
    assert_eq!(hit(&mut kv, &[1, 2, 3, 4, 5, 6, 7, 8], 0), 4);
    assert_eq!(hit(&mut kv, &[1, 2, 3, 4], 0), 0);
    assert_eq!(hit(&mut kv, &[1, 2, 3, 4, 5, 6, 0, 8, 9], 0), 4);
    assert_eq!(hit(&mut kv, &[0, 2, 3, 4, 5, 6, 7, 8, 9], 0), 0);
    assert_eq!(hit(&mut kv, &[], 0), 0);
    kv.check_tables([&table]);
}

#[test]
fn the_same_tokens_after_another_prefix_are_another_content() {
    let mut kv = PagedKv::new(16, 2, true);
    let a = store(&mut kv, &[1, 1, 7, 7, 0], 0);
    let b = store(&mut kv, &[2, 2, 7, 7, 0], 0);
    assert_ne!(a.blocks()[1], b.blocks()[1]);
    assert_eq!(hit(&mut kv, &[7, 7, 0], 0), 0);
    let again = kv.match_prefix(&[2, 2, 7, 7, 0], 0);
    assert_eq!(again.blocks(), &b.blocks()[..2]);
    kv.check_tables([&a, &b, &again]);
}

#[test]
fn salts_keep_tenants_apart() {
    let mut kv = PagedKv::new(16, 2, true);
    let table = store(&mut kv, &[1, 2, 3], 5);
    assert_eq!(hit(&mut kv, &[1, 2, 3], 5), 2);
    assert_eq!(hit(&mut kv, &[1, 2, 3], 6), 0);
    kv.release(table);
}

#[test]
fn two_that_compute_the_same_keep_their_own_blocks_and_the_index_the_first() {
    let mut kv = PagedKv::new(16, 2, true);
    let tokens = [1, 2, 3, 4, 5];
    let (mut a, mut b) = (PageTable::new(0), PageTable::new(0));
    kv.reserve(&mut a, 5).unwrap();
    kv.reserve(&mut b, 5).unwrap();
    kv.commit(&mut a, &tokens);
    kv.commit(&mut b, &tokens);
    assert_eq!(kv.used_blocks(), 6);
    let found = kv.match_prefix(&tokens, 0);
    assert_eq!(found.blocks(), &a.blocks()[..2]);
    kv.check_tables([&a, &b, &found]);
    // What the second adds after the shared content can still be found.
    kv.reserve(&mut b, 2).unwrap();
    kv.commit(&mut b, &[1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(hit(&mut kv, &[1, 2, 3, 4, 5, 6, 7], 0), 6);
}

#[test]
fn generated_tokens_are_found_too_and_chunks_do_not_matter() {
    let mut kv = PagedKv::new(16, 4, true);
    let tokens: Vec<u32> = (0..13).collect();
    let mut table = PageTable::new(0);
    for end in [3, 4, 9, 13] {
        let missing = end - table.len();
        kv.reserve(&mut table, missing).unwrap();
        kv.commit(&mut table, &tokens[..end]);
    }
    kv.release(table);
    assert_eq!(kv.used_blocks(), 0);
    assert_eq!(kv.cached_blocks(), 3);
    assert_eq!(hit(&mut kv, &tokens, 0), 12);
    assert_eq!((kv.stats().queried_tokens, kv.stats().hit_tokens), (13, 12));
}

#[test]
fn without_prefix_caching_nothing_is_kept() {
    let mut kv = PagedKv::new(16, 2, false);
    let table = store(&mut kv, &[1, 2, 3, 4, 5], 0);
    assert_eq!(hit(&mut kv, &[1, 2, 3, 4, 5], 0), 0);
    kv.release(table);
    assert_eq!(kv.cached_blocks(), 0);
}
