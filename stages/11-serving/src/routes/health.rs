//! `/health`, `/ready`, `/metrics`, `/version` and the page at `/`.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::app::App;
use crate::error::ApiError;

/// What Prometheus calls the format of [`crate::metrics::Metrics::render`].
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /health`: whether a restart would help. A server that drains or is full is healthy.
pub(crate) async fn live(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    if app.engine.is_alive(app.limits.step_time) {
        return Ok(Json(json!({"status": "ok"})));
    }
    let message = "the engine makes no progress";
    Err(unavailable("engine_stopped", message))
}

/// `GET /ready`: whether to send requests here.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    if app.engine.is_ready() {
        return Ok(Json(json!({"status": "ready"})));
    }
    if app.engine.is_draining() {
        return Err(ApiError::draining());
    }
    Err(unavailable("not_ready", "the model is not ready yet"))
}

fn unavailable(code: &'static str, message: &str) -> ApiError {
    ApiError::server(StatusCode::SERVICE_UNAVAILABLE, code, message)
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.engine.metrics().render();
    ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response()
}

/// `GET /version`.
pub(crate) async fn version(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({"version": app.version}))
}

/// `GET /`.
pub(crate) async fn page(State(app): State<Arc<App>>) -> Html<&'static str> {
    Html(app.page)
}
