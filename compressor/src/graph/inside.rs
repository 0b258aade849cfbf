//! Which taps of a window lie inside of an image, where it moves beyond the border.

use std::ops::Range;

use super::Window;

/// Most taps in all ways in which windows may leave an image, of those that are looked at one by one.
const MAX_INSIDE_TAPS: usize = 1 << 14;

/// Which taps of a window lie inside of the image.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Inside {
    /// All.
    All,
    /// These.
    These(Vec<bool>),
    /// Any of them.
    Any,
}

impl Inside {
    /// Each way in which windows over an image of `from` (rows, columns) lie, of which there are `to`.
    pub(super) fn of(window: Window, from: [usize; 2], to: [usize; 2]) -> Vec<Self> {
        if window.stays_inside(from, to) {
            return vec![Self::All];
        }
        let [down, right] = [0, 1].map(|axis| ranges(window, axis, from[axis], to[axis]));
        if window.taps().saturating_mul(down.len()).saturating_mul(right.len()) > MAX_INSIDE_TAPS {
            return vec![Self::Any];
        }
        let width = window.size[1].max(1);
        let inside = |down: &Range<usize>, right: &Range<usize>| {
            let at = |tap: usize| down.contains(&(tap / width)) && right.contains(&(tap % width));
            Self::These((0..window.taps()).map(at).collect())
        };
        down.iter().flat_map(|down| right.iter().map(move |right| inside(down, right))).collect()
    }

    /// What a product between two ends, of one tap, may be: 0 outside.
    pub(super) fn product(&self, tap: usize, [low, high]: [i64; 2]) -> [i64; 2] {
        match self {
            Self::These(inside) if inside.get(tap) == Some(&false) => [0; 2],
            Self::All | Self::These(_) => [low, high],
            Self::Any => [low.min(0), high.max(0)],
        }
    }
}

/// The taps along an axis that lie inside of so many positions, of all windows, each range once.
fn ranges(window: Window, axis: usize, positions: usize, windows: usize) -> Vec<Range<usize>> {
    let (padding, dilation) = (window.padding[axis], window.dilation[axis].max(1));
    let mut found: Vec<Range<usize>> = Vec::new();
    for index in 0..windows {
        let begin = index.saturating_mul(window.stride[axis]);
        let first = padding.saturating_sub(begin).div_ceil(dilation);
        let room = padding.saturating_add(positions).saturating_sub(begin);
        let range = first..room.div_ceil(dilation).min(window.size[axis]);
        if !found.contains(&range) {
            found.push(range);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_leave_an_image_at_both_ends() {
        let window = Window { size: [3, 2], stride: [1, 2], dilation: [2, 1], padding: [2, 1] };
        assert_eq!(ranges(window, 0, 5, 5), [1..3, 0..3, 0..2]);
        assert_eq!(ranges(window, 1, 4, 3), [1..2, 0..2, 0..1]);
        let inside = Inside::These(vec![true, false]);
        assert_eq!([0, 1].map(|tap| inside.product(tap, [3, 5])), [[3, 5], [0, 0]]);
        assert_eq!(Inside::Any.product(0, [3, 5]), [0, 5]);
    }
}
