//! Task 3: a table grows by blocks, all or nothing, and maps each position to a slot of its own.

use paged_kv::{OutOfBlocks, PageTable, PagedKv};
use std::collections::HashSet;

#[test]
fn positions_map_to_distinct_slots_of_the_tables_own_blocks() {
    for block_size in [1, 3, 16] {
        let mut kv = PagedKv::new(40, block_size, false);
        let (mut a, mut b) = (PageTable::new(0), PageTable::new(0));
        // Interleaved growth, so that the blocks of one table do not lie side by side.
        for len in 1..=20u32 {
            for table in [&mut a, &mut b] {
                kv.reserve(table, 1).unwrap();
                kv.commit(table, &(0..len).collect::<Vec<_>>());
            }
        }
        let mut slots = HashSet::new();
        for table in [&a, &b] {
            assert_eq!(table.blocks().len(), 20usize.div_ceil(block_size));
            for position in 0..20 {
                let slot = table.slot(position, block_size);
                assert_eq!(
                    slot / block_size,
                    table.blocks()[position / block_size].0 as usize
                );
                assert_eq!(slot % block_size, position % block_size);
                assert!(slots.insert(slot), "slot {slot} is used twice");
            }
        }
        kv.check_tables([&a, &b]);
    }
}

#[test]
fn a_reservation_that_does_not_fit_changes_nothing() {
    let mut kv = PagedKv::new(3, 4, false);
    let mut table = PageTable::new(0);
    kv.reserve(&mut table, 5).unwrap();
    kv.commit(&mut table, &[9; 5]);
    assert_eq!(
        kv.reserve(&mut table, 8),
        Err(OutOfBlocks { needed: 2, free: 1 })
    );
    assert_eq!(
        (table.blocks().len(), table.len(), kv.free_blocks()),
        (2, 5, 1)
    );
    assert_eq!(kv.reserve(&mut table, 7), Ok(None));
    assert_eq!(kv.free_blocks(), 0);
    kv.check_tables([&table]);
}

#[test]
fn reserving_again_without_commit_takes_nothing_more() {
    let mut kv = PagedKv::new(8, 4, true);
    let mut table = PageTable::new(0);
    kv.reserve(&mut table, 0).unwrap();
    assert_eq!(kv.used_blocks(), 0);
    for _ in 0..3 {
        kv.reserve(&mut table, 9).unwrap();
        assert_eq!(kv.used_blocks(), 3);
    }
    // Less than is reserved already is there already.
    kv.reserve(&mut table, 1).unwrap();
    assert_eq!(kv.used_blocks(), 3);
    kv.release(table);
    assert_eq!(kv.used_blocks(), 0);
}

#[test]
#[should_panic(expected = "room for 4")]
fn committing_more_than_was_reserved_is_refused() {
    let mut kv = PagedKv::new(8, 4, true);
    let mut table = PageTable::new(0);
    kv.reserve(&mut table, 1).unwrap();
    kv.commit(&mut table, &[0; 5]);
}
