//! `fastserve quantize`: what it writes reads back as the same numbers, what it folds changes nothing, and the draft model (a tenth of
//! the embedded one, for speed) keeps its knowledge in the order that theory says.

#[path = "support/measured.rs"]
mod measured;

use attention_variants::hf::Source;
use attention_variants::ops::{Scalar, Vectorised};
use fastserve::quantize::checkpoint::{Checkpoint, Tensor};
use fastserve::quantize::evaluate::{mean_loss, score, with_model};
use fastserve::quantize::observe::{Observation, observe};
use fastserve::quantize::policy::{allocate, sensitivity};
use fastserve::quantize::recipe::{Method, QuantisedModel, quantise};
use fastserve::quantize::text::Sequence;
use fastserve::quantize::units::{Unit, units};
use fastserve::quantize::{QuantizeError, packed};
use measured::Lists;
use numerics::quant::{Mapping, Scheme};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::LazyLock;

struct Draft {
    source: Source,
    checkpoint: Checkpoint,
    units: Vec<Unit>,
    lists: Lists,
    seen: Observation,
}

static DRAFT: LazyLock<Draft> = LazyLock::new(|| {
    let source = Source::Dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("model/draft"));
    let checkpoint = Checkpoint::read(&source).unwrap();
    let lists = Lists::new(&source, 40, 2);
    Draft {
        units: units(checkpoint.tensors.keys()),
        seen: observe(
            Vectorised::default(),
            source.config().unwrap(),
            source.weights().unwrap(),
            &lists.calibration,
        )
        .unwrap(),
        source,
        checkpoint,
        lists,
    }
});

impl Draft {
    fn quantised(&self, method: Method, scheme: Scheme) -> QuantisedModel {
        quantise(
            self.checkpoint.clone(),
            &self.units,
            Some(&self.seen),
            method,
            |_| Some(scheme),
        )
        .unwrap()
    }

    fn loss(&self, checkpoint: &Checkpoint, sequences: &[Sequence]) -> f64 {
        with_model(checkpoint, |model| mean_loss(&score(model, sequences))).unwrap()
    }
}

fn int(bits: u32) -> Scheme {
    Scheme::int(bits)
        .mapped(Mapping::Furthest)
        .blocks(32)
        .with_f16_scales()
}

#[test]
fn the_observer_sees_what_the_model_computes() {
    let probes = &DRAFT.lists.calibration[..3];
    let tokens: usize = probes.iter().map(|sequence| sequence.tokens.len()).sum();
    let (config, weights) = (
        || DRAFT.source.config().unwrap(),
        || DRAFT.source.weights().unwrap(),
    );
    let fast = observe(Vectorised::default(), config(), weights(), probes).unwrap();
    let plain = observe(Scalar, config(), weights(), probes).unwrap();
    for unit in &DRAFT.units {
        let inputs: Vec<_> = unit
            .weights
            .iter()
            .map(|name| {
                let (values, [_, cols]) = DRAFT.checkpoint.matrix(name).unwrap();
                let [fast, plain] = [&fast, &plain]
                    .map(|seen| seen.inputs(&values, cols).expect("every unit runs"));
                assert_eq!(fast.tokens(), tokens, "{name}");
                for (fast, plain) in fast.largest().iter().zip(plain.largest()) {
                    assert!(
                        (fast - plain).abs() <= 1e-3 * plain.max(1.0),
                        "{name}: {fast} and {plain}"
                    );
                }
                fast
            })
            .collect();
        // The parts of a unit read one input.
        assert!(
            inputs.windows(2).all(|pair| std::ptr::eq(pair[0], pair[1])),
            "{}",
            unit.name
        );
    }
    let (other, [_, cols]) = DRAFT
        .checkpoint
        .matrix("model.embed_tokens.weight")
        .unwrap();
    assert!(
        fast.inputs(&other, cols).is_none(),
        "the embedding is looked up, not multiplied with"
    );
}

