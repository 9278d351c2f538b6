//! A paged KV cache: blocks, page tables, copy-on-write, prefix reuse.
