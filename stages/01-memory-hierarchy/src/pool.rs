//! A pool of workers pinned to cores, and a fork and join cheap enough for a decode step.
//!
//! A decode step of a small model is a hundred short operations, each of which must start and end on every core. A general pool pays
//! for its generality at each: a queue, a wake-up through the kernel, a latch. Here a job is one closure that every worker calls
//! with its own number. Workers wait for it on one counter, spinning for a while, since the next operation of a step follows at once,
//! and asleep after that, since an idle server must not burn a core.
//!
//! The invariant: a job's closure is called only between the moment at which the counter moves and the moment at which the last worker
//! has counted itself out, and [`Pool::broadcast`] does not return before that; so the closure may borrow from its caller.

pub use crate::affinity::{allowed_cores, pin_to};
use std::any::Any;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use std::thread::{JoinHandle, Thread};

/// Looks at the counter before a waiting thread lets others run: some 50 microseconds.
const SPINS: usize = 2_000;
/// Turns given away to other threads before a worker goes to sleep.
const YIELDS: usize = 200;

/// What every worker calls with its number.
type Job = *const (dyn Fn(usize) + Sync);

struct Shared {
    /// Moves by one for each job, and once more to end.
    epoch: AtomicUsize,
    /// Workers that have not finished the job.
    running: AtomicUsize,
    /// The job of this epoch; written by the caller alone, while no worker runs.
    job: UnsafeCell<Option<Job>>,
    /// Which workers sleep, or are about to.
    asleep: Vec<AtomicBool>,
    stop: AtomicBool,
    /// What a worker panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is written before `epoch` moves (release) and read after it was seen to have moved (acquire), and it is not written
// again until `running` is zero.
unsafe impl Sync for Shared {}
// SAFETY: as above; the closure behind the pointer is `Sync`.
unsafe impl Send for Shared {}

/// On a cache line of its own, and on the one that is fetched along with it.
#[derive(Default)]
#[repr(align(128))]
struct Line<T>(T);

/// Threads that do one thing together. The thread that calls is one of them.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<(Thread, Option<JoinHandle<()>>)>,
    /// The core that no worker has, if each has one of its own.
    spare: Option<usize>,
    /// The next chunk of each thread's part; of the job that is under way.
    next: Vec<Line<AtomicUsize>>,
    /// One job at a time.
    busy: Mutex<()>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("threads", &self.threads())
            .finish()
    }
}