#[test]
fn folding_scales_changes_no_answer() {
    let sequences = &DRAFT.lists.held_out[..1];
    let wanted = DRAFT.loss(&DRAFT.checkpoint, sequences);
    for method in [Method::Smoothquant, Method::Awq] {
        // 16 bits round next to nothing, so that what is left is the folding.
        let mut model = DRAFT.quantised(method, Scheme::int(16).blocks(32));
        let norm = "model.layers.0.input_layernorm.weight";
        assert_ne!(
            model.checkpoint.tensors[norm], DRAFT.checkpoint.tensors[norm],
            "{method:?} folds"
        );
        let got = DRAFT.loss(&model.dequantised(), sequences);
        assert!(
            (got - wanted).abs() < 2e-3,
            "{method:?}: a loss of {got}, not {wanted}"
        );
        // Without the other half of the folding the model is another.
        for (name, tensor) in &DRAFT.checkpoint.tensors {
            if tensor.shape.len() == 1 {
                model
                    .checkpoint
                    .tensors
                    .insert(name.clone(), tensor.clone());
            }
        }
        let broken = DRAFT.loss(&model.dequantised(), sequences);
        assert!(
            (broken - wanted).abs() > 0.01,
            "{method:?}: {broken} shows nothing beside {wanted}"
        );
    }
}

/// The numbers of a packed weight, by the words of the format's documentation.
fn unpacked(file: &SafeTensors, at: &str, bits: usize) -> (Vec<usize>, Vec<f32>) {
    let tensor = |part: &str| file.tensor(&format!("{at}.{part}")).unwrap();
    let (words, scales, shape) = (
        tensor("weight_packed"),
        tensor("weight_scale"),
        tensor("weight_shape"),
    );
    assert_eq!(
        (words.dtype(), scales.dtype(), shape.dtype()),
        (Dtype::I32, Dtype::F16, Dtype::I64)
    );
    let shape: Vec<usize> = shape
        .data()
        .chunks(8)
        .map(|it| i64::from_le_bytes(it.try_into().unwrap()) as usize)
        .collect();
    let [rows, cols] = shape[..] else {
        panic!("a matrix")
    };
    assert_eq!(words.shape(), [rows, cols * bits / 32]);
    let groups = scales.shape()[1];
    let value = |row: usize, col: usize| {
        let bit = (row * cols + col) * bits;
        let word = u32::from_le_bytes(words.data()[bit / 32 * 4..][..4].try_into().unwrap());
        let code = (word >> (bit % 32)) & ((1 << bits) - 1);
        let at = 2 * (row * groups + col / (cols / groups));
        let scale = half::f16::from_le_bytes([scales.data()[at], scales.data()[at + 1]]).to_f32();
        scale * (code as i32 - (1 << (bits - 1))) as f32
    };
    let values = (0..rows * cols)
        .map(|at| value(at / cols, at % cols))
        .collect();
    (shape, values)
}

#[test]
fn what_is_written_reads_back_as_the_same_numbers() {
    for (method, bits, group) in [
        (Method::Rtn, 8, 32),
        (Method::Gptq, 4, 32),
        (Method::Awq, 4, 96),
    ] {
        let model = DRAFT.quantised(method, packed::scheme(bits, group).unwrap());
        let wanted: Vec<(String, Vec<f32>)> = model
            .codes
            .iter()
            .map(|(name, codes)| (name.clone(), codes.dequantise()))
            .collect();
        let norms = model.checkpoint.tensors.clone();
        let folder = tempfile::tempdir().unwrap();
        packed::pack(model).unwrap().write(folder.path()).unwrap();
        let bytes = std::fs::read(folder.path().join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        for (name, wanted) in &wanted {
            let at = name.strip_suffix(".weight").unwrap();
            let (shape, got) = unpacked(&file, at, bits as usize);
            assert_eq!(shape, DRAFT.checkpoint.tensors[name].shape);
            assert_eq!(got, *wanted, "{name}");
            assert!(file.tensor(name).is_err(), "{name} is there twice");
        }
        for (name, tensor) in &norms {
            if !wanted.iter().any(|(quantised, _)| quantised == name) {
                assert_eq!(file.tensor(name).unwrap().data(), tensor.bytes, "{name}");
            }
        }
        let config: Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("config.json")).unwrap())
                .unwrap();
        let quantisation = &config["quantization_config"];
        assert_eq!(quantisation["quant_method"], "compressed-tensors");
        assert_eq!(quantisation["format"], "pack-quantized");
        let weights = &quantisation["config_groups"]["group_0"]["weights"];
        assert_eq!(
            (&weights["num_bits"], &weights["group_size"]),
            (&bits.into(), &group.into())
        );
        assert_eq!(config["vocab_size"], 8192, "the rest stays");
        let tokenizer =
            |folder: &std::path::Path| std::fs::read(folder.join("tokenizer.json")).unwrap();
        let original = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("model/draft");
        assert_eq!(tokenizer(folder.path()), tokenizer(&original));
    }
}

