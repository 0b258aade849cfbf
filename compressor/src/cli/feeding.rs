//! How data become a model's inputs where its file leaves that open.
//!
//! A model of another tool takes real numbers, and its file says which ones its integers stand for.
//! Bytes may be such numbers, or pixels that training scaled: they are pixels where they lie outside of
//! what the model takes.

use std::path::Path;

use bitsback_runtime::Model;
use bitsback_runtime::format::Preprocess;

use super::model_file;
use super::output::Context;
use crate::data::{Dataset, Values};
use crate::error::Error;
use crate::import::ByteRange;
use crate::numbers::Range;
use crate::report::number::significant;
use crate::verify;

/// How many bytes may lie outside of what a model takes, if they are the numbers that it takes:
/// quantisation cuts the rarest ones off.
const MOST_BYTES: f64 = 0.01;

/// How many real numbers may lie far outside, and from where on that is, in parts of the range.
const MOST_FLOATS: f64 = 0.05;
const FAR: f32 = 0.25;

/// How far, in parts of the model's range, its ends may be from those that are said: converters see
/// a few hundred examples, which needn't reach them.
const TOLERANCE: f32 = 0.2;

/// The real numbers that a model's input can hold.
pub(super) fn input_range(model: &Model<'_>) -> Range {
    let (scale, zero) = (model.meta().input_scale, f32::from(model.input().zero_point));
    let real = |q: i8| scale * (f32::from(q) - zero);
    Range { low: real(i8::MIN), high: real(i8::MAX) }
}

/// Notes where --pixels says something else than the file of another tool.
pub(super) fn check_pixels(
    context: &Context,
    path: &Path,
    model: &Model<'_>,
    said: Option<ByteRange>,
) {
    let Some(said) = said else { return };
    let range = input_range(model);
    let far = |a: f32, b: f32| (a - b).abs() > TOLERANCE * (range.high - range.low);
    if far(said.low, range.low) || far(said.high, range.high) {
        context.note(&format!(
            "{}: its inputs were {} to {} when it was quantised, but --pixels says {} to {}; is that \
             how it was trained?",
            path.display(),
            significant(range.low.into()),
            significant(range.high.into()),
            significant(said.low.into()),
            significant(said.high.into())
        ));
    }
}

/// Bytes as a model's input where they are pixels, and the model doesn't say how they are scaled.
pub(super) enum Bytes {
    /// The model scales them, or they are the numbers that it takes.
    AsTheyAre,
    /// The least and the greatest byte stand for the ends of what the model takes.
    Pixels,
}

/// Decides how bytes are meant for a model; what is assumed is noted.
pub(super) fn bytes_for(
    context: &Context,
    path: &Path,
    model: &Model<'_>,
    values: impl Iterator<Item = u8>,
) -> Bytes {
    if model_file::takes_bytes(model) || !is_open(model) {
        return Bytes::AsTheyAre;
    }
    let range = input_range(model);
    if outside(range, STEP, values.map(f32::from)) <= MOST_BYTES {
        return Bytes::AsTheyAre;
    }
    context.note(&format!(
        "{} doesn't say how pixels are scaled, and its inputs run from {} to {}: bytes 0 to 255 are \
         taken for these; else say --pixels",
        path.display(),
        significant(range.low.into()),
        significant(range.high.into())
    ));
    Bytes::Pixels
}

/// Notes where real numbers lie outside of what a model takes.
pub(super) fn check_floats(
    context: &Context,
    path: &Path,
    model: &Model<'_>,
    values: impl Iterator<Item = f32>,
) {
    if !is_open(model) {
        return;
    }
    let range = input_range(model);
    let part = outside(range, FAR, values);
    if part > MOST_FLOATS {
        context.note(&format!(
            "{}: {} % of the values lie far outside of {} to {}, which the model takes, and are cut \
             off; are they scaled as in training?",
            path.display(),
            significant(100.0 * part),
            significant(range.low.into()),
            significant(range.high.into())
        ));
    }
}

/// Quantised inputs of the listed examples, one after the other.
pub(super) fn quantized(
    context: &Context,
    (path, bytes): (&Path, &[u8]),
    dataset: &Dataset,
    examples: &[u32],
) -> Result<Vec<i8>, Error> {
    let model = model_file::parse(path, bytes)?;
    let width = dataset.shape.len();
    let of = |&example: &u32| example as usize * width..(example as usize + 1) * width;
    match &dataset.inputs {
        Values::Bytes(values) => {
            let chosen = || examples.iter().filter_map(|at| values.get(of(at))).flatten().copied();
            if let Bytes::Pixels = bytes_for(context, path, &model, chosen()) {
                return Ok(chosen().map(of_pixel).collect());
            }
        }
        Values::Floats(values) => {
            let chosen = examples.iter().filter_map(|at| values.get(of(at))).flatten().copied();
            check_floats(context, path, &model, chosen);
        }
    }
    Ok(verify::quantized_inputs(bytes, dataset, examples)?)
}

/// A pixel whose least and greatest value are the input's.
pub(super) fn of_pixel(byte: u8) -> i8 {
    (i16::from(byte) - 128) as i8
}

/// Whether nothing stands between real numbers and the input's own.
fn is_open(model: &Model<'_>) -> bool {
    matches!(model.meta().preprocess, Preprocess::None)
}

/// A step of a range of 256 integers, in parts of the range.
const STEP: f32 = 1.0 / 255.0;

/// The part of the values that lie outside of a range, by more than `far`, a part of the range.
fn outside(range: Range, far: f32, values: impl Iterator<Item = f32>) -> f64 {
    let far = (range.high - range.low) * far;
    let (mut count, mut out) = (0u64, 0u64);
    for value in values {
        count += 1;
        out += u64::from(value < range.low - far || value > range.high + far);
    }
    out as f64 / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_is_counted() {
        let range = Range { low: 0.0, high: 1.0 };
        assert_eq!(outside(range, STEP, [0.0, 1.0, 1.003, 1.1].into_iter()), 0.25);
        assert_eq!(outside(range, FAR, [0.0, 1.0, 1.003, 1.1].into_iter()), 0.0);
        assert_eq!(outside(range, STEP, std::iter::empty()), 0.0);
        assert_eq!([0, 128, 255].map(of_pixel), [-128, 0, 127]);
    }
}
