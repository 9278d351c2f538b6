//! The vocabulary of a GGUF file as a tokenizer.json, and its chat template.
//!
//! Two kinds exist: `gpt2`, byte-level BPE with merges and a named way to split text into words, and `llama`, SentencePiece's
//! BPE, whose merges are not listed: every pair of tokens that makes a third is one, in the order of the third's score.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Gguf;
use crate::hf::fields::Fields;
use crate::hf::{ChatTemplate, LoadError, Tokenizer};

const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";

/// What a token is, by its number in [`TYPES`].
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;
const UNUSED: u64 = 5;

/// How text becomes words, and words tokens.
struct Words {
    /// What a word is.
    pattern: &'static str,
    /// Whether text is brought into Unicode's normal form C.
    normalised: bool,
    /// Whether a word that is a token needs no merges; such models begin every text with a token of their own too.
    whole: bool,
}

impl Words {
    /// By the name that converters give a published tokenizer.
    fn of(name: &str) -> Option<Self> {
        let (pattern, normalised, whole) = match name {
            "llama-bpe" | "llama3" | "llama-v3" | "smaug-bpe" => (
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                false,
                true,
            ),
            "qwen2" | "deepseek-r1-qwen" => (
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                true,
                false,
            ),
            "gpt-2" | "default" => (
                r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
                false,
                false,
            ),
            _ => return None,
        };
        Some(Self {
            pattern,
            normalised,
            whole,
        })
    }
}

impl Gguf {
    /// The tokenizer.
    pub(in crate::hf) fn tokenizer(&self) -> Result<Tokenizer, LoadError> {
        let meta = self.fields();
        let vocabulary = Vocabulary::of(&meta)?;
        let model = "tokenizer.ggml.model";
        let parts = match meta.text_opt(model)?.ok_or_else(|| meta.missing(model))? {
            "gpt2" => vocabulary.byte_level(&meta)?,
            "llama" => vocabulary.sentence_piece(&meta)?,
            _ => return Err(meta.unsupported(model, "known are gpt2 and llama")),
        };
        Tokenizer::parse(parts.to_string().as_bytes()).map_err(|message| LoadError::Tokenizer {
            file: self.file.clone(),
            message,
        })
    }

    /// The chat template, where the file has one.
    pub(in crate::hf) fn chat_template(&self) -> Result<Option<ChatTemplate>, LoadError> {
        const PREFIX: &str = "tokenizer.chat_template";
        const NAMES: [(&str, &str); 4] = [
            ("bos_token", "bos"),
            ("eos_token", "eos"),
            ("unk_token", "unknown"),
            ("pad_token", "padding"),
        ];
        let meta = self.fields();
        let mut templates = BTreeMap::new();
        for field in meta.names().filter(|name| name.starts_with(PREFIX)) {
            // Further templates are beside the first as `tokenizer.chat_template.NAME`, and listed in a field of their own.
            let name = field[PREFIX.len()..].strip_prefix('.').unwrap_or("default");
            if field.len() == PREFIX.len() || field[PREFIX.len()..].starts_with('.') {
                let text = meta.text_opt(field)?.ok_or_else(|| meta.missing(field))?;
                templates.insert(name.to_owned(), text.to_owned());
            }
        }
        if !templates.contains_key("default") {
            return Ok(None);
        }
        let mut tokens = Map::new();
        for (ours, theirs) in NAMES {
            if let Some((_, token)) = token_by_id(&meta, theirs)? {
                tokens.insert(ours.to_owned(), token.into());
            }
        }
        ChatTemplate::new(&self.file, templates, tokens).map(Some)
    }
}

/// The token whose id is in `tokenizer.ggml.NAME_token_id`.
fn token_by_id<'a>(meta: &Fields<'a>, name: &str) -> Result<Option<(usize, &'a str)>, LoadError> {
    let field = format!("tokenizer.ggml.{name}_token_id");
    let Some(id) = meta.count_opt(&field)? else {
        return Ok(None);
    };
    let token = meta
        .list_opt(TOKENS)?
        .and_then(|tokens| tokens.get(id)?.as_str());
    match token {
        Some(token) => Ok(Some((id, token))),
        None => Err(meta.bad(&field, "the id of a token")),
    }
}

/// The tokens by id, and what each is.
struct Vocabulary<'a> {
    tokens: Vec<&'a str>,
    kinds: Vec<u64>,
}

impl<'a> Vocabulary<'a> {
    fn of(meta: &Fields<'a>) -> Result<Self, LoadError> {
        let tokens = strings(meta, TOKENS)?;
        let kinds = match meta.list_opt(TYPES)? {
            None => vec![1; tokens.len()],
            Some(kinds) => kinds
                .iter()
                .map(|kind| kind.as_u64().unwrap_or(0))
                .collect(),
        };
        if kinds.len() != tokens.len() {
            return Err(meta.bad(TYPES, format!("one of each of {} tokens", tokens.len())));
        }
        Ok(Self { tokens, kinds })
    }

    /// Ids by token. What is unused has no text that could be found or printed.
    fn ids(&self) -> Map<String, Value> {
        self.of_kind(|kind| kind != UNUSED)
            .map(|(id, token)| (token.to_owned(), id.into()))
            .collect()
    }

    fn of_kind(&self, which: impl Fn(u64) -> bool) -> impl Iterator<Item = (usize, &'a str)> {
        let tokens = self.tokens.iter().copied().enumerate();
        tokens.filter(move |(id, _)| which(self.kinds[*id]))
    }

