//! The digits CNN: its accuracy on digits that it was never trained on, its logits against numpy's, and pictures of every kind.

#[path = "support/drawing.rs"]
mod drawing;
#[path = "support/held_out.rs"]
mod held_out;

use drawing::{DARK_ON_LIGHT, Drawing, draw, drawings, encode};
use fastserve::digits::narrow::{NarrowCnn, Number};
use fastserve::digits::picture::{PictureError, SIDE, decode, normalise};
use fastserve::digits::{CLASSES, Digits, weights};
use fastserve::embedded::DIGITS;
use half::bf16;
use held_out::{EACH, held_out, most_likely};
use memory_hierarchy::conv::{Algorithm, Cnn, CnnWeights};
use memory_hierarchy::{Isa, Pool};
use numerics::quant::{Mapping, Scheme};
use png::ColorType;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("digits")
}

fn golden() -> Value {
    let text = std::fs::read_to_string(folder().join("golden.json")).expect("the file is there");
    serde_json::from_str(&text).expect("the file is JSON")
}

#[test]
fn it_reads_digits_that_it_was_never_trained_on() {
    let digits = held_out();
    let (golden, weights) = (golden(), weights(&DIGITS).unwrap());
    for algorithm in [Algorithm::Im2col, Algorithm::Winograd] {
        let pool = Pool::new(2);
        let mut cnn = Cnn::new(&weights, algorithm, 96, &pool);
        let mut right = 0;
        for batch in digits.chunks(96) {
            let images: Vec<f32> = batch.iter().flat_map(|(image, _)| image).copied().collect();
            let logits = cnn.forward(&pool, Isa::detect(), &images);
            let read = logits.chunks(CLASSES).map(most_likely);
            right += read
                .zip(batch)
                .filter(|(read, (_, label))| read == label)
                .count();
        }
        println!("{algorithm:?}: {right} of {}", digits.len());
        assert!(
            right as f64 >= 0.97 * digits.len() as f64,
            "{right} are right"
        );
        // Single precision turns a digit only where two logits are all but equal.
        assert!(
            right.abs_diff(golden["right"].as_u64().unwrap() as usize) <= 1,
            "{right} are right"
        );
    }
}

/// What a layer's weights, or its input, become.
type Rounding<'a> = &'a dyn Fn(&[f64]) -> Vec<f64>;

/// The network in double precision, by the definition of a convolution, each layer's weights and input as `round` leaves them.
fn in_double_precision(weights: &CnnWeights, image: &[f32], round: [Rounding; 2]) -> Vec<f64> {
    let [of_weights, of_values] = round;
    let wide = |values: &[f32]| values.iter().map(|it| f64::from(*it)).collect::<Vec<_>>();
    // Channels first, as the weights are stored.
    let (mut values, mut side) = (of_values(&wide(image)), SIDE);
    for layer in &weights.convolutions {
        let (outputs, inputs) = (layer.bias.len(), values.len() / (side * side));
        let filters = of_weights(&wide(&layer.filters));
        let at = |o: usize, y: usize, x: usize| {
            let mut sum = f64::from(layer.bias[o]);
            for (c, dy, dx) in (0..inputs * 9).map(|tap| (tap / 9, tap / 3 % 3, tap % 3)) {
                // One pixel of zeros all around.
                if (1..=side).contains(&(y + dy)) && (1..=side).contains(&(x + dx)) {
                    let pixel = values[(c * side + y + dy - 1) * side + x + dx - 1];
                    sum += pixel * filters[((o * inputs + c) * 3 + dy) * 3 + dx];
                }
            }
            sum.max(0.0)
        };
        let half = side / 2;
        let pooled = (0..outputs * half * half).map(|i| {
            let (o, y, x) = (i / (half * half), i / half % half * 2, i % half * 2);
            [(0, 0), (0, 1), (1, 0), (1, 1)]
                .map(|(dy, dx)| at(o, y + dy, x + dx))
                .into_iter()
                .fold(0.0, f64::max)
        });
        (values, side) = (of_values(&pooled.collect::<Vec<_>>()), half);
    }
    let linear = of_weights(&wide(&weights.linear));
    let rows = linear.chunks_exact(values.len()).zip(&weights.linear_bias);
    rows.map(|(row, bias)| {
        let sum: f64 = row.iter().zip(&values).map(|(w, x)| w * x).sum();
        sum + f64::from(*bias)
    })
    .collect()
}

