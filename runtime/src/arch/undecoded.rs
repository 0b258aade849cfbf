//! Cores without a kernel for coded weights: [`crate::coding`] reads them.

use core::cell::Cell;

use crate::coding::{Decoder, Found, Weights};

/// There is none.
pub(crate) const HAS_CODED: bool = false;

/// What such a kernel works with.
#[derive(Debug)]
pub(crate) struct Stretch;

impl Stretch {
    pub(crate) const NEW: Self = Self;
}

/// See [`HAS_CODED`].
#[inline(always)]
pub(crate) fn read_coded(
    _weights: &mut Weights,
    _decoder: &mut Decoder<'_>,
    _cells: [&[Cell<u8>]; 2],
    _activities: &mut [u8],
    _inputs: (&[i8], i8),
    _share: u32,
) -> Option<Found> {
    None
}
