//! Conversations to text, by the model's own Jinja template.
//!
//! Templates are written for Python's Jinja as `transformers` sets it up, so the environment here imitates that: blocks are
//! trimmed, Python's string methods exist, and so do `raise_exception`, `strftime_now` and its `tojson`
//! ([`super::chat_functions`]). A template is part of a downloaded model, so it gets a budget: one that never ends, or that
//! includes itself, is an error.

use std::collections::BTreeMap;
use std::io::Write;

use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde_json::{Map, Value};

use super::chat_functions::{self, Refused};
use super::fields::{Fields, parse_json};
use super::{LoadError, Source};

const TEMPLATE: &str = "chat_template.jinja";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";

/// Instructions that a rendering may take; a conversation of a thousand turns takes a few hundred thousand.
const FUEL: u64 = 5_000_000;
/// Depth of includes, macros and expressions; far below what a thread's stack holds.
const RECURSION: usize = 200;
/// Bytes that a rendering may produce; no model reads as much.
const MAX_OUTPUT: usize = 64 << 20;

/// The template that is used where a folder has several and the request has no tools.
const DEFAULT: &str = "default";
/// The template that is used, where there is one, if the request has tools.
const TOOL_USE: &str = "tool_use";

/// A compiled chat template and the special tokens that it may print.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// `bos_token`, `eos_token` and the like.
    tokens: Map<String, Value>,
}

/// Why a conversation was not rendered. None of these is the server's fault; the first is the client's.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The template refuses the conversation: what it gave to `raise_exception`.
    #[error("the chat template refuses these messages: {0}")]
    Refused(String),
    /// The template used more than its budget.
    #[error("the chat template does not come to an end: {0}")]
    Endless(String),
    /// The template cannot be applied to these messages.
    #[error("the chat template failed on these messages: {0}")]
    Failed(String),
}

impl Source {
    /// Reads the chat template: chat_template.jinja, or else `chat_template` of tokenizer_config.json, which is a string or a
    /// list of named templates. `None` where the model has none.
    ///
    /// # Errors
    /// A file cannot be read or is not JSON; a field is of the wrong type; the template does not compile.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>, LoadError> {
        if let Source::Gguf(gguf) = self {
            return gguf.chat_template();
        }
        let file = self.name_of(TOKENIZER_CONFIG);
        let config = match self.open(TOKENIZER_CONFIG)? {
            Some(bytes) => parse_json(&file, &bytes)?,
            None => Value::Object(Map::new()),
        };
        let config = Fields::of(&file, &config)?;
        let (file, templates) = match self.open(TEMPLATE)? {
            Some(bytes) => {
                let file = self.name_of(TEMPLATE);
                let text = std::str::from_utf8(&bytes).map_err(|error| LoadError::Template {
                    file: file.clone(),
                    message: error.to_string(),
                })?;
                (
                    file,
                    BTreeMap::from([(DEFAULT.to_string(), text.to_string())]),
                )
            }
            None => (file.clone(), configured_templates(&config)?),
        };
        if templates.is_empty() {
            return Ok(None);
        }
        let mut tokens = special_tokens(&config)?;
        if let Some(bytes) = self.open(SPECIAL_TOKENS)? {
            let file = self.name_of(SPECIAL_TOKENS);
            let value = parse_json(&file, &bytes)?;
            for (name, token) in special_tokens(&Fields::of(&file, &value)?)? {
                tokens.entry(name).or_insert(token);
            }
        }
        ChatTemplate::new(&file, templates, tokens).map(Some)
    }
}

impl ChatTemplate {
    /// Compiles templates by name, one of them `default`, that may print `tokens`.
    pub(super) fn new(
        file: &str,
        templates: BTreeMap<String, String>,
        tokens: Map<String, Value>,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            environment: compile(file, templates)?,
            tokens,
        })
    }

    /// The prompt for a conversation. `messages` are objects with `role` and `content` and whatever else the template knows;
    /// `add_generation_prompt` opens the assistant's turn; `extra` holds further variables, such as `tools`.
    ///
    /// # Errors
    /// The template refuses the messages, fails on them, or exceeds its budget.
    pub fn render(
        &self,
        messages: &[Value],
        add_generation_prompt: bool,
        extra: &Map<String, Value>,
    ) -> Result<String, TemplateError> {
        // Templates test `tools is none` as well as `tools is defined`; both are there, as null, unless given.
        let mut context = Map::from_iter([
            ("tools".to_string(), Value::Null),
            ("documents".to_string(), Value::Null),
        ]);
        context.extend(self.tokens.clone());
        context.extend(extra.clone());
        context.insert("messages".to_string(), messages.into());
        context.insert(
            "add_generation_prompt".to_string(),
            add_generation_prompt.into(),
        );
        let with_tools = context.get("tools").is_some_and(|tools| !tools.is_null());
        let tool_use = with_tools
            .then(|| self.environment.get_template(TOOL_USE).ok())
            .flatten();
        let template = match tool_use {
            Some(template) => template,
            None => self.environment.get_template(DEFAULT).map_err(classify)?,
        };
        let mut output = Bounded(Vec::new());
        template
            .render_captured_to(&context, &mut output)
            .map_err(classify)?;
        String::from_utf8(output.0).map_err(|error| TemplateError::Failed(error.to_string()))
    }
}

