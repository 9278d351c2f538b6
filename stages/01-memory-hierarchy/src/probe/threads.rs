//! What it costs to have work done elsewhere: by a new thread, by a waiting pool, by another thread of the same core.
//!
//! A general pool and an async runtime stand beside these in the stage's bench, since the library depends on neither.

use super::fastest;
use crate::pool::{Pool, allowed_cores, pin_to};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Starting a thread and waiting for its end, in ns.
pub fn thread_start_ns(budget: Duration) -> f64 {
    fastest(budget, || {
        std::thread::scope(|scope| drop(scope.spawn(|| ())))
    })
}

/// A job that does nothing on every thread of the pool, while its workers still look out for the next one, in ns.
pub fn broadcast_ns(pool: &Pool, budget: Duration) -> f64 {
    const JOBS: usize = 64;
    fastest(budget, || (0..JOBS).for_each(|_| pool.broadcast(|_| ()))) / JOBS as f64
}

/// The same after a pause in which the workers went to sleep, in ns.
pub fn broadcast_asleep_ns(pool: &Pool, budget: Duration) -> f64 {
    let mut best = f64::INFINITY;
    let start = std::time::Instant::now();
    while best.is_infinite() || start.elapsed() < budget {
        std::thread::sleep(Duration::from_millis(5));
        let began = std::time::Instant::now();
        pool.broadcast(|_| ());
        best = best.min(began.elapsed().as_nanos() as f64);
    }
    best
}

/// Passing a core from one thread to another that sleeps, in ns: two threads on one core wake each other in turn.
pub fn thread_switch_ns(budget: Duration) -> f64 {
    const TURNS: usize = 256;
    let core = allowed_cores()[0];
    let ping_pong = |turns: usize| {
        let turn = AtomicUsize::new(0);
        // Player 0 moves on even turns, player 1 on odd ones.
        let play = |player: usize, other: &std::thread::Thread| {
            for own in (player..turns).step_by(2) {
                while turn.load(Ordering::Acquire) != own {
                    std::thread::park();
                }
                turn.store(own + 1, Ordering::Release);
                other.unpark();
            }
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                pin_to(core);
                let me = std::thread::current();
                std::thread::scope(|inner| {
                    // A thread inherits the cores of the one that starts it.
                    let second = inner.spawn(move || play(1, &me));
                    play(0, second.thread());
                });
            });
            drop(first);
        });
    };
    // What starting the two threads takes is in both and falls out.
    let (short, long) = (
        fastest(budget / 2, || ping_pong(TURNS)),
        fastest(budget / 2, || ping_pong(9 * TURNS)),
    );
    ((long - short) / (8 * TURNS) as f64).max(f64::MIN_POSITIVE)
}
