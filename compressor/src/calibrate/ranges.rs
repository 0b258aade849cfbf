//! Ranges of activations from a forward pass over examples.

use crate::reference::{Reference, ReferenceError};

use super::{CalibrateError, RangeMethod};
use crate::numbers::{BINS, Range, least_squares};

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
