//! The order of an example's dimensions: what a file has against what is wanted.
//!
//! Numbers are never taken in another order than their array has them. An array fits if its
//! dimensions are those that are wanted, apart from dimensions of 1, which move no number; a flat row
//! counts as the wanted dimensions in their own order, and any array fits where features are flat.
//! What has its channels first is transposed if the user says so, and refused otherwise.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::found::{Found, show};
use super::{DataConfig, DataError, MAX_EXAMPLE_VALUES};
use crate::numbers::Shape;

/// Where images and sequences have their channels: `data.layout`, `network.input_layout`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Height × width × channels, as TensorFlow and image files have them
    #[default]
    ChannelsLast,
    /// Channels × height × width, as PyTorch has them
    ChannelsFirst,
}

/// What a model takes and gives, where data are read for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFit {
    /// Dimensions of its input.
    pub dims: Vec<usize>,
    /// How many numbers it answers with, if that is known.
    pub outputs: Option<usize>,
}

/// An example's shape, and how it comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arranged {
    /// Height × width × channels.
    pub(super) shape: Shape,
    /// Of an array that has them first: how many channels move to the end.
    pub(super) first: Option<usize>,
}

/// The shape of dimensions: three are an image, and any others are as good as flat.
pub fn shape_of(dims: &[usize]) -> Shape {
    match *dims {
        [height, width, channels] => Shape::Image { height, width, channels },
        _ => Shape::Flat(dims.iter().product()),
    }
}

/// Checks that examples of these dimensions are what a model takes.
///
/// # Errors
/// [`DataError::ModelShape`] with both.
pub fn check_fit(path: &Path, example: &[usize], fit: &ModelFit) -> Result<(), DataError> {
    moved_for(path, example, fit, false).map(|_| ())
}

/// How many channels move to the end for a model.
pub(super) fn moved_for(
    path: &Path,
    example: &[usize],
    fit: &ModelFit,
    channels_first: bool,
) -> Result<Option<usize>, DataError> {
    fitting(example, &fit.dims, channels_first).map_err(|remedy| DataError::ModelShape {
        path: path.to_owned(),
        found: Found(example.to_vec()),
        expected: Found(fit.dims.clone()),
        remedy,
    })
}

/// How an array whose examples are `example` becomes what the model takes, or else what
/// `data.shape` says, or else what it is itself.
pub(super) fn arranged(
    path: &Path,
    example: &[usize],
    config: &DataConfig,
) -> Result<Arranged, DataError> {
    let len = example.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
    if len > MAX_EXAMPLE_VALUES {
        let (found, limit) = (len as u64, MAX_EXAMPLE_VALUES as u64);
        let what = "values of one example";
        return Err(DataError::TooMany { path: path.to_owned(), what, found, limit });
    }
    let first = config.layout == Some(Layout::ChannelsFirst);
    if let Some(fit) = &config.fit {
        let first = moved_for(path, example, fit, first)?;
        return Ok(Arranged { shape: shape_of(&fit.dims), first });
    }
    if let Some(given) = config.given_shape()? {
        let Found(dims) = show(given);
        let first = fitting(example, &dims, first).map_err(|remedy| DataError::Shape {
            path: path.to_owned(),
            found: Found(example.to_vec()),
            expected: Found(dims),
            remedy,
        })?;
        return Ok(Arranged { shape: given, first });
    }
    let shape = match *example {
        [] => Shape::Flat(1),
        [n] => Shape::Flat(n),
        [height, width] => Shape::Image { height, width, channels: 1 },
        [channels, height, width] if first => Shape::Image { height, width, channels },
        [height, width, channels] => Shape::Image { height, width, channels },
        _ => {
            return Err(DataError::Dimensions {
                path: path.to_owned(),
                found: Found(example.to_vec()),
                expected: "an example may have at most three dimensions: set `data.shape`",
            });
        }
    };
    let moved = (first && example.len() == 3).then(|| shape.channels());
    Ok(Arranged { shape, first: moved })
}

