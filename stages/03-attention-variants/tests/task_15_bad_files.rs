//! Weights or a tokenizer with something wrong in them give an error that names the file and the tensor.

mod folder;

use attention_variants::hf::{LoadError, Source};
use folder::minimal::{FILE, llama, open, parse, small_file};
use folder::{message, safetensors, safetensors_raw, source};
use serde_json::{Value, json};

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let file = small_file();
    open(&file).unwrap();
    for end in 0..file.len() {
        let error = open(&file[..end]).unwrap_err();
        assert!(
            matches!(error, LoadError::Truncated { .. }),
            "cut at {end}: {error}"
        );
        message::<()>(Err(error), &[FILE]);
    }
    // The same on disk, where an empty file cannot be mapped like others.
    let folder = tempfile::tempdir().unwrap();
    for end in [0, 7, 8, file.len() - 1] {
        std::fs::write(folder.path().join(FILE), &file[..end]).unwrap();
        message(
            Source::Dir(folder.path().to_path_buf())
                .weights()
                .map(|_| ()),
            &[FILE, "ends after"],
        );
    }
}

#[test]
fn a_header_that_lies_is_refused() {
    let entry = |dtype: &str, shape: &str, begin: u64, end: u64| {
        format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let one = |entry: String| open(&safetensors_raw(&format!(r#"{{"t":{entry}}}"#), &[0; 8]));
    one(entry("F32", "[2]", 0, 8)).unwrap();
    for (what, entry) in [
        ("shorter than its shape", entry("F32", "[3]", 0, 8)),
        ("longer than its shape", entry("F32", "[1]", 0, 8)),
        ("ends before it begins", entry("F32", "[2]", 8, 0)),
        (
            "has elements without number",
            entry("F32", "[4294967296, 4294967296, 4294967296]", 0, 8),
        ),
        ("is of no known type", entry("F33", "[2]", 0, 8)),
        ("has half a byte", entry("F4", "[3]", 0, 8)),
        ("leaves a hole in front", entry("F32", "[1]", 4, 8)),
        ("leaves bytes behind", entry("F32", "[1]", 0, 4)),
        ("has a negative dimension", entry("F32", "[-2]", 0, 8)),
        (
            "has an unknown field",
            r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}"#.to_string(),
        ),
        ("is a number", "3".to_string()),
    ] {
        let error = one(entry).unwrap_err();
        assert!(
            matches!(error, LoadError::BadSafetensors { .. }),
            "{what}: {error}"
        );
        message::<()>(Err(error), &[FILE]);
    }
    assert!(matches!(
        one(entry("F32", "[4]", 0, 16)).unwrap_err(),
        LoadError::Truncated { .. }
    ));
    let last = entry("U8", "[2]", u64::MAX - 2, u64::MAX);
    assert!(matches!(
        one(last).unwrap_err(),
        LoadError::Truncated { .. }
    ));

    let (a, b) = (entry("F32", "[1]", 0, 4), entry("F32", "[1]", 4, 8));
    let two = |first: &str, second: &str, b: &str| {
        open(&safetensors_raw(
            &format!(r#"{{"{first}":{a},"{second}":{b}}}"#),
            &[0; 8],
        ))
    };
    two("a", "b", &b).unwrap();
    message(two("a", "a", &b), &[FILE, "`a`", "twice"]);
    message(
        two("a", "b", &entry("F32", "[2]", 0, 8)),
        &[FILE, "`b`", "overlaps"],
    );
}

#[test]
fn a_header_that_is_no_header_is_refused() {
    for header in ["", "[]", "{", "{\"a\"", "null", "\u{0}\u{0}"] {
        let error = open(&safetensors_raw(header, &[])).unwrap_err();
        assert!(
            matches!(error, LoadError::BadSafetensors { .. }),
            "{header:?}: {error}"
        );
    }
    let mut huge = small_file();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    message(open(&huge), &[FILE, "header"]);
    huge[..8].copy_from_slice(&100_000_001u64.to_le_bytes());
    assert!(matches!(
        open(&huge).unwrap_err(),
        LoadError::BadSafetensors { .. }
    ));
    huge[..8].copy_from_slice(&100_000_000u64.to_le_bytes());
    assert!(matches!(
        open(&huge).unwrap_err(),
        LoadError::Truncated { .. }
    ));
    let metadata_only = safetensors_raw(r#"{"__metadata__":{"format":"pt"}}"#, &[]);
    open(&metadata_only).unwrap();
}

#[test]
fn tensors_that_are_not_what_the_model_needs() {
    let file = safetensors(&[
        ("a", "F32", &[2, 3], &[0; 24]),
        ("b", "I64", &[1], &[0; 8]),
        ("c", "F8_E4M3", &[2], &[0; 2]),
    ]);
    let mut weights = source(&[(FILE, &file)]).weights().unwrap();
    let error = weights.matrix("z", 1, 1).unwrap_err();
    assert!(matches!(error, LoadError::MissingTensor { .. }));
    message::<()>(Err(error), &[FILE, "`z`"]);
    let error = weights.matrix("a", 3, 2).unwrap_err();
    assert!(matches!(error, LoadError::WrongShape { .. }));
    message::<()>(Err(error), &[FILE, "`a`", "[2, 3]", "[3, 2]"]);
    assert!(matches!(
        weights.vector("a", 6),
        Err(LoadError::WrongShape { .. })
    ));
    assert!(matches!(
        weights.matrix("a", usize::MAX, usize::MAX),
        Err(LoadError::WrongShape { .. })
    ));
    message(weights.vector("b", 1), &[FILE, "`b`", "I64", "BF16"]);
    message(weights.vector("c", 2), &[FILE, "`c`", "F8_E4M3"]);
    // What was refused was not taken.
    let config = parse(llama().to_string().as_bytes()).unwrap();
    message(weights.finish(&config), &[FILE, "a, b, c"]);
}

#[test]
fn an_index_that_does_not_agree_with_its_shards() {
    const INDEX: &str = "model.safetensors.index.json";
    let (a, b) = (
        safetensors(&[("a", "F32", &[1], &[0; 4])]),
        safetensors(&[("b", "F32", &[1], &[0; 4])]),
    );
    let sharded = |map: Value, second: &[u8]| {
        let index = json!({"weight_map": map}).to_string();
        source(&[
            (INDEX, index.as_bytes()),
            ("1.safetensors", &a),
            ("2.safetensors", second),
        ])
        .weights()
        .map(|_| ())
    };
    let good = json!({"a": "1.safetensors", "b": "2.safetensors"});
    sharded(good.clone(), &b).unwrap();
    message(
        sharded(json!({"a": "1.safetensors", "b": "3.safetensors"}), &b),
        &["3.safetensors", "not found"],
    );
    message(
        sharded(json!({"a": "1.safetensors", "b": "1.safetensors"}), &b),
        &[INDEX, "`b`", "1.safetensors"],
    );
    message(
        sharded(json!({"a": "2.safetensors", "b": "1.safetensors"}), &b),
        &[INDEX, "`a`"],
    );
    message(
        sharded(json!({"a": "1.safetensors", "c": "2.safetensors"}), &b),
        &[INDEX, "`c`"],
    );
    message(
        sharded(good.clone(), &a),
        &[INDEX, "`a`", "1.safetensors", "2.safetensors"],
    );
    let more = safetensors(&[("b", "F32", &[1], &[0; 4]), ("extra", "F32", &[1], &[0; 4])]);
    message(
        sharded(good.clone(), &more),
        &[INDEX, "`extra`", "2.safetensors"],
    );
    message(
        sharded(good.clone(), &b[..b.len() - 1]),
        &["2.safetensors", "ends after"],
    );
    for outside in ["../1.safetensors", "/etc/hostname", "..", "", "a\\b"] {
        message(sharded(json!({"a": outside}), &b), &[INDEX, "`a`"]);
    }
    message(sharded(json!({"a": 1}), &b), &[INDEX]);
    message(sharded(json!([]), &b), &[INDEX]);
    message(
        source(&[(INDEX, b"{}")]).weights().map(|_| ()),
        &[INDEX, "weight_map"],
    );
    message(
        source(&[]).weights().map(|_| ()),
        &[INDEX, "model.safetensors"],
    );
}

#[test]
fn a_tokenizer_that_is_none() {
    message(
        source(&[]).tokenizer().map(|_| ()),
        &["tokenizer.json", "not found"],
    );
    let no_model = r#"{"version":"1.0","added_tokens":[],"model":{"type":"None"}}"#;
    for garbage in ["", "{}", "[]", "{\"model\": 3}", no_model, "\u{0}"] {
        let error = source(&[("tokenizer.json", garbage.as_bytes())])
            .tokenizer()
            .map(|_| ())
            .unwrap_err();
        assert!(matches!(error, LoadError::Tokenizer { .. }), "{error}");
        message::<()>(Err(error), &["tokenizer.json"]);
    }
}
