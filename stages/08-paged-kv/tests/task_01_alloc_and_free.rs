//! Blocks are handed out once, come back once, and the free list keeps its order.

mod common;

use paged_kv::{BlockId, BlockPool};
use rand::RngExt;
use std::collections::VecDeque;

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
fn the_last_owner_frees() {
    let mut pool = BlockPool::new(2);
    let block = pool.allocate().unwrap();
    pool.retain(block);
    pool.release(block, false);
    assert_eq!((pool.references(block), pool.free_blocks()), (1, 1));
    pool.release(block, false);
    assert_eq!((pool.references(block), pool.free_blocks()), (0, 2));
    pool.check();
}

#[test]
#[should_panic(expected = "released more often")]
fn releasing_twice_is_refused() {
    let mut pool = BlockPool::new(1);
    let block = pool.allocate().unwrap();
    pool.release(block, true);
    pool.release(block, true);
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
fn the_order_is_that_of_a_deque() {
    let mut rng = common::rng();
    let mut pool = BlockPool::new(17);
    let mut free: VecDeque<u32> = (0..17).collect();
    let mut owned = Vec::new();
    for step in 0..20_000 {
        match rng.random_range(0..3) {
            0 => {
                let block = pool.allocate();
                assert_eq!(block.map(|block| block.0), free.pop_front());
                owned.extend(block);
            }
            1 if !owned.is_empty() => {
                let block: BlockId = owned.swap_remove(rng.random_range(0..owned.len()));
                let keep = rng.random_bool(0.5);
                if keep {
                    free.push_back(block.0)
                } else {
                    free.push_front(block.0)
                }
                pool.release(block, keep);
            }
            2 if !free.is_empty() => {
                let block = free.remove(rng.random_range(0..free.len())).unwrap();
                pool.retain(BlockId(block));
                owned.push(BlockId(block));
            }
            _ => {}
        }
        assert_eq!(pool.free_blocks(), free.len());
        if step % 100 == 0 {
            pool.check();
            assert!(
                pool.free_order()
                    .map(|block| block.0)
                    .eq(free.iter().copied())
            );
        }
    }
}
