//! What translating addresses costs: the same number of cache lines, dense or one to a page.
//!
//! Both walks of a pair touch equally many lines, so the data caches treat them alike. What differs is how many pages they touch: a TLB of
//! some dozens of entries at its first level and some thousands at its second covers the dense walk and not the spread one. The invariant:
//! the spread walk puts one line in each base page, at an offset within the page that differs from page to page, so that the lines
//! spread over all sets of the cache.

use super::latency::{Chase, LINE};
use super::pages::PageSize;

/// Bytes in a base page of x86.
pub const PAGE: usize = 4096;

/// Where the line of base page `page` lies.
pub fn place(page: usize) -> usize {
    page * PAGE + page % (PAGE / LINE) * LINE
}

/// A walk over one line of each of `pages` base pages. In huge pages it takes 512 times fewer translations for the same lines.
pub fn spread(pages: usize, size: PageSize) -> Chase {
    Chase::new(pages, place, size)
}

/// A walk over as many lines, one behind the other.
pub fn dense(lines: usize, size: PageSize) -> Chase {
    Chase::lines(lines * LINE, size)
}
