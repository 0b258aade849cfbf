//! Positions that wait until there are as many as are multiplied at once.

use super::POSITIONS;
use super::windows::Window;
use crate::ops::Axis;

/// Positions at once, and where their outputs begin.
#[derive(Default)]
pub(super) struct Spots {
    pub(super) windows: [Window; POSITIONS],
    pub(super) places: [usize; POSITIONS],
    pub(super) count: usize,
}

impl Spots {
    /// Adds a position. Those that won't be there are as the first one.
    #[inline(always)]
    pub(super) fn add(&mut self, window: Window, at: usize) {
        if self.count == 0 {
            (self.windows, self.places) = ([window; POSITIONS], [at; POSITIONS]);
        } else if let (Some(to), Some(place)) =
            (self.windows.get_mut(self.count), self.places.get_mut(self.count))
        {
            (*to, *place) = (window, at);
        }
        self.count = self.count.wrapping_add(1);
    }
}

/// Windows of a pooling whose largest outputs are made at once.
#[derive(Default)]
pub(super) struct Pixels {
    /// The position that each begins with, and how many there are, down and right.
    pub(super) windows: [[[usize; 2]; 2]; POSITIONS],
    pub(super) places: [usize; POSITIONS],
    pub(super) count: usize,
}

impl Pixels {
    /// Adds a window. Those that won't be there are as the last one.
    #[inline(always)]
    pub(super) fn add(
        &mut self,
        [rows, columns]: &[Axis; 2],
        [down, right]: [usize; 2],
        at: usize,
    ) {
        let ((down, top), (right, left)) = (rows.taps(down), columns.taps(right));
        let window = [[top, left], [down.len(), right.len()]];
        for (to, place) in self.windows.iter_mut().zip(&mut self.places).skip(self.count) {
            (*to, *place) = (window, at);
        }
        self.count = self.count.wrapping_add(1);
    }
}
