//! Products of rows and vectors: blocks of rows, words of columns, and what either leaves over.

use super::cores::{Family, Kernels};
use super::counts::Counts;
use super::finish::CHUNK;
use super::parameters::Parameters;
use super::path::Form;

/// Most rows of a dense layer that `dsp` multiplies with inputs where they are.
const FEW_ROWS: usize = 2;

impl Parameters {
    /// So many of the rows times vectors of `columns`, as often as `times` says, a block of four rows at a
    /// time.
    pub(super) fn blocks(&self, counts: &mut Counts, rows: usize, columns: usize, times: f64) {
        let [whole, rest] = [rows / 4, rows % 4].map(|rows| times * rows as f64);
        let all = times * rows.div_ceil(4) as f64;
        let every = times * rows as f64;
        let [words, odd] = [columns / 4, columns % 4].map(|count| count as f64);
        let vectors = columns.div_ceil(16) as f64;
        for (name, count) in [
            ("block", all),
            ("whole-block", whole),
            ("whole-block-word", whole * words),
            ("whole-block-odd", whole * odd),
            ("whole-block-rest", whole * f64::from(odd > 0.0)),
            ("whole-block-eight", whole * (columns / 8) as f64),
            ("whole-block-32", whole * (columns / 32) as f64),
            ("whole-block-64", whole * (columns / 64) as f64),
            ("block-eight", all * columns.div_ceil(8) as f64),
            ("block-vector", all * vectors),
            ("block-whole-vector", all * (columns / 16) as f64),
            ("block-rest-32", all * f64::from(!columns.is_multiple_of(32))),
            ("left-row", rest),
            ("left-row-word", rest * words),
            ("left-row-odd", rest * odd),
            ("left-row-vector", rest * vectors),
            ("row-vector", every * vectors),
            ("row-word", every * columns.div_ceil(4) as f64),
        ] {
            counts.add(name, count);
        }
        if rows < 4 {
            // Too few for vectors of rows.
            counts.add("few-row", every);
            counts.add("few-column", every * columns as f64);
        } else if rest > 0.0 {
            counts.add("overlap", times);
        }
        if self.form == Form::Pairs {
            counts.add("pair-block-word", whole * columns.div_ceil(4) as f64);
            counts.add("pair-left-row", rest);
        }
        if self.form == Form::Fields {
            counts.add("field-byte-product", every * columns as f64 * self.bits as f64 / 8.0);
        }
        if self.has_offset() {
            self.offsets(counts, [whole, all, rest, every], columns, times);
        }
        // Vectors of the last rows would reach beyond the section.
        let row = self.row_len(columns);
        let reach = row.next_multiple_of(16);
        let ends = (0..rows.div_ceil(4))
            .filter(|block| (4 * block + 3).min(rows - 1).saturating_mul(row) + reach > self.room);
        let ends = times * ends.count() as f64;
        counts.add("end-block", ends);
        counts.add("end-block-column", ends * columns as f64);
    }

    /// Products of inputs with an offset: of whole blocks, all of them, rows left, and all rows.
    fn offsets(
        &self,
        counts: &mut Counts,
        [whole, all, rest, every]: [f64; 4],
        columns: usize,
        times: f64,
    ) {
        let (columns, vectors) = (columns as f64, columns.div_ceil(16) as f64);
        for (name, count) in [
            ("offset", times),
            ("offset-block", whole),
            ("offset-block-column", whole * columns),
            ("offset-block-vector", all * vectors),
            ("offset-left-row", rest),
            ("offset-left-column", rest * columns),
            ("offset-row", every),
        ] {
            counts.add(name, count);
        }
    }

    /// So many rows whose weights are taken field by field, as often as `times` says.
    pub(super) fn fields(&self, counts: &mut Counts, rows: f64, columns: usize, times: f64) {
        let each = times * rows * columns as f64;
        counts.add("field-row", times * rows);
        counts.add("field", each);
        counts.add("field-byte", each * self.bits as f64 / 8.0);
    }

    /// A dense layer of so many inputs.
    pub(super) fn dense(&self, kernels: &Kernels, counts: &mut Counts, columns: usize) {
        let rows = self.rows;
        let is_few = kernels.family == Family::Dsp && rows <= FEW_ROWS;
        if is_few && self.bits == 8 && columns > 0 && columns.is_multiple_of(4) {
            counts.add("few", 1.0);
            counts.add("few-word", (columns / 4) as f64);
            counts.add(format!("few-row-{}-bias", self.bias_name()), rows as f64);
            return self.finish_each(counts, 1.0);
        }
        counts.add("spread", 1.0);
        counts.add("column", columns as f64);
        counts.add("column-word", (columns / 4) as f64);
        counts.add("column-rest", f64::from(!columns.is_multiple_of(4)));
        counts.add("column-eight", (columns / 8) as f64);
        let fits = columns <= kernels.inputs;
        match (kernels.family, self.bits) {
            (Family::Dsp, 8) if fits => self.spread(counts, columns),
            (Family::Dsp, 4) if fits => self.spread_nibbles(counts, columns),
            _ => self.blocks(counts, rows, columns, 1.0),
        }
        let reads_biases = kernels.family == Family::Dsp;
        self.finish(counts, 0..rows, columns, 1.0, 1.0, reads_biases);
        if kernels.family == Family::Vectors {
            self.held_quads(counts, rows, columns, 1.0);
        }
    }

