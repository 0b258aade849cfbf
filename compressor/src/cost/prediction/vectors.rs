//! Convolutions with vectors, by `mve`: rows in chunks, three positions at a time, inside the image and at
//! its edges apart.

use std::ops::Range;

use super::convolution::Convolution;
use super::counts::Counts;
use super::path::Form;
use super::windows::{Axis, Taps};

/// Positions at once.
const POSITIONS: usize = 3;
/// Most rows at once, and with a pooling.
const ROWS: usize = 40;
const POOLED_ROWS: usize = 32;
/// Values of a window that are gathered by one vector of offsets.
const SMALL: usize = 64;
const SMALL_REACH: usize = 255;
const VECTOR: usize = 16;

/// Threes of positions, as they are multiplied.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Threes {
    /// In runs along a line of windows inside the image, and such runs.
    run: f64,
    runs: f64,
    /// Threes of windows of a pooling.
    outputs: f64,
    /// Of other windows inside.
    spots: f64,
    /// Of windows of which one isn't inside.
    edges: f64,
    /// Positions of those: windows that leave the image, rows of taps, copies and vectors of them.
    clipped: f64,
    edge_rows: f64,
    edge_copies: f64,
    edge_vectors: f64,
}

impl Threes {
    /// What they take for a chunk of filters, with windows of so many pieces and vectors.
    fn count(&self, counts: &mut Counts, pieces: f64, vectors: f64) {
        counts.add_all(
            1.0,
            [
                ("run", self.runs),
                ("three", self.run),
                ("spots", self.spots),
                ("edges", self.edges),
                ("edge-piece", self.edges * pieces),
                ("piece", (self.run + self.spots) * (pieces - 1.0)),
                ("edge-copy", self.edge_copies * pieces),
                ("edge-row", self.edge_rows),
                ("edge-vector", self.edge_vectors),
                ("edge-clipped", self.clipped * pieces),
                ("edge-clipped-vector", self.clipped * vectors),
            ],
        );
    }
}

