//! Arrays as IDX and NumPy files hold them, and what they become: inputs or labels.

use std::path::Path;

use super::found::{Found, show};
use super::{DataConfig, DataError, MAX_EXAMPLE_VALUES, MAX_EXAMPLES, Part, RawLabels, Values};
use crate::network::Shape;

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
        let shape = example_shape(path, &self.dims, config.given_shape()?)?;
        let values = match self.numbers {
            Numbers::Bytes(bytes) => Values::Bytes(bytes),
            other if config.pixels == Some(true) => {
                Values::Bytes(to_pixels(path, shape.len(), &other.into_floats())?)
            }
            other => Values::Floats(other.into_floats()),
        };
        Ok((shape, values))
    }

    /// The labels that this array holds: n, or n × 1.
    pub(super) fn into_labels(self, path: &Path) -> Result<Vec<i64>, DataError> {
        if !matches!(self.dims[..], [_] | [_, 1]) {
            return Err(DataError::Dimensions {
                path: path.to_owned(),
                found: Found(self.dims),
                expected: "labels must be n or n × 1 whole numbers (not one-hot)",
            });
        }
        match self.numbers {
            Numbers::Bytes(v) => Ok(v.into_iter().map(i64::from).collect()),
            Numbers::Signed(v) => Ok(v.into_iter().map(i64::from).collect()),
            Numbers::Integers(v) => Ok(v),
            Numbers::Floats(v) => v
                .into_iter()
                .enumerate()
                .map(|(example, value)| {
                    // Beyond 2^24 an f32 no longer tells neighbouring whole numbers apart.
                    if value.fract() == 0.0 && value.abs() <= 16_777_216.0 {
                        Ok(value as i64)
                    } else {
                        Err(DataError::Label { path: path.to_owned(), example, value })
                    }
                })
                .collect(),
        }
    }
}

/// Inputs and labels from two arrays.
pub(super) fn part(
    (inputs_path, inputs): (&Path, Array),
    (labels_path, labels): (&Path, Array),
    config: &DataConfig,
) -> Result<Part, DataError> {
    let (shape, inputs) = inputs.into_inputs(inputs_path, config)?;
    let labels = RawLabels::Numbers(labels.into_labels(labels_path)?);
    Ok(Part { shape, inputs, labels })
}

/// The shape of one example: what `dims` says after the first, or what the job says if that has as
/// many values.
fn example_shape(path: &Path, dims: &[usize], given: Option<Shape>) -> Result<Shape, DataError> {
    let dimensions = |expected| DataError::Dimensions {
        path: path.to_owned(),
        found: Found(dims.to_vec()),
        expected,
    };
    let Some((&examples, example)) = dims.split_first() else {
        return Err(dimensions("inputs must be examples × values"));
    };
    if examples > MAX_EXAMPLES {
        let (found, limit) = (examples as u64, MAX_EXAMPLES as u64);
        return Err(DataError::TooMany { path: path.to_owned(), what: "examples", found, limit });
    }
    let len = example.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
    if len > MAX_EXAMPLE_VALUES {
        let (found, limit) = (len as u64, MAX_EXAMPLE_VALUES as u64);
        let what = "values of one example";
        return Err(DataError::TooMany { path: path.to_owned(), what, found, limit });
    }
    if let Some(given) = given {
        if given.len() != len {
            let found = Found(example.to_vec());
            let expected = show(given);
            return Err(DataError::Shape { path: path.to_owned(), found, expected });
        }
        return Ok(given);
    }
    match *example {
        [] => Ok(Shape::Flat(1)),
        [n] => Ok(Shape::Flat(n)),
        [height, width] => Ok(Shape::Image { height, width, channels: 1 }),
        [height, width, channels] => Ok(Shape::Image { height, width, channels }),
        _ => Err(dimensions("an example may have at most three dimensions: set `data.shape`")),
    }
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
