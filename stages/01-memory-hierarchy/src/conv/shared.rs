//! Work on a batch shared out: each thread takes the next piece, with working memory of its own, and writes its part of the output.

use crate::pool::Pool;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An output that threads write at the same time, each its own part.
pub(super) struct Parts<'a> {
    start: *mut f32,
    len: usize,
    owner: PhantomData<&'a mut [f32]>,
}

// SAFETY: `part` is the only way in, and its caller promises that no two threads hold the same elements.
unsafe impl Sync for Parts<'_> {}

impl<'a> Parts<'a> {
    pub(super) fn of(out: &'a mut [f32]) -> Self {
        Self {
            start: out.as_mut_ptr(),
            len: out.len(),
            owner: PhantomData,
        }
    }

    /// One part.
    ///
    /// # Safety
    /// While it is held, nobody else holds a part that overlaps it.
    #[expect(
        clippy::mut_from_ref,
        reason = "the caller promises that parts do not overlap"
    )]
    pub(super) unsafe fn part(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: within the slice that is borrowed for 'a, and nobody else's by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// Working memory for each thread of a pool. A lock is never waited for: a thread takes the one of its own number.
pub(super) struct Workspaces(Vec<Mutex<Vec<f32>>>);

impl Workspaces {
    pub(super) fn new(pool: &Pool, len: usize) -> Self {
        Self(
            (0..pool.threads())
                .map(|_| Mutex::new(vec![0.0; len]))
                .collect(),
        )
    }

    /// Calls `job` with each number below `pieces` and a workspace. A single piece is done on the calling thread, so that the
    /// products within it may use the pool; products within one of several pieces find the pool busy, and stay on their thread.
    pub(super) fn for_each(
        &self,
        pool: &Pool,
        pieces: usize,
        job: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let next = AtomicUsize::new(0);
        let work = |worker: usize| {
            // What a panic left behind is overwritten by the next piece.
            let mut space = self.0[worker]
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            loop {
                let piece = next.fetch_add(1, Ordering::Relaxed);
                if piece >= pieces {
                    return;
                }
                job(piece, &mut space);
            }
        };
        if pieces <= 1 {
            work(0)
        } else {
            pool.broadcast(work)
        }
    }
}
