//! Task 2: the last owner frees a block, and where it goes in the free list depends on its content.

mod common;

use paged_kv::{BlockId, BlockPool};
use rand::RngExt;
use std::collections::VecDeque;

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
fn the_order_is_that_of_a_deque() {
    let mut rng = common::rng();
    let mut pool = BlockPool::new(17);
    // The free blocks in order, and whether each was freed with its content kept.
    let mut free: VecDeque<(u32, bool)> = (0..17).map(|block| (block, false)).collect();
    let mut owned = Vec::new();
    for step in 0..20_000 {
        match rng.random_range(0..3) {
            0 => {
                let block = pool.allocate();
                let expected = free.pop_front().map(|(block, _)| BlockId(block));
                assert_eq!(block, expected);
                owned.extend(block);
            }
            1 if !owned.is_empty() => {
                let block: BlockId = owned.swap_remove(rng.random_range(0..owned.len()));
                let keep = rng.random_bool(0.5);
                if keep {
                    free.push_back((block.0, keep))
                } else {
                    free.push_front((block.0, keep))
                }
                pool.release(block, keep);
            }
            2 if !free.is_empty() => {
                let (block, _) = free.remove(rng.random_range(0..free.len())).unwrap();
                pool.retain(BlockId(block));
                owned.push(BlockId(block));
            }
            _ => {}
        }
        assert_eq!(pool.free_blocks(), free.len());
        let kept = free.iter().filter(|(_, keep)| *keep).count();
        assert_eq!(pool.kept_blocks(), kept);
        if step % 100 == 0 {
            pool.check();
            assert!(
                pool.free_order()
                    .map(|block| block.0)
                    .eq(free.iter().map(|(block, _)| *block))
            );
        }
    }
}