    /// Parameters of 128 rows, which are held until other rows need their place; where nibbles have an
    /// offset, their sums are taken for that.
    pub(super) fn held_quads(
        &self,
        counts: &mut Counts,
        rows: usize,
        columns: usize,
        positions: f64,
    ) {
        const HELD: usize = 128;
        counts.add("quads", positions * rows.div_ceil(HELD) as f64);
        let times = if rows <= HELD { 1.0 } else { positions };
        counts.add("held-quad", times * rows.div_ceil(4) as f64);
        counts.add("held-quads", times * rows.div_ceil(HELD) as f64);
        if self.has_offset() && self.form == Form::Nibbles {
            counts.add("sum-row", times * rows as f64);
            counts.add("sum-row-32", times * (rows * columns.div_ceil(32)) as f64);
        }
    }

    /// Rows of bytes or pairs times inputs that were spread, but for those that would be read beyond the
    /// section.
    fn spread(&self, counts: &mut Counts, columns: usize) {
        let words = columns.div_ceil(4);
        let paired = self.paired_rows() / 4;
        let left = self.rows - 4 * paired;
        let start = 16 * words * paired;
        let mut packed = 0.0;
        for first in (0..left).step_by(4) {
            let rows = (left - first).min(4);
            let last = first + rows - 1;
            if start + last * columns + 4 * words > self.room {
                self.one_by_one(counts, rows, columns);
            } else {
                packed += 1.0;
            }
        }
        if packed > 0.0 && (1..=2).contains(&(left % 4)) {
            // The last block's other rows aren't multiplied.
            counts.add("packed-two", 1.0);
            counts.add("packed-two-word", words as f64);
        }
        // Turns of a block of pairs are written out for eight words.
        counts.add("paired-turn", (paired * (words / 2).div_ceil(4)) as f64);
        let (words, half) = (words as f64, (words % 2) as f64);
        let paired = paired as f64;
        for (name, blocks) in [("paired", paired), ("packed", packed)] {
            counts.add(format!("{name}-block"), blocks);
            counts.add(format!("{name}-block-word"), blocks * words);
            counts.add(format!("{name}-block-half"), blocks * half);
        }
    }

    /// Two rows of nibbles at a time, of a chunk; those that would be read beyond the section are taken
    /// by blocks of four.
    fn spread_nibbles(&self, counts: &mut Counts, columns: usize) {
        let (eights, row) = (columns.div_ceil(8), self.row_len(columns).max(1));
        // A stretch of columns whose sums stay within 16 bits.
        let stretch = if self.has_offset() { 512 } else { 1008 };
        for first in (0..self.rows).step_by(CHUNK) {
            let left = self.rows - first;
            let room = self.room.saturating_sub(first * row).checked_sub(4 * eights);
            let readable = room.map_or(0, |room| room / row + 1);
            let rows = left.next_multiple_of(2).min(readable).min(CHUNK) & !1;
            let pairs = (rows / 2) as f64;
            counts.add("pair", pairs);
            counts.add("pair-eight", pairs * eights as f64);
            counts.add("pair-stretch", pairs * columns.div_ceil(stretch) as f64);
            let left = left.min(CHUNK);
            if rows < left {
                for first in (rows & !3..left).step_by(4) {
                    self.one_by_one(counts, (left - first).min(4), columns);
                }
            }
        }
    }

    /// Rows of a block that no kernel takes.
    fn one_by_one(&self, counts: &mut Counts, rows: usize, columns: usize) {
        counts.add("slow-block", 1.0);
        counts.add("slow-row", rows as f64);
        counts.add("slow-row-column", (rows * columns) as f64);
        counts.add("slow-row-odd", (rows * (columns % 2)) as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::super::cores::Core;
    use super::*;
    use bitsback_runtime::format::Layout;

    #[test]
    fn rows_are_blocks_and_what_is_left() {
        let mut counts = Counts::default();
        let parameters = Parameters::plain(10, Layout::RowMajor);
        parameters.blocks(&mut counts, 10, 18, 2.0);
        for (name, expected) in [
            ("block", 6.0),
            ("whole-block-word", 16.0),
            ("whole-block-odd", 8.0),
            ("left-row-word", 16.0),
            ("left-row-odd", 8.0),
            ("block-vector", 12.0),
            ("overlap", 2.0),
            ("offset", 0.0),
        ] {
            assert_eq!(counts.get(name), expected, "{name}");
        }
    }

    #[test]
    fn rows_at_the_sections_end_are_slow_on_dsp_cores() {
        let counted = |layout, room| {
            let mut counts = Counts::default();
            let parameters = Parameters { room, ..Parameters::plain(10, layout) };
            parameters.dense(&Core::CortexM4.kernels(), &mut counts, 7);
            ["paired-block", "packed-block", "slow-row"].map(|name| counts.get(name))
        };
        assert_eq!(counted(Layout::Pairs, 1000), [2.0, 1.0, 0.0]);
        assert_eq!(counted(Layout::RowMajor, 1000), [0.0, 3.0, 0.0]);
        assert_eq!(counted(Layout::RowMajor, 70), [0.0, 2.0, 2.0]);
    }
}
