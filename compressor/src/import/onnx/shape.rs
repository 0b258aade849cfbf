//! How a tensor's shape in the file is kept: dimensions and order.

use super::convert::MAX_ACTIVATIONS;
use super::order::Order;
use crate::import::ImportError;
use crate::import::layout::Lineage;

/// Shape and order of a tensor, and the dimensions that it is kept with.
pub(super) struct Shape {
    /// As in the file, without the batch.
    pub(super) dims: Vec<usize>,
    pub(super) order: Order,
    pub(super) kept: Vec<usize>,
    /// Whether the batch is a part of the first dimension.
    pub(super) rows: bool,
    pub(super) lineage: Lineage,
}

impl Shape {
    /// Of that order, kept as suits it.
    pub(super) fn new(dims: Vec<usize>, order: Order) -> Self {
        let kept = kept_dims(&dims, &order);
        Self { dims, order, kept, rows: false, lineage: Lineage::default() }
    }

    /// Kept as it is in the file.
    pub(super) fn logical(dims: Vec<usize>) -> Self {
        let kept = dims.clone();
        Self { kept, ..Self::new(dims, Order::LOGICAL) }
    }

    /// Of an image or a sequence, channels last.
    pub(super) fn image(dims: Vec<usize>) -> Result<Self, ImportError> {
        check_len(&dims)?;
        let mut kept = dims.clone();
        kept.rotate_left(1);
        let order = Order::channels_last(&dims);
        Ok(Self { dims, order, kept, rows: false, lineage: Lineage::default() })
    }
}

/// Before anything is made of that size.
pub(super) fn check_len(dims: &[usize]) -> Result<(), ImportError> {
    let found = dims.iter().fold(1usize, |product, &dim| product.saturating_mul(dim));
    let (what, limit) = ("values between operators", MAX_ACTIVATIONS);
    if found > limit { Err(ImportError::TooMany { what, found, limit }) } else { Ok(()) }
}

/// The dimensions as the numbers are kept, unless it is known that they are an image.
fn kept_dims(dims: &[usize], order: &Order) -> Vec<usize> {
    match dims {
        [] => vec![1],
        [channels, height, width] if order.is_channels_last(dims) => {
            vec![*height, *width, *channels]
        }
        [channels, length] if !order.is_logical() && order.is_channels_last(dims) => {
            vec![*length, *channels]
        }
        _ if order.is_logical() => dims.to_vec(),
        _ => vec![dims.iter().product()],
    }
}
