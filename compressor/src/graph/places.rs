//! Rows and columns of images, and how those that an operator writes come from those that it reads.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use super::{Graph, Node, Site, Value, Window};

/// Rows and columns of an image that lie side by side; a value that is none has one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Area {
    /// The first row and column.
    pub begin: [usize; 2],
    /// The row and the column behind the last.
    pub end: [usize; 2],
}

impl Area {
    /// All of a value.
    pub fn whole(value: &Value) -> Self {
        let [rows, columns, _] = value.image().unwrap_or([1; 3]);
        Self { begin: [0; 2], end: [rows, columns] }
    }

    /// Rows and columns.
    pub fn size(&self) -> [usize; 2] {
        [self.end[0] - self.begin[0], self.end[1] - self.begin[1]]
    }

    /// Whether a row and column is one of them.
    pub fn has(&self, place: [usize; 2]) -> bool {
        (0..2).all(|axis| (self.begin[axis]..self.end[axis]).contains(&place[axis]))
    }

    /// The least area that has both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let pair = |of: fn(usize, usize) -> usize, a: [usize; 2], b: [usize; 2]| {
            [of(a[0], b[0]), of(a[1], b[1])]
        };
        Self {
            begin: pair(usize::min, self.begin, other.begin),
            end: pair(usize::max, self.end, other.end),
        }
    }

    /// The least area of a value that has all features that are `wanted` of it; none if it is no image,
    /// or none are wanted.
    pub fn of_features(value: &Value, wanted: impl IntoIterator<Item = usize>) -> Option<Self> {
        let [_, columns, channels] = value.image()?;
        let places = wanted.into_iter().map(|feature| {
            let place = feature / channels.max(1);
            let begin = [place / columns.max(1), place % columns.max(1)];
            Self { begin, end: begin.map(|at| at + 1) }
        });
        places.reduce(Self::with)
    }
}

/// How rows and columns of an output come from those of the operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// Each from the same of every operand; an operand that has one place counts for each.
    Alike,
    /// Each from a few side by side of the one operand.
    Within(Reach),
    /// In a way that takes all of them to stay.
    Fixed,
}

/// The rows and columns that are read for one of the output, vertical before horizontal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The first that the first output reads; before the image's first it is negative.
    pub begin: [isize; 2],
    /// From one output to the next.
    pub stride: [usize; 2],
    /// How many lie from the first that an output reads to the last.
    pub extent: [usize; 2],
}

impl Reach {
    /// That of a window.
    pub fn of(window: Window) -> Self {
        let begin = window.padding.map(|padding| -(padding as isize));
        Self { begin, stride: window.stride, extent: window.extent() }
    }

    /// Where an area of the output begins to read.
    pub fn start(&self, written: Area) -> [isize; 2] {
        let along = |axis: usize| {
            self.begin[axis].saturating_add_unsigned(written.begin[axis] * self.stride[axis])
        };
        [along(0), along(1)]
    }

    /// What an area of the output reads of a `whole` operand; none if that is nothing.
    pub fn over(&self, written: Area, whole: Area) -> Option<Area> {
        let (start, size) = (self.start(written), written.size());
        let mut read = whole;
        for axis in 0..2 {
            let last = (size[axis].checked_sub(1)?).saturating_mul(self.stride[axis]);
            let end = start[axis].saturating_add_unsigned(last.saturating_add(self.extent[axis]));
            read.begin[axis] = usize::try_from(start[axis]).unwrap_or(0);
            read.end[axis] = whole.end[axis].min(usize::try_from(end).unwrap_or(0));
            if read.begin[axis] >= read.end[axis] {
                return None;
            }
        }
        Some(read)
    }
}

/// The part of its input image that a network reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputPart {
    /// The first row and the last, from 1.
    pub rows: [usize; 2],
    /// The first column and the last, from 1.
    pub columns: [usize; 2],
    /// Rows and columns that there are.
    pub of: [usize; 2],
}