#[test]
fn integers_are_those_of_double_precision_on_what_was_rounded() {
    let (weights, pool) = (weights(&DIGITS).unwrap(), Pool::new(2));
    for bits in [8, 4, 2] {
        let scheme = Scheme::int(bits).per_tensor();
        let mut network = NarrowCnn::<i8>::new(&weights, scheme).unwrap();
        // One scale a layer, the largest magnitude over the largest code.
        let grid = |most: f64| {
            move |values: &[f64]| {
                let largest = values.iter().fold(0.0f64, |a, b| a.max(b.abs()));
                let step = largest / most;
                values.iter().map(|it| (it / step).round() * step).collect()
            }
        };
        let codes = f64::from((1 << (bits - 1)) - 1);
        for (image, _) in held_out().iter().step_by(97) {
            let wanted = in_double_precision(&weights, image, [&grid(codes), &grid(127.0)]);
            let got = network.logits(&pool, image);
            let size = wanted.iter().fold(1.0f64, |a, b| a.max(b.abs()));
            for (got, wanted) in got.iter().zip(&wanted) {
                // A number between two codes may fall on either side: a step of one pixel.
                assert!(
                    (f64::from(*got) - wanted).abs() < 5e-3 * size,
                    "{bits} bits: {got}, not {wanted}"
                );
            }
        }
    }
}

#[test]
fn fewer_bits_read_fewer_digits_and_a_scale_a_channel_wins_them_back() {
    let (digits, weights, pool) = (held_out(), weights(&DIGITS).unwrap(), Pool::new(2));
    fn right<N: Number>(
        network: &mut NarrowCnn<N>,
        pool: &Pool,
        digits: &[(Vec<f32>, usize)],
    ) -> usize {
        let reads = |(image, label): &&(Vec<f32>, usize)| {
            most_likely(network.logits(pool, image)) == *label
        };
        digits.iter().filter(reads).count()
    }
    let integers = |scheme: Scheme| {
        let mut network = NarrowCnn::<i8>::new(&weights, scheme).unwrap();
        right(&mut network, &pool, &digits)
    };
    let in_16 = right(&mut NarrowCnn::<bf16>::new(&weights), &pool, &digits);
    let [in_8, in_2] = [8, 2].map(|bits| {
        let scheme = Scheme::int(bits).mapped(Mapping::Furthest);
        [integers(scheme.per_tensor()), integers(scheme)]
    });
    println!("bf16 {in_16}, 8 bits {in_8:?}, 2 bits {in_2:?} by layer and by channel");
    let golden = golden()["right"].as_u64().unwrap() as usize;
    assert!(
        in_16.abs_diff(golden) <= 3,
        "{in_16} in bf16, {golden} in f64"
    );
    for right in in_8 {
        assert!(
            right.abs_diff(golden) <= 3,
            "{right} in 8 bits, {golden} in f64"
        );
    }
    let [by_layer, by_channel] = in_2.map(|right| golden - right);
    assert!(by_layer > 200, "two bits lose {by_layer} digits only");
    assert!(
        by_channel * 2 < by_layer,
        "{by_channel} of {by_layer} lost digits are still lost"
    );
}

#[test]
fn what_is_no_scheme_of_the_network_is_refused() {
    let weights = weights(&DIGITS).unwrap();
    for scheme in [
        Scheme::int(8).blocks(32),
        Scheme::int(8).asymmetric(),
        Scheme::int(9),
        Scheme::e4m3(),
    ] {
        let error = NarrowCnn::<i8>::new(&weights, scheme).err().unwrap();
        assert!(error.to_string().contains("at most 8 bits"), "{error}");
    }
}

