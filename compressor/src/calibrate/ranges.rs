//! Ranges of activations from a forward pass over examples.

use crate::reference::{Reference, ReferenceError};

use super::{CalibrateError, RangeMethod};

/// Bins of a histogram between the least and the greatest value: 8 for each step of int8.
pub(crate) const BINS: usize = 2048;

/// Ranges tried, as fractions of the whole one: down to 1 in steps of 1/64 from a third.
const CUTS: std::ops::RangeInclusive<usize> = 22..=64;

/// A closed range of real numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Least.
    pub low: f32,
    /// Greatest.
    pub high: f32,
}

/// What was seen at one boundary, and what was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watched {
    seen: Range,
    chosen: Range,
}

impl Watched {
    /// From the least to the greatest value.
    pub fn seen(&self) -> Range {
        self.seen
    }

    /// By the method asked for.
    pub fn chosen(&self) -> Range {
        self.chosen
    }
}

/// Ranges at the listed boundaries (ascending), from two passes over `inputs`.
///
/// # Errors
/// When `inputs` don't fit or a value isn't finite.
pub fn ranges(
    reference: &Reference,
    inputs: &[f32],
    boundaries: &[usize],
    method: RangeMethod,
) -> Result<Vec<(usize, Watched)>, CalibrateError> {
    let mut seen = vec![Range { low: f32::INFINITY, high: f32::NEG_INFINITY }; boundaries.len()];
    let mut broken = None;
    visit(reference, inputs, boundaries, |index, values| {
        let range = &mut seen[index];
        for &v in values {
            range.low = range.low.min(v);
            range.high = range.high.max(v);
        }
        if values.iter().any(|v| !v.is_finite()) && broken.is_none() {
            broken = Some(boundaries[index].saturating_sub(1));
        }
    })?;
    if let Some(layer) = broken {
        return Err(CalibrateError::NotFinite { layer });
    }
    let chosen = match method {
        RangeMethod::MinMax => seen.clone(),
        RangeMethod::LeastSquares => {
            let mut counts = vec![vec![0u32; BINS]; boundaries.len()];
            visit(reference, inputs, boundaries, |index, values| {
                let Range { low, high } = seen[index];
                let bins = BINS as f32 / (high - low).max(f32::MIN_POSITIVE);
                for v in values {
                    counts[index][(((v - low) * bins) as usize).min(BINS - 1)] += 1;
                }
            })?;
            seen.iter().zip(&counts).map(|(range, counts)| least_squares(*range, counts)).collect()
        }
    };
    let watched = seen.into_iter().zip(chosen).map(|(seen, chosen)| Watched { seen, chosen });
    Ok(boundaries.iter().copied().zip(watched).collect())
}

fn visit(
    reference: &Reference,
    inputs: &[f32],
    boundaries: &[usize],
    mut with: impl FnMut(usize, &[f32]),
) -> Result<(), ReferenceError> {
    reference.visit(inputs, |boundary, values| {
        if let Ok(index) = boundaries.binary_search(&boundary) {
            with(index, values);
        }
    })
}

/// The part of `range` (both ends cut by the same fraction, towards zero) with the least expected
/// squared error: what is cut off counts with its distance, what stays with a step's noise.
pub(crate) fn least_squares(range: Range, counts: &[u32]) -> Range {
    let width = f64::from(range.high - range.low) / BINS as f64;
    let cut = |of_64: usize| Range {
        low: range.low.min(0.0) * of_64 as f32 / 64.0,
        high: range.high.max(0.0) * of_64 as f32 / 64.0,
    };
    let error = |of_64: usize| -> f64 {
        let Range { low, high } = cut(of_64);
        let (low, high) = (f64::from(low), f64::from(high));
        let noise = ((high - low) / 255.0).powi(2) / 12.0;
        let bins = counts.iter().enumerate().filter(|&(_, &count)| count > 0);
        bins.map(|(bin, &count)| {
            let x = f64::from(range.low) + (bin as f64 + 0.5) * width;
            let outside = (x - high).max(low - x).max(0.0);
            f64::from(count) * (noise + outside * outside)
        })
        .sum()
    };
    let best = CUTS.min_by(|&a, &b| error(a).total_cmp(&error(b)));
    best.map_or(range, cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_outlier_is_cut_off_and_an_even_spread_is_not() {
        let range = Range { low: 0.0, high: 10.0 };
        let even = vec![100; BINS];
        assert_eq!(least_squares(range, &even), range);
        let mut lone = vec![0; BINS];
        lone[..BINS / 4].fill(100_000);
        lone[BINS - 1] = 1;
        let cut = least_squares(range, &lone);
        assert!(cut.high < 6.0, "{cut:?}");
        assert_eq!(cut.low, 0.0);
    }
}
