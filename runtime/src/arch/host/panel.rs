//! Weights and finishing tables of a layer, laid out for vectors.

use std::vec;
use std::vec::Vec;

use crate::format::Clamp;
use crate::ops::Expanded;
use crate::requantize::{Multiplier, requantize};

/// Rows, or channels, that a line has weights for.
pub(crate) const LANES: usize = 16;
/// Bytes of a group of inputs, and of the weights that meet it, a lane.
pub(crate) const GROUP: usize = 4;

/// What a group of four bytes holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elements {
    /// Two 16-bit numbers.
    Halves,
    /// Four 8-bit numbers.
    #[cfg_attr(not(bitsback_isa = "neon"), allow(dead_code))]
    Bytes,
    /// Four 8-bit inputs plus 128, for kernels that multiply unsigned by signed bytes. 128·Σ w is
    /// taken from the biases.
    #[cfg_attr(not(bitsback_isa = "x86_64"), allow(dead_code))]
    Flipped,
}

impl Elements {
    /// Elements of a group.
    pub(crate) const fn per_group(self) -> usize {
        GROUP / self.bytes()
    }

    /// Bytes of one.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Halves => 2,
            Self::Bytes | Self::Flipped => 1,
        }
    }

    /// What is added to each input.
    const fn shift(self) -> i32 {
        match self {
            Self::Flipped => 128,
            Self::Halves | Self::Bytes => 0,
        }
    }
}

/// A group of weights of sixteen rows, the same columns of each.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(super) struct Line(pub(super) [[u8; GROUP]; LANES]);

/// What finishes sixteen rows' sums, a table entry a row.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(super) struct FinishLine {
    /// What a sum begins with: the bias, and what the zero point and [`Elements`] ask for.
    pub(super) start: [i32; LANES],
    /// Fractions.
    pub(super) value: [i32; LANES],
    /// Fractions of odd rows, in even places.
    pub(super) odd: [i32; LANES],
    /// Positions to the left.
    pub(super) left: [i32; LANES],
    /// Positions to the right.
    pub(super) right: [i32; LANES],
    /// One position less to the right, but not below 0.
    pub(super) less: [i32; LANES],
    /// 1 where anything is shifted to the right, else 0.
    pub(super) one: [i32; LANES],
    /// Half of what is shifted out to the right.
    pub(super) half: [i32; LANES],
}

/// A layer as kernels read it.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(super) elements: Elements,
    /// `depth` for each block of sixteen rows.
    pub(super) lines: Vec<Line>,
    /// One for each block.
    pub(super) finish: Vec<FinishLine>,
    /// The first row of each block, in ascending order.
    pub(super) starts: Vec<usize>,
    pub(super) depth: usize,
    pub(super) rows: usize,
    /// The output's.
    pub(super) zero_point: i8,
    pub(super) clamp: Clamp,
    /// Whether all rows shift to the right alone, and sums stay so far within 32 bits that a half of
    /// what is shifted out can be added before.
    #[cfg_attr(not(bitsback_isa = "x86_64"), allow(dead_code))]
    pub(super) is_easy: bool,
}

impl Panel {
    /// A layer whose rows each meet all taps: rows are `segments` of equal length, each of which
    /// begins a group.
    pub(crate) fn of_rows(elements: Elements, layer: &Expanded, segments: usize) -> Self {
        let starts = (0..layer.rows).step_by(LANES).collect();
        let len = layer.columns.checked_div(segments).unwrap_or_default();
        let groups = len.div_ceil(elements.per_group());
        let columns = |group: usize, element: usize| {
            let segment = group.checked_div(groups)?;
            let column = group % groups * elements.per_group() + element;
            (column < len).then_some(segment * len + column)
        };
        let lane = |start: usize, lane: usize| start + lane;
        Self::new(elements, layer, layer.rows, (starts, groups * segments), lane, columns)
    }

    /// A depthwise layer with a kernel of `size`: `lanes` neighbours in a row of an image, of which
    /// each has the next of the layer's rows.
    pub(crate) fn of_channels(
        elements: Elements,
        layer: &Expanded,
        size: [usize; 2],
        lanes: usize,
    ) -> Self {
        // The last block ends with the last lane, so that it is whole if any is.
        let last = lanes.saturating_sub(LANES);
        let starts = (0..lanes).step_by(LANES).map(|start| start.min(last)).collect();
        let [height, width] = size;
        let columns = |group: usize, element: usize| {
            let row = group.checked_div(width)? * elements.per_group() + element;
            (row < height).then_some(row * width + group % width)
        };
        let lane = |start: usize, lane: usize| match (start + lane).checked_rem(layer.rows) {
            Some(row) if lane < lanes => row,
            _ => usize::MAX,
        };
        let groups = height.div_ceil(elements.per_group()) * width;
        Self::new(elements, layer, lanes, (starts, groups), lane, columns)
    }

