//! A convolution by positions: what lies under windows is gathered for all filters, a few positions at a time
//! and in pieces, and multiplied.

use std::ops::Range;

use super::convolution::Convolution;
use super::copies::Copies;
use super::cores::Family;
use super::counts::Counts;
use super::finish::CHUNK;
use super::lists;
use super::squares::Squares;
use super::windows::{Axis, Taps};

/// How often positions are gathered, and in which way.
pub(super) struct Gathers<'a> {
    conv: &'a Convolution<'a>,
    /// Which windows lie inside, along both axes.
    inside: [Vec<bool>; 2],
    /// Groups of positions, those of so many, and those of windows inside the image.
    all: f64,
    filled: [f64; FILLED],
    fast: f64,
    /// Groups of which some are gathered the fast way, and the others then by themselves.
    mixed: f64,
    positions: f64,
    /// Those among the positions that aren't gathered the fast way.
    slow: f64,
    /// Groups with a window that ends with the image, so that words would be read behind it.
    behind: f64,
    /// Positions that windows of a pooling see, and how many of those windows there are.
    seen: [Vec<f64>; 2],
    pooled: f64,
    /// The group that is being filled.
    count: usize,
    is_fast: bool,
    /// Whether its first row of windows is inside, and how many windows are.
    is_row_inside: bool,
    insiders: usize,
    /// Whether one of them ends with the image.
    is_last: bool,
}

/// Most rows whose outputs `dsp` makes at all positions of a group in one go.
const FEW_ROWS: usize = 8;
/// Most positions at once.
const FILLED: usize = 4;

impl<'a> Gathers<'a> {
    pub(super) fn new(conv: &'a Convolution<'a>) -> Self {
        let inside = conv
            .axes
            .each_ref()
            .map(|axis| axis.all().map(|taps| taps.count == axis.size).collect());
        Self {
            conv,
            inside,
            all: 0.0,
            filled: [0.0; FILLED],
            fast: 0.0,
            mixed: 0.0,
            positions: 0.0,
            slow: 0.0,
            behind: 0.0,
            seen: conv.axes.each_ref().map(|axis| vec![1.0; axis.output]),
            pooled: 0.0,
            count: 0,
            is_fast: true,
            is_row_inside: false,
            insiders: 0,
            is_last: false,
        }
    }

    /// All positions that are multiplied at.
    pub(super) fn add_all(&mut self) {
        self.add_but(&Squares::default());
    }

    /// The same but for those that a kernel of its own takes.
    pub(super) fn add_but(&mut self, squares: &Squares) {
        let Some([rows, columns]) = self.conv.pooled() else {
            let [rows, columns] = [self.inside[0].len(), self.inside[1].len()];
            for down in 0..rows {
                for right in 0..columns {
                    self.add(down, right);
                }
            }
            return self.end();
        };
        let seen = |axis: &Axis| {
            let mut seen = vec![0.0; axis.input];
            for taps in axis.all() {
                let places = seen.iter_mut().skip(taps.position).take(taps.count);
                places.for_each(|place| *place += 1.0);
            }
            seen
        };
        self.seen = [seen(&rows), seen(&columns)];
        for (y, down) in rows.all().enumerate() {
            for (x, right) in columns.all().enumerate() {
                if squares.contains(y, x) {
                    continue;
                }
                self.pooled += 1.0;
                for y in down.position..down.position + down.count {
                    for x in right.position..right.position + right.count {
                        self.add(y, x);
                    }
                }
                self.end();
            }
        }
    }

    fn add(&mut self, down: usize, right: usize) {
        let is_inside = |axis: usize, at: usize| self.inside[axis].get(at) == Some(&true);
        if self.count == 0 {
            self.is_row_inside = is_inside(0, down);
        }
        let is_inside = is_inside(0, down) && is_inside(1, right);
        self.is_fast &= is_inside;
        self.insiders += usize::from(is_inside);
        self.is_last |= is_inside && self.conv.ends_image(down, right);
        self.count += 1;
        if self.count == self.conv.kernels.positions {
            self.end();
        }
    }

