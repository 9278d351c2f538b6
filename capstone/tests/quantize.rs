//! `fastserve quantize`: what it writes reads back as the same numbers, what it folds changes nothing, and the draft model (a tenth of
//! the embedded one, for speed) keeps its knowledge in the order that theory says.

#[path = "support/measured.rs"]
mod measured;

use attention_variants::hf::Source;
use attention_variants::models::LanguageModel;
use attention_variants::ops::{Scalar, Vectorised};
use fastserve::quantize::activations::{Scales, outlier_ratio, rounded};
use fastserve::quantize::checkpoint::{Checkpoint, Tensor};
use fastserve::quantize::evaluate::{divergence, mean_loss, score, with_model, with_model_on};
use fastserve::quantize::observe::{Observation, observe};
use fastserve::quantize::policy::{allocate, mixed, sensitivity};
use fastserve::quantize::recipe::{Method, QuantisedModel, packed_bytes, quantise};
use fastserve::quantize::text::Sequence;
use fastserve::quantize::units::{Unit, units};
use fastserve::quantize::{QuantizeError, packed};
use measured::{Lists, observed, with_outliers};
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

/// What moves when the draft becomes `model`, over text that it was calibrated with.
fn divergence_of(model: &Checkpoint, probes: &[Sequence]) -> f64 {
    let of = |whole: &mut dyn LanguageModel| {
        with_model(model, |model| divergence(whole, model, probes)).unwrap()
    };
    with_model(&DRAFT.checkpoint, of).unwrap()
}

#[test]
fn what_units_do_to_the_predictions_adds_up() {
    let probes = &DRAFT.lists.calibration[188..198];
    let variants = [DRAFT.quantised(Method::Rtn, int(4))];
    let rise = |model: &Checkpoint| Ok(divergence_of(model, probes));
    let costs = sensitivity(&DRAFT.checkpoint, &DRAFT.units, &variants, rise).unwrap();
    let alone: Vec<f64> = costs.iter().map(|choices| choices[0].rise).collect();
    let (sum, all) = (
        alone.iter().sum::<f64>(),
        divergence_of(&variants[0].dequantised(), probes),
    );
    println!("{alone:?} sum to {sum}, all together {all}");
    assert!(alone.iter().all(|&rise| rise > 0.0), "{alone:?}");
    assert!((0.75..1.25).contains(&(sum / all)), "{sum} against {all}");
    assert_eq!(divergence_of(&DRAFT.checkpoint, probes), 0.0);
    // What is noted is each unit's own: bytes and bits of its codes.
    let bytes: usize = costs.iter().map(|choices| choices[0].bytes).sum();
    let codes = variants[0].codes.values();
    assert_eq!(bytes, codes.map(packed_bytes).sum::<usize>());
}

#[test]
fn mixed_widths_beat_one_width_of_the_same_size() {
    // In order of size; the second is the one to beat.
    let variants = [(2, 96), (2, 32), (3, 96), (3, 32)]
        .map(|(bits, group)| DRAFT.quantised(Method::Gptq, int(bits).blocks(group)));
    let probes = &DRAFT.lists.calibration[128..];
    let rise = |model: &Checkpoint| Ok(divergence_of(model, probes));
    let costs = sensitivity(&DRAFT.checkpoint, &DRAFT.units, &variants, rise).unwrap();
    let budget = costs.iter().map(|choices| choices[1].bytes).sum();
    let chosen = allocate(&costs, budget).unwrap();
    let at = |unit: &Unit| DRAFT.units.iter().position(|it| it == unit).unwrap();
    let several = mixed(&DRAFT.checkpoint, &DRAFT.units, |unit| {
        &variants[chosen[at(unit)]]
    });
    let uniform = &variants[1];
    assert!(several.bytes() <= uniform.bytes());
    let sequences: Vec<Sequence> = [&DRAFT.lists.unseen[..], &DRAFT.lists.trained[..]].concat();
    let losses = |model: &QuantisedModel| {
        let model = model.dequantised();
        [&sequences, &DRAFT.lists.held_out].map(|text| DRAFT.loss(&model, text))
    };
    let (several, uniform) = (losses(&several), losses(uniform));
    println!("answers and held-out text: mixed {several:.4?}, uniform {uniform:.4?}");
    assert!(
        several[0] < 0.9 * uniform[0] && several[1] < uniform[1],
        "losses of {several:?}, uniform of {uniform:?}"
    );
}

