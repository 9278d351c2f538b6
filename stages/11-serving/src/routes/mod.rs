//! One file an endpoint, or a few of a kind.

pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod health;
pub(crate) mod models;
pub(crate) mod tokens;
