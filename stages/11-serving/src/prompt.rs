//! From a conversation to the tokens that the model reads.

use attention_variants::hf::{ChatTemplate, TemplateError, Tokenizer};
use axum::http::StatusCode;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// Roles a message may have.
const ROLES: [&str; 5] = ["system", "developer", "user", "assistant", "tool"];

/// A conversation with what it is rendered by.
#[derive(Clone, Debug)]
pub struct Conversation {
    messages: Vec<Value>,
    add_generation_prompt: bool,
    continue_final_message: bool,
    variables: Map<String, Value>,
}

impl Conversation {
    /// Checks messages.
    ///
    /// # Errors
    /// There are none, a role is unknown, or a content is not text.
    pub fn check(
        messages: Vec<Map<String, Value>>,
        add_generation_prompt: Option<bool>,
        continue_final_message: Option<bool>,
        variables: Option<Map<String, Value>>,
    ) -> Result<Self, ApiError> {
        let continue_final_message = continue_final_message.unwrap_or(false);
        if continue_final_message && add_generation_prompt == Some(true) {
            let message = "contradicts add_generation_prompt; set only one of them";
            return Err(ApiError::bad_request("continue_final_message", message));
        }
        if messages.is_empty() {
            let message = "must have at least one message";
            return Err(ApiError::bad_request("messages", message));
        }
        Ok(Self {
            messages: messages
                .into_iter()
                .enumerate()
                .map(|(index, message)| check_message(&format!("messages[{index}]"), message))
                .collect::<Result<_, _>>()?,
            add_generation_prompt: add_generation_prompt.unwrap_or(!continue_final_message),
            continue_final_message,
            variables: variables.unwrap_or_default(),
        })
    }

    /// The prompt as tokens. Takes time with the length of the conversation: not for an asynchronous task.
    ///
    /// # Errors
    /// The model has no chat template, or the template refuses the conversation.
    pub fn tokens(
        &self,
        template: Option<&ChatTemplate>,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<u32>, ApiError> {
        let Some(template) = template else {
            let message = "this model has no chat template; use /v1/completions";
            return Err(ApiError::bad_request("messages", message));
        };
        let mut text = template
            .render(&self.messages, self.add_generation_prompt, &self.variables)
            .map_err(|error: TemplateError| ApiError::bad_request("messages", error.to_string()))?;
        if self.continue_final_message {
            self.cut_after_last_message(&mut text)?;
        }
        encode(tokenizer, &text, false)
    }

    /// Takes off what the template puts behind the last message.
    fn cut_after_last_message(&self, text: &mut String) -> Result<(), ApiError> {
        let last = self
            .messages
            .last()
            .and_then(|message| message["content"].as_str())
            .unwrap_or("");
        let Some(start) = text.rfind(last.trim()) else {
            let message = "the chat template does not show the last message as it is";
            return Err(ApiError::bad_request("continue_final_message", message));
        };
        text.truncate(start + last.trim().len());
        Ok(())
    }
}

/// The tokens of a text.
///
/// # Errors
/// The tokenizer fails, which is the server's fault.
pub fn encode(tokenizer: &Tokenizer, text: &str, add_special: bool) -> Result<Vec<u32>, ApiError> {
    tokenizer.encode(text, add_special).map_err(|error| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        ApiError::server(status, "tokenizer_failed", error.to_string())
    })
}

/// One message as the template takes it: a known role, the content one string.
fn check_message(path: &str, mut message: Map<String, Value>) -> Result<Value, ApiError> {
    let role = match message.get("role") {
        Some(Value::String(role)) if ROLES.contains(&role.as_str()) => role.clone(),
        Some(other) => {
            let message = format!("must be one of {}, not {other}", ROLES.join(", "));
            return Err(ApiError::bad_request(&format!("{path}.role"), message));
        }
        None => {
            let param = format!("{path}.role");
            return Err(ApiError::bad_request(&param, "is required"));
        }
    };
    let content = message.get("content").unwrap_or(&Value::Null);
    let text = text_content(&format!("{path}.content"), &role, content)?;
    message.insert("content".to_owned(), text.into());
    // OpenAI renamed the role; templates know the old name.
    if role == "developer" {
        message.insert("role".to_owned(), "system".into());
    }
    Ok(Value::Object(message))
}

/// Content that is a string or a list of text parts, as one string.
fn text_content(path: &str, role: &str, content: &Value) -> Result<String, ApiError> {
    // ANCHOR: solve-content
    match content {
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => parts
            .iter()
            .enumerate()
            .map(|(index, part)| text_part(&format!("{path}[{index}]"), part))
            .collect::<Result<Vec<_>, _>>()
            .map(|texts| texts.join("\n")),
        Value::Null if role == "assistant" => Ok(String::new()),
        Value::Null => Err(ApiError::bad_request(path, "is required")),
        other => {
            let message = format!("must be a string or a list of text parts, not {other}");
            Err(ApiError::bad_request(path, message))
        }
    }
    // ANCHOR_END: solve-content
}

fn text_part<'a>(path: &str, part: &'a Value) -> Result<&'a str, ApiError> {
    match part.get("type").and_then(Value::as_str) {
        Some("text") => part
            .get("text")
            .and_then(Value::as_str)
            .ok_or_else(|| ApiError::bad_request(&format!("{path}.text"), "must be a string")),
        Some(other) => Err(ApiError::bad_request(
            &format!("{path}.type"),
            format!("this model reads text only, not {other:?}"),
        )),
        None => Err(ApiError::bad_request(
            path,
            "must be an object such as {\"type\": \"text\", \"text\": …}",
        )),
    }
}
