//! What outputs take when their sums are there: biases, multipliers, rounding and clamping.

use std::ops::Range;

use bitsback_runtime::format::BiasWidth;
use bitsback_runtime::requantize::Multiplier;

use super::cores::{Family, Kernels};
use super::counts::Counts;
use super::parameters::Parameters;

/// Rows of a chunk: `CHUNK_ROWS` of `runtime/src/arch`.
pub(super) const CHUNK: usize = 64;
/// Least fraction of a multiplier that is taken the fast way, but for 0.
const USUAL_VALUE: i32 = 1 << 29;
/// Furthest shift to the right that it is taken with behind any sum.
const USUAL_SHIFT: i32 = 20;
/// Sums that can be doubled.
const DOUBLED: u64 = 1 << 29;

/// Rows by what their multipliers ask of kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Kinds {
    /// Taken behind any sum.
    pub(super) usual: f64,
    /// Taken where sums are small.
    pub(super) small: f64,
    /// Taken by no kernel of `dsp`.
    pub(super) rare: f64,
    /// That shift to the right, and that don't.
    pub(super) shifted: f64,
    pub(super) shiftless: f64,
}

impl Kinds {
    /// Of rows of so many columns.
    pub(super) fn of(multipliers: &[Multiplier], columns: usize) -> Self {
        let mut kinds = Self::default();
        let doubles = (columns as u64).saturating_mul(128 * 255) < DOUBLED;
        for &Multiplier { value, shift } in multipliers {
            let right = -i32::from(shift);
            let is_usual = value >= USUAL_VALUE && (1..=USUAL_SHIFT).contains(&right);
            if value == 0 || is_usual {
                kinds.usual += 1.0;
            } else if (1..=31).contains(&right) && doubles {
                kinds.small += 1.0;
            } else {
                kinds.rare += 1.0;
            }
            *(if right > 0 { &mut kinds.shifted } else { &mut kinds.shiftless }) += 1.0;
        }
        kinds
    }

    /// Of rows of so many columns with weights of so many bits, as `scalar` has them: none is small.
    pub(super) fn of_scalar(multipliers: &[Multiplier], (bits, columns): (usize, usize)) -> Self {
        let mut kinds = Self::default();
        let largest = (columns as u64).saturating_mul(255 << bits.saturating_sub(1).min(15));
        for &Multiplier { value, shift } in multipliers {
            let right = -i32::from(shift);
            let is_usual = (1..=31).contains(&right) && value >= 0 && largest < DOUBLED;
            *(if is_usual { &mut kinds.usual } else { &mut kinds.rare }) += 1.0;
            *(if right > 0 { &mut kinds.shifted } else { &mut kinds.shiftless }) += 1.0;
        }
        kinds
    }
}

impl Parameters {
    /// Multipliers of some rows.
    pub(super) fn some(&self, rows: Range<usize>) -> &[Multiplier] {
        let end = rows.end.min(self.multipliers.len());
        self.multipliers.get(rows.start.min(end)..end).unwrap_or_default()
    }

