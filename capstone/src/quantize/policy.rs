//! Which unit gets how many bits.
//!
//! The width of one unit at a time is changed, and the rise of the loss is noted: its sensitivity. Then all units begin with the
//! fewest bits, and the unit whose wider codes take away the most loss a byte gets them, until the bytes are spent. That takes rises
//! to add up. From an unharmed model they do not, since two harmed layers harm more than both alone; so a policy measures around the
//! uniform width that it is to beat, where the other units are as coarse as they will be.

use super::QuantizeError;
use super::checkpoint::Checkpoint;
use super::recipe::{Method, packed_bytes, quantise};
use super::units::Unit;
use numerics::quant::Scheme;

/// What each unit costs in each scheme, rounded to the nearest, while all others have the scheme `others`, or stay as they are. `loss`
/// measures a model.
///
/// # Errors
/// As [`quantise`] and `loss`.
pub fn sensitivity(
    checkpoint: &Checkpoint,
    units: &[Unit],
    schemes: &[Scheme],
    others: Option<Scheme>,
    mut loss: impl FnMut(&Checkpoint) -> Result<f64, QuantizeError>,
) -> Result<Vec<Vec<Choice>>, QuantizeError> {
    let rounded = |scheme: &dyn Fn(&Unit) -> Option<Scheme>| {
        let chosen: Vec<Option<Scheme>> = units.iter().map(scheme).collect();
        let scheme = |unit: &Unit| chosen[units.iter().position(|it| it == unit)?];
        quantise(checkpoint.clone(), units, None, Method::Rtn, scheme)
    };
    let unharmed = loss(&rounded(&|_| others)?.dequantised())?;
    let mut costs = Vec::with_capacity(units.len());
    for unit in units {
        let mut choices = Vec::with_capacity(schemes.len());
        for &scheme in schemes {
            let model = rounded(&|it| if it == unit { Some(scheme) } else { others })?;
            choices.push(Choice {
                bits: scheme.bits(),
                bytes: unit
                    .weights
                    .iter()
                    .map(|name| packed_bytes(&model.codes[name]))
                    .sum(),
                rise: match others {
                    Some(same) if same == scheme => 0.0,
                    _ => loss(&model.dequantised())? - unharmed,
                },
            });
        }
        costs.push(choices);
    }
    Ok(costs)
}

/// What one unit costs at one width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Bits a weight.
    pub bits: u32,
    /// Bytes of the unit.
    pub bytes: usize,
    /// Rise of the mean loss when this unit alone has these bits.
    pub rise: f64,
}

/// The index of the choice for each unit, together of at most `budget` bytes. Choices of a unit must be in order of their bytes.
///
/// Of wider choices the one that takes away the most loss a byte is taken, not always the next: what 3 bits do not mend, 4 may. `None` if
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
