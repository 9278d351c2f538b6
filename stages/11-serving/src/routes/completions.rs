//! `POST /v1/completions`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use decoding::Logprobs;
use serde_json::{Map, Value, json};
use std::sync::Arc;

use super::chat::{LOWEST_LOGPROB, ids};
use crate::answer::{Finished, Format, answer};
use crate::app::App;
use crate::engine::GenerationRequest;
use crate::error::ApiError;
use crate::generate::{ChoiceEvent, Generation, TokenPiece};
use crate::openai::common::{GenerationFields, Usage, fresh_id, unix_seconds};
use crate::openai::completions::{CompletionFields, CompletionLogprobs, Prompt};
use crate::prompt::encode;
use crate::request::{JsonBody, blocking, header_time_limit};
use crate::token_text::text_of;
use crate::validate::{MAX_LOGPROBS, Options, whole};

/// A prompt as it was read.
struct PromptText {
    /// As the answer repeats it.
    text: String,
    tokens: Vec<u32>,
}

/// Continues one prompt or a batch.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let header_limit = header_time_limit(&headers)?;
    let fields: GenerationFields = body.fields()?;
    let own: CompletionFields = body.fields()?;
    let logprobs = whole("logprobs", own.logprobs, 0, MAX_LOGPROBS)?;
    let max_tokens = ("max_tokens", fields.max_tokens);
    let echo = own.echo.unwrap_or(false);
    // An echo of nothing but the prompt scores it.
    let least_tokens = i64::from(!echo);
    let options = Options::check(&app, fields, max_tokens, least_tokens, logprobs)?;
    refuse_unsupported(&own, &options, echo)?;
    let missing = || ApiError::bad_request("prompt", "is required");
    let prompt = own.prompt.ok_or_else(missing)?;
    let add_special = own.add_special_tokens.unwrap_or(true);
    let reader = Arc::clone(&app);
    let skip_special = options.skip_special;
    let prompts =
        blocking(move || read_prompts(&reader, prompt, add_special, skip_special)).await?;
    let prompt_logprobs = if echo { logprobs } else { None };
    let requests = prompts
        .iter()
        .map(|prompt| options.request(&app, "prompt", prompt.tokens.clone(), prompt_logprobs))
        .collect::<Result<Vec<GenerationRequest>, ApiError>>()?;
    let choices = prompts.len() * options.n;
    let format = CompletionFormat {
        app: Arc::clone(&app),
        id: fresh_id("cmpl"),
        created: unix_seconds(),
        prompts,
        n: options.n,
        echo,
        logprobs: logprobs.is_some(),
        token_ids: options.return_token_ids,
        usage: options.include_usage,
    };
    let generation = Generation::start(&app, requests, &options, header_limit)?;
    answer(generation, format, &options, choices).await
}

fn refuse_unsupported(
    fields: &CompletionFields,
    options: &Options,
    echo: bool,
) -> Result<(), ApiError> {
    if fields.suffix.as_ref().is_some_and(|suffix| suffix != "") {
        return Err(ApiError::unsupported(
            "suffix",
            "filling in before a suffix",
        ));
    }
    if fields.best_of.is_some_and(|best| best != options.n as i64) {
        return Err(ApiError::unsupported("best_of", "a best_of other than n"));
    }
    // Only the first choice carries the prompt's log-probabilities, and a stream cannot wait for it.
    if echo && options.stream && options.n > 1 && options.params.logprobs.is_some() {
        let what = "streaming an echo with logprobs for more than one choice";
        return Err(ApiError::unsupported("echo", what));
    }
    Ok(())
}

/// Every prompt of the request with its tokens.
fn read_prompts(
    app: &App,
    prompt: Prompt,
    add_special: bool,
    skip_special: bool,
) -> Result<Vec<PromptText>, ApiError> {
    let from_text = |text: String| -> Result<PromptText, ApiError> {
        let tokens = encode(&app.model.tokenizer, &text, add_special)?;
        Ok(PromptText { text, tokens })
    };
    let from_tokens = |tokens: Vec<u32>| -> Result<PromptText, ApiError> {
        let text = app.model.tokenizer.decode(&tokens, skip_special);
        let text = text.map_err(|error| ApiError::bad_request("prompt", error.to_string()))?;
        Ok(PromptText { text, tokens })
    };
    let prompts: Vec<PromptText> = match prompt {
        Prompt::Text(text) => vec![from_text(text)?],
        Prompt::Tokens(tokens) => vec![from_tokens(tokens)?],
        Prompt::Texts(texts) => texts
            .into_iter()
            .map(from_text)
            .collect::<Result<_, ApiError>>()?,
        Prompt::TokenLists(lists) => lists
            .into_iter()
            .map(from_tokens)
            .collect::<Result<_, ApiError>>()?,
    };
    let limit = app.limits.max_choices;
    if prompts.len() > limit {
        let message = format!("has {} prompts; at most {limit}", prompts.len());
        return Err(ApiError::bad_request("prompt", message));
    }
    Ok(prompts)
}

