//! Rotary embedding in both spellings: `rope_theta` beside `rope_scaling`, and `rope_parameters` that holds all of it.

use crate::config::{Rope, RopeScaling};
use crate::hf::LoadError;
use crate::hf::fields::Fields;

/// Every key that a known scaling may carry. An unknown key is another kind of scaling.
const KNOWN: [&str; 15] = [
    "rope_type",
    "type",
    "rope_theta",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "beta_fast",
    "beta_slow",
    "attention_factor",
    "mscale",
    "mscale_all_dim",
    "truncate",
    "partial_rotary_factor",
    "finetuned",
];

/// Reads the rotary embedding of a family whose base is `default_theta` where the file has none. `latent`: DeepSeek's attention,
/// where YaRN also scales the softmax.
pub(super) fn rope(
    f: &Fields,
    default_theta: f64,
    interleaved: bool,
    latent: bool,
) -> Result<Rope, LoadError> {
    let parameters = parameters(f)?;
    let theta = theta(f, parameters.as_ref())?.unwrap_or(default_theta);
    let scaling = match &parameters {
        Some(p) => scaling(f, p, latent)?,
        None => RopeScaling::Plain,
    };
    Ok(Rope {
        theta: theta as f32,
        scaling,
        interleaved,
    })
}

/// The object that describes the scaling, by either name.
fn parameters<'a>(f: &Fields<'a>) -> Result<Option<Fields<'a>>, LoadError> {
    let (classic, current) = (f.object("rope_scaling.")?, f.object("rope_parameters.")?);
    if classic.is_some() && current.is_some() && f.get("rope_scaling") != f.get("rope_parameters") {
        return Err(f.bad("rope_scaling", "the same as rope_parameters, or absent"));
    }
    let Some(p) = current.or(classic) else {
        return Ok(None);
    };
    if let Some(unknown) = p
        .names()
        .find(|name| !KNOWN.contains(name) && p.get(name).is_some())
    {
        return Err(p.unsupported(unknown, "no known RoPE scaling has this field"));
    }
    if p.positive_opt("partial_rotary_factor")?
        .is_some_and(|factor| factor != 1.0)
    {
        return Err(p.unsupported("partial_rotary_factor", "RoPE turns whole heads here"));
    }
    Ok(Some(p))
}

/// The base, which must not be stated twice with different values.
fn theta(f: &Fields, parameters: Option<&Fields>) -> Result<Option<f64>, LoadError> {
    let outer = f.positive_opt("rope_theta")?;
    let inner = parameters
        .map(|p| p.positive_opt("rope_theta"))
        .transpose()?
        .flatten();
    if let (Some(outer), Some(inner)) = (outer, inner)
        && outer != inner
    {
        return Err(f.bad("rope_theta", format!("{inner}, as in rope_parameters")));
    }
    let theta = inner.or(outer);
    if theta.is_some_and(|theta| theta <= 1.0) {
        return Err(f.bad(
            "rope_theta",
            "above 1, for frequencies fall with its powers",
        ));
    }
    Ok(theta)
}

fn scaling(f: &Fields, p: &Fields, latent: bool) -> Result<RopeScaling, LoadError> {
    let (current, classic) = (p.text_opt("rope_type")?, p.text_opt("type")?);
    if current.is_some() && classic.is_some() && current != classic {
        return Err(p.bad("type", "the same as rope_type, or absent"));
    }
    let name = if current.is_some() {
        "rope_type"
    } else {
        "type"
    };
    let kind = current.or(classic).unwrap_or("default");
    if kind != "yarn" && kind != "default" && latent && p.number_opt("mscale_all_dim")?.is_some() {
        return Err(p.unsupported("mscale_all_dim", "the softmax is scaled with YaRN only"));
    }
    match kind {
        "default" => Ok(RopeScaling::Plain),
        "linear" => Ok(RopeScaling::Linear {
            factor: p.positive("factor")? as f32,
        }),
        "llama3" => llama3(f, p),
        "yarn" => yarn(f, p, latent),
        _ => Err(p.unsupported(name, "known are default, linear, llama3 and yarn")),
    }
}

fn llama3(f: &Fields, p: &Fields) -> Result<RopeScaling, LoadError> {
    let (low, high) = (
        p.positive("low_freq_factor")?,
        p.positive("high_freq_factor")?,
    );
    if high <= low {
        return Err(p.bad("high_freq_factor", format!("above low_freq_factor, {low}")));
    }
    Ok(RopeScaling::Llama3 {
        factor: p.positive("factor")? as f32,
        low_freq_factor: low as f32,
        high_freq_factor: high as f32,
        original_max_positions: original_positions(f, p)?,
    })
}

/// YaRN (Peng et al., 2023), with DeepSeek's `mscale` and `mscale_all_dim`.
fn yarn(f: &Fields, p: &Fields, latent: bool) -> Result<RopeScaling, LoadError> {
    let original = original_positions(f, p)?;
    let factor = match p.positive_opt("factor")? {
        Some(factor) => factor,
        // An explicit null is DeepSeek's way to say that the two context lengths give it.
        None if p.has("factor") => f.size("max_position_embeddings")? as f64 / original as f64,
        None => return Err(p.missing("factor")),
    };
    let (mscale, mscale_all_dim) = (p.number_opt("mscale")?, p.number_opt("mscale_all_dim")?);
    let attention_factor = match (p.positive_opt("attention_factor")?, mscale, mscale_all_dim) {
        (Some(given), _, _) => given,
        (None, Some(numerator), Some(denominator)) => {
            magnitude(factor, numerator) / magnitude(factor, denominator)
        }
        _ => magnitude(factor, 1.0),
    };
    let softmax_factor = match mscale_all_dim {
        Some(mscale) if latent => magnitude(factor, mscale).powi(2),
        _ => 1.0,
    };
    let (beta_fast, beta_slow) = (
        p.number_opt("beta_fast")?.unwrap_or(32.0),
        p.number_opt("beta_slow")?.unwrap_or(1.0),
    );
    if beta_fast < beta_slow {
        return Err(p.bad("beta_fast", format!("at least beta_slow, {beta_slow}")));
    }
    Ok(RopeScaling::Yarn {
        factor: factor as f32,
        beta_fast: beta_fast as f32,
        beta_slow: beta_slow as f32,
        original_max_positions: original,
        attention_factor: attention_factor as f32,
        softmax_factor: softmax_factor as f32,
        truncate: p.flag_opt("truncate")?.unwrap_or(true),
    })
}

/// How much attention must be sharpened after stretching by `factor`: `0.1 m ln(factor) + 1` (Peng et al., 2023, eq. 22).
fn magnitude(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * mscale * factor.ln() + 1.0
    }
}

/// The context before stretching. A value at the top level goes before one among the parameters.
fn original_positions(f: &Fields, p: &Fields) -> Result<usize, LoadError> {
    const NAME: &str = "original_max_position_embeddings";
    let (outer, inner) = (f.size_opt(NAME)?, p.size_opt(NAME)?);
    if let (Some(outer), Some(inner)) = (outer, inner)
        && outer != inner
    {
        return Err(f.bad(NAME, format!("{inner}, as in the RoPE parameters")));
    }
    match outer.or(inner) {
        Some(positions) => Ok(positions),
        None => f.size("max_position_embeddings"),
    }
}
