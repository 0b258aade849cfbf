//! Some positions of a convolution at once, gathered and multiplied.

use core::ops::Range;

use super::super::affine::Layer;
use super::super::window::Axis;
use super::Image;
use crate::arch::{CHUNK_ROWS, GatherPatches, OUTPUTS_MAX, POSITIONS, Patches, Sums, Workspace};

/// Most rows whose outputs are made at all positions in one go.
const FEW_ROWS: usize = 8;

const _: () = assert!(FEW_ROWS * POSITIONS <= CHUNK_ROWS);

/// Positions of a square of them, down and right.
const SQUARE: usize = 2;

/// Neighbouring windows of a pooling that a kernel takes at once: each of two by two positions, which
/// see nothing but the image.
pub(super) struct Squares {
    /// Which of a row there are; none where no kernel takes them.
    range: Range<usize>,
    /// Where the first begins.
    left: usize,
}

/// Some positions at once, and all filters over them.
pub(super) struct Sweep<'a> {
    image: &'a Image<'a>,
    layer: &'a Layer<'a>,
    patches: Patches<'a>,
    /// Down and right.
    places: &'a mut [[usize; 2]; POSITIONS],
    pub(super) filled: usize,
    /// The number of the layer's first filter, of so many.
    pub(super) first: usize,
    pub(super) all: usize,
    sums: &'a mut [Sums; POSITIONS],
    /// Outputs, to be compared.
    fresh: &'a mut [i8; OUTPUTS_MAX],
}

impl<'a> Sweep<'a> {
    #[inline(always)]
    pub(super) fn new(
        image: &'a Image<'a>,
        layer: &'a Layer<'a>,
        columns: usize,
        workspace: &'a mut Workspace,
    ) -> Self {
        let Workspace { room, sums, places, outputs: fresh } = workspace;
        let offset = if layer.folded { 0 } else { -i16::from(image.zero_point) };
        let patches = Patches::new(room, columns, offset, image.stretches());
        let all = layer.matrix.rows;
        Self { image, layer, patches, places, filled: 0, first: 0, all, sums, fresh }
    }

    /// The windows of a row of the pooling that [`Self::finish_squares`] takes.
    #[inline(always)]
    pub(super) fn squares(&self, [_, pool]: &[Axis; 2]) -> Squares {
        let takes = self.patches.takes_squares(&self.layer.matrix);
        let [_, conv] = &self.image.axes;
        let mut squares = Squares { range: 0..0, left: 0 };
        if !takes || self.image.channels != 1 || pool.stride != SQUARE {
            return squares;
        }
        for right in 0..pool.output {
            let Some(left) = sight(conv, pool, right) else { continue };
            if squares.range.is_empty() {
                squares = Squares { range: right..right, left };
            }
            squares.range.end = right.wrapping_add(1);
        }
        squares
    }

    /// Writes the values of a row of the pooling that `squares` are about, and says which it wrote.
    #[inline(always)]
    pub(super) fn finish_squares(
        &mut self,
        pool: &Axis,
        down: usize,
        squares: &Squares,
        line: &mut [i8],
    ) -> Range<usize> {
        let none = 0..0;
        let &Squares { ref range, left } = squares;
        let ([rows, columns], matrix) = (&self.image.axes, &self.layer.matrix);
        if range.is_empty() {
            return none;
        }
        let Some(top) = sight(rows, pool, down) else { return none };
        let [start, end] = [range.start, range.end].map(|n| n.wrapping_mul(matrix.rows));
        let line = line.get_mut(start..end).unwrap_or_default();
        let from = top.wrapping_mul(columns.input).wrapping_add(left);
        let image = self.image.values.get(from..).unwrap_or_default();
        let [sums, ..] = &mut *self.sums;
        let done = self.patches.finish_squares(matrix, &self.layer.finish, image, sums, line);
        if done { range.clone() } else { none }
    }

    /// Adds a position.
    #[inline(always)]
    pub(super) fn add(&mut self, down: usize, right: usize) {
        if let Some(place) = self.places.get_mut(self.filled) {
            *place = [down, right];
        }
        self.filled = self.filled.wrapping_add(1);
    }

