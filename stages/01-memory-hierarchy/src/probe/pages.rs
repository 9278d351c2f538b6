//! Memory in pages of a chosen size. [`Buffer`](crate::Buffer) takes what is best; a probe must also have what is worse.
//!
//! A page is what one entry of the translation buffer (TLB) covers: 4 KiB, or 2 MiB if the kernel grants it. The kernel takes
//! `madvise` as a wish, so [`Pages::huge_bytes`] says what was granted. The invariant: every byte is zero at first and has been touched by
//! the thread that called [`Pages::new`], so no page fault is timed later, and the memory lies on that thread's node.

/// What the memory is asked to be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSize {
    /// The smallest that the system has: 4 KiB on x86.
    Base,
    /// 2 MiB, where the system grants them to a program that asks.
    Huge,
}

/// Bytes in a huge page of x86-64, and in those of aarch64 with base pages of 4 KiB.
pub const HUGE: usize = 2 << 20;

/// A piece of memory, aligned to [`HUGE`].
#[derive(Debug)]
pub struct Pages {
    start: *mut u8,
    bytes: usize,
    /// What the system gave, of which `start` is the first aligned byte.
    #[cfg(target_os = "linux")]
    mapping: (*mut libc::c_void, usize),
    #[cfg(not(target_os = "linux"))]
    layout: std::alloc::Layout,
}

// SAFETY: the memory belongs to this value alone, and is reached through it by the rules for references.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// At least `bytes` bytes of zeros, touched.
    ///
    /// # Panics
    /// If the system has no such memory.
    #[cfg(target_os = "linux")]
    pub fn new(bytes: usize, size: PageSize) -> Self {
        let bytes = bytes.next_multiple_of(4096).max(4096);
        let mapped = bytes + HUGE;
        // SAFETY: a new mapping of the kernel's choosing touches no other memory.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert!(base != libc::MAP_FAILED, "no {mapped} bytes to be had");
        let start = base.map_addr(|base| base.next_multiple_of(HUGE));
        let advice = match size {
            PageSize::Base => libc::MADV_NOHUGEPAGE,
            PageSize::Huge => libc::MADV_HUGEPAGE,
        };
        // SAFETY: the whole mapping is this value's own. A kernel that refuses the wish gives base pages, as `huge_bytes` tells.
        unsafe { libc::madvise(base, mapped, advice) };
        // SAFETY: `start` lies less than HUGE bytes into the mapping, so `bytes` bytes follow.
        unsafe { std::ptr::write_bytes(start.cast::<u8>(), 0, bytes) };
        Self {
            start: start.cast(),
            bytes,
            mapping: (base, mapped),
        }
    }

    /// At least `bytes` bytes of zeros, touched. This system has no call to choose the size of pages.
    #[cfg(not(target_os = "linux"))]
    pub fn new(bytes: usize, _size: PageSize) -> Self {
        let bytes = bytes.next_multiple_of(4096).max(4096);
        let layout = std::alloc::Layout::from_size_align(bytes, HUGE).expect("a size in range");
        // SAFETY: the layout is not empty.
        let start = unsafe { std::alloc::alloc_zeroed(layout) };
        assert!(!start.is_null(), "no {bytes} bytes to be had");
        Self {
            start,
            bytes,
            layout,
        }
    }

    /// The memory as words, a cache line being eight of 64 bytes.
    pub fn words(&self) -> &[u64] {
        // SAFETY: initialised, aligned, and any bits are a number.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.bytes / 8) }
    }

    /// The memory as words, to be written.
    pub fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: as for `words`, and borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast(), self.bytes / 8) }
    }

    /// Bytes of this memory that lie in huge pages, as far as the system tells: see `man 5 proc_pid_smaps`.
    pub fn huge_bytes(&self) -> Option<usize> {
        let maps = std::fs::read_to_string("/proc/self/smaps").ok()?;
        let start = self.start.addr();
        let mut within = false;
        for line in maps.lines() {
            let first = line.split_whitespace().next().unwrap_or_default();
            if let Some((from, to)) = first.split_once('-') {
                let address = |hex| usize::from_str_radix(hex, 16).ok();
                within = (address(from)?..address(to)?).contains(&start);
            } else if within && first == "AnonHugePages:" {
                let kib: usize = line.split_whitespace().nth(1)?.parse().ok()?;
                // Neighbouring mappings of the same kind are shown as one.
                return Some((kib << 10).min(self.bytes));
            }
        }
        None
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        // SAFETY: the mapping is this value's own, and nobody borrows it any more.
        unsafe {
            libc::munmap(self.mapping.0, self.mapping.1);
        }
        #[cfg(not(target_os = "linux"))]
        // SAFETY: allocated with this layout.
        unsafe {
            std::alloc::dealloc(self.start, self.layout);
        }
    }
}
