//! Depthwise convolutions of one channel after the other, by `scalar`: positions that see the same taps
//! together, two at a time.

use super::counts::Counts;
use super::depthwise::Depthwise;
use super::finish::Kinds;

/// Most taps of a window, and taps of a turn.
pub(super) const TAPS_MAX: usize = 51;
const STEP: usize = 3;
/// Most positions at once.
const COUNT: usize = 32;
/// Channels whose parameters are at hand.
const CHANNELS: usize = 16;

impl Depthwise<'_> {
    pub(super) fn taps(&self, counts: &mut Counts) {
        let [down, right] = &self.axes;
        let rows = self.parameters.rows as f64;
        let parts = self.parameters.rows.div_ceil(CHANNELS) as f64;
        self.hold_taps(counts, parts, rows);
        let bits = self.parameters.bits;
        let across = right.runs();
        counts.add("part-runs", parts * down.runs().len() as f64);
        for vertical in down.runs() {
            for horizontal in &across {
                let taps = vertical.taps * horizontal.taps;
                let turns = taps.div_ceil(STEP) as f64;
                // Those along the longer way are taken together.
                let [inner, outer] = match vertical.windows > horizontal.windows {
                    true => [vertical.windows, horizontal.windows],
                    false => [horizontal.windows, vertical.windows],
                };
                let lines = rows * outer as f64;
                let twos: usize =
                    (0..inner).step_by(COUNT).map(|at| COUNT.min(inner - at).div_ceil(2)).sum();
                let twos = lines * twos as f64;
                counts.add_all(
                    1.0,
                    [
                        ("view", parts),
                        ("view-row", parts * vertical.taps as f64),
                        ("view-tap", parts * taps as f64),
                        ("weigh", rows),
                        ("weigh-row", rows * vertical.taps as f64),
                        ("weigh-tap", rows * taps as f64),
                        ("tap-line", lines),
                        ("tap-call", lines * inner.div_ceil(COUNT) as f64),
                        ("tap-two", twos),
                        ("tap-turn", twos * turns),
                        ("tap-output", lines * inner as f64),
                    ],
                );
                if bits != 8 {
                    let bytes = rows * (taps * bits) as f64 / 8.0;
                    counts.add("weigh-field-byte", bytes);
                }
            }
        }
        self.rare_taps(counts, down.output as f64 * right.output as f64);
    }

    /// What becomes of the sums of all channels.
    fn hold_taps(&self, counts: &mut Counts, parts: f64, rows: f64) {
        let parameters = self.parameters;
        let columns = (self.axes[0].size * self.axes[1].size) as f64;
        counts.add("part", parts);
        counts.add(format!("held-{}", parameters.scope()), rows);
        counts.add(format!("held-{}-bias", parameters.bias_name()), rows);
        if parameters.folded {
            counts.add("sum-row", rows);
            counts.add("sum-weight", rows * columns);
            if parameters.bits != 8 {
                counts.add("sum-byte", rows * columns * parameters.bits as f64 / 8.0);
            }
        }
    }

    /// Outputs that the portable function makes.
    fn rare_taps(&self, counts: &mut Counts, positions: f64) {
        let parameters = self.parameters;
        let columns = self.axes[0].size * self.axes[1].size;
        let kinds = Kinds::of_scalar(&parameters.multipliers, (parameters.bits, columns));
        let calls: usize = {
            let [down, right] = self.axes.each_ref().map(|axis| axis.runs());
            let of =
                |rows: usize, columns: usize| rows.min(columns) * rows.max(columns).div_ceil(COUNT);
            down.iter().flat_map(|a| right.iter().map(|b| of(a.windows, b.windows))).sum()
        };
        counts.add("tap-rare-call", kinds.rare * calls as f64);
        counts.add("tap-rare-output", kinds.rare * positions);
        counts.add("tap-rare-shiftless", kinds.shiftless * positions);
    }
}

#[cfg(test)]
mod tests {
    use super::super::cores::Core;
    use super::super::parameters::Parameters;
    use super::super::path::Way;
    use super::super::windows::Axis;
    use super::*;
    use bitsback_runtime::format::Layout;

    #[test]
    fn positions_go_in_twos() {
        let axis = Axis { size: 3, stride: 1, padding: 1, dilation: 1, input: 9, output: 9 };
        let (kernels, parameters) =
            (Core::CortexM0.kernels(), Parameters::plain(20, Layout::RowMajor));
        let depthwise =
            Depthwise { kernels: &kernels, parameters: &parameters, axes: [axis; 2], channels: 20 };
        let mut counts = Counts::default();
        depthwise.count(depthwise.way(), &mut counts);
        assert_eq!(depthwise.way(), Way::Threes);
        // 16 channels and four; three runs either way.
        assert_eq!([counts.get("part"), counts.get("view")], [2.0, 18.0]);
        // Seven lines of seven inside are four twos of three turns each; corners one of two, edges of two.
        assert_eq!(counts.get("tap-two"), 20.0 * (7.0 * 4.0 + 4.0 * 4.0 + 4.0));
        assert_eq!(counts.get("tap-turn"), 20.0 * (28.0 * 3.0 + 16.0 * 2.0 + 4.0 * 2.0));
        assert_eq!(counts.get("tap-output"), 20.0 * 81.0);
    }
}
