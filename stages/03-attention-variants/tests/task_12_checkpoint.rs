//! Weights come out of safetensors files bit for bit, whole or sharded, on disk or embedded, with or without a prefix.

mod folder;

use attention_variants::config::{Family, ModelConfig};
use attention_variants::hf::{LoadError, Source};
use attention_variants::matrix::Elements;
use folder::{Tensor, message, safetensors, source};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::sync::{Arc, Mutex};

const F32_2X3: [f32; 6] = [1.0, -2.5, 0.0, f32::MIN_POSITIVE, 3e38, -7.0];

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A description whose only use here is to say which family's habits apply and what is tied.
fn config(family: &str, tied: bool) -> ModelConfig {
    let llama = json!({
        "model_type": "llama", "vocab_size": 2, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 2,
        "num_attention_heads": 1, "max_position_embeddings": 8, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "tie_word_embeddings": tied
    });
    let mut config = source(&[("config.json", llama.to_string().as_bytes())])
        .config()
        .unwrap();
    config.family = match family {
        "gpt2" => Family::Gpt2,
        "deepseek_v3" => Family::DeepseekV3,
        _ => Family::Llama,
    };
    config
}

#[test]
fn every_type_comes_out_bit_for_bit() {
    let halves: Vec<u8> = [0x3c00u16, 0xc100, 0x7bff, 0x0001]
        .iter()
        .flat_map(|bits| bits.to_le_bytes())
        .collect();
    let brains: Vec<u8> = [0x3f80u16, 0xc020, 0x7f7f, 0x0001]
        .iter()
        .flat_map(|bits| bits.to_le_bytes())
        .collect();
    // One stray byte in front: the elements that follow are at odd addresses.
    let file = safetensors(&[
        ("odd", "U8", &[1], &[9]),
        ("a", "F32", &[2, 3], &f32_bytes(&F32_2X3)),
        ("b", "F16", &[4, 1], &halves),
        ("c", "BF16", &[4], &brains),
        ("empty", "F32", &[0, 5], &[]),
    ]);
    let mut weights = source(&[("model.safetensors", &file)]).weights().unwrap();
    assert_eq!(weights.total_bytes(), 1 + 24 + 8 + 8);
    let a = weights.matrix("a", 2, 3).unwrap();
    assert_eq!((a.rows, a.cols), (2, 3));
    assert_eq!(a.elements, Elements::F32(F32_2X3.to_vec()));
    let b = weights.matrix("b", 4, 1).unwrap();
    assert!(matches!(&b.elements, Elements::F16(values) if values[2].to_bits() == 0x7bff));
    assert_eq!(b.to_f32(), [1.0, -2.5, 65504.0, 5.960_464_5e-8]);
    assert_eq!(
        weights.vector("c", 4).unwrap(),
        [
            1.0,
            -2.5,
            f32::from_bits(0x7f7f_0000),
            f32::from_bits(0x0001_0000)
        ]
    );
    assert!(weights.matrix("empty", 0, 5).unwrap().to_f32().is_empty());
    assert!(weights.contains("a") && !weights.contains("z"));
}

/// The format's reference implementation writes the file; ours reads it.
#[test]
fn agrees_with_the_reference_implementation() {
    let mut rng = StdRng::seed_from_u64(folder::seed());
    let tensors: Vec<(String, Vec<usize>, Vec<f32>)> = (0..20)
        .map(|index| {
            let shape = vec![rng.random_range(0..7usize), rng.random_range(1..9)];
            let values = (0..shape[0] * shape[1])
                .map(|_| rng.random_range(-1e3f32..1e3))
                .collect();
            (format!("t{index}"), shape, values)
        })
        .collect();
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| f32_bytes(values))
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (name.clone(), view.unwrap())
    });
    let metadata = Some([("format".to_string(), "pt".to_string())].into());
    let file = safetensors::serialize(views, metadata).unwrap();
    let mut weights = source(&[("model.safetensors", &file)]).weights().unwrap();
    for (name, shape, values) in &tensors {
        assert_eq!(
            &weights.matrix(name, shape[0], shape[1]).unwrap().to_f32(),
            values,
            "{name}"
        );
    }
    weights.finish(&config("llama", false)).unwrap();
}

#[test]
fn shards_on_disk_are_mapped_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (f32_bytes(&[1.0, 2.0]), f32_bytes(&[3.0]));
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write(
        "model-00001-of-00002.safetensors",
        &safetensors(&[("a", "F32", &[2], &first)]),
    );
    write(
        "model-00002-of-00002.safetensors",
        &safetensors(&[("b", "F32", &[1], &second), ("c", "F32", &[1], &second)]),
    );
    let index = json!({"metadata": {"total_size": 16}, "weight_map": {
        "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors",
        "c": "model-00002-of-00002.safetensors"}});
    write("model.safetensors.index.json", index.to_string().as_bytes());
    let mut weights = Source::Dir(folder.path().to_path_buf()).weights().unwrap();
    let taken = Arc::new(Mutex::new(0));
    let counter = taken.clone();
    let total = weights.total_bytes();
    weights = weights.on_progress(move |bytes| *counter.lock().unwrap() += bytes);
    assert_eq!(weights.vector("b", 1).unwrap(), [3.0]);
    assert_eq!(*taken.lock().unwrap(), 4);
    assert_eq!(weights.vector("a", 2).unwrap(), [1.0, 2.0]);
    assert_eq!(weights.vector("c", 1).unwrap(), [3.0]);
    assert_eq!((*taken.lock().unwrap(), total), (16, 16));
    weights.finish(&config("llama", false)).unwrap();
}

