//! Convolutions of one channel by 5 × 5 taps and the largest outputs of two by two: `dsp` has a kernel for
//! windows of the pooling that see the image alone, as many at once as a chunk has sums for.

use std::ops::Range;

use super::convolution::Convolution;
use super::cores::Family;
use super::counts::Counts;
use super::finish::CHUNK;
use super::path::Form;
use super::windows::Axis;

const TAPS: usize = 5;
const SIDE: usize = 2;
/// Filters that are spread at once.
const FILTERS: usize = 24;

/// Windows of the pooling that the kernel takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Squares {
    down: Range<usize>,
    right: Range<usize>,
}

impl Squares {
    /// Whether that is one of them.
    pub(super) fn contains(&self, down: usize, right: usize) -> bool {
        self.down.contains(&down) && self.right.contains(&right)
    }
}

impl Convolution<'_> {
    /// Whether these are such windows at all.
    pub(super) fn are_squares(&self) -> bool {
        let pool = self.pooled();
        let are_pairs = |axes: [Axis; 2]| axes.iter().all(|axis| axis.size == SIDE);
        self.channels == 1
            && matches!(self.parameters.form, Form::Bytes | Form::Coded)
            && self.axes.iter().all(|axis| (axis.size, axis.stride, axis.dilation) == (TAPS, 1, 1))
            && pool.is_some_and(|axes| are_pairs(axes) && axes[1].stride == SIDE)
    }

    /// What the kernel takes; `None` where there is none.
    pub(super) fn squares(&self, counts: &mut Counts) -> Option<Squares> {
        let rows = self.parameters.rows;
        let [vertical, horizontal] = self.pooled()?;
        if self.kernels.family != Family::Dsp || !self.are_squares() {
            return None;
        }
        let parts = rows.div_ceil(FILTERS).max(1);
        // Outputs of several squares follow one another where filters are all of them.
        let at_once = if parts == 1 { CHUNK / rows.max(1) } else { 1 };
        let seen = |conv: &Axis, pool: &Axis| {
            let is_inside = |index: &usize| {
                let taps = pool.taps(*index);
                let last = taps.position + taps.count.saturating_sub(1);
                taps.count == SIDE && conv.is_inside(taps.position) && conv.is_inside(last)
            };
            let first = (0..pool.output).find(is_inside).unwrap_or_default();
            first..first + (first..pool.output).take_while(is_inside).count()
        };
        let down = seen(&self.axes[0], &vertical);
        let right = seen(&self.axes[1], &horizontal);
        let (lines, across) = (down.len() as f64, right.len());
        let calls = across.div_ceil(at_once);
        let last = across - calls.saturating_sub(1) * at_once;
        let quads = match parts {
            1 => calls.saturating_sub(1) * (at_once * rows).div_ceil(4) + (last * rows).div_ceil(4),
            _ => across * (rows / FILTERS * FILTERS / 4 + (rows % FILTERS).div_ceil(4)),
        };
        // Filters are spread once, or a part of them for each line.
        let spread = if parts == 1 { 1.0 } else { lines };
        counts.add(
            "square-spread",
            if across > 0 && lines > 0.0 { spread * rows as f64 } else { 0.0 },
        );
        if across > 0 && lines > 0.0 {
            // Scales are held for as many squares as there are outputs at once, or for each part.
            let holds = if parts == 1 { across.min(at_once) as f64 } else { lines };
            counts.add("square-hold", holds * parts as f64);
            counts.add("square-hold-row", holds * rows as f64);
        }
        counts.add_all(
            lines,
            [
                ("square-line", 1.0),
                ("square-part", parts as f64),
                ("square-call", (calls * parts) as f64),
                ("square", across as f64),
                ("square-row", (across * rows) as f64),
                ("square-quad", if across > 0 { quads as f64 } else { 0.0 }),
            ],
        );
        Some(Squares { down, right })
    }
}

#[cfg(test)]
mod tests {
    use super::super::cores::Core;
    use super::super::parameters::Parameters;
    use super::*;
    use bitsback_runtime::format::{Layout, Window};

    #[test]
    fn windows_inside_are_squares() {
        let axis = Axis { size: 5, stride: 1, padding: 2, dilation: 1, input: 10, output: 10 };
        let window = Window { size: [2; 2], stride: [2; 2], padding: [0; 2] };
        let parameters = Parameters::plain(6, Layout::RowMajor);
        let squares = |core: Core| {
            let kernels = core.kernels();
            let conv = Convolution {
                kernels: &kernels,
                parameters: &parameters,
                axes: [axis; 2],
                channels: 1,
                offset: 0,
                pool: Some((window, [5; 2])),
            };
            let mut counts = Counts::default();
            (conv.squares(&mut counts), counts)
        };
        let (found, counts) = squares(Core::CortexM4);
        assert_eq!(found, Some(Squares { down: 1..4, right: 1..4 }));
        assert_eq!([counts.get("square"), counts.get("square-row")], [9.0, 54.0]);
        assert_eq!(squares(Core::CortexM3).0, None);
    }
}
