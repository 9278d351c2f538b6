//! What a request may ask of the sampler, and the ranges that it must keep to.

/// How to turn logits into a token. The default draws from the model's own distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Logits are divided by it; 0 is greedy. From 0 to 2.
    pub temperature: f32,
    /// Only the `top_k` most likely tokens are candidates; 0 is off.
    pub top_k: u32,
    /// Only the fewest most likely tokens whose probabilities add up to `top_p` are candidates; 1 is off.
    pub top_p: f32,
    /// Only tokens at least `min_p` times as likely as the likeliest are candidates; 0 is off.
    pub min_p: f32,
    /// Logits of tokens seen in the prompt or the output are divided (positive) or multiplied (negative) by it; 1 is off.
    pub repetition_penalty: f32,
    /// Subtracted from the logits of tokens that were generated. From -2 to 2.
    pub presence_penalty: f32,
    /// Subtracted from the logits of generated tokens once for each time. From -2 to 2.
    pub frequency_penalty: f32,
    /// Added to the logits of single tokens, each from -100 to 100.
    pub logit_bias: Vec<(u32, f32)>,
    /// Names the random stream.
    pub seed: u64,
    /// How many of the likeliest tokens are reported beside the chosen one; `None` reports nothing.
    pub logprobs: Option<usize>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
            logprobs: None,
        }
    }
}

/// A parameter out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{param}: {message}")]
pub struct ParamError {
    /// The parameter, by its name in the API.
    pub param: &'static str,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl SamplingParams {
    /// Checks every parameter against its range.
    ///
    /// # Errors
    /// The first that is out of it; NaN is out of every range.
    pub fn validate(&self, vocab_size: usize) -> Result<(), ParamError> {
        within("temperature", self.temperature, 0.0, 2.0)?;
        within("top_p", self.top_p, 0.0, 1.0)?;
        if self.top_p == 0.0 {
            return Err(error("top_p", "must be greater than 0".to_owned()));
        }
        within("min_p", self.min_p, 0.0, 1.0)?;
        within("presence_penalty", self.presence_penalty, -2.0, 2.0)?;
        within("frequency_penalty", self.frequency_penalty, -2.0, 2.0)?;
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite()) {
            return Err(error(
                "repetition_penalty",
                format!("must be above 0, not {}", self.repetition_penalty),
            ));
        }
        for &(token, bias) in &self.logit_bias {
            within("logit_bias", bias, -100.0, 100.0)?;
            if token as usize >= vocab_size {
                let message = format!("token {token} is not one of the vocabulary's {vocab_size}");
                return Err(error("logit_bias", message));
            }
        }
        Ok(())
    }
}

fn within(param: &'static str, value: f32, min: f32, max: f32) -> Result<(), ParamError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(error(
        param,
        format!("must be from {min} to {max}, not {value}"),
    ))
}

fn error(param: &'static str, message: String) -> ParamError {
    ParamError { param, message }
}
