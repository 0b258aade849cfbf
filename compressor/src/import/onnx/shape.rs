//! How a tensor's shape in the file is kept: dimensions and order.

use super::convert::MAX_ACTIVATIONS;
use super::order::Order;
use crate::import::ImportError;

/// Shape and order of a tensor, and the dimensions that it is kept with.
pub(super) struct Shape {
    /// As in the file, without the batch.
    pub(super) dims: Vec<usize>,
    pub(super) order: Order,
    pub(super) kept: Vec<usize>,
}

impl Shape {
    /// Of an image or a sequence, channels last.
    pub(super) fn image(dims: Vec<usize>) -> Result<Self, ImportError> {
        // Before anything is made of that size.
        let len = dims.iter().fold(1usize, |product, &dim| product.saturating_mul(dim));
        if len > MAX_ACTIVATIONS {
            let what = "values between operators";
            return Err(ImportError::TooMany { what, found: len, limit: MAX_ACTIVATIONS });
        }
        let mut kept = dims.clone();
        kept.rotate_left(1);
        Ok(Self { order: Order::channels_last(&dims), dims, kept })
    }
}

/// The dimensions as the numbers are kept, unless it is known that they are an image.
pub(super) fn kept_dims(dims: &[usize], order: &Order) -> Vec<usize> {
    match dims {
        [] => vec![1],
        [channels, height, width] if *order == Order::channels_last(dims) => {
            vec![*height, *width, *channels]
        }
        [channels, length] if !order.is_logical() && *order == Order::channels_last(dims) => {
            vec![*length, *channels]
        }
        _ if order.is_logical() => dims.to_vec(),
        _ => vec![dims.iter().product()],
    }
}