#[test]
fn logits_are_those_of_double_precision() {
    let (golden, weights, digits) = (golden(), weights(&DIGITS).unwrap(), held_out());
    let every = golden["golden_every"].as_u64().unwrap() as usize;
    let expected = golden["golden_logits"].as_array().unwrap();
    assert_eq!(expected.len(), digits.len() / every);
    let pool = Pool::new(1);
    for isa in Isa::available() {
        for algorithm in [Algorithm::Im2col, Algorithm::Winograd] {
            let mut cnn = Cnn::new(&weights, algorithm, 1, &pool);
            for (row, (image, _)) in expected.iter().zip(digits.iter().step_by(every)) {
                let logits = cnn.forward(&pool, isa, image);
                for (logit, expected) in logits.iter().zip(row.as_array().unwrap()) {
                    let error = (f64::from(*logit) - expected.as_f64().unwrap()).abs();
                    assert!(
                        error < 1e-4,
                        "{isa:?} {algorithm:?}: {logit}, not {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_picture_of_any_kind_is_read_as_its_digit() {
    let mut network = Digits::load(&DIGITS, 1, 1).unwrap();
    let digits = held_out();
    for drawing in drawings() {
        let mut right = 0;
        let some: Vec<_> = digits.iter().step_by(10).collect();
        for (image, label) in &some {
            let picture = decode(&draw(image, drawing)).unwrap();
            let read = most_likely(&network.probabilities(&normalise(&picture).unwrap()));
            right += usize::from(read == *label);
        }
        println!("{right} of {}: {drawing:?}", some.len());
        assert!(
            right * 100 >= some.len() * 96,
            "{right} of {}: {drawing:?}",
            some.len()
        );
    }
}

/// The digits of MNIST are made as `normalise` makes them, so there it has nearly nothing to do.
#[test]
fn a_digit_that_is_already_normal_stays_as_it_is() {
    let mut moved = 0.0;
    let digits = held_out();
    for (image, _) in &digits {
        let again = normalise(&decode(&draw(image, DARK_ON_LIGHT)).unwrap()).unwrap();
        let change: f32 = again
            .iter()
            .zip(image)
            .map(|(again, image)| (again - image).abs())
            .sum();
        moved += f64::from(change / image.iter().sum::<f32>());
    }
    let mean = moved / digits.len() as f64;
    assert!(mean < 0.05, "{mean} of the ink has moved");
}

#[test]
fn what_is_no_digit_is_refused_with_advice() {
    let blank = encode(&[200; 100], 10, DARK_ON_LIGHT);
    assert_eq!(
        normalise(&decode(&blank).unwrap()),
        Err(PictureError::Empty)
    );
    let transparent = encode(
        &[255; 100],
        10,
        Drawing {
            color: ColorType::Rgba,
            ..DARK_ON_LIGHT
        },
    );
    assert_eq!(
        normalise(&decode(&transparent).unwrap()),
        Err(PictureError::Empty)
    );
    let digit = draw(&held_out()[0].0, DARK_ON_LIGHT);
    for bytes in [
        &b""[..],
        b"\xff\xd8\xff\xe0 a JPEG",
        &digit[..digit.len() / 2],
    ] {
        assert!(matches!(decode(bytes), Err(PictureError::NotPng(_))));
    }
    // A header that claims more than there is: refused before anything is allocated.
    let mut huge = Vec::new();
    let header = png::Encoder::new(&mut huge, 100_000, 100_000).write_header();
    header.unwrap().write_chunk(png::chunk::IDAT, &[]).unwrap();
    assert_eq!(
        decode(&huge),
        Err(PictureError::TooLarge {
            width: 100_000,
            height: 100_000
        })
    );
    // One pixel of ink, and one pixel in all.
    let mut speck = [255; 100];
    speck[55] = 0;
    assert!(normalise(&decode(&encode(&speck, 10, DARK_ON_LIGHT)).unwrap()).is_ok());
    assert_eq!(
        normalise(&decode(&encode(&[0], 1, DARK_ON_LIGHT)).unwrap()),
        Err(PictureError::Empty)
    );
}

fn classify(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fastserve"));
    command
        .arg("classify")
        .args(args)
        .output()
        .expect("the binary runs")
}

/// The committed pictures: a digit of each class, drawn in each way. `UPDATE_SAMPLES` writes them anew.
#[test]
fn the_command_reads_the_samples() {
    let (digits, folder) = (held_out(), folder());
    let weights = folder.join("model.safetensors");
    let names = [
        "grey",
        "white-on-black",
        "rgb-dark",
        "rgb-grey",
        "transparent",
        "grey-alpha",
        "palette",
        "palette-2",
        "1-bit",
        "16-bit",
    ];
    for (label, (name, drawing)) in names.into_iter().zip(drawings()).enumerate() {
        let path = folder.join(format!("samples/{label}-{name}.png"));
        let picture = draw(&digits[label * EACH + 7].0, drawing);
        if std::env::var_os("UPDATE_SAMPLES").is_some() {
            std::fs::write(&path, &picture).unwrap();
        }
        let committed = std::fs::read(&path).unwrap();
        assert_eq!(
            decode(&committed),
            decode(&picture),
            "{name} is another picture"
        );
        let path = path.to_str().unwrap();
        let out = classify(&["--model", "digits", "--input", path, "--top", "2"]);
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(out.status.success() && text.lines().count() == 3, "{text}");
        assert!(text.starts_with(&label.to_string()), "{name}: {text}");
        let out = classify(&["--quantize", "int8", "--input", path]);
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(text.starts_with(&label.to_string()), "{name}: {text}");
        let out = classify(&[
            "--model",
            weights.to_str().unwrap(),
            "--input",
            path,
            "--json",
        ]);
        let json: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(json["digit"], label, "{name}");
        let top = json["top"].as_array().unwrap();
        assert!(
            top.len() == 3 && top[0]["probability"].as_f64().unwrap() > 0.5,
            "{name}: {json}"
        );
    }
}

#[test]
fn the_command_says_what_is_wrong() {
    let folder = folder();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let picture = path("held_out.png");
    for (input, advice) in [
        ("none.png", "check that the path is right"),
        ("golden.json", "convert the picture as PNG"),
        ("samples", "cannot be read"),
    ] {
        let out = classify(&["--input", &path(input)]);
        let text = String::from_utf8(out.stderr).unwrap();
        assert!(
            !out.status.success() && text.contains(advice) && text.contains(input),
            "{text}"
        );
    }
    for (model, advice) in [
        (path("none.safetensors"), "not found"),
        (path("golden.json"), "safetensors"),
        (path("../model/draft/model.safetensors"), "conv1.weight"),
    ] {
        let out = classify(&["--input", &picture, "--model", &model]);
        let text = String::from_utf8(out.stderr).unwrap();
        assert!(
            !out.status.success() && text.contains(advice) && text.contains("--model"),
            "{text}"
        );
    }
    assert!(
        !classify(&["--input", &picture, "--top", "11"])
            .status
            .success()
    );
}
