//! Task 1: blocks are handed out once, and one can be taken from anywhere in the free list.

use paged_kv::{BlockId, BlockPool};

#[test]
fn every_block_is_handed_out_once() {
    for blocks in [0, 1, 2, 33] {
        let mut pool = BlockPool::new(blocks);
        let mut taken: Vec<_> = std::iter::from_fn(|| pool.allocate()).collect();
        assert_eq!(pool.allocate(), None);
        assert_eq!(pool.free_blocks(), 0);
        pool.check();
        taken.sort();
        assert_eq!(taken, (0..blocks as u32).map(BlockId).collect::<Vec<_>>());
    }
}

#[test]
fn a_free_block_is_revived_from_anywhere_in_the_list() {
    for revived in 0..5 {
        let mut pool = BlockPool::new(5);
        pool.retain(BlockId(revived));
        pool.check();
        let rest: Vec<_> = std::iter::from_fn(|| pool.allocate())
            .map(|block| block.0)
            .collect();
        let expected: Vec<_> = (0..5).filter(|&block| block != revived).collect();
        assert_eq!(rest, expected);
    }
}

#[test]
fn blocks_can_be_revived_until_none_is_left() {
    let mut pool = BlockPool::new(4);
    for (revived, left) in [(2, 3), (0, 2), (3, 1), (1, 0)] {
        pool.retain(BlockId(revived));
        assert_eq!(pool.free_blocks(), left);
        pool.check();
    }
    assert_eq!(pool.allocate(), None);
}