    /// Rows and columns are where `lane` and `column` find them.
    fn new(
        elements: Elements,
        layer: &Expanded,
        rows: usize,
        (starts, depth): (Vec<usize>, usize),
        lane: impl Fn(usize, usize) -> usize,
        column: impl Fn(usize, usize) -> Option<usize>,
    ) -> Self {
        let mut lines = vec![Line([[0; GROUP]; LANES]); starts.len() * depth];
        for (&start, lines) in starts.iter().zip(lines.chunks_mut(depth.max(1))) {
            for (group, line) in lines.iter_mut().enumerate() {
                for (at, place) in line.0.iter_mut().enumerate() {
                    let Some(weights) = layer.row(lane(start, at)) else { continue };
                    for element in 0..elements.per_group() {
                        let column = column(group, element);
                        let weight = column.and_then(|column| weights.get(column).copied());
                        put(elements, place, element, weight.unwrap_or_default());
                    }
                }
            }
        }
        let finish = starts.iter().map(|&start| {
            let mut finish = FinishLine::EMPTY;
            for at in 0..LANES {
                let row = lane(start, at);
                let found = layer.row(row).zip(layer.starts.get(row));
                let Some((weights, &start)) = found else { continue };
                let sum = weights.iter().fold(0i32, |sum, &w| sum.wrapping_add(w.into()));
                let start = start.wrapping_sub(sum.wrapping_mul(elements.shift()));
                finish.set(at, start, layer.multiplier(row));
            }
            finish
        });
        Self {
            elements,
            finish: finish.collect(),
            lines,
            depth,
            rows,
            starts,
            zero_point: layer.zero_point,
            clamp: layer.clamp,
            is_easy: (0..layer.rows).all(|row| is_easy(layer, row)),
        }
    }

    /// What a group of inputs holds.
    pub(crate) fn elements(&self) -> Elements {
        self.elements
    }

    /// Rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of the weights.
    pub(crate) fn weights_len(&self) -> usize {
        size_of_val(&self.lines[..])
    }

    /// The lines of a block.
    pub(super) fn block(&self, block: usize) -> &[Line] {
        let start = block.saturating_mul(self.depth);
        self.lines.get(start..start.saturating_add(self.depth)).unwrap_or_default()
    }

    /// Rows that the blocks from one on have.
    pub(super) fn rows_from(&self, block: usize) -> usize {
        self.rows.saturating_sub(self.starts.get(block).copied().unwrap_or(self.rows))
    }

    /// An output of a row of a block from its sum: how all kernels must do it.
    pub(super) fn output(&self, finish: &FinishLine, lane: usize, sum: i32) -> i8 {
        let multiplier = finish.multiplier(lane);
        self.clamp.apply(requantize(sum, multiplier, self.zero_point))
    }
}

impl FinishLine {
    const EMPTY: Self = Self {
        start: [0; LANES],
        value: [0; LANES],
        odd: [0; LANES],
        left: [0; LANES],
        right: [1; LANES],
        less: [0; LANES],
        one: [1; LANES],
        half: [1; LANES],
    };

    /// The same of all.
    pub(super) fn of_all(start: i32, multiplier: Multiplier) -> Self {
        let mut all = Self::EMPTY;
        for lane in 0..LANES {
            all.set(lane, start, multiplier);
        }
        all
    }

    /// The table's entry of a row.
    fn set(&mut self, lane: usize, start: i32, multiplier: Multiplier) {
        let shift = i32::from(multiplier.shift);
        let right = (-shift).clamp(0, 31);
        let less = (right - 1).max(0);
        self.start[lane] = start;
        self.value[lane] = multiplier.value;
        self.odd[lane & !1] = if lane % 2 == 1 { multiplier.value } else { self.odd[lane & !1] };
        self.left[lane] = shift.clamp(0, 31);
        self.right[lane] = right;
        self.less[lane] = less;
        self.one[lane] = right.min(1);
        self.half[lane] = right.min(1) << less;
    }

    fn multiplier(&self, lane: usize) -> Multiplier {
        let shift = self.left[lane % LANES] - self.right[lane % LANES];
        Multiplier { value: self.value[lane % LANES], shift: shift as i8 }
    }
}

/// One weight of a group.
fn put(elements: Elements, group: &mut [u8; GROUP], element: usize, weight: i16) {
    let [low, high] = weight.to_le_bytes();
    match elements {
        Elements::Halves => {
            if let Some(place) = group.as_chunks_mut().0.get_mut(element) {
                *place = [low, high];
            }
        }
        Elements::Bytes | Elements::Flipped => {
            if let Some(place) = group.get_mut(element) {
                *place = low;
            }
        }
    }
}

/// Whether a row allows [`Panel::is_easy`].
fn is_easy(layer: &Expanded, row: usize) -> bool {
    let (Some(weights), Some(&start)) = (layer.row(row), layer.starts.get(row)) else {
        return false;
    };
    let magnitude: u64 = weights.iter().map(|w| u64::from(w.unsigned_abs())).sum();
    // A product with a fraction below 1 is no greater.
    let most = magnitude.saturating_mul(128).saturating_add(start.unsigned_abs().into());
    let multiplier = layer.multiplier(row);
    let half = 1u64 << (-i32::from(multiplier.shift) - 1).clamp(0, 31);
    (-31..=-1).contains(&multiplier.shift)
        && multiplier.value >= 0
        && most.saturating_add(half) < i32::MAX as u64
}