    /// Gathers what was added.
    fn end(&mut self) {
        let (count, is_fast) = (self.count, self.is_fast);
        let insiders = std::mem::take(&mut self.insiders);
        let is_last = std::mem::take(&mut self.is_last);
        (self.count, self.is_fast) = (0, true);
        if count == 0 {
            return;
        }
        self.all += 1.0;
        self.filled[(count - 1).min(FILLED - 1)] += 1.0;
        self.positions += count as f64;
        let is_long = self.conv.row() >= self.conv.kernels.least_row;
        let is_dsp = self.conv.kernels.family == Family::Dsp;
        let is_mixed = is_dsp && is_long && self.is_row_inside && insiders > 0;
        // Of pieces, the last one ends with the window.
        let behind = if is_dsp && is_last { 1.0 / self.pieces(self.conv.columns()) } else { 0.0 };
        if is_long && (is_fast || is_mixed) {
            *(if is_fast { &mut self.fast } else { &mut self.mixed }) += 1.0 - behind;
            self.slow += (count - insiders) as f64 + behind * insiders as f64;
            self.behind += behind;
        } else {
            self.slow += count as f64;
        }
    }

    /// What that takes for some filters.
    pub(super) fn count(&self, counts: &mut Counts, rows: Range<usize>) {
        let Convolution { kernels, parameters, .. } = self.conv;
        let (columns, count) = (self.conv.columns(), rows.len());
        let pieces = self.pieces(columns);
        let chunks = count.div_ceil(CHUNK) as f64;
        // In pieces, a patch is gathered anew for each chunk of rows.
        let again = if pieces > 1.0 { chunks } else { 1.0 };
        counts.add("position", self.positions);
        counts.add("dot", self.all * pieces * chunks);
        let is_dsp = kernels.family == Family::Dsp;
        self.gather(counts, columns, pieces, again);
        if is_dsp {
            self.dot_spread(counts, rows.clone(), columns, pieces);
        } else {
            parameters.blocks(counts, count, columns, self.positions);
        }
        if kernels.family == Family::Vectors {
            parameters.held_quads(counts, count, columns, self.positions);
        }
        let is_pooled = self.conv.pool.is_some();
        let finished = if is_pooled { self.all } else { self.positions };
        // Scales of one chunk serve all positions, those of several a group of them.
        let held = match is_dsp {
            true if count <= CHUNK => 1.0,
            true => self.all,
            false => finished,
        };
        parameters.finish(counts, rows, columns, finished, held, false);
        if is_dsp && !is_pooled && count <= FEW_ROWS && count == parameters.rows {
            // Outputs of a group of positions are made in one go.
            let quads: f64 = (1..)
                .zip(self.filled)
                .map(|(filled, groups)| groups * (filled * count).div_ceil(4) as f64)
                .sum();
            let scope = parameters.scope();
            counts.add("few-sum", self.positions * count as f64);
            counts.add(format!("chunk-{scope}"), self.all - self.positions);
            let apart = self.positions * count.div_ceil(4) as f64;
            counts.add(format!("quad-{scope}"), quads - apart);
        }
        if is_pooled {
            let rows = count as f64;
            let [one, two, three, four] = self.filled.map(|groups| groups * rows);
            counts.add("largest", self.positions * rows);
            for (name, count) in
                [("largest-1", one), ("largest-2", two), ("largest-3", three), ("largest-4", four)]
            {
                counts.add(name, count);
            }
            counts.add("pooled", self.pooled);
            counts.add("raised-row", (self.all - self.pooled) * rows);
            counts.add("pooled-line", self.conv.pool.map_or(0, |(_, [down, _])| down) as f64);
        }
    }