impl Pool {
    /// A pool of `threads` threads, the caller among them: `threads - 1` are started, each on a core of its own if there are enough. The
    /// first core is left to the caller, who takes it by [`pin_caller`](Self::pin_caller).
    ///
    /// # Panics
    /// If `threads` is 0, or the system gives no thread.
    pub fn new(threads: usize) -> Self {
        assert!(threads > 0, "a pool has at least the thread that calls it");
        let shared = Arc::new(Shared {
            epoch: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            asleep: (0..threads).map(|_| AtomicBool::new(false)).collect(),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let cores = allowed_cores();
        let core_of = |thread: usize| (cores.len() >= threads).then(|| cores[thread]);
        let workers = (1..threads)
            .map(|worker| {
                let shared = shared.clone();
                let core = core_of(worker);
                let handle = std::thread::Builder::new()
                    .name(format!("worker-{worker}"))
                    .spawn(move || {
                        if let Some(core) = core {
                            pin_to(core);
                        }
                        work(&shared, worker);
                    })
                    .expect("the system gives a thread");
                (handle.thread().clone(), Some(handle))
            })
            .collect();
        Self {
            shared,
            workers,
            spare: core_of(0).filter(|_| threads > 1),
            next: (0..threads).map(|_| Line::default()).collect(),
            busy: Mutex::new(()),
        }
    }

    /// The pool of the process: a thread for each core that it may use.
    pub fn global() -> &'static Arc<Self> {
        static GLOBAL: OnceLock<Arc<Pool>> = OnceLock::new();
        GLOBAL.get_or_init(|| Arc::new(Self::new(allowed_cores().len().max(1))))
    }

    /// Threads, the caller among them.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Keeps the calling thread on the core that the workers leave free. The thread that hands out the jobs should do so once: left where
    /// the system puts it, it may share a worker's core, and the two then take turns at the system's pace, a thousand times slower than
    /// a job's start. Does nothing where there are fewer cores than threads, or no workers.
    pub fn pin_caller(&self) {
        if let Some(core) = self.spare {
            pin_to(core);
        }
    }

    /// Calls `job` once for each number below [`threads`](Self::threads), at the same time on as many threads, and returns when all
    /// are done. While another thread uses the pool, or from within a job, the calls follow one another on the calling thread: a job
    /// must not wait for another.
    ///
    /// # Panics
    /// If `job` does, with what it panicked with.
    pub fn broadcast(&self, job: impl Fn(usize) + Sync) {
        match self.alone() {
            Some(alone) => self.run(&alone, &job),
            None => (0..self.threads()).for_each(job),
        }
    }

    /// Cuts `0..len` into chunks of `chunk` and calls `job` on each. Each thread begins with a part of its own and goes through it in
    /// order, so that what it reads is one long stream (a prefetcher that runs past a chunk's end then fetches what comes next, not what
    /// another core reads); done with it, it takes from the parts of others, so that one that started late, or was interrupted, is not
    /// waited for.
    ///
    /// # Panics
    /// If `job` does, or `chunk` is 0.
    pub fn for_each_chunk(&self, len: usize, chunk: usize, job: impl Fn(Range<usize>) + Sync) {
        assert!(chunk > 0);
        let chunks = len.div_ceil(chunk);
        let call = |index: usize| job(index * chunk..len.min((index + 1) * chunk));
        let together = chunks > 1 && !self.workers.is_empty();
        let Some(alone) = together.then(|| self.alone()).flatten() else {
            return (0..chunks).for_each(call);
        };
        let threads = self.threads();
        let begin = |part: usize| chunks * part / threads;
        for (part, next) in self.next.iter().enumerate() {
            next.0.store(begin(part), Ordering::Relaxed);
        }
        self.run(&alone, &|thread| {
            for part in (thread..threads).chain(0..thread) {
                let (next, end) = (&self.next[part].0, begin(part + 1));
                // A look first: a part that is done is not fought for.
                while next.load(Ordering::Relaxed) < end {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index < end {
                        call(index);
                    }
                }
            }
        });
    }

    /// The right to give the workers a job, unless they have one.
    fn alone(&self) -> Option<MutexGuard<'_, ()>> {
        match self.busy.try_lock() {
            // A poisoned lock guards nothing that a panic could have left half done.
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// One job, from its start on all threads to its end on the last.
    fn run(&self, _alone: &MutexGuard<'_, ()>, job: &(dyn Fn(usize) + Sync)) {
        if self.workers.is_empty() {
            return job(0);
        }
        self.start(job);
        let own = catch_unwind(AssertUnwindSafe(|| job(0)));
        wait_until(|| self.shared.running.load(Ordering::Acquire) == 0);
        let theirs = self.shared.panic.lock().ok().and_then(|mut it| it.take());
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        if let Some(panic) = theirs {
            resume_unwind(panic);
        }
    }

    fn start(&self, job: &(dyn Fn(usize) + Sync)) {
        // SAFETY: the lifetime is given up here, and `broadcast` does not return before the last worker is done with the closure.
        let job = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Job>(job) };
        // SAFETY: no worker runs: the last job was waited for, and `busy` is held.
        unsafe { *self.shared.job.get() = Some(job) };
        self.wake();
    }

    fn wake(&self) {
        self.shared
            .running
            .store(self.workers.len(), Ordering::Relaxed);
        // Sequentially consistent, as in `work`: either the worker sees the new epoch before it sleeps, or this thread sees it asleep.
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        for (worker, asleep) in self.workers.iter().zip(&self.shared.asleep[1..]) {
            if asleep.swap(false, Ordering::SeqCst) {
                worker.0.unpark();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.wake();
        for (_, handle) in &mut self.workers {
            if let Some(handle) = handle.take() {
                // A worker's panic was already passed on by the job it came from.
                let _ = handle.join();
            }
        }
    }
}

/// A worker's life.
fn work(shared: &Shared, worker: usize) {
    let mut seen = 0;
    loop {
        await_epoch(shared, worker, seen);
        seen += 1;
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        // SAFETY: the epoch has moved, so the job was written and stays until `running` is zero.
        let job = unsafe { (*shared.job.get()).expect("a job comes with its epoch") };
        // SAFETY: its caller waits for this worker, so what the closure borrows is alive.
        let done = catch_unwind(AssertUnwindSafe(|| unsafe { (*job)(worker) }));
        if let (Err(panic), Ok(mut first)) = (done, shared.panic.lock()) {
            first.get_or_insert(panic);
        }
        shared.running.fetch_sub(1, Ordering::Release);
    }
}

/// Waits until the epoch is no longer `seen`: spinning, then giving way, then asleep.
fn await_epoch(shared: &Shared, worker: usize, seen: usize) {
    let moved = || shared.epoch.load(Ordering::SeqCst) != seen;
    for _ in 0..SPINS {
        if moved() {
            return;
        }
        std::hint::spin_loop();
    }
    for _ in 0..YIELDS {
        if moved() {
            return;
        }
        std::thread::yield_now();
    }
    while !moved() {
        shared.asleep[worker].store(true, Ordering::SeqCst);
        if !moved() {
            std::thread::park();
        }
        shared.asleep[worker].store(false, Ordering::SeqCst);
    }
}

/// Spins, and gives way after a while: the thread that is waited for may need this core.
fn wait_until(done: impl Fn() -> bool) {
    let mut spins = 0usize;
    while !done() {
        spins += 1;
        if spins < SPINS {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_called_once() {
        for threads in 1..5 {
            let pool = Pool::new(threads);
            for _ in 0..200 {
                let calls: Vec<_> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
                pool.broadcast(|worker| {
                    calls[worker].fetch_add(1, Ordering::Relaxed);
                });
                assert!(calls.iter().all(|calls| calls.load(Ordering::Relaxed) == 1));
            }
        }
    }

    /// What is started from a pinned thread would share its core.
    #[test]
    fn a_pinned_caller_has_workers_elsewhere() {
        let cores = allowed_cores();
        let found = std::thread::spawn(|| {
            pin_to(allowed_cores()[0]);
            allowed_cores()
        });
        assert_eq!(found.join().unwrap(), cores);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_pinned_caller_shares_no_core_with_a_worker() {
        let cores = allowed_cores();
        let pool = Pool::new(cores.len());
        std::thread::spawn(move || {
            pool.pin_caller();
            let seen: Vec<_> = cores.iter().map(|_| AtomicUsize::new(usize::MAX)).collect();
            for _ in 0..100 {
                pool.broadcast(|worker| {
                    // SAFETY: it takes nothing and always answers.
                    let core = unsafe { libc::sched_getcpu() };
                    seen[worker].store(core as usize, Ordering::Relaxed);
                });
                let mut seen: Vec<_> = seen.iter().map(|it| it.load(Ordering::Relaxed)).collect();
                seen.sort_unstable();
                assert!(cores.len() == 1 || seen == cores);
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3);
        for guilty in 0..3 {
            let job = || pool.broadcast(|worker| assert!(worker != guilty, "worker {worker}"));
            let message = catch_unwind(AssertUnwindSafe(job)).unwrap_err();
            assert_eq!(
                message.downcast_ref::<String>(),
                Some(&format!("worker {guilty}"))
            );
        }
        pool.broadcast(|_| ());
    }

    #[test]
    fn callers_at_the_same_time_and_jobs_within_jobs_all_get_done() {
        let pool = Pool::new(2);
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        pool.for_each_chunk(10, 3, |range| {
                            pool.broadcast(|_| ());
                            sum.fetch_add(range.len(), Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * 100 * 10);
    }
}