#[test]
fn a_prefix_may_be_left_out_of_the_file_but_not_of_the_model() {
    let one = f32_bytes(&[1.0]);
    let file = safetensors(&[
        ("h.0.ln_1.weight", "F32", &[1], &one),
        ("norm.weight", "F32", &[1], &one),
    ]);
    let mut weights = source(&[("model.safetensors", &file)]).weights().unwrap();
    assert!(weights.contains("transformer.h.0.ln_1.weight"));
    assert_eq!(
        weights.vector("transformer.h.0.ln_1.weight", 1).unwrap(),
        [1.0]
    );
    assert_eq!(weights.vector("model.norm.weight", 1).unwrap(), [1.0]);
    weights.finish(&config("gpt2", false)).unwrap();

    // Both spellings at once are two tensors, of which only one is used.
    let file = safetensors(&[
        ("model.norm.weight", "F32", &[1], &one),
        ("norm.weight", "F32", &[1], &one),
    ]);
    let mut weights = source(&[("model.safetensors", &file)]).weights().unwrap();
    weights.vector("model.norm.weight", 1).unwrap();
    message(
        weights.finish(&config("llama", false)),
        &["model.safetensors", "norm.weight"],
    );
}

/// Opens a file, takes `model.norm.weight`, and finishes.
fn leftovers(family: &str, tied: bool, more: &[Tensor]) -> Result<(), LoadError> {
    let one = f32_bytes(&[1.0]);
    let mut tensors: Vec<Tensor> = vec![("model.norm.weight", "F32", &[1], &one)];
    tensors.extend_from_slice(more);
    let mut weights = source(&[("model.safetensors", &safetensors(&tensors))])
        .weights()
        .unwrap();
    weights.vector("model.norm.weight", 1).unwrap();
    if weights.contains("model.embed_tokens.weight") {
        weights.matrix("model.embed_tokens.weight", 1, 2).unwrap();
    }
    weights.finish(&config(family, tied))
}

#[test]
fn what_published_checkpoints_carry_along_is_not_extra() {
    let one = f32_bytes(&[1.0]);
    let of = |name: &'static str| -> [Tensor<'_>; 1] { [(name, "F32", &[1], &one)] };
    leftovers(
        "llama",
        false,
        &of("model.layers.0.self_attn.rotary_emb.inv_freq"),
    )
    .unwrap();
    leftovers("llama", false, &[("model.nothing", "F32", &[0, 7], &[])]).unwrap();
    leftovers("gpt2", false, &of("h.0.attn.bias")).unwrap();
    leftovers(
        "gpt2",
        false,
        &[("transformer.h.1.attn.masked_bias", "BOOL", &[1], &[1])],
    )
    .unwrap();
    leftovers("deepseek_v3", false, &of("model.layers.2.eh_proj.weight")).unwrap();

    message(
        leftovers("llama", false, &of("model.layers.0.attn.bias")),
        &["model.layers.0.attn.bias"],
    );
    message(
        leftovers("gpt2", false, &of("h.0.attn.c_attn.bias")),
        &["h.0.attn.c_attn.bias"],
    );
    message(
        leftovers("gpt2", false, &of("h.0.crossattention.bias")),
        &["h.0.crossattention.bias"],
    );
    message(
        leftovers("llama", false, &of("model.layers.2.norm.weight")),
        &["model.layers.2.norm.weight"],
    );
    message(
        leftovers("deepseek_v3", false, &of("model.layers.3.a")),
        &["model.layers.3.a"],
    );
    message(
        leftovers("deepseek_v3", false, &of("model.layers.1.a")),
        &["model.layers.1.a"],
    );
    let error = leftovers(
        "llama",
        false,
        &[("b", "F32", &[1], &one), ("a", "F32", &[1], &one)],
    )
    .unwrap_err();
    assert!(
        matches!(&error, LoadError::ExtraTensors { count: 2, names, .. } if names == "a, b"),
        "{error}"
    );
}

#[test]
fn a_tied_output_projection_must_be_the_embedding() {
    let (values, others) = (f32_bytes(&[1.0, 2.0]), f32_bytes(&[1.0, 2.5]));
    let embedding: Tensor = ("model.embed_tokens.weight", "F32", &[1, 2], &values);
    leftovers(
        "llama",
        true,
        &[embedding, ("lm_head.weight", "F32", &[1, 2], &values)],
    )
    .unwrap();
    leftovers("llama", true, &[embedding]).unwrap();
    let error = leftovers(
        "llama",
        true,
        &[embedding, ("lm_head.weight", "F32", &[1, 2], &others)],
    );
    message(
        error,
        &["model.safetensors", "lm_head.weight", "tie_word_embeddings"],
    );
    let error = leftovers(
        "llama",
        true,
        &[embedding, ("lm_head.weight", "F32", &[2, 1], &values)],
    );
    message(error, &["lm_head.weight"]);
    // Untied, it has to be taken like any other.
    let error = leftovers(
        "llama",
        false,
        &[embedding, ("lm_head.weight", "F32", &[1, 2], &values)],
    );
    message(error, &["lm_head.weight"]);
}