/// How many channels move to the end, if any do, so that `example` is `wanted`; or what to do where
/// it can't be.
pub(super) fn fitting(
    example: &[usize],
    wanted: &[usize],
    channels_first: bool,
) -> Result<Option<usize>, &'static str> {
    const NEITHER: &str = "give arrays in that shape, or rows that are flat in its order";
    let product = |dims: &[usize]| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if product(example) != product(wanted) {
        return Err(NEITHER);
    }
    let is_flat = |dims: &[usize]| significant(dims).len() <= 1;
    let same = significant(example) == significant(wanted) && moves_nothing(example, wanted);
    let channels = wanted.last().copied().unwrap_or(1);
    if channels_first && wanted.len() > 1 {
        let moved = (example.len() == wanted.len()).then(|| rotated(example));
        return match moved {
            Some(moved) if significant(&moved) == significant(wanted) => Ok(Some(channels)),
            _ if is_flat(example) => Ok(Some(channels)),
            // An image of one channel may leave that out.
            _ if channels == 1 && same => Ok(None),
            _ if same => Err(
                "its channels come last already: leave out --data-layout channels-first (in a job: \
                 `layout` in [data])",
            ),
            _ => Err(
                "with their channels first, arrays must be that with its last dimension in front",
            ),
        };
    }
    if same || is_flat(example) || is_flat(wanted) {
        return Ok(None);
    }
    if example.len() == wanted.len() && significant(&rotated(example)) == significant(wanted) {
        return Err("its channels come first: say --data-layout channels-first (in a job: \
                    `layout = \"channels-first\"` in [data]), or save it with np.moveaxis(x, 1, -1)");
    }
    Err(NEITHER)
}

/// Whether dimensions that are alike apart from those of 1 mean the same: as many of them must be the same
/// to the letter, or those of one channel in front; 28 × 28 × 1 is no 28 × 1 × 28.
fn moves_nothing(example: &[usize], wanted: &[usize]) -> bool {
    let one_channel_first = example.first() == Some(&1) && rotated(example) == wanted;
    example.len() != wanted.len() || example == wanted || one_channel_first
}

/// The dimensions that aren't 1.
fn significant(dims: &[usize]) -> Vec<usize> {
    dims.iter().copied().filter(|&dim| dim != 1).collect()
}

/// The first dimension behind the others.
fn rotated(dims: &[usize]) -> Vec<usize> {
    let mut dims = dims.to_vec();
    let first = dims.len().min(1);
    dims.rotate_left(first);
    dims
}

/// Moves the channels of each example, which come first, to the end.
pub(super) fn channels_last<T: Copy>(values: &[T], width: usize, channels: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(values.len());
    let places = width.checked_div(channels).unwrap_or(0);
    for example in values.chunks_exact(width.max(1)) {
        for place in 0..places {
            out.extend((0..channels).filter_map(|channel| example.get(channel * places + place)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_order_fits() {
        let image = [8, 6, 3];
        for example in [&[8, 6, 3][..], &[144], &[1, 144], &[1, 8, 6, 3]] {
            assert_eq!(fitting(example, &image, false), Ok(None), "{example:?}");
        }
        for example in [&[3, 8, 6][..], &[6, 8, 3], &[48, 3], &[8, 18], &[8, 6, 4], &[12, 12]] {
            assert!(fitting(example, &image, false).is_err(), "{example:?}");
        }
        let said = fitting(&[3, 8, 6], &image, false).unwrap_err();
        assert!(said.contains("--data-layout channels-first"), "{said}");
        // One channel: nothing would move.
        for example in [&[8, 6][..], &[1, 8, 6], &[8, 6, 1], &[48]] {
            assert_eq!(fitting(example, &[8, 6, 1], false), Ok(None), "{example:?}");
        }
        // Dimensions of 1 elsewhere are another order, whatever the number of values.
        assert!(fitting(&[8, 8, 1], &[8, 1, 8], false).is_err());
        assert!(fitting(&[1, 8, 8], &[8, 1, 8], false).is_err());
        // Sequences, and features that are flat anyway.
        assert_eq!(fitting(&[50, 4], &[50, 4], false), Ok(None));
        let said = fitting(&[4, 50], &[50, 4], false).unwrap_err();
        assert!(said.contains("np.moveaxis(x, 1, -1)"), "{said}");
        assert_eq!(fitting(&[4, 50], &[200], false), Ok(None));
    }

    #[test]
    fn channels_move_where_they_are_said_to_be_first() {
        for example in [&[3, 8, 6][..], &[144]] {
            assert_eq!(fitting(example, &[8, 6, 3], true), Ok(Some(3)), "{example:?}");
        }
        for example in [&[8, 6, 3][..], &[3, 6, 8], &[3, 48]] {
            assert!(fitting(example, &[8, 6, 3], true).is_err(), "{example:?}");
        }
        for (example, remedy) in [(&[8, 6, 3], "leave out"), (&[3, 6, 8], "in front")] {
            let said = fitting(example, &[8, 6, 3], true).unwrap_err();
            assert!(said.contains(remedy), "{said}");
        }
        assert_eq!(fitting(&[8, 8], &[8, 8, 1], true), Ok(None));
        assert_eq!(fitting(&[1, 8, 8], &[8, 8, 1], true), Ok(Some(1)));
        assert_eq!(fitting(&[4, 50], &[50, 4], true), Ok(Some(4)));
        assert_eq!(
            channels_last(&[1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16], 6, 2),
            [1, 4, 2, 5, 3, 6, 11, 14, 12, 15, 13, 16]
        );
    }
}
