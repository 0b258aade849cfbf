//! Convolutions of bytes by words of two inputs, by `scalar`: four positions at a time, filters in chunks and
//! windows in pieces.

use std::ops::Range;

use super::convolution::Convolution;
use super::cores::Family;
use super::counts::Counts;
use super::finish::Kinds;
use super::path::Form;
use super::positions::Gathers;

/// Fewest filters, and positions at once, of which there are as many at least.
const LEAST_ROWS: usize = 8;
const POSITIONS: usize = 4;
/// Most filters at once.
const ROWS: usize = 32;
/// Most columns of a window that are gathered at once, and columns of a turn.
const PIECE: usize = 72;
const STEP: usize = 4;

impl Convolution<'_> {
    /// Whether so many filters are taken so.
    pub(super) fn is_packed(&self, rows: usize) -> bool {
        let parameters = self.parameters;
        let are_bytes = parameters.bits == 8 && parameters.form != Form::Pairs;
        let positions = self.axes[0].output.saturating_mul(self.axes[1].output);
        self.kernels.family == Family::Scalar
            && self.pool.is_none()
            && are_bytes
            && rows >= LEAST_ROWS
            && positions >= POSITIONS
    }

    /// Some filters that are.
    pub(super) fn packed(&self, counts: &mut Counts, rows: Range<usize>) {
        let (columns, step) = (self.columns(), self.kernels.packed_rows);
        let at_once = part(rows.len(), ROWS, step).max(1);
        let piece = part(columns, PIECE, STEP).max(1);
        let pieces = || (0..columns).step_by(piece).map(|begin| piece.min(columns - begin));
        let positions = self.axes[0].output * self.axes[1].output;
        let groups = positions.div_ceil(POSITIONS) as f64;
        let chunks = rows.len().div_ceil(at_once) as f64;
        let calls = groups * pieces().count() as f64;
        let turns: usize = pieces().map(|len| len / STEP).sum();
        let (turns, rest) = (groups * turns as f64, groups * (columns % STEP) as f64);
        counts.add("packed-batch", 1.0);
        counts.add("packed-chunk", chunks);
        counts.add("packed-group", chunks * groups);
        counts.add("packed-piece", chunks * calls);
        counts.add("packed-column", chunks * groups * columns as f64);
        let mut gathers = Gathers::new(self);
        gathers.add_all();
        // Positions that are missing to the last group are its first one again.
        let times = chunks * groups * POSITIONS as f64 / positions as f64;
        gathers.spread(counts, (piece, pieces().count()), times);
        for start in rows.clone().step_by(at_once) {
            let count = at_once.min(rows.end - start);
            let taken = count.next_multiple_of(step) as f64;
            counts.add("packed-row", calls * taken);
            counts.add("packed-row-turn", turns * taken);
            counts.add("packed-row-rest", rest * taken);
            counts.add("packed-odd", calls * f64::from(!count.is_multiple_of(step)));
            counts.add("packed-group-row", groups * count as f64);
            self.packed_outputs(counts, start..start + count, positions as f64, groups);
        }
    }

    fn packed_outputs(&self, counts: &mut Counts, rows: Range<usize>, positions: f64, groups: f64) {
        let parameters = self.parameters;
        let (count, columns) = (rows.len() as f64, self.columns());
        let (scope, bias) = (parameters.scope(), parameters.bias_name());
        counts.add(format!("packed-held-{scope}"), count);
        counts.add(format!("packed-held-{bias}-bias"), count);
        if parameters.has_offset() {
            counts.add("packed-sum-row", count);
            counts.add("packed-sum-weight", count * columns as f64);
        }
        let kinds = Kinds::of_scalar(parameters.some(rows), (parameters.bits, columns));
        counts.add("packed-output", positions * count);
        counts.add("packed-rare-row", groups * kinds.rare);
        counts.add("packed-rare-output", positions * kinds.rare);
        counts.add("packed-rare-shiftless", positions * kinds.shiftless);
    }
}

/// How many of `all` go into each of the fewest parts of at most `most`, in whole steps.
fn part(all: usize, most: usize, step: usize) -> usize {
    all.div_ceil(all.div_ceil(most).max(1)).next_multiple_of(step).min(most)
}

#[cfg(test)]
mod tests {
    use super::super::cores::Core;
    use super::super::parameters::Parameters;
    use super::super::windows::Axis;
    use super::*;
    use bitsback_runtime::format::Layout;

    fn counted(core: Core, rows: usize, channels: usize) -> Counts {
        let axis = Axis { size: 3, stride: 1, padding: 1, dilation: 1, input: 5, output: 5 };
        let (kernels, parameters) = (core.kernels(), Parameters::plain(rows, Layout::RowMajor));
        let conv = Convolution {
            kernels: &kernels,
            parameters: &parameters,
            axes: [axis; 2],
            channels,
            offset: 0,
            pool: None,
        };
        let mut counts = Counts::default();
        conv.count(&mut counts);
        counts
    }

    #[test]
    fn filters_go_in_chunks_and_windows_in_pieces() {
        let counts = counted(Core::CortexM3, 33, 9);
        // 33 filters are 17 and 16; 81 columns are 44 and 37; 25 positions are seven groups.
        assert_eq!([counts.get("packed-chunk"), counts.get("packed-group")], [2.0, 14.0]);
        assert_eq!([counts.get("packed-piece"), counts.get("packed-row")], [28.0, 14.0 * 33.0]);
        assert_eq!(counts.get("packed-row-turn"), 7.0 * 20.0 * 33.0);
        assert_eq!(counts.get("packed-row-rest"), 7.0 * 33.0);
        // RV32 takes rows in twos: 18 and 15.
        let counts = counted(Core::Riscv32Imc, 33, 9);
        assert_eq!([counts.get("packed-row"), counts.get("packed-odd")], [14.0 * 34.0, 14.0]);
    }

    #[test]
    fn few_filters_are_not_packed() {
        assert_eq!(counted(Core::CortexM0, 7, 4).get("packed-group"), 0.0);
        assert_eq!(counted(Core::CortexM0, 8, 4).get("packed-group"), 7.0);
        assert_eq!(counted(Core::CortexM4, 8, 4).get("packed-group"), 0.0);
    }
}
