//! Chat templates render what Python's Jinja renders, refuse what they refuse, and always come to an end.
//!
//! chat/golden.json is made by chat/make_golden.py; nothing in it comes from this crate.

mod folder;

use attention_variants::hf::{ChatTemplate, LoadError, Source, TemplateError};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Golden {
    name: String,
    template: String,
    tokens: Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    messages: Vec<Value>,
    add_generation_prompt: bool,
    extra: Map<String, Value>,
    expected: Expected,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Text(String),
    Refused(String),
}

fn configured(config: &Value) -> Source {
    folder::source(&[("tokenizer_config.json", config.to_string().as_bytes())])
}

fn template(text: &str) -> ChatTemplate {
    configured(&json!({"chat_template": text}))
        .chat_template()
        .unwrap()
        .unwrap()
}

fn hello() -> Vec<Value> {
    vec![json!({"role": "user", "content": "hello"})]
}

#[test]
fn agrees_with_python() {
    let golden: Vec<Golden> = serde_json::from_str(include_str!("chat/golden.json")).unwrap();
    let mut rendered = 0;
    for Golden {
        name,
        template,
        tokens,
        cases,
    } in golden
    {
        let mut config = tokens.clone();
        config["chat_template"] = json!(template);
        let template = configured(&config).chat_template().unwrap().unwrap();
        for (index, case) in cases.iter().enumerate() {
            let result = template.render(&case.messages, case.add_generation_prompt, &case.extra);
            match (&case.expected, result) {
                (Expected::Text(text), Ok(found)) => assert_eq!(&found, text, "{name} {index}"),
                (Expected::Refused(words), Err(TemplateError::Refused(found))) => {
                    assert_eq!(&found, words)
                }
                (expected, found) => {
                    panic!("{name} {index}: expected {expected:?}, found {found:?}")
                }
            }
            rendered += 1;
        }
    }
    assert_eq!(rendered, 21);
}

