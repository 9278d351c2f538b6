//! `GET /v1/models` and `GET /v1/models/{id}`.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::app::App;
use crate::error::ApiError;
use crate::validate::check_model;

/// All models: the one that is served.
pub(crate) async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({"object": "list", "data": [describe(&app)]}))
}

/// One model. Ids may have slashes.
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    check_model(&app, Some(&id))?;
    Ok(Json(describe(&app)))
}

fn describe(app: &App) -> Value {
    json!({
        "id": app.model.id,
        "object": "model",
        "created": app.model.created,
        "owned_by": "fastserve",
        "max_model_len": app.model.max_model_len,
    })
}
