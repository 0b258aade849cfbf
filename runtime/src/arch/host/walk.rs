//! Where a layer's inputs are read and its outputs written.

use std::vec::Vec;

use super::panel::{GROUP, LANES, Panel};

/// Positions of a layer's outputs, and the inputs of each.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// The byte of the image where a position begins.
    from: Vec<usize>,
    /// The output where a position begins.
    to: Vec<usize>,
    /// Bytes from there to each segment, or to each tap.
    segments: Vec<usize>,
    /// The longest way to a segment.
    furthest: usize,
    /// Groups of a segment.
    groups: usize,
    /// Whether positions are in ascending order in the image and in the outputs.
    is_ascending: bool,
}

impl Walk {
    /// Positions with the bytes where they begin and the outputs where they do, both ascending.
    pub(crate) fn new(
        positions: impl Iterator<Item = (usize, usize)>,
        segments: Vec<usize>,
        groups: usize,
    ) -> Self {
        let (from, to): (Vec<_>, Vec<_>) = positions.unzip();
        let furthest = segments.iter().copied().max().unwrap_or_default();
        let is_ascending = from.is_sorted() && to.is_sorted();
        Self { from, to, segments, furthest, groups, is_ascending }
    }

    /// Positions.
    pub(crate) fn len(&self) -> usize {
        self.from.len()
    }
}

/// A walk with what it needs, all of which is there.
pub(crate) struct Job<'j> {
    pub(super) panel: &'j Panel,
    pub(super) image: &'j [u8],
    pub(super) from: &'j [usize],
    pub(super) to: &'j [usize],
    pub(super) segments: &'j [usize],
    pub(super) groups: usize,
    /// Outputs that are needed.
    end: usize,
}

impl<'j> Job<'j> {
    /// The first `count` positions of a layer of rows, if the image has all of their inputs. Each group
    /// of a segment has a line of the panel.
    pub(crate) fn of_rows(
        panel: &'j Panel,
        walk: &'j Walk,
        count: usize,
        image: &'j [u8],
    ) -> Option<Self> {
        let lines = walk.segments.len().checked_mul(walk.groups)?;
        let bytes = walk.groups.checked_mul(GROUP)?;
        Self::new(panel, walk, count, image, lines, bytes)
    }

    /// Positions of a layer of channels, as well. Each tap has a line of the panel, for sixteen lanes
    /// of the image from the block's start on.
    pub(crate) fn of_channels(
        panel: &'j Panel,
        walk: &'j Walk,
        count: usize,
        image: &'j [u8],
    ) -> Option<Self> {
        // Blocks are in ascending order.
        let bytes = panel.starts.last()?.checked_add(LANES)?.checked_mul(GROUP)?;
        Self::new(panel, walk, count, image, walk.segments.len(), bytes)
    }

    /// `lines` meet each position; `bytes` are read from the start of each segment on.
    fn new(
        panel: &'j Panel,
        walk: &'j Walk,
        count: usize,
        image: &'j [u8],
        lines: usize,
        bytes: usize,
    ) -> Option<Self> {
        let (from, to) = (walk.from.get(..count)?, walk.to.get(..count)?);
        let furthest = from.last()?.checked_add(walk.furthest)?;
        let fits = walk.is_ascending
            && furthest.checked_add(bytes)? <= image.len()
            && lines == panel.depth
            && panel.lines.len() == panel.starts.len().checked_mul(lines)?
            && panel.finish.len() == panel.starts.len();
        let end = to.last()?.checked_add(panel.rows)?;
        let (segments, groups) = (&walk.segments[..], walk.groups);
        fits.then_some(Self { panel, image, from, to, segments, groups, end })
    }

    /// Where some positions from number `at` on begin, in the image and in the outputs.
    #[cfg_attr(bitsback_isa = "portable", allow(dead_code))]
    #[inline]
    pub(super) fn positions<const N: usize>(&self, at: usize) -> Option<[&[usize; N]; 2]> {
        let (from, to) = (self.from.get(at..at + N)?, self.to.get(at..at + N)?);
        Some([from.first_chunk()?, to.first_chunk()?])
    }

    /// Whether there is a place for every output.
    pub(super) fn covers(&self, outputs: &[i8]) -> bool {
        self.end <= outputs.len()
    }
}
