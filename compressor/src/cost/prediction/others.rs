//! Operators without weights.

use bitsback_runtime::format::{Tensor, Window};
use bitsback_runtime::ops::{Concat, Mean, ResizeNearest, Slice};
use bitsback_runtime::{Op, Step};

use super::copies::Copies;
use super::cores::{Family, Kernels};
use super::counts::Counts;
use super::finish::CHUNK;
use super::windows::Axis;

/// An operator without weights, and the kernels that it meets.
pub(super) struct Other<'a> {
    pub(super) kernels: &'a Kernels,
    pub(super) step: &'a Step,
}

/// Windows, their rows and their pixels.
#[derive(Clone, Copy, Debug, Default)]
struct Pixels {
    windows: f64,
    rows: f64,
    pixels: f64,
}

/// Dimensions of a tensor.
fn dims(tensor: Option<&Tensor>) -> Vec<usize> {
    let dims = tensor.map_or(&[][..], |tensor| tensor.shape.dims());
    dims.iter().map(|&side| usize::from(side)).collect()
}

/// How far values are apart that differ in this dimension.
fn apart(dims: &[usize], from: usize) -> usize {
    dims.iter().skip(from).product()
}

impl Other<'_> {
    fn inputs(&self) -> Vec<Tensor> {
        self.step.inputs().cloned().collect()
    }

    /// All of it.
    pub(super) fn count(&self, counts: &mut Counts) {
        let (inputs, output) = (self.inputs(), self.step.output());
        let len = output.len() as f64;
        counts.add("input", inputs.first().map_or(0, Tensor::len) as f64);
        counts.add("output", len);
        match &self.step.op {
            Op::MaxPool2d(op) => self.pool(counts, &op.window, false),
            Op::AvgPool2d(op) => self.pool(counts, &op.window, true),
            Op::Mean(op) => self.mean(counts, op),
            Op::Concat(op) => self.concat(counts, op, &inputs),
            Op::Pad(_) => self.pad(counts, &inputs),
            Op::Slice(op) => self.slice(counts, op, &inputs),
            Op::ResizeNearest(op) => self.resize(counts, op, &inputs),
            Op::LeakyRelu(_) => {
                // Inputs are taken to be evenly distributed.
                let zero_point = inputs.first().map_or(0, |input| input.zero_point);
                counts.add("below-zero", len * (f64::from(zero_point) + 128.0) / 256.0);
            }
            _ => self.values(counts, &inputs),
        }
    }

    /// Operators that take values one by one, or two.
    fn values(&self, counts: &mut Counts, inputs: &[Tensor]) {
        let output = self.step.output();
        let len = output.len();
        let channels = output.shape.channels().max(1);
        counts.add("channel", channels as f64);
        counts.add("pixel", (len / channels) as f64);
        if inputs.iter().any(|input| input.len() != inputs[0].len()) {
            counts.add("broadcast", len as f64);
        } else if len >= self.kernels.tabled {
            counts.add("table", 1.0);
            counts.add("by-table", len as f64);
        } else {
            counts.add("without-table", len as f64);
        }
    }

    fn pool(&self, counts: &mut Counts, window: &Window, is_sum: bool) {
        let (from, to) = (dims(self.inputs().first()), dims(Some(self.step.output())));
        let ([height, width, channels], [down, right, _]) = (image(&from), image(&to));
        let [rows, columns] = Axis::both(window, [1; 2], [height, width], [down, right]);
        counts.add("line", down as f64);
        counts.add("line-row", rows.tap_sum());
        let (mut few, mut many) = (Pixels::default(), Pixels::default());
        for (down, lines) in rows.kinds(0, 1) {
            for (right, count) in columns.kinds(0, 1) {
                let pixels = down.count * right.count;
                let to = if self.is_beyond(pixels, is_sum) { &mut many } else { &mut few };
                let count = count * lines;
                to.windows += count;
                to.rows += count * down.count as f64;
                to.pixels += count * pixels as f64;
            }
        }
        self.pixels(counts, &few, channels, is_sum);
        beyond(counts, &many, channels);
    }

    fn mean(&self, counts: &mut Counts, op: &Mean) {
        let channels = self.step.output().len();
        let inputs = self.inputs();
        let all = inputs.first().map_or(0, Tensor::len) / channels.max(1);
        let rows = match dims(inputs.first())[..] {
            [rows, _, _] => rows,
            _ => 1,
        };
        let pixels = Pixels { windows: 1.0, rows: rows as f64, pixels: all as f64 };
        let name = if op.multiplier.shift < 0 { "shifted-output" } else { "shiftless-output" };
        counts.add(name, channels as f64);
        if self.is_beyond(all, true) {
            counts.add("window", 1.0);
            beyond(counts, &pixels, channels);
        } else {
            self.pixels(counts, &pixels, channels, true);
        }
    }

    /// Whether that many pixels are more than vectors sum at once.
    fn is_beyond(&self, pixels: usize, is_sum: bool) -> bool {
        const MOST: usize = 256;
        self.kernels.family == Family::Vectors && is_sum && pixels > MOST
    }

    /// Sums or maxima of so many channels.
    fn pixels(&self, counts: &mut Counts, of: &Pixels, channels: usize, is_sum: bool) {
        let Pixels { windows, rows, pixels } = *of;
        counts.add("window", windows);
        counts.add("window-chunk", windows * channels.div_ceil(CHUNK) as f64);
        counts.add("window-output", windows * channels as f64);
        let rest = channels % 4;
        let [fours, groups, rests] =
            [channels / 4, channels.div_ceil(4), rest].map(|count| count as f64);
        // Vectors take eights of a chunk's channels, the last with those before once more; where a chunk
        // has fewer, they go by fours.
        let last = channels % CHUNK;
        let eights = channels / CHUNK * 8 + if last >= 8 { last.div_ceil(8) } else { 0 };
        let short = if last < 8 && channels >= 4 { last.div_ceil(4) } else { 0 };
        let by_vectors = is_sum && self.kernels.family == Family::Vectors;
        for (name, count) in [("window", windows), ("row", rows), ("pixel", pixels)] {
            counts.add(format!("{name}-four"), count * fours);
            counts.add(format!("{name}-group"), count * groups);
            counts.add(format!("{name}-left"), count * rests);
            counts.add(format!("{name}-rest"), count * f64::from(rest > 0));
            if channels < 4 {
                counts.add(format!("{name}-few"), count);
                counts.add(format!("{name}-few-channel"), count * channels as f64);
            }
            if by_vectors {
                counts.add(format!("{name}-eight"), count * eights as f64);
                counts.add(format!("{name}-short"), count * short as f64);
            }
        }
    }

    /// Rows are filled with the value around them, and then copied byte by byte.
    fn pad(&self, counts: &mut Counts, inputs: &[Tensor]) {
        let row = dims(inputs.first()).last().copied().unwrap_or(1).max(1);
        let all = inputs.first().map_or(0, Tensor::len);
        counts.add("row", (all / row) as f64);
        counts.add("row-word", (all / row * (row / 4)) as f64);
    }

    fn concat(&self, counts: &mut Counts, op: &Concat, inputs: &[Tensor]) {
        let to = dims(Some(self.step.output()));
        let axis = usize::from(op.axis);
        let (line, mut place) = (apart(&to, axis), self.step.output().offset as usize);
        let mut copies = Copies::default();
        for input in inputs {
            let len = apart(&dims(Some(input)), axis);
            for row in 0..to.iter().take(axis).product() {
                copies.add(place + row * line, input.offset as usize + row * len, len, 1.0);
            }
            place += len;
        }
        copies.count(self.kernels, 1.0, counts);
    }

    /// From the last dimension on, those that are taken whole join their rows.
    fn slice(&self, counts: &mut Counts, op: &Slice, inputs: &[Tensor]) {
        let (from, to) = (dims(inputs.first()), dims(Some(self.step.output())));
        let mut axes = vec![[1, 0, 1, 1]; 4usize.saturating_sub(from.len())];
        for (at, (&side, &output)) in from.iter().zip(&to).enumerate() {
            let of = |all: &[u16]| usize::from(all.get(at).copied().unwrap_or(1));
            axes.push([side, of(&op.begin), of(&op.stride), output]);
        }
        let Some(mut axes) = axes.first_chunk::<4>().copied() else { return };
        for _ in 0..3 {
            let [a, b, c, d] = axes;
            if d[0] == d[3] && d[2] == 1 && c[2] == 1 {
                axes = [[1, 0, 1, 1], a, b, [c[0] * d[0], c[1] * d[0], 1, c[3] * d[0]]];
            }
        }
        let [a, b, c, d] = axes;
        let lines = (a[3] * b[3]) as f64;
        let rows = lines * c[3] as f64;
        counts.add("row", rows);
        counts.add("line", lines);
        if d[2] != 1 {
            counts.add("apart", rows * d[3] as f64);
            counts.add("apart-row", rows);
            return;
        }
        let place = |[side, begin, stride, _]: [usize; 4], at: usize, outer: usize| {
            outer * side + begin + at * stride
        };
        let mut copies = Copies::default();
        let start = inputs.first().map_or(0, |input| input.offset as usize);
        let mut to = self.step.output().offset as usize;
        for i in 0..a[3] {
            for j in 0..b[3] {
                let outer = place(b, j, place(a, i, 0));
                for k in 0..c[3] {
                    copies.add(to, start + place(d, 0, place(c, k, outer)), d[3], 1.0);
                    to += d[3];
                }
            }
        }
        copies.count(self.kernels, 1.0, counts);
    }

    /// Rows that are like the one before are copied as a whole.
    fn resize(&self, counts: &mut Counts, op: &ResizeNearest, inputs: &[Tensor]) {
        let (from, to) = (dims(inputs.first()), dims(Some(self.step.output())));
        let ([height, width, channels], [rows, columns, _]) = (image(&from), image(&to));
        let line = columns * channels;
        let start = inputs.first().map_or(0, |input| input.offset as usize);
        let output = self.step.output().offset as usize;
        let source = |at: usize, side: usize, sides: usize| at * side / sides.max(1);
        let (mut copies, mut whole) = (Copies::default(), 0);
        let mut before = None;
        for row in 0..rows {
            let top = source(row, height, rows);
            let to = output + row * line;
            if before.replace(top) == Some(top) {
                copies.add(to, to.saturating_sub(line), line, 1.0);
                continue;
            }
            whole += 1;
            for column in 0..columns {
                let pixel = top * width + source(column, width, columns);
                copies.add(to + column * channels, start + pixel * channels, channels, 1.0);
            }
        }
        copies.count(self.kernels, 1.0, counts);
        counts.add("row", rows as f64);
        counts.add("pixel", (whole * columns) as f64);
        if op.half_pixel_centers {
            counts.add("centre-row", rows as f64);
            counts.add("centre", (whole * columns) as f64);
        }
    }
}

/// Sums of more pixels than vectors sum at once, by fours.
fn beyond(counts: &mut Counts, of: &Pixels, channels: usize) {
    for (name, count) in [("window", of.windows), ("row", of.rows), ("pixel", of.pixels)] {
        counts.add(format!("beyond-{name}-group"), count * channels.div_ceil(4) as f64);
        counts.add(format!("beyond-{name}-four"), count * (channels / 4) as f64);
        counts.add(format!("beyond-{name}-left"), count * (channels % 4) as f64);
        if channels < 4 {
            counts.add(format!("beyond-{name}-few"), count * channels as f64);
        }
    }
}

/// Height, width and channels; ones where there is no such image.
fn image(dims: &[usize]) -> [usize; 3] {
    <[usize; 3]>::try_from(dims).unwrap_or([1; 3])
}
