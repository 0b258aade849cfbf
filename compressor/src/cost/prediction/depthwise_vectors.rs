//! Depthwise convolutions with vectors, by `mve`: some channels at a time, whose weights and parameters are
//! held, and tiles of positions whose pixels are put together; or runs of positions that have the same taps inside.

use super::counts::Counts;
use super::depthwise::Depthwise;
use super::windows::Axis;

/// Taps of a vector of offsets, taps that planes have at most, and channels of a quad.
const LANES: usize = 8;
const TAPS: usize = 16;
const QUAD: usize = 4;
/// Channels that are held at once, and bytes of their weights and planes.
const CHANNELS: usize = 32;
const BYTES: usize = 1920;
/// The farthest pixel of a window in a plane, planes at once where there is little room, and pixels of each of them.
const FARTHEST: usize = 63;
const FEW: usize = 4;
const FEW_PIXELS: usize = BYTES / FEW / QUAD - TAPS;
/// Channels whose pixels are copied at once.
const COPIED: usize = 16;

/// How a layer is cut into tiles.
struct Cut {
    quads: usize,
    /// Positions of a tile, and pixels that they see.
    positions: [usize; 2],
    pixels: [usize; 2],
}

/// Pixels that so many positions see.
fn pixels(axis: &Axis, positions: usize) -> usize {
    (positions - 1) * axis.stride + (axis.size - 1) * axis.dilation + 1
}

/// How many positions see no more than `most` pixels, alike for all tiles.
fn positions(axis: &Axis, most: usize) -> Option<usize> {
    let most = most.checked_sub(pixels(axis, 1))? / axis.stride + 1;
    Some(axis.output.div_ceil(axis.output.div_ceil(most)))
}

/// Pixels inside the image that positions of each tile along an axis see, those positions, and whether that is all.
fn tiles(axis: &Axis, positions: usize) -> impl Iterator<Item = (usize, usize, bool)> {
    (0..axis.output).step_by(positions).map(move |first| {
        let count = positions.min(axis.output - first);
        let (begin, all) = (first * axis.stride, pixels(axis, count));
        let end = (begin + all).saturating_sub(axis.padding).min(axis.input);
        let inside = end.saturating_sub(begin.saturating_sub(axis.padding));
        (inside, count, inside == all)
    })
}

impl Cut {
    /// `None` where windows have too many taps, or reach too far.
    fn new([rows, columns]: &[Axis; 2], channels: usize) -> Option<Self> {
        let [high, wide] = [rows, columns].map(|axis| pixels(axis, 1));
        if rows.size * columns.size > TAPS {
            return None;
        }
        let across = FARTHEST.checked_sub(wide - 1)?;
        let across = across.checked_div(high - 1).unwrap_or(usize::MAX);
        let across = positions(columns, across.min(FEW_PIXELS / high))?;
        let wide = pixels(columns, across);
        let whole = pixels(rows, rows.output) * wide + TAPS;
        let quads = channels / QUAD;
        let most = (BYTES / QUAD / whole).clamp(FEW, CHANNELS / QUAD);
        let quads = quads.div_ceil(quads.div_ceil(most).max(1)).max(1);
        let down = positions(rows, (BYTES / QUAD / quads - TAPS) / wide)?;
        Some(Self { quads, positions: [down, across], pixels: [pixels(rows, down), wide] })
    }
}

