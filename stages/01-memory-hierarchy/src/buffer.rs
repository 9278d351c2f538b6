//! Memory for weights: aligned to cache lines, and on huge pages where the system has them.
//!
//! A decode step walks through all weights once. On pages of 4 KiB that is a look-up of an address for every 64 lines, and hardware
//! prefetchers stop at each page's end; on pages of 2 MiB neither is felt.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A cache line, and a vector of AVX-512.
pub const LINE: usize = 64;
/// A huge page, of x86-64 and of AArch64 with pages of 4 KiB.
const HUGE: usize = 2 << 20;

/// A type whose numbers may be any bits, zeros among them, and need no drop.
///
/// # Safety
/// All zero bytes must be a value of the type.
pub unsafe trait Plain: Copy + Send + Sync {}
// SAFETY: numbers.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for i8 {}
// SAFETY: as above.
unsafe impl Plain for i32 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for half::f16 {}
// SAFETY: as above.
unsafe impl Plain for half::bf16 {}

/// A fixed number of values, which begin as zeros.
#[derive(Debug)]
pub struct Buffer<T: Plain> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: it owns its memory, and `T` is `Send`.
unsafe impl<T: Plain> Send for Buffer<T> {}
// SAFETY: as above, and `T` is `Sync`.
unsafe impl<T: Plain> Sync for Buffer<T> {}

impl<T: Plain> Buffer<T> {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        let Some(layout) = Self::layout(len) else {
            return Self {
                start: NonNull::dangling(),
                len: 0,
            };
        };
        // SAFETY: the layout has a size.
        let start = unsafe { alloc(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        if layout.align() == HUGE {
            // Before the first touch, which decides what page backs it.
            advise_huge(start.as_ptr(), layout.size());
        }
        // SAFETY: the allocation has this size.
        unsafe { start.write_bytes(0, layout.size()) };
        Self {
            start: start.cast(),
            len,
        }
    }

    fn layout(len: usize) -> Option<Layout> {
        let size = len
            .checked_mul(size_of::<T>())
            .expect("it fits the address space");
        let align = if size >= 2 * HUGE { HUGE } else { LINE };
        (size > 0).then(|| Layout::from_size_align(size, align).expect("it fits the address space"))
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len) {
            // SAFETY: allocated with the same layout.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) }
        }
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` values that are initialised, and borrowed as this is.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> From<&[T]> for Buffer<T> {
    fn from(values: &[T]) -> Self {
        let mut buffer = Self::zeroed(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
}

impl<T: Plain> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl<T: Plain + PartialEq> PartialEq for Buffer<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// Asks for huge pages; a system that has none keeps the small ones.
#[cfg(target_os = "linux")]
fn advise_huge(start: *mut u8, size: usize) {
    // SAFETY: the range was just allocated; the call changes how it is backed, not what it holds.
    unsafe { libc::madvise(start.cast(), size, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise_huge(_start: *mut u8, _size: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_on_a_line_of_their_own() {
        for len in [0, 1, 63, 64, 5000, 3 << 20] {
            let mut buffer = Buffer::<f32>::zeroed(len);
            assert_eq!(buffer.len(), len);
            assert!(buffer.iter().all(|value| *value == 0.0));
            assert!(len == 0 || buffer.as_ptr().addr().is_multiple_of(LINE));
            buffer.fill(1.0);
            assert_eq!(buffer.iter().sum::<f32>(), len as f32);
        }
    }
}
