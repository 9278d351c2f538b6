//! Stage 11: the control plane, an OpenAI-compatible server over an engine that it knows only by its queue.
//!
//! A request goes down this list, its answer up: [`router`] has the routes; each route reads its fields ([`openai`]), checks them
//! ([`validate`]), makes tokens of the prompt ([`prompt`]) and submits them through the seam ([`engine`]). Events come back
//! through [`generate`], which makes text of tokens ([`detokenize`], [`stop`]), and [`answer`], which words them as one JSON
//! object or as server-sent events. The contract:
//!
//! - Streamed text is the text of the whole answer, cut in pieces.
//! - A client that goes away, a time limit and a failure free everything that the request held, by dropping its receivers.
//! - A bad request gets a 4xx in OpenAI's shape that names the field; nothing that a client sends stops the server.

pub mod answer;
pub mod app;
mod choice_text;
pub mod detokenize;
pub mod engine;
pub mod error;
pub mod generate;
pub mod metrics;
pub mod openai;
pub mod prompt;
mod request;
mod router;
mod routes;
pub mod shutdown;
pub mod stop;
pub mod token_text;
pub mod validate;

pub use app::{App, Limits, ServedModel};
pub use error::ApiError;
pub use router::router;
pub use shutdown::{Drained, run};