impl Convolution<'_> {
    /// Pieces of a window: rows of it, and values of each.
    fn vector_pieces(&self) -> Vec<[usize; 2]> {
        let [row, rows] = [self.axes[1].size * self.channels, self.axes[0].size];
        let piece = self.kernels.piece;
        let at_once = piece.checked_div(row).unwrap_or_default();
        if at_once > 0 {
            return (0..rows).step_by(at_once).map(|at| [at_once.min(rows - at), row]).collect();
        }
        let step = row.div_ceil(row.div_ceil(piece).max(1)).next_multiple_of(VECTOR).min(piece);
        let of_row = || (0..row).step_by(step).map(|at| [1, step.min(row - at)]);
        (0..rows).flat_map(|_| of_row()).collect()
    }

    /// Whether a piece begins within four columns of pairs, which no kernel takes.
    pub(super) fn splits_pairs(&self) -> bool {
        let mut start = 0;
        let is_split = |[rows, values]: [usize; 2]| {
            let begin = start;
            start += rows * values;
            !begin.is_multiple_of(4)
        };
        self.parameters.paired_rows() > 0 && self.vector_pieces().into_iter().any(is_split)
    }

    /// Some filters.
    pub(super) fn vectors(&self, counts: &mut Counts, rows: Range<usize>) {
        let most = if self.pool.is_some() { POOLED_ROWS } else { ROWS };
        let mut start = rows.start;
        while start < rows.end {
            let left = rows.end - start;
            let some = left.div_ceil(left.div_ceil(most)).next_multiple_of(4).min(left);
            // Each chunk of rows goes through all positions.
            let threes = match self.pooled() {
                Some(pool) => self.pooled_threes(&pool, counts),
                None => self.threes(counts),
            };
            self.vector_rows(counts, start..start + some, &threes);
            start += some;
        }
    }

    /// Whether windows are a pixel each, of all pixels, so that all lines are one.
    fn is_dense(&self) -> bool {
        let is_dense = |axis: &Axis| {
            let Axis { size, stride, padding, input, output, .. } = *axis;
            [size, stride, padding] == [1, 1, 0] && input == output
        };
        self.axes.iter().all(is_dense)
    }

    fn threes(&self, counts: &mut Counts) -> Threes {
        let [down, right] = &self.axes;
        let across = (0..right.output).filter(|&at| right.is_inside(at)).count();
        let lines = (0..down.output).filter(|&at| down.is_inside(at)).count();
        let is_together = right.dilation == 1;
        let (lines, across, of) = match self.is_dense() {
            true => (1, lines * across, 1),
            false => (if is_together { lines } else { 0 }, across, down.output),
        };
        let inside = (lines * across) as f64;
        let edges = down.output as f64 * right.output as f64 - inside;
        let run = (lines * (across / POSITIONS)) as f64;
        let spots = (lines * (across % POSITIONS)) as f64;
        counts.add("line", of as f64);
        counts.add("spot", spots);
        let three = |count: f64| (count / POSITIONS as f64).ceil();
        let runs = if across >= POSITIONS { lines as f64 } else { 0.0 };
        let mut threes =
            Threes { run, runs, spots: three(spots), edges: three(edges), ..Threes::default() };
        for (vertical, lines) in down.kinds(0, 1) {
            for (horizontal, count) in right.kinds(0, 1) {
                let is_inside = vertical.count == down.size && horizontal.count == right.size;
                if !is_inside || !is_together {
                    self.add_edge([vertical.count, horizontal.count], lines * count, &mut threes);
                }
            }
        }
        // What is missing to the last three is gathered, too.
        let more = if edges > 0.0 { POSITIONS as f64 * threes.edges / edges } else { 0.0 };
        for sum in [
            &mut threes.clipped,
            &mut threes.edge_rows,
            &mut threes.edge_copies,
            &mut threes.edge_vectors,
        ] {
            *sum *= more;
        }
        threes
    }

    /// So many positions at an edge, with so many taps inside.
    fn add_edge(&self, [down, right]: [usize; 2], count: f64, threes: &mut Threes) {
        let [rows, columns] = &self.axes;
        let (copies, taps) = if columns.dilation == 1 { (1, right) } else { (right, 1) };
        let is_clipped = down < rows.size || right < columns.size;
        threes.clipped += count * f64::from(is_clipped);
        threes.edge_copies += count * copies as f64;
        let stretches = count * (copies * down) as f64;
        threes.edge_rows += stretches;
        threes.edge_vectors += stretches * (taps * self.channels).div_ceil(VECTOR) as f64;
    }

    /// Three windows of a pooling at a time: neighbours inside the image in runs, others as they come.
    fn pooled_threes(&self, pool: &[Axis; 2], counts: &mut Counts) -> Threes {
        let [rows, columns] = pool;
        let mut threes = Threes::default();
        let mut seen = Vec::with_capacity(POSITIONS);
        counts.add("line", rows.output as f64);
        let sees_image = |axis: usize, of: &Taps| {
            let last = of.position + of.count.saturating_sub(1);
            let is_inside = |at| self.axes[axis].is_inside(at);
            of.count == pool[axis].size && is_inside(of.position) && is_inside(last)
        };
        let across: Vec<Taps> = columns.all().collect();
        let insiders = across.iter().filter(|taps| sees_image(1, taps)).count();
        let first = across.iter().position(|taps| sees_image(1, taps)).unwrap_or_default();
        let size = (rows.size * columns.size) as f64;
        for down in rows.all() {
            let is_inside = self.axes[1].dilation == 1 && sees_image(0, &down);
            let taken = if is_inside { insiders / POSITIONS * POSITIONS } else { 0 };
            if taken > 0 {
                let outputs = (taken / POSITIONS) as f64;
                counts.add("pooled-run", 1.0);
                counts.add("pooled-run-three", outputs);
                threes.run += outputs * size;
                threes.outputs += outputs;
            }
            for right in across.iter().take(first).chain(across.iter().skip(first + taken)) {
                counts.add("pooled-apart", 1.0);
                seen.push([[down.position, down.count], [right.position, right.count]]);
                if seen.len() == POSITIONS {
                    self.end_pooled(&mut seen, counts, &mut threes);
                }
            }
        }
        self.end_pooled(&mut seen, counts, &mut threes);
        threes
    }

    /// Three such windows, or those that are left.
    fn end_pooled(
        &self,
        seen: &mut Vec<[[usize; 2]; 2]>,
        counts: &mut Counts,
        threes: &mut Threes,
    ) {
        if seen.is_empty() {
            return;
        }
        self.add_pooled(seen, threes);
        let most = |axis: usize| seen.iter().map(|of| of[axis][1]).max();
        let positions = most(0).unwrap_or_default() * most(1).unwrap_or_default();
        counts.add("pooled-position", positions as f64);
        counts.add("pooled-raise", positions.saturating_sub(1) as f64);
        counts.add("pooled-three", 1.0);
        threes.outputs += 1.0;
        seen.clear();
    }

    /// The positions that such windows see, three by three.
    fn add_pooled(&self, seen: &[[[usize; 2]; 2]], threes: &mut Threes) {
        let is_inside = |axis: usize, at: usize| self.axes[axis].is_inside(at);
        let is_together = self.axes[1].dilation == 1;
        let most = |axis: usize| seen.iter().map(|of| of[axis][1]).max().unwrap_or_default();
        for y in 0..most(0) {
            for x in 0..most(1) {
                let places: Vec<[usize; 2]> = seen
                    .iter()
                    .map(|&[[top, rows], [left, columns]]| {
                        [
                            top + y.min(rows.saturating_sub(1)),
                            left + x.min(columns.saturating_sub(1)),
                        ]
                    })
                    .collect();
                if is_together && places.iter().all(|at| is_inside(0, at[0]) && is_inside(1, at[1]))
                {
                    threes.spots += 1.0;
                    continue;
                }
                threes.edges += 1.0;
                let last = places.last().copied().unwrap_or_default();
                for at in places.iter().copied().chain(std::iter::repeat(last)).take(POSITIONS) {
                    let taps = [0, 1].map(|axis| self.axes[axis].taps(at[axis]).count);
                    self.add_edge(taps, 1.0, threes);
                }
            }
        }
    }

    /// A chunk of filters.
    fn vector_rows(&self, counts: &mut Counts, rows: Range<usize>, threes: &Threes) {
        let parameters = self.parameters;
        let (count, scope) = (rows.len(), parameters.scope());
        let (pairs, quads) = (count.div_ceil(2), count.div_ceil(4) as f64);
        let pieces = self.vector_pieces();
        let of_pieces =
            |of: fn([usize; 2]) -> usize| pieces.iter().map(|&piece| of(piece) as f64).sum::<f64>();
        let vectors = of_pieces(|[rows, values]| (rows * values).div_ceil(VECTOR));
        let all_pieces = pieces.len() as f64;
        let bias = parameters.bias_name();
        counts.add("chunk", 1.0);
        counts.add("quad", quads);
        counts.add(format!("quad-{bias}-bias"), quads);
        counts.add(format!("quad-{scope}"), quads);
        let positions = self.axes[0].output as f64 * self.axes[1].output as f64;
        counts.add("window", if self.pool.is_none() { positions } else { 0.0 });
        let inside = threes.run + threes.spots;
        let all = inside + threes.edges;
        // Products, of pairs of rows, packed or not: a call for each, and one for a last single row.
        let paired = parameters.paired_rows().clamp(rows.start, rows.end) - rows.start;
        let packed = (count & !1) > paired;
        let calls = usize::from(paired > 0) + usize::from(packed) + count % 2;
        let packed = (pairs - paired / 2) as f64;
        counts.add_all(
            all,
            [
                ("call", all_pieces * calls as f64),
                ("pair", packed * all_pieces),
                ("pair-vector", packed * vectors),
                ("paired", (paired / 2) as f64 * all_pieces),
                ("paired-vector", (paired / 2) as f64 * vectors),
            ],
        );
        threes.count(counts, all_pieces, vectors);
        self.vector_gathers(counts, inside, &pieces);
        let outputs = self.pooled().map_or(all, |_| {
            let words = (count.div_ceil(2) * 2 * POSITIONS).div_ceil(4) as f64;
            let raises = (all - threes.outputs).max(0.0);
            counts.add("raise", raises);
            counts.add("raise-word", raises * words);
            threes.outputs
        });
        counts.add("outputs", outputs);
        counts.add("output-quad", outputs * quads);
        if parameters.some(rows).iter().any(|multiplier| multiplier.shift >= 0) {
            counts.add("output-quad-any", outputs * quads);
        }
        if parameters.has_offset() {
            counts.add("fold", 1.0);
            counts.add("fold-pair", pairs as f64 * all_pieces);
            counts.add("fold-vector", pairs as f64 * vectors);
        }
        if parameters.form == Form::Coded {
            counts.add("decoded-chunk", 1.0);
        }
    }

    /// Gathers of windows inside that have several rows.
    fn vector_gathers(&self, counts: &mut Counts, threes: f64, pieces: &[[usize; 2]]) {
        let [rows, columns] = &self.axes;
        let windows = threes * POSITIONS as f64;
        let stride = rows.dilation * self.line();
        let reach = (rows.size - 1) * stride + columns.size * self.channels;
        if rows.size > 1 && self.columns() <= SMALL && reach <= SMALL_REACH {
            counts.add("small-gather", windows);
            counts.add("small-gather-vector", windows * self.columns().div_ceil(VECTOR) as f64);
            return;
        }
        for &[rows, values] in pieces.iter().filter(|[rows, _]| *rows > 1) {
            counts.add("ordered", windows);
            counts.add("ordered-row", windows * rows as f64);
            counts.add("ordered-vector", windows * (rows * values.div_ceil(VECTOR)) as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cores::Core;
    use super::super::parameters::Parameters;
    use super::*;
    use bitsback_runtime::format::{Layout, Window};

    fn counted(axis: Axis, channels: usize, rows: usize, pool: Option<Window>) -> Counts {
        let kernels = Core::CortexM55.kernels();
        let parameters = Parameters::plain(rows, Layout::RowMajor);
        let pool = pool.map(|window| (window, [axis.output / usize::from(window.stride[0]); 2]));
        let conv = Convolution {
            kernels: &kernels,
            parameters: &parameters,
            axes: [axis; 2],
            channels,
            offset: 0,
            pool,
        };
        let mut counts = Counts::default();
        conv.count(&mut counts);
        counts
    }

    const AXIS: Axis = Axis { size: 3, stride: 1, padding: 1, dilation: 1, input: 9, output: 9 };

    #[test]
    fn windows_inside_go_in_runs_of_three() {
        let counts = counted(AXIS, 16, 50, None);
        // Seven lines of seven windows inside, in two chunks of rows; 32 windows at the edge.
        assert_eq!([counts.get("chunk"), counts.get("run")], [2.0, 14.0]);
        assert_eq!([counts.get("three"), counts.get("spots")], [28.0, 6.0]);
        assert_eq!(counts.get("edges"), 22.0);
        // 28 rows and 22 are 25 pairs, 9 vectors each.
        assert_eq!(counts.get("pair-vector"), (14.0 + 3.0 + 11.0) * 25.0 * 9.0);
        assert_eq!(counts.get("ordered-row"), 34.0 * 3.0 * 3.0);
        let dense = Axis { size: 1, padding: 0, ..AXIS };
        let counts = counted(dense, 16, 8, None);
        assert_eq!([counts.get("run"), counts.get("three")], [1.0, 27.0]);
    }

    #[test]
    fn windows_of_a_pooling_go_three_at_a_time() {
        let window = Window { size: [3; 2], stride: [3; 2], padding: [0; 2] };
        let counts = counted(AXIS, 4, 8, Some(window));
        assert_eq!([counts.get("pooled-three"), counts.get("pooled-position")], [3.0, 27.0]);
        assert_eq!(counts.get("outputs"), 3.0);
        assert_eq!(counts.get("three") + counts.get("spots") + counts.get("edges"), 27.0);
        assert_eq!(counts.get("raise"), 24.0);
    }

    #[test]
    fn long_windows_are_pieces() {
        // 3 × 70 values are a piece of three rows, of 200 channels rows of 304 and 296.
        let few = counted(AXIS, 70, 4, None);
        assert_eq!(few.get("piece"), 2.0 * (14.0 + 3.0));
        let many = counted(AXIS, 200, 4, None);
        assert_eq!(many.get("piece"), 5.0 * (14.0 + 3.0));
    }
}