#[test]
fn template_and_tokens_are_found_where_they_are_published() {
    let config = json!({"chat_template": "config", "bos_token": "<a>"});
    let none = folder::source(&[("tokenizer_config.json", b"{}")]);
    assert!(none.chat_template().unwrap().is_none());
    assert!(folder::source(&[]).chat_template().unwrap().is_none());
    // A file of its own goes before the field; tokens come as strings or as objects, and from two files.
    let source = folder::source(&[
        ("tokenizer_config.json", config.to_string().as_bytes()),
        (
            "chat_template.jinja",
            b"{{ bos_token }}{{ eos_token }}{{ pad_token }}!\n",
        ),
        (
            "special_tokens_map.json",
            br#"{"bos_token": "<x>", "eos_token": {"content": "</a>"}, "pad_token": null}"#,
        ),
    ]);
    let render = |source: &Source, extra: &Value| {
        let template = source.chat_template().unwrap().unwrap();
        template
            .render(&hello(), false, extra.as_object().unwrap())
            .unwrap()
    };
    assert_eq!(render(&source, &json!({})), "<a></a>!");
    assert_eq!(render(&source, &json!({"bos_token": "<b>"})), "<b></a>!");
    let named = json!([{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]);
    let source = configured(&json!({"chat_template": named}));
    assert_eq!(render(&source, &json!({})), "plain");
    assert_eq!(render(&source, &json!({"tools": null})), "plain");
    assert_eq!(render(&source, &json!({"tools": [{}]})), "tools");
}

#[test]
fn generation_tags_print_their_body_only() {
    let template =
        template("a{% generation %}b{%- endgeneration -%} c {%+generation+%}d{%endgeneration%}");
    assert_eq!(
        template.render(&hello(), false, &Map::new()).unwrap(),
        "abc d"
    );
}

#[test]
fn the_date_is_todays() {
    let template = template("{{ strftime_now('%Y-%m-%d') }}");
    let text = template.render(&[], false, &Map::new()).unwrap();
    let parts: Vec<u32> = text.split('-').map(|part| part.parse().unwrap()).collect();
    assert!(
        parts.len() == 3
            && parts[0] >= 2025
            && (1..=12).contains(&parts[1])
            && (1..=31).contains(&parts[2])
    );
}

#[test]
fn templates_that_never_end_are_errors() {
    let endless = [
        ("includes itself", "{% include 'default' %}"),
        ("extends itself", "{% extends 'default' %}"),
        ("imports itself", "{% import 'default' as x %}{{ x }}"),
        (
            "a macro calls itself",
            "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        ),
        (
            "loops for ever",
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        ),
        (
            "loops into itself",
            "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        ),
        (
            "prints for ever",
            "{% set text = 'x' * 65536 %}{% for a in range(99999) %}{% for b in range(999) %}{{ text }}{% endfor %}{% endfor %}",
        ),
    ];
    for (what, text) in endless {
        match template(text).render(&hello(), true, &Map::new()) {
            Err(TemplateError::Endless(message)) => assert!(!message.is_empty(), "{what}"),
            other => panic!(
                "a template that {what} gave {:?}",
                other.map(|text| text.len())
            ),
        }
    }
}

#[test]
fn a_long_conversation_is_not_endless() {
    let golden: Vec<Golden> = serde_json::from_str(include_str!("chat/golden.json")).unwrap();
    let turn = |index| json!({"role": if index % 2 == 0 { "user" } else { "assistant" }, "content": "word ".repeat(50)});
    let messages: Vec<Value> = (0..4000).map(turn).collect();
    for Golden {
        name,
        template,
        tokens,
        ..
    } in golden
    {
        let mut config = tokens;
        config["chat_template"] = json!(template);
        let template = configured(&config).chat_template().unwrap().unwrap();
        let text = template
            .render(&messages, true, &Map::new())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.len() > 4000 * 250, "{name}");
    }
}

#[test]
fn failures_say_where() {
    let failure = |text: &str| {
        template(text)
            .render(&hello(), true, &Map::new())
            .unwrap_err()
    };
    let error = failure("\n{{ missing.field }}");
    assert!(
        matches!(&error, TemplateError::Failed(message) if message.contains("line 2")),
        "{error}"
    );
    assert!(matches!(
        failure("{{ messages | no_such_filter }}"),
        TemplateError::Failed(_)
    ));
    assert!(matches!(
        failure("{{ strftime_now('%Q') }}"),
        TemplateError::Failed(_)
    ));
    assert!(
        matches!(failure("{{ raise_exception('no') }}"), TemplateError::Refused(message) if message == "no")
    );
}

#[test]
fn templates_that_do_not_compile_are_refused_at_loading() {
    let error = configured(&json!({"chat_template": "one\n{% if %}"}))
        .chat_template()
        .unwrap_err();
    assert!(matches!(error, LoadError::Template { .. }));
    folder::message::<()>(Err(error), &["tokenizer_config.json", "line 2"]);
    folder::message(
        folder::source(&[("chat_template.jinja", b"{{")]).chat_template(),
        &["chat_template.jinja"],
    );
    folder::message(
        folder::source(&[("chat_template.jinja", b"\xff")]).chat_template(),
        &["chat_template.jinja"],
    );
    for bad in [
        json!(7),
        json!([]),
        json!([{"name": "other", "template": ""}]),
        json!([{"name": "default"}]),
    ] {
        let source = configured(&json!({"chat_template": bad}));
        folder::message(
            source.chat_template(),
            &["tokenizer_config.json", "chat_template"],
        );
    }
    let source = configured(&json!({"chat_template": "", "eos_token": 5}));
    folder::message(
        source.chat_template(),
        &["tokenizer_config.json", "eos_token"],
    );
    folder::message(
        folder::source(&[("tokenizer_config.json", b"{")]).chat_template(),
        &["tokenizer_config.json"],
    );
}
