//! What holds for every request: an id, a count in the metrics, panics turned into errors, and JSON bodies read within limits.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt, StreamExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::error::ApiError;
use crate::metrics::Answer;
use crate::openai::common::fresh_id;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TIMEOUT_MS: &str = "x-request-timeout-ms";
/// Time a client has to send a body.
const BODY_TIME: Duration = Duration::from_secs(60);
/// A body over the limit is read on and thrown away up to so many times the limit: a client that is still sending does not
/// read the answer.
const DISCARDED_LIMITS: usize = 16;

/// Around every handler: gives the answer the request's id, counts it, and lets no panic through.
pub(crate) async fn observe(
    State(app): State<Arc<App>>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let id = request.headers().get(&REQUEST_ID).cloned();
    let id = id.unwrap_or_else(|| {
        HeaderValue::from_str(&fresh_id("req")).expect("hexadecimal digits are a header value")
    });
    let mut response = AssertUnwindSafe(next.run(request))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| internal_error().into_response());
    response.headers_mut().insert(REQUEST_ID, id);
    let answer = Answer {
        route: route.map_or("unmatched".to_owned(), |route| route.as_str().to_owned()),
        status: response.status().as_u16(),
    };
    let metrics = app.engine.metrics();
    metrics.http_requests.get_or_create(&answer).inc();
    response
}

/// What a client hears of a defect in the server.
pub(crate) fn internal_error() -> ApiError {
    let message = "the server failed on this request; its log has more";
    ApiError::server(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
}

/// Runs work that takes time with the length of its input off the asynchronous threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(internal_error()))
}

/// The time limit that the client set in a header.
///
/// # Errors
/// It is not a whole number above zero.
pub(crate) fn header_time_limit(headers: &HeaderMap) -> Result<Option<Duration>, ApiError> {
    let Some(value) = headers.get(TIMEOUT_MS) else {
        return Ok(None);
    };
    match value.to_str().ok().and_then(|text| text.parse().ok()) {
        Some(milliseconds) if milliseconds > 0 => Ok(Some(Duration::from_millis(milliseconds))),
        _ => Err(ApiError::bad_request(
            TIMEOUT_MS,
            "must be a whole number of milliseconds above 0",
        )),
    }
}

/// A JSON body, not yet looked into but for being an object.
#[derive(Debug)]
pub(crate) struct JsonBody(Value);

impl JsonBody {
    /// Some of the body's fields. `null` counts as absent where the field is an `Option`.
    ///
    /// # Errors
    /// A field is of the wrong type; the error has its path.
    pub(crate) fn fields<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_path_to_error::deserialize(&self.0).map_err(|error| {
            let path = error.path().to_string();
            ApiError::bad_request(&path, format!("{path}: {}", error.inner()))
        })
    }
}

impl FromRequest<Arc<App>> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        check_content_type(request.headers())?;
        let limit = app.limits.body_bytes;
        let bytes = tokio::time::timeout(BODY_TIME, read(request.into_body(), limit))
            .await
            .map_err(|_| {
                let message = "the body did not arrive in time";
                ApiError::invalid(StatusCode::REQUEST_TIMEOUT, message)
            })??;
        let malformed = |what: String| {
            let message = format!("the body is not a JSON object: {what}");
            ApiError::invalid(StatusCode::BAD_REQUEST, message).code("invalid_json")
        };
        match serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))? {
            value @ Value::Object(_) => Ok(Self(value)),
            _ => Err(malformed("it is some other value".to_owned())),
        }
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = text.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let message = format!("the content type must be application/json, not {text:?}");
    Err(ApiError::invalid(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        message,
    ))
}

/// Reads a body of at most `limit` bytes.
async fn read(body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut received = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk: Bytes = chunk.map_err(|error| {
            let message = format!("the body could not be read: {error}");
            ApiError::invalid(StatusCode::BAD_REQUEST, message)
        })?;
        received += chunk.len();
        if received > limit.saturating_mul(DISCARDED_LIMITS) {
            break;
        }
        if received <= limit {
            bytes.extend_from_slice(&chunk);
        }
    }
    if received > limit {
        let message = format!("the body is larger than the {limit} bytes that this server takes");
        return Err(ApiError::invalid(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(bytes)
}
