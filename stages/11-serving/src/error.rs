//! Errors as a client sees them: a status and OpenAI's error object.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::engine::{EngineFailure, SubmitError};

/// Seconds after which a client may try again where the server is full or restarts.
const RETRY_AFTER_SECONDS: u16 = 1;

/// What went wrong, in the terms of the API.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The status of the answer.
    pub status: StatusCode,
    /// What is wrong and what would be right.
    pub message: String,
    /// OpenAI's `type`.
    pub kind: &'static str,
    /// The offending field, as a path such as `messages[0].role`.
    pub param: Option<String>,
    /// OpenAI's `code`.
    pub code: Option<&'static str>,
}

impl ApiError {
    /// The request is at fault.
    pub fn bad_request(param: &str, message: impl Into<String>) -> Self {
        Self::invalid(StatusCode::BAD_REQUEST, message).param(param)
    }

    /// The request is at fault as a whole, for the reason that `status` says.
    pub fn invalid(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            kind: "invalid_request_error",
            param: None,
            code: None,
        }
    }

    /// The server is at fault.
    pub fn server(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            kind: "server_error",
            param: None,
            code: Some(code),
        }
    }

    /// A field that is understood and not supported.
    pub fn unsupported(param: &str, what: &str) -> Self {
        Self::bad_request(param, format!("{what} is not supported by this server"))
            .code("unsupported_parameter")
    }

    /// The request took longer than its limit.
    pub fn timeout() -> Self {
        let message = "the request took longer than its time limit and was cancelled";
        Self::server(StatusCode::GATEWAY_TIMEOUT, "timeout", message)
    }

    /// The server ends.
    pub fn draining() -> Self {
        let error = SubmitError::Draining.to_string();
        Self::server(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", error)
    }

    fn param(mut self, param: &str) -> Self {
        self.param = Some(param.to_owned());
        self
    }

    /// The same with a `code`.
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// The error object: `{"error": {"message", "type", "param", "code"}}`.
    pub fn body(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let later = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        if later.contains(&self.status) {
            let seconds = HeaderValue::from(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::QueueFull { .. } => Self {
                kind: "rate_limit_error",
                ..Self::invalid(StatusCode::TOO_MANY_REQUESTS, error.to_string())
                    .code("rate_limit_exceeded")
            },
            SubmitError::Draining => Self::draining(),
            SubmitError::Gone => Self::server(
                StatusCode::SERVICE_UNAVAILABLE,
                "engine_stopped",
                error.to_string(),
            ),
        }
    }
}

impl From<EngineFailure> for ApiError {
    fn from(failure: EngineFailure) -> Self {
        let message = failure.to_string();
        Self::server(StatusCode::INTERNAL_SERVER_ERROR, "engine_failed", message)
    }
}