/// Loss of the draft, or of the draft with outliers, in W8A8.
fn w8a8(model: &Checkpoint, method: Method, activations: Scheme, scales: Scales) -> f64 {
    let calibration = &DRAFT.lists.calibration[..32];
    let seen = observed(model, calibration);
    let scheme = |_: &Unit| Some(Scheme::int(8));
    let model = quantise(model.clone(), &DRAFT.units, Some(&seen), method, scheme)
        .unwrap()
        .dequantised();
    let seen = observed(&model, calibration);
    let arithmetic = rounded(Vectorised::default(), seen, activations, scales);
    let sequences = &DRAFT.lists.held_out[..1];
    with_model_on(arithmetic, &model, |model| {
        mean_loss(&score(model, sequences))
    })
    .unwrap()
}

#[test]
fn activations_of_eight_bits_need_smoothing_where_there_are_outliers() {
    let unharmed = DRAFT.loss(&DRAFT.checkpoint, &DRAFT.lists.held_out[..1]);
    let loud = with_outliers(&DRAFT.checkpoint, &DRAFT.units, 64.0);
    let same = DRAFT.loss(&loud, &DRAFT.lists.held_out[..1]);
    assert!(
        (same - unharmed).abs() < 1e-6,
        "{same} and {unharmed} are of one function"
    );
    let ratio = |seen: &Observation| {
        let (weight, [_, cols]) = DRAFT.checkpoint.matrix(&DRAFT.units[0].weights[0]).unwrap();
        seen.inputs(&weight, cols).map(outlier_ratio)
    };
    let quiet = ratio(&DRAFT.seen).unwrap();
    assert!(
        quiet < 10.0,
        "{quiet}: the draft has no outliers of its own"
    );
    let (token, tensor) = (Scheme::int(8), Scheme::int(8).per_tensor());
    for (activations, scales) in [(token, Scales::Dynamic), (tensor, Scales::Static)] {
        let rise = |model: &Checkpoint, method| w8a8(model, method, activations, scales) - unharmed;
        let [plain, lost, smoothed] = [
            rise(&DRAFT.checkpoint, Method::Rtn),
            rise(&loud, Method::Rtn),
            rise(&loud, Method::Smoothquant),
        ];
        println!("{scales:?}: {plain:.5}, with outliers {lost:.5}, smoothed {smoothed:.5}");
        assert!(plain < 0.05, "{scales:?}: a rise of {plain}");
        assert!(lost > 0.1, "{scales:?}: outliers cost {lost}");
        assert!(
            smoothed < 0.25 * lost,
            "{scales:?}: {smoothed} of {lost} is left"
        );
    }
}

#[test]
fn only_the_layers_that_calibration_saw_are_rounded() {
    let sequences = &DRAFT.lists.held_out[..1];
    let loss = |probes: &[Sequence], bits| {
        let seen = observed(&DRAFT.checkpoint, probes);
        let arithmetic = rounded(
            Vectorised::default(),
            seen,
            Scheme::int(bits),
            Scales::Dynamic,
        );
        let loss = |model: &mut dyn LanguageModel| mean_loss(&score(model, sequences));
        with_model_on(arithmetic, &DRAFT.checkpoint, loss).unwrap()
    };
    let probes = &DRAFT.lists.calibration[..1];
    let unharmed = DRAFT.loss(&DRAFT.checkpoint, sequences);
    assert_eq!(loss(&[], 2), unharmed);
    assert!((loss(probes, 16) - unharmed).abs() < 1e-4);
    assert!(loss(probes, 2) > unharmed + 0.5);
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
