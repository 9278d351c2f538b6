//! Which unit gets how many bits.
//!
//! One unit at a time takes the codes that it has in a uniformly quantised model, and what that does to the model's predictions is noted:
//! its sensitivity. Then all units begin with the fewest bits, and the unit whose wider codes mend the most a byte gets them, until the
//! bytes are spent. That takes what is noted to add up. A loss does not: it moves by chance, up or down, by more than a unit's share.
//! The divergence from the unharmed model does, since it is quadratic in the error: it has no first-order term to be lucky with, and
//! rounding errors of different units are hardly correlated.

use super::QuantizeError;
use super::checkpoint::Checkpoint;
use super::recipe::{QuantisedModel, packed_bytes};
use super::units::Unit;

/// What each unit costs with its codes of each of `variants`, quantised models whose scales were not folded into other tensors. `rise`
/// measures a model in which nothing else has changed.
///
/// # Errors
/// As `rise`.
pub fn sensitivity(
    checkpoint: &Checkpoint,
    units: &[Unit],
    variants: &[QuantisedModel],
    mut rise: impl FnMut(&Checkpoint) -> Result<f64, QuantizeError>,
) -> Result<Vec<Vec<Choice>>, QuantizeError> {
    let mut cost = |unit: &Unit, variant: &QuantisedModel| {
        let model = mixed(checkpoint, std::slice::from_ref(unit), |_| variant);
        let codes = || model.codes.values();
        Ok(Choice {
            bits: codes().map(|it| it.scheme.bits()).max().unwrap_or(0),
            bytes: codes().map(packed_bytes).sum(),
            rise: rise(&model.dequantised())?,
        })
    };
    units
        .iter()
        .map(|unit| variants.iter().map(|variant| cost(unit, variant)).collect())
        .collect()
}

/// The model whose units have the codes that they have in `variant`.
///
/// # Panics
/// If a unit has none there.
pub fn mixed<'a>(
    checkpoint: &Checkpoint,
    units: &[Unit],
    variant: impl Fn(&Unit) -> &'a QuantisedModel,
) -> QuantisedModel {
    let codes = units.iter().flat_map(|unit| {
        let codes = &variant(unit).codes;
        let of = |name: &String| (name.clone(), codes[name].clone());
        unit.weights.iter().map(of)
    });
    QuantisedModel {
        codes: codes.collect(),
        checkpoint: checkpoint.clone(),
    }
}

/// What one unit costs at one width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Bits a weight.
    pub bits: u32,
    /// Bytes of the unit.
    pub bytes: usize,
    /// What it does to the model that this unit alone has these bits.
    pub rise: f64,
}

/// The index of the choice for each unit, together of at most `budget` bytes. Choices of a unit must be in order of their bytes.
///
/// Of wider choices the one that mends the most a byte is taken, not always the next: what 3 bits do not mend, 4 may. `None` if
/// the narrowest choices are too large.
pub fn allocate(units: &[Vec<Choice>], budget: usize) -> Option<Vec<usize>> {
    let mut chosen = vec![0; units.len()];
    let mut left = budget.checked_sub(units.iter().map(|choices| choices[0].bytes).sum())?;
    loop {
        let mut best: Option<(f64, usize, usize)> = None;
        for (unit, choices) in units.iter().enumerate() {
            let now = choices[chosen[unit]];
            for (at, wider) in choices.iter().enumerate().skip(chosen[unit] + 1) {
                let more = wider.bytes - now.bytes;
                let gain = (now.rise - wider.rise) / more.max(1) as f64;
                if more <= left && gain > 0.0 && best.is_none_or(|(most, ..)| gain > most) {
                    best = Some((gain, unit, at));
                }
            }
        }
        let Some((_, unit, at)) = best else {
            return Some(chosen);
        };
        left -= units[unit][at].bytes - units[unit][chosen[unit]].bytes;
        chosen[unit] = at;
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, allocate};

    fn unit(size: usize, rises: &[(u32, f64)]) -> Vec<Choice> {
        let choice = |&(bits, rise)| Choice {
            bits,
            bytes: size * bits as usize,
            rise,
        };
        rises.iter().map(choice).collect()
    }

    #[test]
    fn the_sensitive_and_the_small_are_served_first() {
        let units = [
            unit(10, &[(2, 0.1), (4, 0.0)]),
            unit(10, &[(2, 5.0), (4, 0.1)]),
            unit(100, &[(2, 6.0), (4, 0.0)]),
        ];
        let all = 120 * 2;
        assert_eq!(allocate(&units, all - 1), None);
        assert_eq!(allocate(&units, all), Some(vec![0, 0, 0]));
        assert_eq!(allocate(&units, all + 20), Some(vec![0, 1, 0]));
        assert_eq!(allocate(&units, all + 220), Some(vec![0, 1, 1]));
        assert_eq!(allocate(&units, all + 240), Some(vec![1, 1, 1]));
    }

    #[test]
    fn a_width_that_mends_nothing_is_stepped_over() {
        let units = [
            unit(10, &[(2, 5.0), (3, 5.0), (4, 0.0)]),
            unit(10, &[(2, 1.0), (3, 0.5), (4, 0.4)]),
        ];
        assert_eq!(allocate(&units, 60), Some(vec![2, 0]));
        assert_eq!(allocate(&units, 70), Some(vec![2, 1]));
    }

    #[test]
    fn bytes_that_bring_nothing_are_not_spent() {
        let units = [unit(10, &[(4, 0.1), (8, 0.2)])];
        assert_eq!(allocate(&units, 1000), Some(vec![0]));
        assert_eq!(allocate(&[], 0), Some(vec![]));
    }
}
