//! From logits to a token: penalties, temperature, truncation, sampling.