    /// Gathers windows for `scalar`'s packed inputs, in pieces of so many columns and so many of them, `times`
    /// as often as there are positions.
    pub(super) fn spread(&self, counts: &mut Counts, (piece, pieces): (usize, usize), times: f64) {
        let (conv, sums) = (self.conv, self.sums(true));
        let [down, right] = &conv.axes;
        let is_row = down.size == 1 && right.dilation == 1;
        let inside = |axis: usize| self.inside[axis].iter().filter(|&&is_inside| is_inside).count();
        let unmoved = if is_row { (inside(0) * inside(1)) as f64 } else { 0.0 };
        let moved = (self.positions - unmoved) * times;
        let row = if right.dilation == 1 { conv.row() } else { conv.channels }.max(1);
        let splits = (1..pieces).filter(|&at| !(at * piece).is_multiple_of(row)).count();
        counts.add("spread-piece", moved * pieces as f64);
        counts.add("spread-row", times * sums.rows * pieces as f64);
        counts.add("spread-split", moved * splits as f64);
        counts.add("spread-clipped", times * sums.clipped * pieces as f64);
        counts.add("spread-clipped-word", times * sums.clipped * conv.columns() as f64 / 4.0);
        sums.copies.count(conv.kernels, times, counts);
    }

    fn pieces(&self, columns: usize) -> f64 {
        lists::pieces(columns, self.conv.kernels.piece).0 as f64
    }

    fn gather(&self, counts: &mut Counts, columns: usize, pieces: f64, again: f64) {
        let conv = self.conv;
        let words = columns.div_ceil(4) as f64;
        let times = again * pieces;
        counts.add("gather", self.all * times);
        counts.add("fast-gather", self.fast * times);
        counts.add("mixed-gather", self.mixed * times);
        counts.add("slow-gather", (self.all - self.fast) * times);
        counts.add("behind-gather", self.behind * times);
        counts.add("slow-position", self.slow * times);
        let sums = self.sums(false);
        counts.add("slow-copies", again * sums.slow_copies);
        counts.add("clipped-position", times * sums.clipped);
        counts.add("clipped-word", again * words * sums.clipped);
        if conv.axes[1].dilation != 1 {
            counts.add("apart-position", times * self.slow);
        }
        if conv.kernels.family != Family::Dsp {
            return sums.copies.count(conv.kernels, 1.0, counts);
        }
        let (row, taps) = (conv.row(), conv.axes[0].size);
        let joints = (1..taps).filter(|&tap| !(tap * row).is_multiple_of(4)).count();
        counts.add_all(
            again * (self.fast + self.mixed),
            [
                ("fast-word", words),
                ("fast-row", taps as f64),
                ("fast-joint", joints as f64),
                ("fast-last", f64::from(!columns.is_multiple_of(4))),
            ],
        );
        counts.add("slow-word", again * self.slow * words);
        counts.add("slow-row-copy", again * sums.rows);
        counts.add("slow-eight", again * sums.eights);
        counts.add("slow-rest", again * sums.rests);
        counts.add("slow-piece-row", if pieces > 1.0 { times * sums.rows } else { 0.0 });
    }

