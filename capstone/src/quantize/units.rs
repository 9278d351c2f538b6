//! Which tensors are quantised, and which of them together.
//!
//! Linear layers that read the same input are one unit: engines compute them as one product, so they must have one format, and a
//! scale that divides their input must multiply all of them.

use std::collections::BTreeMap;

/// Parts of a layer that read the same input, in the order in which they are stacked, and what makes that input.
const KINDS: &[(&[&str], Feeder)] = &[
    (
        &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        Feeder::Norm("input_layernorm"),
    ),
    (&["self_attn.o_proj"], Feeder::None),
    (
        &["mlp.gate_proj", "mlp.up_proj"],
        Feeder::Norm("post_attention_layernorm"),
    ),
    (&["mlp.down_proj"], Feeder::Rows("mlp.up_proj")),
];

/// Where a scale of the input channels can go: into the tensor that makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feeder {
    /// Into a norm's weight.
    Norm(&'static str),
    /// Into the rows of a linear layer that the input is linear in.
    Rows(&'static str),
    /// Nowhere: with grouped queries a value channel feeds several input channels of the output projection.
    None,
}

/// Linear layers that are quantised together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// What it is called: `model.layers.0.self_attn.qkv_proj`.
    pub name: String,
    /// Its weights, `[out, in]`, all of one width.
    pub weights: Vec<String>,
    /// The tensor that a scale of its inputs is divided out of: a vector, or the rows of a matrix.
    pub feeder: Option<String>,
}

/// The units of a model whose tensors have these names: attention and dense feed-forward blocks, layer by layer. Embeddings, output
/// projections, norms and experts are in none.
pub fn units<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<Unit> {
    let mut layers: BTreeMap<(usize, &str), Vec<&str>> = BTreeMap::new();
    for name in names {
        if let Some((layer, part)) = split(name) {
            layers.entry(layer).or_default().push(part);
        }
    }
    let mut units = Vec::new();
    for ((_, prefix), parts) in &layers {
        for (members, feeder) in KINDS {
            let there = |member: &&&str| parts.contains(member);
            let weight = |member: &&str| format!("{prefix}.{member}.weight");
            let weights: Vec<String> = members.iter().filter(there).map(weight).collect();
            if weights.len() == members.len() {
                units.push(Unit {
                    name: format!("{prefix}.{}", label(members)),
                    weights,
                    feeder: match feeder {
                        Feeder::Norm(part) | Feeder::Rows(part) => {
                            Some(format!("{prefix}.{part}.weight"))
                        }
                        Feeder::None => None,
                    },
                });
            }
        }
    }
    units
}

/// `model.layers.3.mlp.up_proj.weight` as layer 3 of `model.layers.3`, and `mlp.up_proj`.
fn split(name: &str) -> Option<((usize, &str), &str)> {
    let digits = name.find("layers.")? + "layers.".len();
    let end = digits + name[digits..].find('.')?;
    let layer = name[digits..end].parse().ok()?;
    let part = name[end + 1..].strip_suffix(".weight")?;
    Some(((layer, &name[..end]), part))
}

/// `self_attn.qkv_proj` and `mlp.gate_up_proj`, as engines call them.
fn label(members: &[&str]) -> String {
    match members {
        ["self_attn.q_proj", ..] => "self_attn.qkv_proj".to_owned(),
        ["mlp.gate_proj", ..] => "mlp.gate_up_proj".to_owned(),
        _ => members[0].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::units;

    #[test]
    fn layers_have_four_units_in_the_order_of_their_numbers() {
        let parts = [
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "mlp.gate_proj",
            "mlp.up_proj",
            "mlp.down_proj",
            "input_layernorm",
        ];
        let mut names: Vec<String> = [2, 10]
            .iter()
            .flat_map(|layer| parts.map(|part| format!("model.layers.{layer}.{part}.weight")))
            .collect();
        names.push("model.embed_tokens.weight".to_owned());
        names.sort();
        let found = units(&names);
        let called: Vec<&str> = found
            .iter()
            .map(|unit| &unit.name["model.layers.".len()..])
            .collect();
        assert_eq!(
            called,
            [
                "2.self_attn.qkv_proj",
                "2.self_attn.o_proj",
                "2.mlp.gate_up_proj",
                "2.mlp.down_proj",
                "10.self_attn.qkv_proj",
                "10.self_attn.o_proj",
                "10.mlp.gate_up_proj",
                "10.mlp.down_proj",
            ]
        );
        assert_eq!(found[0].weights.len(), 3);
        assert_eq!(
            found[3].feeder.as_deref(),
            Some("model.layers.2.mlp.up_proj.weight")
        );
        assert_eq!(found[1].feeder, None);
    }
}