impl Display for InputPart {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { rows: [top, bottom], columns: [left, right], of: [height, width] } = self;
        write!(f, "rows {top} to {bottom} and columns {left} to {right} of {height} × {width}")
    }
}

impl<P> Graph<P> {
    /// What the network reads of its input; none where that is all.
    pub fn input_part(&self) -> Option<InputPart> {
        let whole = Area::whole(&self.values[self.input]);
        let read = |node: &Node<P>| {
            let site = self.site(node);
            match node.op.places(&site) {
                Places::Within(reach) => reach.over(Area::whole(site.output), whole),
                Places::Alike | Places::Fixed => None,
            }
        };
        let readers = self.nodes.iter().filter(|node| node.inputs.contains(&self.input));
        let area = readers.map(|node| read(node).unwrap_or(whole)).reduce(Area::with)?;
        let along = |axis: usize| [area.begin[axis] + 1, area.end[axis]];
        let part = InputPart { rows: along(0), columns: along(1), of: whole.size() };
        (area != whole && self.output != self.input).then_some(part)
    }
}

/// The dimensions that are a value's rows and columns, of an operator that keeps how many there are: an
/// image may have no rows, or neither. None of what is no image.
pub(super) fn image_axes(site: &Site<'_>) -> Option<[Option<usize>; 2]> {
    match site.input().dims.len() {
        1 => Some([None, None]),
        2 => Some([None, Some(0)]),
        3 => Some([Some(0), Some(1)]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ops::{Clip, MaxPool2d, Slice};

    fn area(begin: [usize; 2], end: [usize; 2]) -> Area {
        Area { begin, end }
    }

    #[test]
    fn windows_read_what_they_cover_of_the_image() {
        let window = Window { size: [3; 2], stride: [2; 2], padding: [1; 2], ..Window::ONE };
        let (reach, whole) = (Reach::of(window), area([0, 0], [8, 6]));
        assert_eq!(reach.over(area([0, 0], [4, 3]), whole), Some(area([0, 0], [8, 6])));
        assert_eq!(reach.over(area([0, 1], [2, 2]), whole), Some(area([0, 1], [4, 4])));
        assert_eq!(reach.start(area([0, 1], [2, 2])), [-1, 1]);
        // Two columns of a border alone.
        let border = Reach { begin: [0, -3], stride: [1; 2], extent: [1; 2] };
        assert_eq!(border.over(area([0, 0], [1, 2]), whole), None);
    }

    #[test]
    fn features_lie_in_rows_of_columns_of_channels() {
        let value = Value { dims: vec![3, 4, 2], ..Value::default() };
        // Channels 1 and 0 of row 1, columns 1 and 2.
        let area = Area::of_features(&value, [11, 12]).unwrap();
        assert_eq!((area.begin, area.end, area.size()), ([1, 1], [2, 3], [1, 2]));
        assert!(area.has([1, 2]) && !area.has([1, 3]) && !area.has([0, 2]));
        assert_eq!(Area::of_features(&value, [0, 23]), Some(Area::whole(&value)));
        assert_eq!(Area::of_features(&value, []), None);
    }

    #[test]
    fn what_is_read_of_the_input_is_that_of_all_readers() {
        let mut graph: Graph<()> = Graph::of_input(vec![8, 9, 1]);
        graph.push("part", Slice::crop([2, 1]), vec![0], vec![4, 3, 1], None);
        let part = graph.input_part().unwrap();
        assert_eq!((part.rows, part.columns, part.of), ([3, 6], [2, 4], [8, 9]));
        assert_eq!(part.to_string(), "rows 3 to 6 and columns 2 to 4 of 8 × 9");
        let window = Window { size: [2; 2], stride: [2; 2], ..Window::ONE };
        graph.push("pool", MaxPool2d { window }, vec![0], vec![4, 4, 1], None);
        assert_eq!(graph.input_part().unwrap().columns, [1, 8]);
        graph.push("relu", Clip::RELU, vec![0], vec![8, 9, 1], None);
        assert_eq!(graph.input_part(), None);
    }
}
