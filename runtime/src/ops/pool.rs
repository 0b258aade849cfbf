//! What the pooling operators share: their windows.

use super::window::Axis;
use crate::format::{Clamp, OpFault, Tensor, Window};

/// Windows over an image, each channel apart.
pub(crate) struct Pool {
    rows: Axis,
    columns: Axis,
    /// Channels of input and output.
    pub(crate) channels: usize,
}

/// Sums over a window stay within 32 bits.
const MAX_WINDOW: usize = 1 << 23;

impl Pool {
    /// The windows of a pooling, if the shapes are images.
    pub(crate) fn new(window: &Window, input: &Tensor, output: &Tensor) -> Option<Self> {
        let [h, w, channels] = input.shape.image()?;
        let [oh, ow, _] = output.shape.image()?;
        let [rows, columns] = Axis::both(window, [1, 1], [h, w], [oh, ow]);
        Some(Self { rows, columns, channels })
    }

    /// Shapes fit, the zero point stays, and the activation is ordered.
    pub(crate) fn check(
        window: &Window,
        clamp: Clamp,
        input: &Tensor,
        output: &Tensor,
    ) -> Result<(), OpFault> {
        let pool = Self::new(window, input, output).ok_or(OpFault::Shape)?;
        pool.rows.check()?;
        pool.columns.check()?;
        if output.shape.channels() != pool.channels
            || pool.rows.size.saturating_mul(pool.columns.size) > MAX_WINDOW
        {
            return Err(OpFault::Shape);
        }
        if input.zero_point != output.zero_point {
            return Err(OpFault::ZeroPoint);
        }
        if clamp.min > clamp.max { Err(OpFault::Clamp) } else { Ok(()) }
    }

    /// Values read.
    pub(crate) fn steps(window: &Window, output: &Tensor) -> u64 {
        let [h, w] = window.size.map(u64::from);
        (output.len() as u64).saturating_mul(h * w)
    }

    /// The windows in the output's order.
    pub(crate) fn windows(&self) -> impl Iterator<Item = PoolWindow<'_>> {
        (0..self.rows.output).flat_map(move |down| {
            (0..self.columns.output).map(move |right| PoolWindow { pool: self, down, right })
        })
    }
}

/// One window.
pub(crate) struct PoolWindow<'p> {
    pool: &'p Pool,
    down: usize,
    right: usize,
}

impl PoolWindow<'_> {
    /// Hands over the channels of each pixel of `image` under the window.
    pub(crate) fn for_each_pixel(&self, image: &[i8], mut sink: impl FnMut(&[i8])) {
        let Pool { rows, columns, channels } = self.pool;
        let ((down, top), (right, left)) = (rows.taps(self.down), columns.taps(self.right));
        for y in 0..down.len() {
            let pixel = top.wrapping_add(y).wrapping_mul(columns.input).wrapping_add(left);
            let start = pixel.wrapping_mul(*channels);
            let end = start.wrapping_add(right.len().wrapping_mul(*channels));
            let row = image.get(start..end).unwrap_or_default();
            row.chunks_exact((*channels).max(1)).for_each(&mut sink);
        }
    }
}
