//! Depthwise convolutions: by groups of neighbouring channels, by a kernel for 3 × 3 taps, and one channel
//! after the other.

use super::convolution::segments;
use super::cores::{Family, Kernels};
use super::counts::Counts;
use super::depthwise_taps::TAPS_MAX;
use super::parameters::Parameters;
use super::path::{Form, Way};
use super::windows::Axis;

/// Fewest channels that groups are made of, and channels of one.
pub(super) const LANES: usize = 4;
/// Most taps of a group.
const TAPS: usize = 49;
/// Taps along a side, and columns of an image that are spread at once, of `dsp`'s kernel for 3 × 3 taps.
const THREES: usize = 3;
const THREES_ROOM: usize = 34;
/// Where taps may lie from the first one on, for vectors of offsets.
const OFFSETS: usize = 1 << 16;

/// A depthwise convolution as kernels see it.
pub(super) struct Depthwise<'a> {
    pub(super) kernels: &'a Kernels,
    pub(super) parameters: &'a Parameters,
    pub(super) axes: [Axis; 2],
    /// Of the input.
    pub(super) channels: usize,
}

impl Depthwise<'_> {
    /// The way that it takes.
    pub(super) fn way(&self) -> Way {
        let Self { kernels, parameters, axes: [rows, columns], channels } = self;
        let are_alike = parameters.form != Form::Coded && parameters.rows == *channels;
        let taps = rows.size * columns.size;
        let is_threes = [rows.size, columns.size] == [THREES; 2] && columns.dilation == 1;
        let (least, most) = match kernels.family {
            Family::Scalar => (1, TAPS_MAX),
            _ => (LANES, TAPS),
        };
        let takes = match kernels.family {
            Family::Vectors => {
                let down = (rows.size - 1) * rows.dilation * columns.input;
                let reach = down + (columns.size - 1) * columns.dilation;
                parameters.bits <= 8 && reach.saturating_mul(*channels) < OFFSETS
            }
            Family::Dsp if is_threes => true,
            family => {
                let fits = |axis: &Axis| axis.runs().len() <= kernels.runs;
                let has_taps = |axis: &Axis| axis.all().all(|taps| taps.count > 0);
                let down = family != Family::Dsp || fits(rows);
                down && fits(columns) && has_taps(rows) && has_taps(columns)
            }
        };
        match () {
            () if !are_alike || parameters.rows < least || taps > most || !takes => Way::Channels,
            () if is_threes && parameters.form == Form::Bytes => Way::Threes,
            () => Way::Depthwise,
        }
    }

    /// All of it, the way that it takes.
    pub(super) fn count(&self, way: Way, counts: &mut Counts) {
        let Self { kernels, parameters, axes, channels } = self;
        let columns = axes[0].size * axes[1].size;
        counts.add("weight", (parameters.rows * columns) as f64);
        if parameters.form != Form::Coded && parameters.rows == *channels {
            // Groups are tried, whether they take it or not.
            counts.add("alike", 1.0);
        }
        match (way, kernels.family) {
            (Way::Channels, _) => self.channels(counts, parameters, parameters.rows as f64),
            (_, Family::Vectors) => self.vectors(counts),
            (_, Family::Scalar) => self.taps(counts),
            (_, Family::Dsp)
                if [axes[0].size, axes[1].size] == [THREES; 2] && axes[1].dilation == 1 =>
            {
                self.threes(counts);
            }
            _ => self.groups(counts),
        }
    }

    /// Some channels, one by one.
    fn channels(&self, counts: &mut Counts, parameters: &Parameters, rows: f64) {
        let columns = self.axes[0].size * self.axes[1].size;
        let unpacks = parameters.bits < 8;
        if unpacks {
            parameters.fields(counts, rows, columns, 1.0);
        }
        let bits = if unpacks { 8 } else { parameters.bits };
        segments(counts, &self.axes, (1, true), (rows, bits, false));
        if parameters.folded && parameters.form != Form::Coded {
            counts.add("sum-row", rows);
            counts.add("sum-weight", rows * columns as f64);
        }
        let positions = self.axes[0].output as f64 * self.axes[1].output as f64;
        parameters.finish_each(counts, positions * rows / (parameters.rows as f64).max(1.0));
    }

    /// Groups of four channels.
    fn groups(&self, counts: &mut Counts) {
        let Self { kernels, parameters, axes, .. } = self;
        let [mut down, mut right] = *axes;
        let is_dsp = kernels.family == Family::Dsp;
        if is_dsp && [right.input, right.size, right.output] == [1; 3] {
            (down, right) = (right, down);
        }
        let groups = parameters.rows.div_ceil(LANES) as f64;
        let columns = (down.size * right.size) as f64;
        let (lines, positions) = (down.output as f64, down.output as f64 * right.output as f64);
        let [rows, across] = [&down, &right].map(Axis::runs);
        let taps =
            |runs: &[super::windows::Run]| runs.iter().map(|run| run.taps as f64).sum::<f64>();
        let arranged = taps(&rows) * right.size as f64;
        let [spans, runs] = [rows.len(), across.len()].map(|count| count as f64);
        let odd = |axis: &Axis| axis.all().filter(|taps| taps.count % 2 == 1).count() as f64;
        let single = across.iter().filter(|run| run.windows == 1).count() as f64;
        counts.add_all(
            groups,
            [
                ("group", 1.0),
                ("group-span", spans),
                ("group-span-column", spans * right.size as f64),
                ("group-arranged", arranged),
                ("group-arranged-byte", arranged * parameters.bits as f64 / 8.0),
                ("group-line", lines),
                ("group-run", lines * runs),
                ("group-single", lines * single),
                ("group-position", positions),
                ("group-tap", down.tap_sum() * right.tap_sum()),
                ("group-odd", odd(&down) * odd(&right)),
                ("group-spans", spans * runs),
                ("group-spans-tap", taps(&rows) * taps(&across)),
            ],
        );
        let is_clipped = down.is_clipped() || right.is_clipped();
        let is_undone = is_clipped && parameters.zero_point != 0;
        if parameters.folded && (is_undone || !is_dsp) {
            counts.add("fold-group", groups);
            counts.add("fold-group-column", groups * columns);
        }
        self.finish(counts, positions, 1.0);
    }

    /// 3 × 3 taps by their own kernel, a segment of columns at a time.
    fn threes(&self, counts: &mut Counts) {
        let [down, right] = &self.axes;
        let most = (THREES_ROOM - THREES) / right.stride.max(1);
        let (mut segments, mut inside, mut outside, mut first) = (0.0, 0usize, 0usize, 0);
        while first < right.output {
            let count = (right.output - first).min(most + 1);
            let columns = (count - 1) * right.stride + THREES;
            let begin = first * right.stride;
            let before = right.padding.saturating_sub(begin).min(columns);
            let left = (begin + before).saturating_sub(right.padding);
            let some = right.input.saturating_sub(left).min(columns - before);
            segments += 1.0;
            inside += some;
            outside += columns - some;
            first += count;
        }
        let groups = self.parameters.rows.div_ceil(LANES) as f64;
        let (lines, inside) = (down.output as f64, inside as f64);
        let clipped = down.all().filter(|taps| taps.count < THREES).count() as f64;
        let positions = lines * right.output as f64;
        counts.add("three-segments", segments);
        counts.add("three-outside", outside as f64);
        counts.add_all(
            groups,
            [
                ("three-segment", segments),
                ("three-line", lines * segments),
                ("three-column", lines * inside),
                ("three-columns", inside),
                ("three-row-column", down.tap_sum() * inside),
                ("three-position", positions),
                ("three-clipped-line", clipped * segments),
                ("three-clipped-column", clipped * inside),
                ("three-clipped-position", clipped * right.output as f64),
                ("three-odd", lines * segments * (right.output % 2) as f64),
            ],
        );
        self.finish(counts, positions, segments);
    }

    /// What groups are finished with, prepared so many times; `dsp` redoes what its kernels don't take.
    fn finish(&self, counts: &mut Counts, positions: f64, times: f64) {
        let kinds = self.parameters.finish_groups(self.kernels, counts, positions, times);
        if self.kernels.family == Family::Dsp && kinds.rare > 0.0 {
            self.channels(counts, self.parameters, kinds.rare * times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cores::Core;
    use super::*;
    use bitsback_runtime::format::Layout;

    const AXIS: Axis = Axis { size: 5, stride: 1, padding: 2, dilation: 1, input: 9, output: 9 };

    fn of(core: Core, axis: Axis, rows: usize) -> (Way, Counts) {
        let (kernels, parameters) = (core.kernels(), Parameters::plain(rows, Layout::RowMajor));
        let depthwise = Depthwise {
            kernels: &kernels,
            parameters: &parameters,
            axes: [axis; 2],
            channels: rows,
        };
        let (way, mut counts) = (depthwise.way(), Counts::default());
        depthwise.count(way, &mut counts);
        (way, counts)
    }

    #[test]
    fn groups_are_of_neighbouring_channels() {
        for core in [Core::CortexM4, Core::CortexA53] {
            let (way, counts) = of(core, AXIS, 10);
            assert_eq!(way, Way::Depthwise);
            // 3 + 4 + 5 · 5 + 4 + 3 taps either way.
            assert_eq!(counts.get("group-tap"), 3.0 * 39.0 * 39.0);
            assert_eq!([counts.get("group-span"), counts.get("group-run")], [15.0, 135.0]);
        }
    }

    #[test]
    fn what_groups_do_not_take_goes_by_channels() {
        assert_eq!(of(Core::CortexA53, AXIS, 3).0, Way::Channels);
        assert_eq!(of(Core::CortexM3, AXIS, 3).0, Way::Depthwise);
        // Eleven runs, and no tap inside at all.
        let far = Axis { size: 6, dilation: 2, padding: 5, input: 20, output: 20, ..AXIS };
        assert_eq!(of(Core::CortexA53, far, 8).0, Way::Channels);
        assert_eq!(of(Core::CortexM4, far, 8).0, Way::Depthwise);
        let none = Axis { input: 1, output: 1, ..far };
        assert_eq!(of(Core::CortexM4, none, 8).0, Way::Channels);
        let wide = Axis { input: 600, output: 600, ..AXIS };
        assert_eq!(of(Core::CortexM55, wide, 100).0, Way::Channels);
    }

    #[test]
    fn threes_go_in_segments_of_columns() {
        let axis = Axis { size: 3, padding: 1, input: 40, output: 40, ..AXIS };
        let (way, counts) = of(Core::CortexM4, axis, 8);
        assert_eq!(way, Way::Threes);
        // 32 windows see 34 columns, one of them outside; the eight left see ten, one outside.
        assert_eq!([counts.get("three-segments"), counts.get("three-outside")], [2.0, 2.0]);
        assert_eq!(counts.get("three-columns"), 2.0 * (33.0 + 9.0));
        assert_eq!(of(Core::CortexA53, axis, 8).0, Way::Threes);
        assert_eq!(of(Core::CortexA53, axis, 8).1.get("group-span"), 6.0);
    }
}
