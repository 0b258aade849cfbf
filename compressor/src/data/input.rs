//! Inputs for one run of a model: an image, or a batch from NumPy.

use std::path::Path;

use super::found::Found;
use super::{Array, Color, DataError, MAX_DATA_BYTES, Numbers, images, npy};
use crate::files;
use crate::network::Shape;

/// A batch for a model.
///
/// # Shapes
/// `numbers`: count × shape of the model's input.
#[derive(Clone, Debug, PartialEq)]
pub struct InputBatch {
    /// Number of examples.
    pub count: usize,
    /// Their values: bytes are raw pixels, signed bytes the model's own int8 values, floats raw
    /// features.
    pub numbers: Numbers,
}

/// Reads a PNG or JPEG as raw bytes, scaled to the model's shape, gray or colour as it wants.
///
/// # Errors
/// When it can't be read, or the model doesn't take images of one or three channels.
pub fn read_image(path: &Path, shape: Shape) -> Result<InputBatch, DataError> {
    let image = images::decode(path, &files::read(path, MAX_DATA_BYTES)?)?;
    let mismatch = |channels| DataError::InputShape {
        path: path.to_owned(),
        found: Found(vec![image.height() as usize, image.width() as usize, channels]),
        expected: shape,
    };
    let side = images::MAX_SIDE as usize;
    let (size, color) = match shape {
        Shape::Image { height, width, channels: 1 } => ([height, width], Color::Gray),
        Shape::Image { height, width, channels: 3 } => ([height, width], Color::Rgb),
        _ => return Err(mismatch(usize::from(image.color().channel_count()))),
    };
    if size.contains(&0) || size.iter().any(|&s| s > side) {
        return Err(mismatch(color.channels()));
    }
    let bytes = images::to_bytes(&image, size, color);
    Ok(InputBatch { count: 1, numbers: Numbers::Bytes(bytes) })
}

/// Reads a NumPy file of one example (in the model's shape) or several (with one more dimension in
/// front). Any arrangement with the right number of values per example will do: 5 × 784 and
/// 5 × 28 × 28 are the same to a model of 28 × 28 × 1.
///
/// # Errors
/// When it can't be read, or its values aren't whole examples.
pub fn read_npy(path: &Path, shape: Shape) -> Result<InputBatch, DataError> {
    let Array { dims, numbers } = npy::read(path)?;
    let width = shape.len();
    let mismatch = || DataError::InputShape {
        path: path.to_owned(),
        found: Found(dims.clone()),
        expected: shape,
    };
    if numbers.is_empty() || width == 0 {
        return Err(mismatch());
    }
    let per_first = dims.iter().skip(1).product::<usize>();
    let count = match (dims.first(), numbers.len() == width) {
        (Some(&first), _) if per_first == width && dims.len() > 1 => first,
        (_, true) => 1,
        // A flat list of single features.
        (Some(&first), _) if width == 1 && dims.len() == 1 => first,
        _ => return Err(mismatch()),
    };
    Ok(InputBatch { count, numbers })
}
