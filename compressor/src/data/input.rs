//! Inputs for one run of a model: an image, or a batch from NumPy.

use std::path::Path;

use super::found::Found;
use super::layout::{Layout, fitting};
use super::{Array, Color, DataError, MAX_DATA_BYTES, Numbers, images, npy};
use crate::files;
use crate::numbers::Shape;

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

/// Reads a NumPy file of one example in the model's dimensions or several with one more dimension in
/// front; an example may be a flat row, too. `channels_first`: the array has its channels before the
/// other dimensions, and they are moved.
///
/// # Errors
/// When it can't be read, an example isn't of the model's dimensions, or a value isn't finite.
pub fn read_npy(path: &Path, dims: &[usize], layout: Layout) -> Result<InputBatch, DataError> {
    let Array { dims: found, numbers } = npy::read(path)?;
    let width: usize = dims.iter().product();
    let first = layout == Layout::ChannelsFirst;
    let mismatch = |example: &[usize], remedy| DataError::ModelShape {
        path: path.to_owned(),
        found: Found(example.to_vec()),
        expected: Found(dims.to_vec()),
        remedy,
    };
    let several = found.split_first().filter(|(_, example)| !example.is_empty() || width == 1);
    let batch = several.map(|(&count, example)| (count, fitting(example, dims, first)));
    let (count, moved) = match batch {
        Some((count, Ok(moved))) => (count, moved),
        _ => match fitting(&found, dims, first) {
            Ok(moved) => (1, moved),
            // What is wrong with an example of several says more, where there are several.
            Err(alone) => {
                let several = several.filter(|_| found.len() > dims.len());
                let wrong = several.and_then(|(_, example)| Some((example, batch?.1.err()?)));
                let (example, remedy) = wrong.unwrap_or((found.as_slice(), alone));
                return Err(mismatch(example, remedy));
            }
        },
    };
    if numbers.is_empty() || width == 0 {
        return Err(mismatch(&found, "it is empty: give at least one example"));
    }
    if let Numbers::Floats(values) = &numbers
        && let Some(at) = values.iter().position(|value| !value.is_finite())
    {
        let value = values.get(at).copied().unwrap_or(f32::NAN);
        let (example, feature) = (at / width, at % width);
        return Err(DataError::NotFinite { path: path.to_owned(), example, feature, value });
    }
    let numbers = match moved {
        Some(channels) => numbers.channels_last(width, channels),
        None => numbers,
    };
    Ok(InputBatch { count, numbers })
}