    /// How biases are stored, as a name.
    pub(super) fn bias_name(&self) -> &'static str {
        match self.bias {
            None => "no",
            Some((BiasWidth::I8, _)) => "byte",
            Some((BiasWidth::I16, _)) => "half",
            Some((BiasWidth::I32, _)) => "word",
        }
    }

    /// Whether a kernel reads biases of so many rows as they lie, where rows share a multiplier.
    fn lies_ready(&self, rows: usize) -> bool {
        !self.per_channel && self.bias == Some((BiasWidth::I32, 0)) && rows.is_multiple_of(4)
    }

    /// Whether multipliers are of a channel's own, as a name.
    pub(super) fn scope(&self) -> &'static str {
        if self.per_channel { "channel" } else { "layer" }
    }

    /// The outputs of some rows at so many positions, a chunk at a time; what rows are finished with is
    /// prepared `held` times, but for biases that a kernel reads as they lie.
    pub(super) fn finish(
        &self,
        counts: &mut Counts,
        rows: Range<usize>,
        columns: usize,
        positions: f64,
        held: f64,
        reads_biases: bool,
    ) {
        let (count, scope) = (rows.len(), self.scope());
        let times = |number: usize| positions * number as f64;
        // Chunks, quads and outputs, with multipliers of a channel's own or of the layer.
        counts.add(format!("chunk-{scope}"), times(count.div_ceil(CHUNK)));
        counts.add(format!("quad-{scope}"), times(count.div_ceil(4)));
        counts.add(format!("output-{scope}"), times(count));
        for first in rows.clone().step_by(CHUNK) {
            let some = self.some(first..rows.end.min(first + CHUNK));
            let (kinds, bias) = (Kinds::of(some, columns), self.bias_name());
            if !reads_biases || !self.lies_ready(some.len()) {
                counts.add(format!("output-{scope}-{bias}-bias"), times(some.len()));
            }
            counts.add("shifted-output", positions * kinds.shifted);
            counts.add("shiftless-output", positions * kinds.shiftless);
            // Rows that scales are prepared for, fast or one by one.
            let (fast, slow) =
                if self.per_channel { (kinds.usual, 0.0) } else { (0.0, kinds.usual) };
            counts.add("held-row", held * fast);
            let slow = held * (slow + kinds.small + kinds.rare);
            let with = if self.per_channel { bias } else { "any" };
            let with = if with == "no" { "no" } else { "a" };
            counts.add(format!("held-apart-{scope}-{with}-bias"), slow);
            counts.add(format!("small-output-{scope}"), positions * kinds.small);
            if kinds.rare > 0.0 {
                counts.add("rare-output", positions * kinds.rare);
                if !self.per_channel {
                    counts.add(format!("rare-layer-{bias}-bias"), positions * kinds.rare);
                }
                counts.add("rare-chunk-output", positions * some.len() as f64);
            }
        }
    }

    /// The outputs of all rows at so many positions, one by one.
    pub(super) fn finish_each(&self, counts: &mut Counts, positions: f64) {
        let kinds = Kinds::of(&self.multipliers, 0);
        counts.add("one-output", positions * self.rows as f64);
        if self.per_channel {
            counts.add("one-channel-output", positions * self.rows as f64);
        }
        counts.add("one-shifted", positions * kinds.shifted);
        counts.add("one-shiftless", positions * kinds.shiftless);
    }

    /// What groups of neighbouring channels are finished with, prepared so many times.
    pub(super) fn finish_groups(
        &self,
        kernels: &Kernels,
        counts: &mut Counts,
        positions: f64,
        times: f64,
    ) -> Kinds {
        const LANES: usize = 4;
        let groups = self.rows.div_ceil(LANES) as f64;
        let (scope, bias) = (self.scope(), self.bias_name());
        counts.add(format!("group-{scope}"), times * groups);
        counts.add(format!("group-{scope}-{bias}-bias"), times * groups);
        let mut all = Kinds::default();
        for first in (0..self.rows).step_by(LANES) {
            let first = first.min(self.rows.saturating_sub(LANES));
            let kinds = Kinds::of(self.some(first..first + LANES), 1);
            all.rare += kinds.rare;
            all.small += kinds.small;
            all.shifted += kinds.shifted;
            all.shiftless += kinds.shiftless;
            if kernels.family == Family::Dsp && kinds.rare > 0.0 {
                counts.add("rare-group", times);
            }
        }
        counts.add("group-small", times * all.small);
        counts.add("shifted-output", positions * all.shifted);
        counts.add("shiftless-output", positions * all.shiftless);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitsback_runtime::format::Layout;

    #[test]
    fn multipliers_are_usual_small_or_rare() {
        let of = |value, shift| Kinds::of(&[Multiplier { value, shift }], 100);
        assert_eq!(of(1 << 30, -9), Kinds { usual: 1.0, shifted: 1.0, ..Kinds::default() });
        assert_eq!(of(0, 3), Kinds { usual: 1.0, shiftless: 1.0, ..Kinds::default() });
        assert_eq!(of(1 << 20, -9).small, 1.0);
        assert_eq!(of(1 << 30, -25).small, 1.0);
        assert_eq!(of(1 << 30, 2).rare, 1.0);
        let many = [Multiplier { value: 1 << 20, shift: -9 }];
        assert_eq!(Kinds::of(&many, 20_000).rare, 1.0);
        // Without small ones, those are usual or rare.
        assert_eq!(Kinds::of_scalar(&many, (8, 100)).usual, 1.0);
        assert_eq!(Kinds::of_scalar(&many, (8, 20_000)).rare, 1.0);
    }

    #[test]
    fn outputs_are_finished_by_chunks() {
        let mut parameters = Parameters::plain(66, Layout::RowMajor);
        let counted = |parameters: &Parameters, reads_biases| {
            let mut counts = Counts::default();
            parameters.finish(&mut counts, 0..66, 9, 10.0, 3.0, reads_biases);
            counts
        };
        let counts = counted(&parameters, true);
        assert_eq!([counts.get("held-row"), counts.get("output-channel")], [198.0, 660.0]);
        assert_eq!([counts.get("chunk-channel"), counts.get("quad-channel")], [20.0, 170.0]);
        assert_eq!(counts.get("output-channel-word-bias"), 660.0);
        // Biases of whole quads are read as they lie: of the first chunk.
        parameters.per_channel = false;
        assert_eq!(counted(&parameters, true).get("output-layer-word-bias"), 20.0);
        assert_eq!(counted(&parameters, false).get("output-layer-word-bias"), 660.0);
    }
}
