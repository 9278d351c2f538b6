//! The server's routes.

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use std::sync::Arc;

use crate::app::App;
use crate::error::ApiError;
use crate::request;
use crate::routes::{chat, completions, health, models, tokens};

/// The server's routes.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(health::page))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .route("/health", get(health::live))
        .route("/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/version", get(health::version))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&app), request::observe))
        .with_state(app)
}

async fn unknown_route(uri: axum::http::Uri) -> ApiError {
    let message = format!("there is nothing at {}", uri.path());
    ApiError::invalid(StatusCode::NOT_FOUND, message).code("unknown_url")
}

async fn wrong_method(method: axum::http::Method, uri: axum::http::Uri) -> ApiError {
    let message = format!("{} does not take {method}", uri.path());
    ApiError::invalid(StatusCode::METHOD_NOT_ALLOWED, message).code("method_not_allowed")
}
