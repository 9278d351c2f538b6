//! Task 4: a message's content is a string or a list of text parts, and an error names the very place.

use serde_json::{Map, Value, json};
use serving::ApiError;
use serving::prompt::Conversation;

fn check(messages: Value) -> Result<Conversation, ApiError> {
    let messages: Vec<Map<String, Value>> = serde_json::from_value(messages).unwrap();
    Conversation::check(messages, None, None, None)
}

/// The field that the error names.
fn culprit(messages: Value) -> String {
    let error = check(messages).unwrap_err();
    assert_eq!(error.status, 400);
    error.param.expect("a field is named")
}

#[test]
fn strings_and_lists_of_text_parts_are_content() {
    let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    let conversation = check(json!([
        {"role": "system", "content": "s"},
        {"role": "user", "content": parts},
        {"role": "user", "content": ""},
        {"role": "user", "content": []},
    ]));
    // The debug form shows what the template will see.
    let text = format!("{:?}", conversation.unwrap());
    for content in ["\"s\"", "\"a\\nb\"", "String(\"\")"] {
        assert!(text.contains(content), "{content} in {text}");
    }
}

#[test]
fn only_an_assistant_may_have_said_nothing() {
    assert!(check(json!([{"role": "assistant", "content": null}])).is_ok());
    assert!(check(json!([{"role": "assistant"}])).is_ok());
    for role in ["system", "user", "tool", "developer"] {
        assert_eq!(culprit(json!([{"role": role}])), "messages[0].content");
        assert_eq!(
            culprit(json!([{"role": role, "content": null}])),
            "messages[0].content"
        );
    }
}

#[test]
fn errors_name_the_message_the_part_and_its_field() {
    let ok = json!({"role": "user", "content": "fine"});
    for (content, place) in [
        (json!(7), ""),
        (json!(true), ""),
        (json!({"type": "text", "text": "x"}), ""),
        (json!(["x"]), "[0]"),
        (json!([{"type": "text", "text": "x"}, {"text": "y"}]), "[1]"),
        (
            json!([{"type": "text", "text": "x"}, {"type": "image_url"}]),
            "[1].type",
        ),
        (json!([{"type": "text", "text": 7}]), "[0].text"),
        (json!([{"type": "text"}]), "[0].text"),
    ] {
        let messages = json!([ok, {"role": "user", "content": content}]);
        assert_eq!(culprit(messages), format!("messages[1].content{place}"));
    }
}
