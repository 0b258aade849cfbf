//! Arrays as IDX and NumPy files hold them, and what they become: inputs or labels.

use std::path::Path;

use super::found::Found;
use super::layout::{self, Arranged};
use super::{DataConfig, DataError, MAX_EXAMPLES, Part, RawLabels, Values};
use crate::numbers::Shape;

/// An array in C order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Sizes, outermost first; their product is the number of elements.
    pub dims: Vec<usize>,
    /// The elements.
    pub numbers: Numbers,
}

/// Elements, as wide as their kind ever needs.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Unsigned bytes: pixels, unless they are labels.
    Bytes(Vec<u8>),
    /// Signed bytes: features, or a model's own values.
    Signed(Vec<i8>),
    /// Any other integers.
    Integers(Vec<i64>),
    /// Floating-point numbers; doubles are rounded.
    Floats(Vec<f32>),
}

impl Numbers {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(v) => v.len(),
            Self::Signed(v) => v.len(),
            Self::Integers(v) => v.len(),
            Self::Floats(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same with each example's channels, which come first, behind its other dimensions;
    /// `width` values make an example.
    pub(super) fn channels_last(self, width: usize, channels: usize) -> Self {
        match self {
            Self::Bytes(v) => Self::Bytes(layout::channels_last(&v, width, channels)),
            Self::Signed(v) => Self::Signed(layout::channels_last(&v, width, channels)),
            Self::Integers(v) => Self::Integers(layout::channels_last(&v, width, channels)),
            Self::Floats(v) => Self::Floats(layout::channels_last(&v, width, channels)),
        }
    }

    /// As features. Whole numbers beyond ±2^24 are rounded.
    fn into_floats(self) -> Vec<f32> {
        match self {
            Self::Bytes(v) => v.into_iter().map(f32::from).collect(),
            Self::Signed(v) => v.into_iter().map(f32::from).collect(),
            Self::Integers(v) => v.into_iter().map(|n| n as f32).collect(),
            Self::Floats(v) => v,
        }
    }
}

impl Array {
    /// The inputs that this array holds, one example per index of the first dimension.
    pub(super) fn into_inputs(
        self,
        path: &Path,
        config: &DataConfig,
    ) -> Result<(Shape, Values), DataError> {
        let Some((&examples, example)) = self.dims.split_first() else {
            return Err(DataError::Dimensions {
                path: path.to_owned(),
                found: Found(self.dims),
                expected: "inputs must be examples × values",
            });
        };
        if examples > MAX_EXAMPLES {
            let (found, limit) = (examples as u64, MAX_EXAMPLES as u64);
            let path = path.to_owned();
            return Err(DataError::TooMany { path, what: "examples", found, limit });
        }
        let Arranged { shape, first } = layout::arranged(path, example, config)?;
        let numbers = match first {
            Some(channels) => self.numbers.channels_last(shape.len(), channels),
            None => self.numbers,
        };
        let values = match numbers {
            Numbers::Bytes(bytes) => Values::Bytes(bytes),
            other if config.pixels == Some(true) => {
                Values::Bytes(to_pixels(path, shape.len(), &other.into_floats())?)
            }
            other => Values::Floats(other.into_floats()),
        };
        Ok((shape, values))
    }

    /// The labels that this array holds: whole numbers where there is one for each example.
    pub(super) fn into_labels(self) -> RawLabels {
        let count = self.dims.first().copied().unwrap_or(1);
        let width = self.numbers.len().checked_div(count).unwrap_or(1);
        if width != 1 {
            return RawLabels::Reals { width, values: self.numbers.into_floats() };
        }
        match self.numbers {
            Numbers::Bytes(v) => RawLabels::Numbers(v.into_iter().map(i64::from).collect()),
            Numbers::Signed(v) => RawLabels::Numbers(v.into_iter().map(i64::from).collect()),
            Numbers::Integers(v) => RawLabels::Numbers(v),
            // Beyond 2^24 an f32 no longer tells neighbouring whole numbers apart.
            Numbers::Floats(v) if v.iter().all(|x| x.fract() == 0.0 && x.abs() <= 16_777_216.0) => {
                RawLabels::Numbers(v.into_iter().map(|x| x as i64).collect())
            }
            Numbers::Floats(values) => RawLabels::Reals { width: 1, values },
        }
    }
}

/// Inputs and labels, if there are any, from two arrays.
pub(super) fn part(
    path: &Path,
    inputs: Array,
    labels: Option<Array>,
    config: &DataConfig,
) -> Result<Part, DataError> {
    let (shape, inputs) = inputs.into_inputs(path, config)?;
    let labels = labels.map_or(RawLabels::None, Array::into_labels);
    Ok(Part { shape, inputs, labels })
}

/// Whole numbers 0…255 as bytes; `width` values make an example.
pub(super) fn to_pixels(path: &Path, width: usize, values: &[f32]) -> Result<Vec<u8>, DataError> {
    let pixel = |(at, &value): (usize, &f32)| {
        if value.fract() == 0.0 && (0.0..=255.0).contains(&value) {
            return Ok(value as u8);
        }
        let example = at.checked_div(width).unwrap_or(0);
        Err(DataError::Pixel { path: path.to_owned(), example, value: f64::from(value) })
    };
    values.iter().enumerate().map(pixel).collect()
}