#[test]
fn calibrated_methods_lose_less_than_the_nearest() {
    let sequences: Vec<Sequence> = [&DRAFT.lists.unseen[..], &DRAFT.lists.held_out[..]].concat();
    let loss = |method, bits| {
        DRAFT.loss(
            &DRAFT.quantised(method, int(bits)).dequantised(),
            &sequences,
        )
    };
    let unharmed = DRAFT.loss(&DRAFT.checkpoint, &sequences);
    let nearest = loss(Method::Rtn, 3) - unharmed;
    for method in [Method::Gptq, Method::Awq] {
        let rise = loss(method, 3) - unharmed;
        println!("{method:?}: {rise:.4} against {nearest:.4}");
        assert!(
            rise < 0.85 * nearest,
            "{method:?}: the loss rises by {rise}, of the nearest by {nearest}"
        );
    }
    let eight = loss(Method::Rtn, 8) - unharmed;
    assert!(
        eight.abs() < 0.02 * nearest,
        "8 bits raise the loss by {eight}"
    );
}

#[test]
fn mixed_widths_beat_one_width_of_the_same_size() {
    let probes = &DRAFT.lists.calibration[..96];
    let widths = [2, 3, 4].map(int);
    let loss = |model: &Checkpoint| with_model(model, |model| mean_loss(&score(model, probes)));
    let costs = sensitivity(&DRAFT.checkpoint, &DRAFT.units, &widths, Some(int(3)), loss).unwrap();
    let budget = costs.iter().map(|choices| choices[1].bytes).sum();
    let chosen = allocate(&costs, budget).unwrap();
    let width = |unit: &Unit| {
        let at = DRAFT.units.iter().position(|it| it == unit).unwrap();
        Some(widths[chosen[at]])
    };
    let mixed = quantise(
        DRAFT.checkpoint.clone(),
        &DRAFT.units,
        None,
        Method::Rtn,
        width,
    )
    .unwrap();
    let uniform = DRAFT.quantised(Method::Rtn, int(3));
    assert!(mixed.bytes() <= uniform.bytes());
    let sequences: Vec<Sequence> = [&DRAFT.lists.unseen[..], &DRAFT.lists.trained[..]].concat();
    let [mixed, uniform] =
        [mixed, uniform].map(|model| DRAFT.loss(&model.dequantised(), &sequences));
    println!("mixed {mixed:.4}, uniform {uniform:.4}");
    assert!(
        mixed < 0.95 * uniform,
        "a loss of {mixed}, uniform of {uniform}"
    );
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let message = |error: QuantizeError| error.to_string();
    assert!(message(packed::scheme(3, 32).unwrap_err()).contains("4 or 8 bits"));
    assert!(message(packed::scheme(4, 0).unwrap_err()).contains("at least one"));
    let uneven = DRAFT.quantised(Method::Rtn, packed::scheme(4, 64).unwrap());
    let error = message(packed::pack(uneven).expect_err("96 columns are no whole groups of 64"));
    assert!(error.contains("--group"), "{error}");
    let mut broken = DRAFT.checkpoint.clone();
    let name = &DRAFT.units[0].weights[0];
    let shape = broken.tensors[name].shape.clone();
    broken.tensors.insert(
        name.clone(),
        Tensor::from_f32(&shape, &vec![f32::NAN; shape.iter().product()]),
    );
    let outcome = quantise(broken, &DRAFT.units, None, Method::Rtn, |_| Some(int(4)));
    let error = message(outcome.err().expect("NaN has no code"));
    assert!(error.contains(name.as_str()), "{error}");
}
