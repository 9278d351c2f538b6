//! When memory is needed, contents that were not used for longest go first, and tails before beginnings.

use paged_kv::{PageTable, PagedKv};

fn store(kv: &mut PagedKv, tokens: &[u32]) -> PageTable {
    let mut table = kv.match_prefix(tokens, 0);
    let missing = tokens.len() - table.len();
    kv.reserve(&mut table, missing).unwrap();
    kv.commit(&mut table, tokens);
    table
}

fn pass_through(kv: &mut PagedKv, tokens: &[u32]) {
    let table = store(kv, tokens);
    kv.release(table);
}

/// Tokens found stored. Looking counts as use: what is found becomes the most recently used.
fn hit(kv: &mut PagedKv, tokens: &[u32]) -> usize {
    let table = kv.match_prefix(tokens, 0);
    let len = table.len();
    kv.release(table);
    len
}

#[test]
fn the_least_recently_used_content_goes_first() {
    let mut kv = PagedKv::new(3, 2, true);
    for first in [10, 20, 30] {
        pass_through(&mut kv, &[first, first]);
    }
    // Uses 10 again; room for one more then has to come from 20.
    assert_eq!(hit(&mut kv, &[10, 10, 0]), 2);
    pass_through(&mut kv, &[40, 40]);
    assert_eq!(kv.stats().evictions, 1);
    assert_eq!(hit(&mut kv, &[20, 20, 0]), 0);
    for first in [10, 30, 40] {
        assert_eq!(hit(&mut kv, &[first, first, 0]), 2, "content {first}");
    }
}

#[test]
fn a_tail_goes_before_its_beginning() {
    let mut kv = PagedKv::new(3, 2, true);
    pass_through(&mut kv, &[1, 2, 3, 4, 5, 6]);
    assert_eq!(kv.cached_blocks(), 3);
    for (needed, left) in [(1, 4), (2, 2), (3, 0)] {
        let mut table = PageTable::new(0);
        kv.reserve(&mut table, 2 * needed).unwrap();
        kv.release(table);
        assert_eq!(hit(&mut kv, &[1, 2, 3, 4, 5, 6, 7]), left);
    }
    assert_eq!(kv.stats().evictions, 3);
}

#[test]
fn blocks_without_content_are_used_before_any_content_is_given_up() {
    let mut kv = PagedKv::new(4, 2, true);
    pass_through(&mut kv, &[1, 2, 3]);
    for _ in 0..10 {
        let mut table = PageTable::new(0);
        kv.reserve(&mut table, 6).unwrap();
        kv.release(table);
    }
    assert_eq!(kv.stats().evictions, 0);
    assert_eq!(hit(&mut kv, &[1, 2, 3]), 2);
}

#[test]
fn content_in_use_is_never_given_up() {
    let mut kv = PagedKv::new(3, 2, true);
    let held = store(&mut kv, &[1, 2, 3, 4]);
    let mut greedy = PageTable::new(0);
    assert!(kv.reserve(&mut greedy, 3).is_err());
    kv.reserve(&mut greedy, 2).unwrap();
    assert_eq!(hit(&mut kv, &[1, 2, 3, 4, 5]), 4);
    kv.check_tables([&held, &greedy]);
}
