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

/// A window along an axis: its taps inside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Taps {
    /// The first of them, and where it is read.
    pub(super) first: usize,
    pub(super) position: usize,
    /// How many there are.
    pub(super) count: usize,
}

/// Neighbouring windows along an axis that have the same taps inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) taps: usize,
    pub(super) windows: usize,
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

    /// Which taps of window `index` lie inside.
    pub(super) fn taps(&self, index: usize) -> Taps {
        let begin = index * self.stride;
        let first = self.padding.saturating_sub(begin).div_ceil(self.dilation);
        let room = (self.padding + self.input).saturating_sub(begin);
        let count = room.div_ceil(self.dilation).min(self.size).saturating_sub(first);
        let position = (begin + first * self.dilation).saturating_sub(self.padding);
        Taps { first, position, count }
    }

    /// Those of every window.
    pub(super) fn all(&self) -> impl Iterator<Item = Taps> {
        (0..self.output).map(|index| self.taps(index))
    }

    /// Whether window `index` lies inside the image.
    pub(super) fn is_inside(&self, index: usize) -> bool {
        self.taps(index).count == self.size
    }

    /// Taps inside, of all windows.
    pub(super) fn tap_sum(&self) -> f64 {
        self.all().map(|taps| taps.count as f64).sum()
    }

    /// Whether a window leaves the image.
    pub(super) fn is_clipped(&self) -> bool {
        self.all().any(|taps| taps.count < self.size)
    }

    /// Windows in runs: those inside are alike, others stand alone.
    pub(super) fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for taps in self.all() {
            match runs.last_mut() {
                Some(run) if run.taps == self.size && taps.count == self.size => run.windows += 1,
                _ => runs.push(Run { taps: taps.count, windows: 1 }),
            }
        }
        runs
    }

    /// Different windows with how many there are of each: `modulus` values on, positions are alike, and so
    /// many values lie between two of them.
    pub(super) fn kinds(&self, step: usize, modulus: usize) -> Vec<(Taps, f64)> {
        let mut kinds = std::collections::BTreeMap::new();
        for taps in self.all() {
            let position = taps.position * step % modulus;
            *kinds.entry(Taps { position, ..taps }).or_insert(0.0) += 1.0;
        }
        kinds.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_and_runs_are_counted() {
        let axis = Axis { size: 3, stride: 1, padding: 1, dilation: 1, input: 6, output: 6 };
        // 2 + 4 · 3 + 2 taps; the first window, those inside, the last one.
        assert_eq!(axis.tap_sum(), 16.0);
        let run = |taps, windows| Run { taps, windows };
        assert_eq!(axis.runs(), [run(2, 1), run(3, 4), run(2, 1)]);
        assert!(axis.is_clipped() && !axis.is_inside(0) && axis.is_inside(1));
        assert_eq!(axis.taps(0), Taps { first: 1, position: 0, count: 2 });
        let far = Axis { dilation: 2, padding: 0, output: 2, ..axis };
        assert_eq!(far.runs(), [run(3, 2)]);
        assert_eq!(far.taps(1), Taps { first: 0, position: 1, count: 3 });
    }

    #[test]
    fn windows_of_a_kind_read_alike_addresses() {
        let axis = Axis { size: 2, stride: 1, padding: 0, dilation: 1, input: 9, output: 8 };
        let kinds = axis.kinds(3, 4);
        let expected = [0, 1, 2, 3].map(|position| (Taps { first: 0, position, count: 2 }, 2.0));
        assert_eq!(kinds, expected);
    }
}
