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

/// Positions of a convolution that are gathered together, so many at once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Gathers {
    /// How often that is done.
    pub(super) all: f64,
    /// Among these, those with a position whose window leaves the image, or fewer positions.
    pub(super) slow: f64,
}

impl Gathers {
    /// Over all positions, row after row, `at_once` of them.
    pub(super) fn of([rows, columns]: &[Axis; 2], at_once: usize) -> Self {
        let inside: Vec<bool> =
            (0..columns.output).map(|right| columns.taps(right) == columns.size).collect();
        let mut gathers = Self::default();
        let (mut filled, mut is_fast) = (0, true);
        for down in 0..rows.output {
            let is_row_inside = rows.taps(down) == rows.size;
            for &is_inside in &inside {
                is_fast &= is_row_inside && is_inside;
                filled += 1;
                if filled == at_once {
                    gathers.add(is_fast);
                    (filled, is_fast) = (0, true);
                }
            }
        }
        if filled > 0 {
            gathers.add(false);
        }
        gathers
    }

    fn add(&mut self, is_fast: bool) {
        self.all += 1.0;
        self.slow += f64::from(u8::from(!is_fast));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_and_runs_are_counted() {
        let axis = Axis { size: 3, stride: 1, padding: 1, dilation: 1, input: 6, output: 6 };
        let along = axis.along();
        // 2 + 4 · 3 + 2 taps; the first window, those inside, the last one.
        assert_eq!(
            along,
            Along { windows: 6.0, inside: 4.0, taps: 16.0, runs: 3.0, run_taps: 7.0 }
        );
        // 36 positions, 16 of them inside; of the fours only those in the middle of four rows.
        assert_eq!(Gathers::of(&[axis, axis], 1), Gathers { all: 36.0, slow: 20.0 });
        let wide = Axis { input: 8, output: 8, ..axis };
        assert_eq!(Gathers::of(&[axis, wide], 4), Gathers { all: 12.0, slow: 12.0 });
        let five = Axis { size: 1, padding: 0, input: 5, output: 5, ..axis };
        assert_eq!(Gathers::of(&[five, five], 4), Gathers { all: 7.0, slow: 1.0 });
        let far = Axis { dilation: 2, padding: 0, output: 2, ..axis };
        assert_eq!(far.along().taps, 6.0);
        let one = Axis { size: 1, padding: 0, ..axis };
        assert_eq!(
            one.along(),
            Along { windows: 6.0, inside: 6.0, taps: 6.0, runs: 1.0, run_taps: 1.0 }
        );
    }
}