    /// What is copied at positions: at all of them, or on cores that spread windows only at those that aren't
    /// gathered the fast way; packed inputs are read from where they are where windows are a row inside.
    fn sums(&self, is_packed: bool) -> Sums {
        let conv = self.conv;
        let [down, right] = &conv.axes;
        let is_dsp = conv.kernels.family == Family::Dsp;
        let is_together = right.dilation == 1;
        let kinds = |axis: usize, step: usize| {
            let axis_kinds = conv.axes[axis].all().zip(&self.seen[axis]);
            let mut kinds = std::collections::BTreeMap::new();
            for (taps, &seen) in axis_kinds {
                let position = taps.position * step % 4;
                *kinds.entry(Taps { position, ..taps }).or_insert(0.0) += seen;
            }
            kinds
        };
        let across = kinds(1, conv.channels);
        let slow_share = self.slow_share();
        let is_unmoved = is_packed && down.size == 1 && is_together;
        let mut sums = Sums::default();
        for (vertical, lines) in kinds(0, conv.line()) {
            for (&horizontal, &count) in &across {
                let mut count = count * lines;
                let is_inside = vertical.count == down.size && horizontal.count == right.size;
                if is_inside && is_unmoved {
                    continue;
                }
                if is_dsp && is_inside {
                    count *= slow_share;
                }
                let times = if is_together { 1 } else { horizontal.count };
                let taps = if is_together { horizontal.count } else { 1 };
                let len = taps * conv.channels;
                if !is_inside {
                    sums.clipped += count;
                }
                if !is_inside || !is_together || is_dsp {
                    sums.slow_copies += count * times as f64;
                }
                let rows = count * (times * vertical.count) as f64;
                sums.rows += rows;
                sums.eights += rows * (len / 8) as f64;
                sums.rests += rows * f64::from((len % 8).count_ones());
                if is_dsp {
                    continue;
                }
                for tap in 0..times {
                    let to = (vertical.first * right.size + horizontal.first + tap) * conv.channels;
                    let from = vertical.position + horizontal.position + conv.offset;
                    let from = from + tap * right.dilation * conv.channels;
                    for row in 0..vertical.count {
                        let to = to + row * right.size * conv.channels;
                        let from = from + row * down.dilation * conv.line();
                        sums.copies.add(to, from, len, count);
                    }
                }
            }
        }
        sums
    }

