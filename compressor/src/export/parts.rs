//! Parts of images that operators read in place.
//!
//! A crop that only windows read is no operator of the model: they begin further behind in the image,
//! whose rows stay as long as they are. What they read is what the crop was, or as much of it as shows.

use bitsback_runtime::Step;
use bitsback_runtime::format::Tensor;

use crate::graph::ops::Slice;
use crate::graph::{IntegerOp, Value, Window};
use crate::numbers::Quantization;

/// A part of an image.
pub(super) struct Part {
    pub(super) slice: Slice,
    /// Rows, columns and channels.
    pub(super) dims: Vec<usize>,
}

impl Part {
    /// The part of `value`, which is at `place` of the arena, that the windows of an operator read as
    /// `tensor`; none if that isn't a part of its image, or all of it.
    pub(super) fn read(
        step: &Step,
        op: &IntegerOp,
        tensor: &Tensor,
        (value, place): (&Value, u32),
    ) -> Option<Self> {
        let (&[height, width, channels], &[rows, columns, same]) =
            (value.dims.as_slice(), tensor.shape.dims())
        else {
            return None;
        };
        let (rows, columns) = (usize::from(rows), usize::from(columns));
        let (window, outputs) = windows(step, op)?;
        if columns != width || usize::from(same) != channels || window.padding != [0; 2] {
            return None;
        }
        let reach = |axis: usize| {
            let last = outputs[axis].checked_sub(1)?.checked_mul(window.stride[axis])?;
            last.checked_add(window.extent()[axis])
        };
        let behind = (tensor.offset.checked_sub(place)? as usize).checked_div(channels)?;
        let [top, left] = [behind.checked_div(width)?, behind.checked_rem(width)?];
        let (high, wide) = (reach(0)?, reach(1)?);
        let inside = top.checked_add(high)? <= height && left.checked_add(wide)? <= width;
        let whole = (behind * channels) as u64 == u64::from(tensor.offset - place);
        // Windows that only leave over what is no whole step read the image as it is.
        let fills = |from: usize, reach: usize, axis: usize| from - reach < window.stride[axis];
        if !inside || !whole || high > rows {
            return None;
        }
        if behind == 0 && fills(height, high, 0) && fills(width, wide, 1) {
            return None;
        }
        Some(Self { slice: Slice::crop([top, left]), dims: vec![high, wide, channels] })
    }
}

/// The windows that an operator moves over its operand, and how many rows and columns of them.
fn windows(step: &Step, op: &IntegerOp) -> Option<(Window, [usize; 2])> {
    let to = &step.output().shape;
    let (first, [rows, columns]) = match op.parts() {
        Some(parts) => (parts.first, parts.between),
        None => (op.clone(), <[u16; 3]>::try_from(to.dims()).ok().map(|[h, w, _]| [h, w])?),
    };
    let (real, _) = first.real(Quantization { scale: 1.0, zero_point: 0 })?;
    Some((real.window()?, [rows.into(), columns.into()]))
}
