//! The OpenAI-compatible server: wire types, validation, streaming, admission.
