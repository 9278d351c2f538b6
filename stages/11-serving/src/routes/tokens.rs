//! `POST /tokenize` and `POST /detokenize`, in vLLM's shape.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

use crate::app::App;
use crate::error::ApiError;
use crate::prompt::{Conversation, encode};
use crate::request::{JsonBody, blocking};
use crate::validate::check_model;

#[derive(Deserialize)]
struct TokenizeFields {
    model: Option<String>,
    prompt: Option<String>,
    messages: Option<Vec<Map<String, Value>>>,
    add_special_tokens: Option<bool>,
    add_generation_prompt: Option<bool>,
    continue_final_message: Option<bool>,
    chat_template_kwargs: Option<Map<String, Value>>,
    return_token_strs: Option<bool>,
}

#[derive(Deserialize)]
struct DetokenizeFields {
    model: Option<String>,
    tokens: Option<Vec<u32>>,
}

/// Tokens of a text (`prompt`) or of a conversation (`messages`).
pub(crate) async fn tokenize(
    State(app): State<Arc<App>>,
    body: JsonBody,
) -> Result<Json<Value>, ApiError> {
    let fields: TokenizeFields = body.fields()?;
    check_optional_model(&app, fields.model.as_deref())?;
    let with_strings = fields.return_token_strs.unwrap_or(false);
    blocking(move || {
        let tokens = tokens_of(&app, fields)?;
        let spell = |token: &u32| app.model.tokenizer.id_to_token(*token);
        let strings: Option<Vec<_>> = with_strings.then(|| tokens.iter().map(spell).collect());
        Ok(Json(json!({
            "count": tokens.len(),
            "max_model_len": app.model.max_model_len,
            "tokens": tokens,
            "token_strs": strings,
        })))
    })
    .await
}

fn tokens_of(app: &App, fields: TokenizeFields) -> Result<Vec<u32>, ApiError> {
    let tokenizer = &app.model.tokenizer;
    match (fields.prompt, fields.messages) {
        (Some(text), None) => encode(tokenizer, &text, fields.add_special_tokens.unwrap_or(true)),
        (None, Some(messages)) => Conversation::check(
            messages,
            fields.add_generation_prompt,
            fields.continue_final_message,
            fields.chat_template_kwargs,
        )?
        .tokens(app.model.chat_template.as_deref(), tokenizer),
        _ => Err(ApiError::bad_request(
            "prompt",
            "give either prompt or messages",
        )),
    }
}

/// The text of tokens, special ones included.
pub(crate) async fn detokenize(
    State(app): State<Arc<App>>,
    body: JsonBody,
) -> Result<Json<Value>, ApiError> {
    let fields: DetokenizeFields = body.fields()?;
    check_optional_model(&app, fields.model.as_deref())?;
    let missing = || ApiError::bad_request("tokens", "is required");
    let tokens = fields.tokens.ok_or_else(missing)?;
    blocking(move || {
        let size = app.model.vocab_size;
        if let Some(token) = tokens.iter().find(|token| **token as usize >= size) {
            let message = format!("token {token} is not one of the vocabulary's {size}");
            return Err(ApiError::bad_request("tokens", message));
        }
        let decoded = app.model.tokenizer.decode(&tokens, false);
        let text = decoded.map_err(|error| ApiError::bad_request("tokens", error.to_string()))?;
        Ok(Json(json!({"prompt": text})))
    })
    .await
}

/// These endpoints take a request without a model.
fn check_optional_model(app: &App, model: Option<&str>) -> Result<(), ApiError> {
    model.map_or(Ok(()), |model| check_model(app, Some(model)))
}
