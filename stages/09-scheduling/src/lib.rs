//! Continuous batching with chunked prefill under one token budget.