    /// Gathers a piece of what lies under the kernel at the positions that were added.
    #[inline(never)]
    fn gather(&mut self, filled: usize) {
        let image = self.image;
        if let Some(begins) = self.begins(filled)
            && self.patches.fill_windows(image.values, begins)
        {
            return;
        }
        let mut left = [true; POSITIONS];
        if POSITIONS > 1
            && let Some((begins, outside)) = self.begins_inside(filled)
            && self.patches.fill_windows(image.values, begins)
        {
            left = outside;
        }
        let places = self.places.iter().take(filled).zip(left);
        for (slot, (&[down, right], _)) in places.enumerate().filter(|(_, (_, left))| *left) {
            self.patches.fill(slot, |start, piece| image.gather(down, right, start, piece));
        }
    }

    /// As [`Self::begins`], where the first row and those at some positions lie inside, and which don't: these see what another one
    /// sees, for now.
    fn begins_inside(&self, filled: usize) -> Option<([usize; POSITIONS], [bool; POSITIONS])> {
        let (mut begins, mut outside, mut any) = ([0; POSITIONS], [true; POSITIONS], None);
        let ([first, ..], [rows, _]) = (*self.places, self.image.axes);
        rows.inside(first[0])?; // mostly they are in one row
        let slots = begins.iter_mut().zip(&mut outside).zip(&*self.places).take(filled);
        for ((begin, outside), &[down, right]) in slots {
            if let Some(inside) = self.image.inside(down, right) {
                (*begin, *outside, any) = (inside, false, Some(inside));
            }
        }
        let any = any?;
        for (begin, _) in begins.iter_mut().zip(outside).filter(|(_, outside)| *outside) {
            *begin = any;
        }
        Some((begins, outside))
    }

    /// Where the windows at the positions that were added begin, if all of them lie inside the image.
    /// Positions that aren't there see what the first one sees.
    #[inline(always)]
    fn begins(&self, filled: usize) -> Option<[usize; POSITIONS]> {
        let image = self.image;
        let ([first, ..], [.., last]) = (*self.places, *self.places);
        let mut begin = image.inside(first[0], first[1])?;
        let mut begins = [begin; POSITIONS];
        if POSITIONS == 1 {
            return Some(begins);
        }
        let is_row = first[0] == last[0] && last[1].wrapping_sub(first[1]) == POSITIONS - 1;
        if filled == POSITIONS && is_row {
            // Neighbours, and so what is between the first and the last.
            image.inside(last[0], last[1])?;
            let step = image.axes[1].stride.wrapping_mul(image.channels);
            for place in &mut begins {
                *place = begin;
                begin = begin.wrapping_add(step);
            }
            return Some(begins);
        }
        for (begin, &[down, right]) in begins.iter_mut().zip(&*self.places).take(filled) {
            *begin = image.inside(down, right)?;
        }
        Some(begins)
    }

    /// The sums of a chunk of rows at the positions that were added; the first piece of what lies
    /// under the kernel was gathered for the first chunk.
    fn sum(&mut self, first: usize, filled: usize) {
        let pieces = self.patches.pieces();
        for piece in 0..pieces {
            // The first piece is there already, and for all chunks if it is the only one.
            if piece > 0 || first > 0 && pieces > 1 {
                self.patches.begin(piece);
                self.gather(filled);
            }
            self.patches.dot(&self.layer.matrix, first, self.sums);
        }
    }