    /// Tokens that are found in a text as they are, before anything else looks at it.
    fn added(&self) -> Vec<Value> {
        self.of_kind(|kind| matches!(kind, UNKNOWN | CONTROL | USER_DEFINED))
            .map(|(id, token)| {
                json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": self.kinds[id] != USER_DEFINED,
                })
            })
            .collect()
    }

    fn byte_level(&self, meta: &Fields<'a>) -> Result<Value, LoadError> {
        let pre = "tokenizer.ggml.pre";
        let words = Words::of(meta.text_opt(pre)?.unwrap_or("default"));
        let words = words.ok_or_else(|| {
            meta.unsupported(pre, "known are llama-bpe, qwen2, gpt-2 and default")
        })?;
        let byte_level = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": regex});
        Ok(json!({
            "version": "1.0",
            "added_tokens": self.added(),
            "normalizer": if words.normalised { json!({"type": "NFC"}) } else { Value::Null },
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": words.pattern}, "behavior": "Isolated", "invert": false},
                byte_level(false),
            ]},
            "post_processor": around(meta, words.whole)?,
            "decoder": byte_level(true),
            "model": {
                "type": "BPE", "vocab": self.ids(), "merges": strings(meta, MERGES)?, "ignore_merges": words.whole,
                "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                "fuse_unk": false, "byte_fallback": false,
            },
        }))
    }

    fn sentence_piece(&self, meta: &Fields<'a>) -> Result<Value, LoadError> {
        let prefix = meta
            .flag_opt("tokenizer.ggml.add_space_prefix")?
            .unwrap_or(true);
        let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let mut normalizers = vec![spaces];
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if prefix {
            normalizers.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let unknown = match token_by_id(meta, "unknown")? {
            Some((_, token)) => Some(token),
            None => self
                .of_kind(|kind| kind == UNKNOWN)
                .next()
                .map(|(_, token)| token),
        };
        Ok(json!({
            "version": "1.0",
            "added_tokens": self.added(),
            "normalizer": {"type": "Sequence", "normalizers": normalizers},
            "pre_tokenizer": null,
            "post_processor": around(meta, true)?,
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {
                "type": "BPE", "vocab": self.ids(), "merges": self.merges(meta)?, "unk_token": unknown, "fuse_unk": true,
                "byte_fallback": true, "dropout": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                "ignore_merges": false,
            },
        }))
    }

    /// The merges that the scores imply: SentencePiece joins the two neighbours whose union has the highest score.
    fn merges(&self, meta: &Fields<'a>) -> Result<Vec<[&'a str; 2]>, LoadError> {
        let scores = meta.list_opt(SCORES)?.ok_or_else(|| meta.missing(SCORES))?;
        if scores.len() != self.tokens.len() {
            return Err(meta.bad(
                SCORES,
                format!("one of each of {} tokens", self.tokens.len()),
            ));
        }
        let joinable = |kind| !matches!(kind, UNKNOWN | CONTROL | UNUSED);
        let known: std::collections::HashMap<&str, usize> = self
            .of_kind(joinable)
            .map(|(id, token)| (token, id))
            .collect();
        let mut merges = Vec::new();
        for (id, token) in self.of_kind(joinable) {
            let score = scores[id].as_f64().unwrap_or(f64::NEG_INFINITY);
            // A token that has no cheaper cut than this long is an attack, not a word.
            let cuts = token.char_indices().skip(1).take(MAX_CUTS);
            for (left, right) in cuts.map(|(at, _)| token.split_at(at)) {
                if let (Some(&first), Some(&second)) = (known.get(left), known.get(right)) {
                    merges.push((score, first, second, [left, right]));
                }
            }
        }
        merges.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        Ok(merges.into_iter().map(|(.., pair)| pair).collect())
    }
}

/// Places where a token is cut in two, at most.
const MAX_CUTS: usize = 256;

/// What the tokenizer puts around a text.
fn around(meta: &Fields, begins: bool) -> Result<Value, LoadError> {
    let wanted = |name: &str, default: bool| -> Result<Option<(usize, &str)>, LoadError> {
        let flag = format!("tokenizer.ggml.add_{name}_token");
        if meta.flag_opt(&flag)?.unwrap_or(default) {
            token_by_id(meta, name)
        } else {
            Ok(None)
        }
    };
    let (first, last) = (wanted("bos", begins)?, wanted("eos", false)?);
    let special = |token: Option<(usize, &str)>, kind: usize| {
        token.map(|(_, token)| json!({"SpecialToken": {"id": token, "type_id": kind}}))
    };
    let sequence = |id: &str, kind: usize| json!({"Sequence": {"id": id, "type_id": kind}});
    let one = |id: &str, kind: usize| {
        let parts = [
            special(first, kind),
            Some(sequence(id, kind)),
            special(last, kind),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>()
    };
    let tokens: Map<String, Value> = [first, last]
        .into_iter()
        .flatten()
        .map(|(id, token)| {
            let entry = json!({"id": token, "ids": [id], "tokens": [token]});
            (token.to_owned(), entry)
        })
        .collect();
    let pair = [one("A", 0), one("B", 1)].concat();
    Ok(json!({
        "type": "TemplateProcessing", "single": one("A", 0), "pair": pair,
        "special_tokens": tokens,
    }))
}

/// A field that must be a list of strings.
fn strings<'a>(meta: &Fields<'a>, field: &str) -> Result<Vec<&'a str>, LoadError> {
    let list = meta.list_opt(field)?.ok_or_else(|| meta.missing(field))?;
    let items: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
    items.ok_or_else(|| meta.wrong_type(field, "a list of strings"))
}
