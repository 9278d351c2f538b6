//! Which cores there are for this process, and keeping a thread on one of them.
//!
//! The invariant: the answer is that of the process, from before any of its threads was pinned.

use std::sync::OnceLock;

/// The cores that this process may run on, by the system's numbers, as they were when it was first asked: a thread that was pinned
/// since sees only its own.
#[cfg(target_os = "linux")]
pub fn allowed_cores() -> Vec<usize> {
    static CORES: OnceLock<Vec<usize>> = OnceLock::new();
    CORES.get_or_init(ask_for_cores).clone()
}

#[cfg(target_os = "linux")]
fn ask_for_cores() -> Vec<usize> {
    // SAFETY: a zeroed set is a valid, empty one, and its size is passed along.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
            return (0..std::thread::available_parallelism().map_or(1, usize::from)).collect();
        }
        set
    };
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: the number is within the set.
        .filter(|core| unsafe { libc::CPU_ISSET(*core, &set) })
        .collect()
}

/// The cores that this process may run on, numbered from 0.
#[cfg(not(target_os = "linux"))]
pub fn allowed_cores() -> Vec<usize> {
    (0..std::thread::available_parallelism().map_or(1, usize::from)).collect()
}

/// Keeps the calling thread on one core. A system that refuses leaves it where it is: slower, not wrong.
#[cfg(target_os = "linux")]
pub fn pin_to(core: usize) {
    // SAFETY: a zeroed set is valid, the core's number comes from `allowed_cores`, and 0 is the calling thread.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

/// Does nothing: this system has no call for it that works alike.
#[cfg(not(target_os = "linux"))]
pub fn pin_to(_core: usize) {}