    /// Writes the outputs of the positions that were added, and returns what follows them.
    pub(super) fn finish<'o>(&mut self, output: &'o mut [i8]) -> &'o mut [i8] {
        let matrix = &self.layer.matrix;
        let filled = core::mem::take(&mut self.filled);
        if filled == 0 {
            return output;
        }
        let len = filled.wrapping_mul(self.all);
        let (output, rest) = output.split_at_mut_checked(len).unwrap_or_default();
        self.patches.begin(0);
        self.gather(filled);
        let mine = self.first..self.first.wrapping_add(matrix.rows);
        let position = output.get_mut(mine.clone()).unwrap_or_default();
        if self.patches.finish(matrix, &self.layer.finish, position).is_some() {
            return rest;
        }
        if POSITIONS > 1 && matrix.rows == self.all && matrix.rows <= FEW_ROWS {
            self.sum(0, filled);
            gather_sums(self.sums, matrix.rows);
            let [sums, ..] = &*self.sums;
            self.patches.finish_positions(&self.layer.finish, matrix.rows, sums, output);
            return rest;
        }
        for first in (0..matrix.rows).step_by(CHUNK_ROWS) {
            self.sum(first, filled);
            // `max(1)`: there are filters, but the compiler can't know.
            for (pixel, sums) in output.chunks_exact_mut(self.all.max(1)).zip(&*self.sums) {
                let outputs = chunk(pixel.get_mut(mine.clone()).unwrap_or_default(), first);
                self.patches.finish_rows(&self.layer.finish, first, sums, outputs);
            }
        }
        rest
    }

    /// Writes a pixel's values, the largest outputs of the positions that were added: those of the
    /// largest sums. Where a part of the window came before, they are `raised`.
    pub(super) fn finish_largest(&mut self, pixel: &mut [i8], raised: bool) {
        let filled = core::mem::take(&mut self.filled);
        if filled == 0 {
            return;
        }
        self.patches.begin(0);
        self.gather(filled);
        if self.finish_whole(pixel, raised).is_some() {
            return;
        }
        for first in (0..self.layer.matrix.rows).step_by(CHUNK_ROWS) {
            self.sum(first, filled);
            let outputs = chunk(pixel, first);
            let largest = largest(self.sums, filled, outputs.len());
            if raised {
                let fresh = self.fresh.get_mut(..outputs.len()).unwrap_or_default();
                self.patches.finish_rows(&self.layer.finish, first, largest, fresh);
                raise(outputs, fresh);
            } else {
                self.patches.finish_rows(&self.layer.finish, first, largest, outputs);
            }
        }
    }

    /// As [`Self::finish_largest`] of one position, or `None` where no kernel finishes outputs or
    /// there are too many.
    #[inline(always)]
    fn finish_whole(&mut self, pixel: &mut [i8], raised: bool) -> Option<()> {
        let (matrix, finish) = (&self.layer.matrix, &self.layer.finish);
        if !raised {
            return self.patches.finish(matrix, finish, pixel);
        }
        let fresh = self.fresh.get_mut(..pixel.len())?;
        self.patches.finish(matrix, finish, fresh)?;
        raise(pixel, fresh);
        Some(())
    }
}

/// Brings the first sums of each position, so many, behind those of the position before.
fn gather_sums(sums: &mut [Sums; POSITIONS], rows: usize) {
    let [first, others @ ..] = sums;
    let places = first.chunks_mut(rows.max(1)).skip(1);
    for (places, others) in places.zip(others) {
        for (place, &sum) in places.iter_mut().zip(&*others) {
            *place = sum;
        }
    }
}

/// Where along an axis the first value lies that window `index` of a pooling sees, if the window has
/// two positions next to each other and they see the image alone.
fn sight(conv: &Axis, pool: &Axis, index: usize) -> Option<usize> {
    let first = pool.inside(index)?;
    conv.inside(first.wrapping_add(1))?;
    let is_dense = conv.stride == 1 && conv.dilation == 1;
    if is_dense && pool.size == SQUARE && pool.dilation == 1 { conv.inside(first) } else { None }
}

/// The largest of each row's sums at the positions that were added, in the place of the first.
fn largest(sums: &mut [Sums; POSITIONS], filled: usize, rows: usize) -> &Sums {
    let [all, others @ ..] = sums;
    let first = all.get_mut(..rows).unwrap_or_default();
    match others.as_mut_slice() {
        // All of them at once: an address each, and each sum is loaded once.
        [b, c, d] if filled == POSITIONS => {
            for (((sum, &b), &c), &d) in first.iter_mut().zip(&*b).zip(&*c).zip(&*d) {
                *sum = (*sum).max(b).max(c).max(d);
            }
        }
        _ => {
            for others in others.iter().take(filled.wrapping_sub(1)) {
                for (sum, &other) in first.iter_mut().zip(others) {
                    *sum = (*sum).max(other);
                }
            }
        }
    }
    all
}

/// Makes each value the larger one.
fn raise(values: &mut [i8], others: &[i8]) {
    for (y, &other) in values.iter_mut().zip(others) {
        *y = (*y).max(other);
    }
}

/// The channels of a pixel that a chunk of rows makes.
fn chunk(pixel: &mut [i8], first: usize) -> &mut [i8] {
    let rest = pixel.get_mut(first..).unwrap_or_default();
    let len = rest.len().min(CHUNK_ROWS);
    rest.get_mut(..len).unwrap_or_default()
}
