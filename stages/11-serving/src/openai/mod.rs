//! The wire types of OpenAI's API and of vLLM's additions to it, as far as this server has them.

pub mod chat;
pub mod common;
pub mod completions;
