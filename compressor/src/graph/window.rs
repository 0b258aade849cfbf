//! Sliding windows over images.

use bitsback_runtime::format;
use serde::{Deserialize, Serialize};

/// A sliding window, vertical before horizontal. What is padded below and to the right follows from
/// the size of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Taps.
    pub size: [usize; 2],
    /// Distance from one window to the next.
    pub stride: [usize; 2],
    /// Distance from one tap to the next.
    pub dilation: [usize; 2],
    /// Rows above and columns to the left of the image that windows begin in.
    pub padding: [usize; 2],
}

impl Window {
    /// One tap, one step, no padding.
    pub const ONE: Self = Self { size: [1; 2], stride: [1; 2], dilation: [1; 2], padding: [0; 2] };

    /// The runtime's window.
    pub fn of(window: format::Window, dilation: [u16; 2]) -> Self {
        let pair = |pair: [u16; 2]| pair.map(usize::from);
        let (size, stride, padding) =
            (pair(window.size), pair(window.stride), pair(window.padding));
        Self { size, stride, padding, dilation: pair(dilation) }
    }

    /// A window over an image of `from` (rows, columns) with a border rule, and the rows and columns
    /// of its output; `None` where no window fits.
    pub fn with_rule(
        size: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
        rule: Padding,
        from: [usize; 2],
    ) -> Option<(Self, [usize; 2])> {
        let mut window = Self { size, stride, dilation, padding: [0; 2] };
        let extent = window.extent();
        let mut outputs = [0; 2];
        for axis in 0..2 {
            outputs[axis] = rule.outputs(from[axis], extent[axis], stride[axis])?;
            window.padding[axis] = rule.before(from[axis], extent[axis], stride[axis]);
        }
        Some((window, outputs))
    }

    /// The window over a part of its image in which the first begins at a row and column, and so many are
    /// left behind the last; none where it would begin further on, or one more would fit in.
    pub fn on_part(&self, begin: [isize; 2], behind: [usize; 2]) -> Option<Self> {
        let mut window = *self;
        for (padding, begin) in window.padding.iter_mut().zip(begin) {
            *padding = usize::try_from(-begin).ok()?;
        }
        (0..2).all(|axis| behind[axis] < self.stride[axis]).then_some(window)
    }

    /// From the first tap to behind the last, saturating.
    pub fn extent(&self) -> [usize; 2] {
        let along = |axis: usize| {
            self.size[axis].saturating_sub(1).saturating_mul(self.dilation[axis]).saturating_add(1)
        };
        [along(0), along(1)]
    }

    /// Taps in all, saturating.
    pub fn taps(&self) -> usize {
        self.size[0].saturating_mul(self.size[1])
    }

    /// Whether no window reaches beyond an image of `from` (rows, columns), where there are `to`.
    pub fn stays_inside(&self, from: [usize; 2], to: [usize; 2]) -> bool {
        let extent = self.extent();
        (0..2).all(|axis| {
            let last = to[axis].saturating_sub(1).saturating_mul(self.stride[axis]);
            self.padding[axis] == 0 && last.saturating_add(extent[axis]) <= from[axis]
        })
    }
}

/// How a window meets the border: the job file's rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// Only whole windows: out = ⌊(in − extent)/stride⌋ + 1.
    #[default]
    Valid,
    /// out = ⌈in/stride⌉; zeros are added, the odd one at the bottom and the right.
    Same,
    /// ⌊extent/2⌋ zeros on every side, as PyTorch's `padding=1` around a kernel of 3:
    /// out = ⌊(in + 2·⌊extent/2⌋ − extent)/stride⌋ + 1.
    Around,
}

impl Padding {
    /// Outputs along one axis; `None` where no window fits. `extent` is from the first tap to behind
    /// the last.
    pub fn outputs(self, input: usize, extent: usize, stride: usize) -> Option<usize> {
        if extent == 0 || stride == 0 || input == 0 {
            return None;
        }
        match self {
            Self::Valid => (input >= extent).then(|| (input - extent) / stride + 1),
            Self::Same => Some(input.div_ceil(stride)),
            Self::Around => {
                let padded = input.saturating_add(extent / 2 * 2);
                (padded >= extent).then(|| (padded - extent) / stride + 1)
            }
        }
    }

    /// Zeros before the first value along one axis (the odd zero of `same` goes behind the last).
    pub fn before(self, input: usize, extent: usize, stride: usize) -> usize {
        match self {
            Self::Valid => 0,
            Self::Around => extent / 2,
            Self::Same => {
                let outputs = input.div_ceil(stride.max(1));
                let reach = outputs.saturating_sub(1).saturating_mul(stride).saturating_add(extent);
                reach.saturating_sub(input) / 2
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_keeps_the_size_and_puts_the_odd_zero_behind() {
        assert_eq!(Padding::Same.outputs(7, 2, 2), Some(4));
        assert_eq!(Padding::Same.before(7, 2, 2), 0);
        assert_eq!(Padding::Same.before(8, 3, 1), 1);
        assert_eq!(Padding::Valid.before(8, 5, 1), 0);
        // PyTorch's 3 × 3 with stride 2 and padding 1: on an even size `same` pads elsewhere.
        assert_eq!(Padding::Around.outputs(28, 3, 2), Some(14));
        assert_eq!(Padding::Around.before(28, 3, 2), 1);
        assert_eq!(Padding::Same.before(28, 3, 2), 0);
        assert_eq!(Padding::Around.outputs(usize::MAX, 3, 1), Some(usize::MAX - 2));
    }

    #[test]
    fn taps_that_lie_apart_reach_further() {
        let rule = Window::with_rule([3; 2], [1; 2], [2, 1], Padding::Same, [8, 8]);
        let (window, outputs) = rule.unwrap();
        assert_eq!((window.padding, window.extent(), outputs), ([2, 1], [5, 3], [8, 8]));
        assert_eq!(Window::with_rule([3; 2], [1; 2], [4, 1], Padding::Valid, [8, 8]), None);
    }
}