impl Depthwise<'_> {
    /// The axes as the kernels take them: a column of pixels is a row.
    fn turned(&self) -> [Axis; 2] {
        let [rows, columns] = self.axes;
        let is_column = [columns.input, columns.size, columns.output] == [1; 3];
        if is_column { [columns, rows] } else { [rows, columns] }
    }

    /// Whether all channels go by planes, which don't mind how far taps are from each other.
    pub(super) fn has_planes(&self) -> bool {
        let multipliers = self.parameters.some(0..self.parameters.rows);
        let are_right = multipliers.iter().all(|multiplier| multiplier.shift < 0);
        are_right && Cut::new(&self.turned(), self.channels).is_some()
    }

    pub(super) fn vectors(&self, counts: &mut Counts) {
        let (rows, columns) = (self.parameters.rows, self.axes[0].size * self.axes[1].size);
        let (axes, padded) = (self.turned(), columns.next_multiple_of(TAPS));
        let cut = Cut::new(&axes, self.channels);
        let most = cut.as_ref().map_or(CHANNELS.min(BYTES / padded), |cut| cut.quads * QUAD);
        let mut start = 0;
        while start < rows {
            start = start.min(rows.saturating_sub(QUAD));
            let some = (most.min(rows - start) & !(QUAD - 1)).max(QUAD);
            self.hold(counts, some, columns);
            let multipliers = self.parameters.some(start..start + some);
            let shifts = multipliers.iter().any(|multiplier| multiplier.shift >= 0);
            match &cut {
                Some(cut) if !shifts => self.planes(counts, cut, &axes, some),
                _ => self.runs(counts, &axes, some / QUAD, shifts),
            }
            start += some;
        }
    }

    /// What is held of so many channels.
    fn hold(&self, counts: &mut Counts, channels: usize, columns: usize) {
        let parameters = self.parameters;
        let quads = (channels / QUAD) as f64;
        counts.add("part", 1.0);
        counts.add("channel", channels as f64);
        if parameters.bits != 8 {
            parameters.fields(counts, channels as f64, columns, 1.0);
        }
        counts.add("held-sixteen", quads * columns.div_ceil(TAPS) as f64);
        counts.add(format!("quad-{}-bias", parameters.bias_name()), quads);
        counts.add(format!("quad-{}", parameters.scope()), quads);
    }

    /// Tiles of positions, by planes.
    fn planes(&self, counts: &mut Counts, cut: &Cut, axes: &[Axis; 2], channels: usize) {
        let [rows, columns] = axes;
        let (quads, blocks) = ((channels / QUAD) as f64, channels.div_ceil(COPIED) as f64);
        let plane = (cut.pixels[0] * cut.pixels[1] * QUAD) as f64;
        for (high, down, has_rows) in tiles(rows, cut.positions[0]) {
            for (wide, across, has_columns) in tiles(columns, cut.positions[1]) {
                counts.add("tile", 1.0);
                if !(has_rows && has_columns) {
                    counts.add("tile-edge", 1.0);
                    counts.add("tile-edge-vector", plane * quads / 16.0);
                }
                counts.add("tile-row", blocks * high as f64);
                counts.add("tile-pixel", blocks * (high * wide) as f64);
                counts.add("plane-line", down as f64);
                counts.add("plane-position", (down * across) as f64);
                counts.add("plane-quad", (down * across) as f64 * quads);
            }
        }
    }

    /// Runs of positions, by the kernel that takes them.
    fn runs(&self, counts: &mut Counts, [down, right]: &[Axis; 2], quads: usize, shifts: bool) {
        let columns = down.size * right.size;
        let (vectors, quads) = (columns.div_ceil(LANES) as f64, quads as f64);
        let across = right.runs();
        for rows in down.runs() {
            for run in &across {
                let is_inside = rows.taps == down.size && run.taps == right.size;
                let kernel = match is_inside {
                    _ if shifts => "any",
                    true => "inside",
                    false => "edge",
                };
                // The longer side of a rectangle of positions is what the kernel goes along.
                let lines = rows.windows.min(run.windows) as f64;
                let positions = (rows.windows * run.windows) as f64;
                for (name, count) in [
                    ("line", lines),
                    ("position", positions),
                    ("quad", positions * quads),
                    ("vector", positions * quads * vectors),
                ] {
                    counts.add(format!("{kernel}-{name}"), count);
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
    fn tiles_of_positions_have_planes() {
        let axis = Axis { size: 3, stride: 1, padding: 1, dilation: 1, input: 8, output: 8 };
        let kernels = Core::CortexM55.kernels();
        let parameters = Parameters::plain(70, Layout::RowMajor);
        let depthwise =
            Depthwise { kernels: &kernels, parameters: &parameters, axes: [axis; 2], channels: 70 };
        let mut counts = Counts::default();
        depthwise.count(Way::Threes, &mut counts);
        // Sixteen channels at once, then four, and the last four, two of which are among those.
        assert_eq!([counts.get("part"), counts.get("channel")], [6.0, 72.0]);
        assert_eq!(counts.get("plane-quad"), 64.0 * 18.0);
        // Each tile sees all of the image, and what is around it.
        assert_eq!([counts.get("tile"), counts.get("tile-edge")], [6.0, 6.0]);
        assert_eq!(counts.get("tile-pixel"), 64.0 * 6.0);
    }
}