/// `chat_template` of tokenizer_config.json, by name.
fn configured_templates(config: &Fields) -> Result<BTreeMap<String, String>, LoadError> {
    const FIELD: &str = "chat_template";
    let wrong = || {
        config.wrong_type(
            FIELD,
            "a string, or a list of {name, template} with one named default",
        )
    };
    let list = match config.get(FIELD) {
        None => return Ok(BTreeMap::new()),
        Some(Value::String(text)) => {
            return Ok(BTreeMap::from([(DEFAULT.to_string(), text.clone())]));
        }
        Some(value) => value.as_array().ok_or_else(wrong)?,
    };
    let named = |item: &Value| {
        Some((
            item.get("name")?.as_str()?.to_string(),
            item.get("template")?.as_str()?.to_string(),
        ))
    };
    let templates: BTreeMap<_, _> = list
        .iter()
        .map(|item| named(item).ok_or_else(wrong))
        .collect::<Result<_, _>>()?;
    if templates.contains_key(DEFAULT) {
        Ok(templates)
    } else {
        Err(wrong())
    }
}

/// The special tokens by their names, each a string or an object that has it as `content`.
fn special_tokens(f: &Fields) -> Result<Map<String, Value>, LoadError> {
    const NAMES: [&str; 7] = [
        "bos_token",
        "eos_token",
        "unk_token",
        "sep_token",
        "pad_token",
        "cls_token",
        "mask_token",
    ];
    let mut tokens = Map::new();
    for name in NAMES {
        let Some(value) = f.get(name) else { continue };
        let text = value.as_str().or_else(|| value.get("content")?.as_str());
        let text =
            text.ok_or_else(|| f.wrong_type(name, "a string, or an object with `content`"))?;
        tokens.insert(name.to_string(), text.into());
    }
    Ok(tokens)
}

fn compile(
    file: &str,
    templates: BTreeMap<String, String>,
) -> Result<Environment<'static>, LoadError> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION);
    chat_functions::install(&mut environment);
    for (name, text) in templates {
        environment
            .add_template_owned(name, without_generation_tags(&text))
            .map_err(|error| LoadError::Template {
                file: file.to_string(),
                message: describe(&error),
            })?;
    }
    Ok(environment)
}

/// Replaces `{% generation %}`, which marks the assistant's words for training, by a condition that always holds: it prints the
/// same, and whitespace control on the tags keeps its meaning.
fn without_generation_tags(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("{%") {
        let (before, tag) = rest.split_at(open + 2);
        let Some(close) = tag.find("%}") else { break };
        let (inside, after) = tag.split_at(close);
        let word = inside.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        result.push_str(before);
        match word {
            "generation" => result.push_str(&inside.replace("generation", "if true")),
            "endgeneration" => result.push_str(&inside.replace("endgeneration", "endif")),
            _ => result.push_str(inside),
        }
        rest = after;
    }
    result + rest
}

/// Whose fault an error of the template engine is.
fn classify(error: minijinja::Error) -> TemplateError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(Refused(message)) = current.downcast_ref() {
            return TemplateError::Refused(message.clone());
        }
        if let Some(inner) = current.downcast_ref::<minijinja::Error>() {
            let cyclic = |detail: &str| {
                detail.contains("recursion limit") || detail.contains("cycle in template")
            };
            let endless = matches!(inner.kind(), ErrorKind::OutOfFuel | ErrorKind::WriteFailure)
                || inner.detail().is_some_and(cyclic);
            if endless {
                return TemplateError::Endless(describe(inner));
            }
        }
        cause = current.source();
    }
    TemplateError::Failed(describe(&error))
}

/// An error of the template engine in one line, with the line of the template.
fn describe(error: &minijinja::Error) -> String {
    match error.line() {
        Some(line) => format!(
            "line {line}: {}",
            error
                .detail()
                .map_or_else(|| error.kind().to_string(), str::to_string)
        ),
        None => error.to_string(),
    }
}

/// A buffer that refuses to grow without end.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(std::io::Error::other(format!(
                "more than {MAX_OUTPUT} bytes of output"
            )));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
