//! Depthwise convolutions with vectors, by `mve`: some channels at a time, whose weights and parameters are
//! held, and runs of positions that have the same taps inside.

use super::counts::Counts;
use super::depthwise::Depthwise;

/// Taps of a vector of offsets, and channels of a quad.
const LANES: usize = 8;
const QUAD: usize = 4;
/// Channels that are held at once, and bytes of their weights.
const CHANNELS: usize = 64;
const WEIGHTS: usize = 1024;

impl Depthwise<'_> {
    pub(super) fn vectors(&self, counts: &mut Counts) {
        let (rows, columns) = (self.parameters.rows, self.axes[0].size * self.axes[1].size);
        let vectors = columns.div_ceil(LANES);
        let mut start = 0;
        while start < rows {
            start = start.min(rows.saturating_sub(QUAD));
            let most = CHANNELS.min(WEIGHTS / (vectors * LANES)).min(rows - start) & !(QUAD - 1);
            let some = most.max(QUAD);
            self.hold(counts, some, columns);
            let multipliers = self.parameters.some(start..start + some);
            let shifts = multipliers.iter().any(|multiplier| multiplier.shift >= 0);
            self.runs(counts, some / QUAD, columns, shifts);
            start += some;
        }
    }

    /// What is held of so many channels.
    fn hold(&self, counts: &mut Counts, channels: usize, columns: usize) {
        let parameters = self.parameters;
        let quads = (channels / QUAD) as f64;
        counts.add("part", 1.0);
        counts.add("channel", channels as f64);
        if parameters.bits == 8 {
            counts.add("held-vector", (channels * columns.div_ceil(16)) as f64);
        } else {
            parameters.fields(counts, channels as f64, columns, 1.0);
        }
        counts.add(format!("quad-{}-bias", parameters.bias_name()), quads);
        counts.add(format!("quad-{}", parameters.scope()), quads);
        if parameters.has_offset() {
            counts.add("fold-quad", quads);
            counts
                .add("fold-vector", quads * (columns.div_ceil(LANES) * LANES).div_ceil(16) as f64);
        }
    }

    /// Runs of positions, by the kernel that takes them.
    fn runs(&self, counts: &mut Counts, quads: usize, columns: usize, shifts: bool) {
        let [down, right] = &self.axes;
        let (vectors, quads) = (columns.div_ceil(LANES), quads as f64);
        let across = right.runs();
        for rows in down.runs() {
            for run in &across {
                let is_inside = rows.taps == down.size && run.taps == right.size;
                let taps = rows.taps * run.taps;
                let kernel = match (vectors, is_inside) {
                    _ if shifts => "any",
                    (1, true) => "inside-1",
                    (1, false) => "edge-1",
                    (2, true) => "inside-2",
                    // Taps inside and outside are a vector each.
                    (2, false) if taps <= LANES && columns - taps <= LANES && columns < 16 => {
                        counts.add("parted", 1.0);
                        "parted"
                    }
                    (2, false) => "edge-2",
                    _ => "long",
                };
                // The longer side of a rectangle of positions is what the kernel goes along.
                let lines = rows.windows.min(run.windows) as f64;
                let positions = (rows.windows * run.windows) as f64;
                for (name, count) in
                    [("line", lines), ("position", positions), ("quad", positions * quads)]
                {
                    counts.add(format!("{kernel}-{name}"), count);
                }
                if matches!(kernel, "any" | "long") {
                    counts.add(format!("{kernel}-vector"), positions * quads * vectors as f64);
                }
                counts.add("mask", 1.0);
                counts.add("mask-row", rows.taps as f64);
                counts.add("mask-tap", columns as f64);
            }
        }
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
    fn runs_of_positions_have_kernels() {
        let axis = Axis { size: 3, stride: 1, padding: 1, dilation: 1, input: 8, output: 8 };
        let kernels = Core::CortexM55.kernels();
        let parameters = Parameters::plain(70, Layout::RowMajor);
        let depthwise =
            Depthwise { kernels: &kernels, parameters: &parameters, axes: [axis; 2], channels: 70 };
        let mut counts = Counts::default();
        depthwise.count(Way::Threes, &mut counts);
        // 64 channels, then the last eight, two of which are among those.
        assert_eq!([counts.get("part"), counts.get("channel")], [3.0, 72.0]);
        assert_eq!(counts.get("inside-2-quad"), 36.0 * 18.0);
        // At edges three taps are outside, at corners five.
        assert_eq!(counts.get("parted-quad"), 28.0 * 18.0);
        assert_eq!(counts.get("mask"), 27.0);
    }
}
