//! Images as kernels read them: with their padding, so that no tap lies outside.

use std::vec;
use std::vec::Vec;

use crate::arch::host::{Elements, KernelSet};
use crate::ops::Axis;

/// Values of a frame for each of the input, at most, and some that are granted to all: beyond, windows
/// are so far apart that padding is most of it.
const GROWTH_MAX: usize = 16;
const GRANTED: usize = 1 << 16;

/// An image and the padding around it, as far as windows reach.
#[derive(Debug)]
pub(super) struct Frame {
    /// Rows, and values of one.
    rows: usize,
    row: usize,
    /// Rows above the image, and values on its left.
    top: usize,
    left: usize,
    /// Values of the image's rows, and how many of them windows reach.
    input_row: usize,
    reached: usize,
    input_rows: usize,
    /// A row of padding.
    padding: Vec<i8>,
}

impl Frame {
    /// What the windows of both axes reach; `None` where that is out of all proportion.
    pub(super) fn new([rows, columns]: [Axis; 2], channels: usize, zero_point: i8) -> Option<Self> {
        let reach = |axis: Axis| {
            let extent = axis.size.checked_sub(1)?.checked_mul(axis.dilation)?.checked_add(1)?;
            axis.output.checked_sub(1)?.checked_mul(axis.stride)?.checked_add(extent)
        };
        let (height, width) = (reach(rows)?, reach(columns)?);
        let row = width.checked_mul(channels)?;
        let left = columns.padding.min(width).checked_mul(channels)?;
        let input_row = columns.input.checked_mul(channels)?;
        let granted = input_row.checked_mul(rows.input)?.checked_mul(GROWTH_MAX)?;
        if height.checked_mul(row)? > granted.checked_add(GRANTED)? {
            return None;
        }
        let top = rows.padding.min(height);
        Some(Self {
            rows: height,
            row,
            top,
            left,
            input_row,
            reached: input_row.min(row - left),
            input_rows: rows.input.min(height - top),
            padding: vec![zero_point; row],
        })
    }

    /// Values of a row.
    pub(super) fn row(&self) -> usize {
        self.row
    }

    /// Values of all rows.
    pub(super) fn len(&self) -> usize {
        self.rows * self.row
    }

    /// A row of padding.
    pub(super) fn padding(&self) -> &[i8] {
        &self.padding
    }

    /// Values of a row on the image's left, of the image, and on its right.
    pub(super) fn parts(&self) -> [usize; 3] {
        [self.left, self.reached, self.row - self.left - self.reached]
    }

    /// As much of a row as windows reach: of the image, if number `row` is a row of it.
    pub(super) fn image_row<'v>(&'v self, values: &'v [i8], row: usize) -> &'v [i8] {
        let inside = row.checked_sub(self.top).filter(|&row| row < self.input_rows);
        let start = inside.map(|row| row * self.input_row);
        let found = start.and_then(|start| values.get(start..start + self.reached));
        found.or(self.padding.get(..self.reached)).unwrap_or_default()
    }

    /// Lays the image out.
    pub(super) fn fill(
        &self,
        kernels: KernelSet,
        elements: Elements,
        values: &[i8],
        image: &mut [u8],
    ) {
        let bytes = elements.bytes();
        if self.left == 0 && self.row == self.input_row && self.rows == self.input_rows {
            return kernels.prepare(elements, values, image);
        }
        let [left, reached, right] = self.parts().map(|part| part * bytes);
        let rows = image.chunks_exact_mut((self.row * bytes).max(1));
        for (number, row) in rows.take(self.rows).enumerate() {
            let is_inside = (self.top..self.top + self.input_rows).contains(&number);
            if !is_inside {
                kernels.prepare(elements, &self.padding, row);
                continue;
            }
            let (before, rest) = row.split_at_mut_checked(left).unwrap_or_default();
            let (inner, after) = rest.split_at_mut_checked(reached).unwrap_or_default();
            kernels.prepare(elements, &self.padding, before);
            kernels.prepare(elements, self.image_row(values, number), inner);
            kernels.prepare(elements, &self.padding, after.get_mut(..right).unwrap_or_default());
        }
    }
}
