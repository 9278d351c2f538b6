//! A buffer that begins on a cache line, and on a huge page where it is large.
//!
//! A 64-byte vector that straddles two cache lines costs two accesses, so packed operands start on a line. Buffers of several
//! megabytes start on a 2 MiB boundary and ask the system for pages of that size: streaming through weights then misses the TLB once
//! in 2 MiB and not once in 4 KiB.
//!
//! The invariant: `len` elements behind `start` are initialised, first to zero bytes, so only types for which those are a value.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes of a cache line, and of the widest vector.
pub const LINE: usize = 64;
/// Bytes of a large page on x86-64 and most 64-bit Arm systems.
const HUGE: usize = 2 << 20;

/// Types for which zero bytes are a value and which need no drop.
///
/// # Safety
/// All bytes zero must be valid.
pub unsafe trait Zeroable: Copy {}

macro_rules! zeroable {
    ($($type:ty),*) => {
        // SAFETY: plain numbers, for which zero bytes are zero.
        $(unsafe impl Zeroable for $type {})*
    };
}
zeroable!(f32, half::f16, half::bf16, i8, u8, i32);

/// A slice on the heap that begins on a cache line.
pub struct Aligned<T: Zeroable> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: it owns its elements as a `Vec` does.
unsafe impl<T: Zeroable + Send> Send for Aligned<T> {}
// SAFETY: as above.
unsafe impl<T: Zeroable + Sync> Sync for Aligned<T> {}

impl<T: Zeroable> Aligned<T> {
    /// Zeros.
    pub fn zeroed(len: usize) -> Self {
        let layout = layout::<T>(len);
        if layout.size() == 0 {
            return Self {
                start: NonNull::dangling(),
                len,
            };
        }
        // SAFETY: the layout has a size.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else {
            handle_alloc_error(layout)
        };
        if layout.align() == HUGE {
            ask_for_huge_pages(start.as_ptr(), layout.size());
        }
        Self {
            start: start.cast(),
            len,
        }
    }
}

/// Aligned to a huge page if it fills one, to a line otherwise.
fn layout<T>(len: usize) -> Layout {
    let layout = Layout::array::<T>(len).expect("fewer bytes than the address space has");
    let align = if layout.size() >= HUGE { HUGE } else { LINE };
    layout.align_to(align).expect("both are powers of two")
}

#[cfg(target_os = "linux")]
fn ask_for_huge_pages(start: *mut u8, bytes: usize) {
    // SAFETY: the range was just allocated; the call is advice and changes no content.
    unsafe { libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_start: *mut u8, _bytes: usize) {}

impl<T: Zeroable> Drop for Aligned<T> {
    fn drop(&mut self) {
        let layout = layout::<T>(self.len);
        if layout.size() > 0 {
            // SAFETY: allocated with the same layout in `zeroed`.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) };
        }
    }
}

impl<T: Zeroable> Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `len` initialised elements (see the invariant).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zeroable> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zeroable> std::fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Aligned([{}; {}])", std::any::type_name::<T>(), self.len)
    }
}