    /// Of positions with windows inside, the share that isn't gathered the fast way: those share a group with
    /// one whose window isn't, or are too few for a group.
    fn slow_share(&self) -> f64 {
        let all = self.seen.each_ref().map(|seen| seen.iter().sum::<f64>());
        let inside: [f64; 2] = [0, 1].map(|axis| {
            let windows = self.inside[axis].iter().zip(&self.seen[axis]);
            windows.map(|(&is_inside, &seen)| if is_inside { seen } else { 0.0 }).sum()
        });
        let [all, inside] = [all, inside].map(|[down, right]| down * right);
        let clipped = all - inside;
        if inside > 0.0 { ((self.slow - clipped) / inside).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Rows times four positions at once, whose values were spread.
    fn dot_spread(&self, counts: &mut Counts, rows: Range<usize>, columns: usize, pieces: f64) {
        let parameters = self.conv.parameters;
        let words = columns.div_ceil(4);
        let (first, count) = (rows.start, rows.len());
        let paired = parameters.paired_rows().min(count);
        let (mut unread, mut times, mut len) = (0, pieces, columns);
        if parameters.bits == 8 {
            // Only the last piece of such a row.
            let (pieces, step) = lists::pieces(columns, self.conv.kernels.piece);
            (times, len) = (1.0, columns - 4 * step * (pieces - 1));
            let start = paired.saturating_mul(4).saturating_mul(words);
            let ends = |row: &usize| {
                let end = start + row * columns + 4 * words;
                end > parameters.room && parameters.is_row(first + row)
            };
            unread = (0..count - paired).filter(ends).count();
        } else if parameters.bits < 8 {
            unread = count - paired;
        }
        let rows = match &parameters.lists {
            Some(lists) => lists.count(counts, rows, self.all),
            None => count,
        };
        let rest = rows.saturating_sub(paired);
        let unread = unread as f64;
        counts.add_all(
            self.all,
            [
                ("pair-of-rows", pieces * (paired / 2) as f64),
                ("pair-of-rows-word", (paired / 2 * words) as f64),
                ("row", pieces * rest as f64),
                ("row-word", (rest * words) as f64),
                ("packed-chunk", pieces * rest.div_ceil(CHUNK) as f64),
                ("half-word", (rows * (words % 2)) as f64),
                ("field-row", times * unread),
                ("field", unread * len as f64),
                ("field-byte", unread * (len * parameters.bits) as f64 / 8.0),
            ],
        );
    }
}

/// What is copied at positions.
#[derive(Default)]
struct Sums {
    /// Calls of copies, and rows of windows that these are of, or pixels.
    slow_copies: f64,
    rows: f64,
    /// Eights of bytes, and words, half-words and bytes beyond them.
    eights: f64,
    rests: f64,
    /// Positions whose window leaves the image.
    clipped: f64,
    copies: Copies,
}

#[cfg(test)]
mod tests {
    use super::super::cores::Core;
    use super::super::parameters::Parameters;
    use super::*;
    use bitsback_runtime::format::{Layout, Window};

    fn counted(core: Core, axes: [Axis; 2], pool: Option<(Window, [usize; 2])>) -> Counts {
        let (kernels, parameters) = (core.kernels(), Parameters::plain(8, core.layout()));
        let conv = Convolution {
            kernels: &kernels,
            parameters: &parameters,
            axes,
            channels: 4,
            offset: 0,
            pool,
        };
        let mut counts = Counts::default();
        conv.count(&mut counts);
        counts
    }

    const AXIS: Axis = Axis { size: 3, stride: 1, padding: 1, dilation: 1, input: 8, output: 8 };

    #[test]
    fn positions_are_gathered_four_at_a_time() {
        let counts = counted(Core::CortexM4, [AXIS; 2], None);
        // Every group of four has a window that leaves the image.
        assert_eq!([counts.get("gather"), counts.get("fast-gather")], [16.0, 0.0]);
        // Those inside are gathered without it, where they are in one row; but for three, the last of which
        // ends with the image.
        assert_eq!([counts.get("position"), counts.get("slow-position")], [64.0, 31.0]);
        assert_eq!([counts.get("mixed-gather"), counts.get("behind-gather")], [11.0, 1.0]);
        assert_eq!(counts.get("clipped-position"), 28.0);
        assert_eq!(counts.get("pair-of-rows-word"), 16.0 * 4.0 * 9.0);
        let whole = Axis { padding: 0, output: 6, ..AXIS };
        let counts = counted(Core::CortexM4, [whole; 2], None);
        // Words of the last windows would end behind the image.
        assert_eq!([counts.get("fast-gather"), counts.get("behind-gather")], [8.0, 1.0]);
        assert_eq!(counts.get("slow-position"), 4.0);
        let short = Axis { output: 5, ..whole };
        let counts = counted(Core::CortexM4, [short, whole], None);
        assert_eq!([counts.get("fast-gather"), counts.get("behind-gather")], [8.0, 0.0]);
        let five = Axis { padding: 0, output: 5, ..AXIS };
        let counts = counted(Core::CortexM4, [five; 2], None);
        assert_eq!([counts.get("gather"), counts.get("position")], [7.0, 25.0]);
    }

    #[test]
    fn other_cores_copy_rows_of_windows() {
        let counts = counted(Core::CortexA53, [AXIS; 2], None);
        // 22 rows of taps at eight positions down, each at eight across.
        assert_eq!(counts.get("copy"), 22.0 * 8.0);
        assert_eq!([counts.get("position"), counts.get("clipped-position")], [64.0, 28.0]);
        assert_eq!(counts.get("whole-block-word"), 64.0 * 2.0 * 9.0);
    }

    #[test]
    fn windows_of_a_pooling_are_gathered_by_themselves() {
        let window = Window { size: [3; 2], stride: [3; 2], padding: [0; 2] };
        let counts = counted(Core::CortexM4, [AXIS; 2], Some((window, [2; 2])));
        // Nine positions are three groups, the last of them of one.
        assert_eq!([counts.get("pooled"), counts.get("gather")], [4.0, 12.0]);
        assert_eq!([counts.get("largest-4"), counts.get("largest-1")], [64.0, 32.0]);
        assert_eq!(counts.get("raised-row"), 64.0);
        let rows = counted(Core::CortexM3, [AXIS; 2], Some((window, [2; 2])));
        assert_eq!(rows.get("position"), 36.0);
        assert_eq!(Layout::RowMajor, Core::CortexM3.layout());
    }
}
