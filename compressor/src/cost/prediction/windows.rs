//! How a window moves over an image: how many taps lie inside, and where.

use bitsback_runtime::format::Window;

/// A window's movement along rows or columns, as the runtime's `Axis` has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) size: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) dilation: usize,
    pub(super) input: usize,
    pub(super) output: usize,
}

/// Windows along an axis, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Along {
    /// Windows.
    pub(super) windows: f64,
    /// Those that lie inside the image.
    pub(super) inside: f64,
    /// Taps inside, of all windows.
    pub(super) taps: f64,
    /// Stretches of windows that have the same taps inside.
    pub(super) runs: f64,
    /// Taps inside, of one window of each run.
    pub(super) run_taps: f64,
}

impl Axis {
    /// Both axes: rows, then columns.
    pub(super) fn both(
        window: &Window,
        dilation: [u16; 2],
        input: [usize; 2],
        output: [usize; 2],
    ) -> [Self; 2] {
        [0, 1].map(|axis| Self {
            size: window.size[axis].into(),
            stride: window.stride[axis].into(),
            padding: window.padding[axis].into(),
            dilation: usize::from(dilation[axis]).max(1),
            input: input[axis],
            output: output[axis],
        })
    }

    /// How many taps of window `index` lie inside.
    fn taps(&self, index: usize) -> usize {
        let begin = index * self.stride;
        let first = self.padding.saturating_sub(begin).div_ceil(self.dilation);
        let room = (self.padding + self.input).saturating_sub(begin);
        room.div_ceil(self.dilation).min(self.size).saturating_sub(first)
    }

    /// All windows in numbers.
    pub(super) fn along(&self) -> Along {
        let mut along = Along::default();
        let mut before = 0;
        for index in 0..self.output {
            let taps = self.taps(index);
            let is_whole = taps == self.size;
            along.windows += 1.0;
            along.taps += taps as f64;
            along.inside += f64::from(u8::from(is_whole));
            if index == 0 || !is_whole || before != self.size {
                along.runs += 1.0;
                along.run_taps += taps as f64;
            }
            before = taps;
        }
        along
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_and_runs_are_counted() {
        let axis =
            Axis { size: 3, stride: 1, padding: 1, dilation: 1, input: 6, output: 6 };
        let along = axis.along();
        // 2 + 4 · 3 + 2 taps; the first window, those inside, the last one.
        assert_eq!(along, Along { windows: 6.0, inside: 4.0, taps: 16.0, runs: 3.0, run_taps: 7.0 });
        let far = Axis { dilation: 2, padding: 0, output: 2, ..axis };
        assert_eq!(far.along().taps, 6.0);
        let one = Axis { size: 1, padding: 0, ..axis };
        assert_eq!(one.along(), Along { windows: 6.0, inside: 6.0, taps: 6.0, runs: 1.0, run_taps: 1.0 });
    }
}
