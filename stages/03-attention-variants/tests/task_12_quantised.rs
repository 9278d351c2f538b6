//! Quantised checkpoints in safetensors: every layout against what quantised/make_quantised.py has multiplied out, and what does
//! not load says so.

mod folder;

use attention_variants::hf::{LoadError, Source};
use attention_variants::matrix::{Elements, Matrix};
use folder::{message, minimal, safetensors};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::path::PathBuf;

const ROWS: usize = 24;
const COLS: usize = 128;

fn folder(name: &str) -> PathBuf {
    let root =
        std::env::var("CARGO_MANIFEST_DIR").expect("cargo and nextest say where the crate lies");
    PathBuf::from(root).join("tests/quantised").join(name)
}

/// The layer of a fixture, and what it is worth.
fn layer(name: &str) -> (Matrix, Vec<f32>) {
    let mut weights = Source::Dir(folder(name))
        .weights()
        .unwrap_or_else(|error| panic!("{error}"));
    let matrix = weights.matrix("m.weight", ROWS, COLS);
    let plain = weights.matrix("plain.weight", 2, 2).unwrap();
    assert_eq!(
        plain.to_f32(),
        [0.5; 4],
        "{name}: what is not quantised is as it is"
    );
    let bytes = std::fs::read(folder(name).join("expected.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let words = tensors.tensor("m.weight").unwrap().data().as_chunks().0;
    let expected = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    (
        matrix.unwrap_or_else(|error| panic!("{name}: {error}")),
        expected,
    )
}

/// Checks what a layer has become, and its numbers to an absolute and a relative error. -128, which a block of 8 bits has not,
/// must have become -127.
fn check(name: &str, kind: &str, absolute: f32, relative: f32) {
    let (matrix, expected) = layer(name);
    let found = match &matrix.elements {
        Elements::Q4(blocks) if blocks.offsets.is_some() => "Q4 with offsets",
        Elements::Q4(_) => "Q4",
        Elements::Q8(_) => "Q8",
        Elements::F16(_) => "F16",
        Elements::Bf16(_) | Elements::F32(_) => "another",
    };
    assert_eq!(found, kind, "{name}");
    for (at, (got, want)) in matrix.to_f32().iter().zip(&expected).enumerate() {
        let (row, col) = (at / COLS, at % COLS);
        let want = match &matrix.elements {
            Elements::Q8(blocks) => want.max(-127.0 * blocks.scales[at / 32].to_f32()),
            _ => *want,
        };
        let bound = absolute + want.abs() * relative;
        assert!(
            (got - want).abs() <= bound,
            "{name} ({row}, {col}): {got}, not {want}"
        );
    }
}

/// Zero points in the middle: the numbers are the same, up to the rounding of one product in f32.
#[test]
fn symmetric_integers_keep_their_values() {
    for name in ["gptq-symmetric", "ct-int4", "ct-int4-channel"] {
        check(name, "Q4", 0.0, 2f32.powi(-23));
    }
    for name in ["gptq-8", "ct-int8", "ct-int8-packed"] {
        check(name, "Q8", 0.0, 2f32.powi(-23));
    }
}

/// An offset of at most 15 steps of 0.01 is rounded to 11 bits.
#[test]
fn zero_points_become_offsets() {
    for name in [
        "gptq",
        "gptq-v2",
        "awq",
        "ct-int4-asymmetric",
        "ct-int4-old-zeros",
    ] {
        check(name, "Q4 with offsets", 0.15 * 2f32.powi(-11), 0.0);
    }
}

/// What has no block format here: inputs out of order, groups smaller than a block, eight bits with zero points, fp8.
#[test]
fn everything_else_is_held_in_16_bits() {
    for name in [
        "gptq-act-order",
        "gptq-8-asymmetric",
        "ct-int4-act-order",
        "ct-int4-narrow",
        "ct-fp8-tensor",
        "ct-fp8-channel",
        "ct-fp8-block",
        "fp8-block",
    ] {
        check(name, "F16", 2f32.powi(-25), 2f32.powi(-11));
    }
}

#[test]
fn every_fixture_is_checked() {
    let source = include_str!("task_12_quantised.rs");
    for entry in std::fs::read_dir(folder("")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let listed = source.contains(&format!("\"{name}\""));
        assert!(!entry.path().is_dir() || listed, "{name} is not checked");
    }
}

fn config(quantization: Value) -> Result<(), LoadError> {
    let mut config = minimal::llama();
    config["quantization_config"] = quantization;
    minimal::parse(config.to_string().as_bytes()).map(|_| ())
}

#[test]
fn formats_that_do_not_load_are_named() {
    let group = |weights: Value, format: &str| {
        json!({"quant_method": "compressed-tensors", "format": format,
               "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}})
    };
    let int =
        |bits: u8| json!({"num_bits": bits, "type": "int", "strategy": "group", "group_size": 32});
    for (quantization, names) in [
        (
            json!({"quant_method": "bitsandbytes", "load_in_4bit": true}),
            ["quant_method", "bitsandbytes"],
        ),
        (
            json!({"quant_method": "exl2", "bits": 4.65}),
            ["quant_method", "exl2"],
        ),
        (
            json!({"bits": 4}),
            ["quantization_config.quant_method", "missing"],
        ),
        (json!("gptq"), ["quantization_config", "an object"]),
        (
            json!({"quant_method": "gptq", "bits": 3, "group_size": 128}),
            ["quantization_config.bits", "is 3"],
        ),
        (
            json!({"quant_method": "gptq", "bits": 4}),
            ["quantization_config.group_size", "missing"],
        ),
        (
            json!({"quant_method": "gptq", "bits": 4, "group_size": 128, "checkpoint_format": "marlin"}),
            ["checkpoint_format", "marlin"],
        ),
        (
            json!({"quant_method": "awq", "bits": 8, "group_size": 128}),
            ["bits", "is 8"],
        ),
        (
            json!({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemv"}),
            ["version", "gemv"],
        ),
        (
            group(int(4), "nvfp4-pack-quantized"),
            ["quantization_config.format", "nvfp4"],
        ),
        (
            group(int(3), "pack-quantized"),
            ["config_groups.group_0.weights.num_bits", "is 3"],
        ),
        (
            json!({"quant_method": "fp8", "fmt": "e5m2"}),
            ["quantization_config.fmt", "e5m2"],
        ),
    ] {
        message(config(quantization), &[names[0], names[1], "config.json"]);
    }
    config(group(int(4), "pack-quantized")).unwrap();
    config(json!({"quant_method": "gptq", "bits": 4, "group_size": -1})).unwrap();
}

/// Tensors that do not fit each other are refused by name, and nothing is indexed out of range.
#[test]
fn tensors_that_do_not_fit_are_named() {
    let config =
        json!({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32}});
    let config = config.to_string();
    let load = |qweight: &[usize], g_idx: u32| {
        let zeros = |len: usize| vec![0u8; len];
        let table: Vec<u8> = (0..64).flat_map(|_| g_idx.to_le_bytes()).collect();
        let file = safetensors(&[
            (
                "m.qweight",
                "I32",
                qweight,
                &zeros(4 * qweight.iter().product::<usize>()),
            ),
            ("m.qzeros", "I32", &[2, 1], &zeros(8)),
            ("m.scales", "F16", &[2, 8], &zeros(32)),
            ("m.g_idx", "I32", &[64], &table),
        ]);
        let files = [
            ("config.json", config.as_bytes()),
            ("model.safetensors", &file),
        ];
        folder::source(&files)
            .weights()
            .unwrap()
            .matrix("m.weight", 8, 64)
    };
    load(&[8, 8], 1).unwrap();
    message(
        load(&[8, 9], 1),
        &["model.safetensors", "m.qweight", "[8, 9]"],
    );
    message(
        load(&[8, 8], 2),
        &["model.safetensors", "m.g_idx", "no scale"],
    );
}
