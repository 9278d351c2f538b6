//! Task 4: a fork shares everything; whoever writes to a shared block first gets a copy of it.

use paged_kv::{BlockCopy, PageTable, PagedKv};

fn table_of(kv: &mut PagedKv, tokens: &[u32]) -> PageTable {
    let mut table = PageTable::new(0);
    kv.reserve(&mut table, tokens.len()).unwrap();
    kv.commit(&mut table, tokens);
    table
}

#[test]
fn the_first_writer_copies_and_the_second_owns_what_is_left() {
    let mut kv = PagedKv::new(8, 4, false);
    let mut parent = table_of(&mut kv, &[1, 2, 3, 4, 5, 6]);
    let mut child = kv.fork(&parent);
    assert_eq!((kv.used_blocks(), child.len()), (2, 6));
    assert_eq!(child.blocks(), parent.blocks());

    let copy = kv.reserve(&mut child, 1).unwrap();
    assert_eq!(
        copy,
        Some(BlockCopy {
            src: parent.blocks()[1],
            dst: child.blocks()[1]
        })
    );
    assert_ne!(parent.blocks()[1], child.blocks()[1]);
    assert_eq!(parent.blocks()[0], child.blocks()[0]);
    assert_eq!(kv.reserve(&mut parent, 1), Ok(None));
    assert_eq!((kv.used_blocks(), kv.stats().copies), (3, 1));
    kv.check_tables([&parent, &child]);
}

#[test]
fn full_blocks_need_no_copy() {
    let mut kv = PagedKv::new(8, 4, false);
    let mut parent = table_of(&mut kv, &[1, 2, 3, 4]);
    let mut child = kv.fork(&parent);
    assert_eq!(kv.reserve(&mut child, 1), Ok(None));
    assert_eq!(kv.reserve(&mut parent, 1), Ok(None));
    assert_eq!(kv.used_blocks(), 3);
    kv.check_tables([&parent, &child]);
}

#[test]
fn reserved_and_empty_blocks_are_not_shared() {
    let mut kv = PagedKv::new(8, 4, false);
    let mut parent = table_of(&mut kv, &[1, 2, 3, 4]);
    kv.reserve(&mut parent, 8).unwrap();
    let child = kv.fork(&parent);
    assert_eq!((parent.blocks().len(), child.blocks().len()), (3, 1));
    kv.check_tables([&parent, &child]);
}

#[test]
fn a_copy_counts_as_a_block_needed() {
    let mut kv = PagedKv::new(2, 4, false);
    let parent = table_of(&mut kv, &[1, 2, 3]);
    let mut child = kv.fork(&parent);
    // One block for the copy and one for the fifth token, and one is free.
    let refused = kv.reserve(&mut child, 2).unwrap_err();
    assert_eq!((refused.needed, refused.free), (2, 1));
    assert_eq!(child.blocks(), parent.blocks());
    assert!(kv.reserve(&mut child, 1).unwrap().is_some());
    kv.release(child);
    kv.release(parent);
    assert_eq!(kv.free_blocks(), 2);
}