/// Words answers as OpenAI's completions.
struct CompletionFormat {
    app: Arc<App>,
    id: String,
    created: u64,
    prompts: Vec<PromptText>,
    n: usize,
    echo: bool,
    logprobs: bool,
    token_ids: bool,
    usage: bool,
}

impl CompletionFormat {
    fn envelope(&self, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.app.model.id,
            "system_fingerprint": self.app.fingerprint(),
            "choices": choices,
        })
    }

    fn choice(
        &self,
        index: usize,
        text: &str,
        logprobs: Option<CompletionLogprobs>,
        tokens: &[TokenPiece],
        reason: Option<&str>,
    ) -> Value {
        let mut choice = json!({
            "index": index,
            "text": text,
            "logprobs": logprobs,
            "finish_reason": reason,
        });
        if self.token_ids {
            choice["token_ids"] = ids(tokens);
        }
        choice
    }

    fn chunk_of(&self, choice: Value) -> Value {
        let mut chunk = self.envelope(vec![choice]);
        if self.usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    /// The prompt as the choice repeats it; empty unless it was asked for.
    fn echoed(&self, index: usize) -> &str {
        match self.echo {
            true => &self.prompts[index / self.n].text,
            false => "",
        }
    }

    /// `logprobs` of a choice or chunk: the prompt's, then the tokens'.
    fn logprobs_of(
        &self,
        index: usize,
        prompt: &[Option<Logprobs>],
        tokens: &[TokenPiece],
    ) -> Option<CompletionLogprobs> {
        if !self.logprobs || (prompt.is_empty() && tokens.is_empty()) {
            return None;
        }
        let mut list = CompletionLogprobs::default();
        let mut offset = 0;
        for (token, logprobs) in self.prompts[index / self.n].tokens.iter().zip(prompt) {
            self.append(&mut list, *token, logprobs.as_ref(), offset);
            offset += text_of(&self.app.model.tokenizer, *token).chars().count();
        }
        let generated_from = self.echoed(index).chars().count();
        for piece in tokens {
            let offset = generated_from + piece.offset;
            self.append(&mut list, piece.token, piece.logprobs.as_ref(), offset);
        }
        Some(list)
    }

    fn append(
        &self,
        list: &mut CompletionLogprobs,
        token: u32,
        logprobs: Option<&Logprobs>,
        offset: usize,
    ) {
        list.tokens.push(text_of(&self.app.model.tokenizer, token));
        list.token_logprobs
            .push(logprobs.map(|logprobs| logprobs.logprob.max(LOWEST_LOGPROB)));
        list.top_logprobs
            .push(logprobs.map(|logprobs| self.top(token, logprobs)));
        list.text_offset.push(offset);
    }

    /// The likeliest tokens and the token itself, by text; of tokens with equal texts the likeliest.
    fn top(&self, token: u32, logprobs: &Logprobs) -> Map<String, Value> {
        let mut map = Map::new();
        for (token, logprob) in logprobs.top.iter().chain([&(token, logprobs.logprob)]) {
            let text = text_of(&self.app.model.tokenizer, *token);
            map.entry(text)
                .or_insert_with(|| json!(logprob.max(LOWEST_LOGPROB)));
        }
        map
    }
}

impl Format for CompletionFormat {
    fn opening(&self) -> Vec<Value> {
        Vec::new()
    }

    fn chunk(&self, index: usize, event: ChoiceEvent) -> Option<Value> {
        let choice = match event {
            ChoiceEvent::Prompt { logprobs } => {
                let prompt = self.logprobs_of(index, &logprobs, &[]);
                self.echo
                    .then(|| self.choice(index, self.echoed(index), prompt, &[], None))?
            }
            ChoiceEvent::Token(piece) => {
                let tells = !piece.text.is_empty() || self.logprobs || self.token_ids;
                let tokens = std::slice::from_ref(&piece);
                let logprobs = self.logprobs_of(index, &[], tokens);
                tells.then(|| self.choice(index, &piece.text, logprobs, tokens, None))?
            }
            ChoiceEvent::Rest(text) => self.choice(index, &text, None, &[], None),
            ChoiceEvent::Finished(reason) => self.choice(index, "", None, &[], Some(reason)),
        };
        Some(self.chunk_of(choice))
    }

    fn usage_chunk(&self, usage: &Usage) -> Value {
        let mut chunk = self.envelope(Vec::new());
        chunk["usage"] = json!(usage);
        chunk
    }

    fn whole(&self, choices: Vec<Finished>, usage: &Usage) -> Value {
        let choice = |(index, choice): (usize, &Finished)| {
            let text = format!("{}{}", self.echoed(index), choice.text);
            let first = &choices[index - index % self.n];
            let logprobs = self.logprobs_of(index, &first.prompt_logprobs, &choice.tokens);
            self.choice(index, &text, logprobs, &choice.tokens, Some(choice.reason))
        };
        let worded = choices.iter().enumerate().map(choice).collect();
        let mut answer = self.envelope(worded);
        answer["usage"] = json!(usage);
        answer
    }
}
