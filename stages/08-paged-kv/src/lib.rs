//! Stage 08: the host side of a paged KV cache.
//!
//! Keys and values of all sequences live in one device buffer that is cut into blocks of `block_size` tokens
//! (PagedAttention, Kwon et al., SOSP 2023, arXiv:2309.06180). This crate decides which block belongs to whom; it never
//! touches the buffer, knows no device and does no I/O.
//!
//! The contract:
//!
//! - [`BlockPool`] hands out blocks and takes them back, each in constant time.
//! - [`PageTable`] maps the positions of one sequence to slots of the buffer.
//! - [`PagedKv`] joins both with an index of block contents: a sequence that begins like an earlier one reuses its blocks.
//! - A block that more than one table holds is never written: [`PagedKv::reserve`] replaces it by a private copy first.
//! - A free block keeps its content until its memory is needed; the least recently used content goes first.
//! - `free_blocks() + used_blocks()` is the size of the pool at all times, and [`PagedKv::check`] proves the rest.

mod block;
mod free_list;
mod kv;
mod pool;
mod prefix_index;
mod table;

pub use block::{BlockCopy, BlockId, OutOfBlocks};
pub use kv::{KvStats, PagedKv};
pub use pool::BlockPool;
pub use table::PageTable;
