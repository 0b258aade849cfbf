//! A layer as its kernels see it: the path that it takes through them, and its counts.

use bitsback_runtime::format::{
    Affine, Bias, BiasWidth, CHANNEL_MULTIPLIER_LEN, PAIR_BLOCK_ROWS, Requantization, Tensor,
    Window,
};
use bitsback_runtime::ops::{CodedAffine, FILTER_MAX};
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::{Op, Source, Step};

use super::cores::{Core, Kernels};
use super::features::{Feature, Features};
use super::path::{Form, Path, Way};
use super::stream::Stream;
use super::windows::{Axis, Gathers};

/// Columns of a word and of a vector.
const WORD: f64 = 4.0;
const VECTOR: f64 = 16.0;
/// Rows of a chunk: `CHUNK_ROWS` of `runtime/src/arch`.
const CHUNK: f64 = 64.0;
/// Fewest channels that a depthwise convolution's kernels take.
const GROUP_CHANNELS: usize = 4;
/// Most taps of a depthwise convolution that takes groups of channels.
const GROUP_TAPS: usize = 49;
/// Least fraction of a multiplier that is taken the fast way, but for 0.
const COMMON_VALUE: i32 = 1 << 29;

/// A layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layer {
    pub(crate) path: Path,
    pub(crate) features: Features,
}

impl Layer {
    /// An operator of a model on a core; `section` is the model's weight section.
    pub(crate) fn of(core: Core, step: &Step, section: &[u8]) -> Self {
        let sight = Sight { kernels: core.kernels(), step, section };
        let (input, output) = (sight.input(), step.output());
        let mut layer = match &step.op {
            Op::Dense(op) => sight.dense(Stored::Plain(&op.affine)),
            Op::CodedDense(op) => sight.dense(Stored::Coded(&op.affine)),
            Op::Conv2d(op) => {
                sight.convolution(Stored::Plain(&op.affine), &op.window, op.dilation, None)
            }
            Op::CodedConv2d(op) => {
                sight.convolution(Stored::Coded(&op.affine), &op.window, op.dilation, None)
            }
            Op::Conv2dMaxPool2d(op) => {
                let pooled = Some((op.positions, op.pool));
                sight.convolution(Stored::Plain(&op.affine), &op.window, op.dilation, pooled)
            }
            Op::DepthwiseConv2d(op) => {
                sight.depthwise(Stored::Plain(&op.affine), &op.window, op.dilation)
            }
            Op::CodedDepthwiseConv2d(op) => {
                sight.depthwise(Stored::Coded(&op.affine), &op.window, op.dilation)
            }
            Op::MaxPool2d(op) => sight.other(Some(&op.window)),
            Op::AvgPool2d(op) => sight.other(Some(&op.window)),
            _ => sight.other(None),
        };
        layer.features.set(Feature::Input, input.map_or(0, Tensor::len) as f64);
        layer.features.set(Feature::Output, output.len() as f64);
        layer
    }
}

/// The parameters of a layer with weights.
#[derive(Clone, Copy)]
enum Stored<'a> {
    Plain(&'a Affine),
    Coded(&'a CodedAffine),
}

impl Stored<'_> {
    fn form(self) -> Form {
        match self {
            Self::Plain(affine) => Form::of(affine),
            Self::Coded(_) => Form::Coded,
        }
    }

    fn requantization(self) -> Requantization {
        match self {
            Self::Plain(affine) => affine.requantization,
            Self::Coded(affine) => affine.requantization,
        }
    }
}

/// An operator in its place.
pub(super) struct Sight<'a> {
    pub(super) kernels: Kernels,
    pub(super) step: &'a Step,
    section: &'a [u8],
}

impl Sight<'_> {
    /// The first operand.
    pub(super) fn input(&self) -> Option<&Tensor> {
        let source: Option<&Source> = self.step.op.inputs().first();
        source.map(|source| source.resolve(&self.step.previous))
    }

    /// Height, width and channels; ones where there is no such image.
    pub(super) fn image(tensor: Option<&Tensor>) -> [usize; 3] {
        match tensor.map_or(&[][..], |tensor| tensor.shape.dims()) {
            [height, width, channels] => [height, width, channels].map(|&n| usize::from(n)),
            dims => [1, 1, dims.iter().map(|&n| usize::from(n)).product()],
        }
    }

    fn dense(&self, stored: Stored<'_>) -> Layer {
        let (rows, columns) = (self.step.output().len(), self.input().map_or(0, Tensor::len));
        let mut features = Features::new();
        products(&mut features, [rows, columns], 1.0, 1.0);
        if columns > self.kernels.inputs {
            features.set(Feature::BeyondProduct, (rows * columns) as f64);
            features.set(Feature::BeyondRow, rows as f64);
        }
        self.finishing(&mut features, stored, [rows, columns], 1.0);
        Layer { path: Path::Weights(Way::Dense, stored.form()), features }
    }

    /// A convolution; `pooled` are the height and width of its image, and the pooling behind it.
    fn convolution(
        &self,
        stored: Stored<'_>,
        window: &Window,
        dilation: [u16; 2],
        pooled: Option<([u16; 2], Window)>,
    ) -> Layer {
        let [height, width, channels] = Self::image(self.input());
        let [down, right, rows] = Self::image(Some(self.step.output()));
        let output = pooled.map_or([down, right], |(positions, _)| positions.map(usize::from));
        let axes = Axis::both(window, dilation, [height, width], output);
        let [vertical, horizontal] = axes.map(|axis| axis.along());
        let columns = axes[0].size * axes[1].size * channels;
        let whole = vertical.windows * horizontal.windows;
        // Positions that no pooling window sees aren't computed.
        let positions = pooled.map_or(whole, |(_, pool)| {
            let sides = Axis::both(&pool, [1; 2], output, [down, right]);
            sides.map(|axis| axis.along().taps).iter().product()
        });
        let part = positions / whole.max(1.0);
        let mut features = Features::new();
        self.finishing(&mut features, stored, [rows, columns], positions);
        let apart = if axes[1].dilation == 1 { 1.0 } else { axes[1].size as f64 };
        let stretch = columns as f64 / (axes[0].size as f64 * apart).max(1.0);
        let window_rows = positions * axes[0].size as f64 * apart;
        features.set(Feature::WindowRow, window_rows);
        features.set(Feature::Gathered, positions * columns as f64);
        features.set(Feature::GatheredVector, window_rows * (stretch / VECTOR).ceil());
        let gathers = self.gathers(&axes, pooled);
        products(&mut features, [rows, columns], positions, gathers.all);
        self.gathering(&mut features, &axes, columns, gathers);
        let pixels = vertical.taps * horizontal.taps * part;
        features.set(Feature::Pixel, pixels);
        features.set(Feature::PixelRow, vertical.taps * horizontal.windows * part * apart);
        let taps = pixels * channels as f64 * rows as f64;
        features.set(Feature::Tap, taps);
        let bits = self.step.parameters().bits.map_or(8, usize::from);
        let unaligned = !(bits * channels).is_multiple_of(8);
        features.set(Feature::UnalignedTap, if unaligned { taps } else { 0.0 });
        let rows_of_taps = vertical.taps * horizontal.windows * part * apart;
        features.set(Feature::TapRow, rows_of_taps * rows as f64);
        let way = match pooled {
            Some((_, pool))
                if channels == 1
                    && stored.form() == Form::Bytes
                    && axes.map(|axis| (axis.size, axis.stride, axis.dilation))
                        == [(5, 1, 1); 2]
                    && [pool.size, pool.stride] == [[2; 2]; 2] =>
            {
                Way::Squares
            }
            Some(_) => Way::ConvPool,
            None if columns > FILTER_MAX => Way::LongConv,
            None => Way::Conv,
        };
        Layer { path: Path::Weights(way, stored.form()), features }
    }

    /// How often positions are gathered.
    fn gathers(&self, axes: &[Axis; 2], pooled: Option<([u16; 2], Window)>) -> Gathers {
        let (at_once, [down, right, _]) =
            (self.kernels.positions, Self::image(Some(self.step.output())));
        let Some((_, pool)) = pooled else { return Gathers::of(axes, at_once) };
        // All positions of a window of the pooling, whose neighbours are like it.
        let inside = axes.map(|axis| axis.along().inside / axis.output.max(1) as f64);
        let each = pool.size.map(usize::from).iter().product::<usize>().div_ceil(at_once);
        let all = (down * right * each) as f64;
        Gathers { all, slow: all * (1.0 - inside[0] * inside[1]) }
    }

    /// What gathering windows of so many columns takes.
    fn gathering(&self, features: &mut Features, axes: &[Axis; 2], columns: usize, of: Gathers) {
        let [rows, taps] = axes;
        let pieces = columns.div_ceil(self.kernels.piece.max(1)) as f64;
        let row = columns.checked_div(rows.size).unwrap_or_default();
        let is_together = taps.dilation == 1 && row >= self.kernels.least_row;
        let slow = if is_together { of.slow } else { of.all } * pieces;
        let apart = if taps.dilation == 1 { 1 } else { taps.size };
        let positions = slow * self.kernels.positions as f64;
        features.set(Feature::Gather, of.all * pieces);
        features.set(Feature::EdgeGather, slow);
        features.set(Feature::EdgeRow, positions * (rows.size * apart) as f64);
        features.set(Feature::EdgeValue, positions * columns as f64);
    }

    fn depthwise(&self, stored: Stored<'_>, window: &Window, dilation: [u16; 2]) -> Layer {
        let [height, width, channels] = Self::image(self.input());
        let [down, right, rows] = Self::image(Some(self.step.output()));
        let axes = Axis::both(window, dilation, [height, width], [down, right]);
        let [vertical, horizontal] = axes.map(|axis| axis.along());
        let columns = axes[0].size * axes[1].size;
        let positions = vertical.windows * horizontal.windows;
        let mut features = Features::new();
        products(&mut features, [rows, columns], positions, positions);
        self.finishing(&mut features, stored, [rows, columns], positions);
        let pixels = vertical.taps * horizontal.taps;
        features.set(Feature::Tap, pixels * rows as f64);
        features.set(Feature::TapRow, vertical.taps * horizontal.windows * rows as f64);
        let lanes = self.kernels.lanes;
        let groups = rows.div_ceil(lanes.max(1)) as f64;
        let run_taps = vertical.run_taps * axes[1].size as f64;
        for (feature, each) in [
            (Feature::Group, 1.0),
            (Feature::GroupRun, vertical.runs),
            (Feature::GroupRunTap, run_taps),
            (Feature::GroupRuns, vertical.runs * horizontal.runs),
            (Feature::GroupRunsTap, vertical.run_taps * horizontal.run_taps),
            (Feature::GroupRow, vertical.windows * horizontal.runs),
            (Feature::GroupPosition, positions),
            (Feature::GroupTap, pixels),
        ] {
            features.set(feature, groups * each);
        }
        let is_plain = stored.form() != Form::Coded;
        let together =
            is_plain && rows == channels && rows >= GROUP_CHANNELS && columns <= GROUP_TAPS;
        let threes = axes.map(|axis| axis.size) == [3; 2] && axes[1].dilation == 1;
        let way = match stored.form() {
            Form::Bytes if together && threes => Way::Threes,
            _ if together => Way::Depthwise,
            _ => Way::Channels,
        };
        Layer { path: Path::Weights(way, stored.form()), features }
    }

    /// What the weights' form, their biases and their multipliers add.
    fn finishing(
        &self,
        features: &mut Features,
        stored: Stored<'_>,
        [rows, columns]: [usize; 2],
        positions: f64,
    ) {
        let weights = (rows * columns) as f64;
        let outputs = positions * rows as f64;
        let bytes = self.step.parameters().weight_bytes as f64;
        features.set(Feature::PackedByte, positions * bytes);
        features.set(Feature::WeightByte, bytes);
        let zero_point = self.input().map_or(0, |input| input.zero_point);
        let (has_offset, narrow) = match stored {
            Stored::Coded(affine) => {
                let lag = match &self.step.op {
                    Op::CodedConv2d(_) => Self::image(self.input())[2],
                    _ => 1,
                };
                let stream = Stream::read(affine, self.section, [rows, columns], lag);
                features.set(Feature::Byte, affine.len.into());
                features.set(Feature::Used, stream.used as f64);
                features.set(Feature::Step, stream.steps as f64);
                features.set(Feature::Large, stream.large as f64);
                (true, false)
            }
            Stored::Plain(affine) => {
                let folded = matches!(affine.bias, Bias::Folded(_));
                if folded {
                    features.set(Feature::FoldedWeight, weights);
                    features.set(Feature::FoldedRow, rows as f64);
                }
                let narrow = match affine.bias {
                    Bias::None => false,
                    Bias::Plain(bias) | Bias::Folded(bias) => bias.width != BiasWidth::I32,
                };
                (!folded && zero_point != 0, narrow)
            }
        };
        if has_offset {
            features.set(Feature::OffsetProduct, outputs * columns as f64);
            features.set(Feature::OffsetWeight, weights);
            features.set(Feature::OffsetRow, rows as f64);
        }
        features.set(Feature::NarrowBias, if narrow { outputs } else { 0.0 });
        if let Requantization::PerChannel { .. } = stored.requantization() {
            features.set(Feature::ChannelOutput, outputs);
            features.set(Feature::ChannelRow, rows as f64);
        }
        let rare = self.rare_rows(stored.requantization(), rows) as f64;
        if rare > 0.0 {
            features.set(Feature::RareRow, rare);
            features.set(Feature::RareOutput, positions * rare);
            features.set(Feature::RareLayerOutput, outputs);
            features.set(Feature::RareLayerProduct, outputs * columns as f64);
        }
    }

    /// Rows whose multiplier isn't taken the fast way.
    fn rare_rows(&self, requantization: Requantization, rows: usize) -> usize {
        let [least, most] = self.kernels.common_shifts;
        let is_rare = |multiplier: Multiplier| {
            let right = -i32::from(multiplier.shift);
            let common = multiplier.value >= COMMON_VALUE && (least..=most).contains(&right);
            least != i32::MIN && multiplier.value != 0 && !common
        };
        match requantization {
            Requantization::PerTensor(multiplier) => rows * usize::from(is_rare(multiplier)),
            Requantization::PerChannel { offset } => {
                let bytes = self.section.get(offset as usize..).unwrap_or_default();
                let (entries, _) = bytes.as_chunks::<CHANNEL_MULTIPLIER_LEN>();
                let of = |&[a, b, c, d, shift]: &[u8; CHANNEL_MULTIPLIER_LEN]| Multiplier {
                    value: i32::from_le_bytes([a, b, c, d]),
                    shift: shift as i8,
                };
                entries.iter().take(rows).filter(|&entry| is_rare(of(entry))).count()
            }
        }
    }
}

/// Counts of a matrix at so many positions, which are gathered so many times.
fn products(features: &mut Features, [rows, columns]: [usize; 2], positions: f64, fours: f64) {
    if rows < PAIR_BLOCK_ROWS {
        features.set(Feature::FewProduct, positions * (rows * columns) as f64);
        features.set(Feature::FewOutput, positions * rows as f64);
    }
    let blocks = (rows / PAIR_BLOCK_ROWS) as f64;
    let rest = (rows % PAIR_BLOCK_ROWS) as f64;
    let odd = (columns % WORD as usize) as f64;
    let (rows, columns) = (rows as f64, columns as f64);
    let [words, vectors] = [WORD, VECTOR].map(|lanes| (columns / lanes).ceil());
    for (feature, count) in [
        (Feature::Row, rows),
        (Feature::Column, columns),
        (Feature::Weight, rows * columns),
        (Feature::Position, positions),
        (Feature::Chunk, positions * (rows / CHUNK).ceil()),
        (Feature::Block, positions * (blocks + f64::from(u8::from(rest > 0.0)))),
        (Feature::RestRow, positions * rest),
        (Feature::Product, positions * rows * columns),
        (Feature::ProductWord, positions * rows * words),
        (Feature::ProductVector, positions * rows * vectors),
        (Feature::BlockColumn, positions * blocks * columns),
        (Feature::BlockWord, positions * blocks * words),
        (Feature::BlockVector, positions * (rows / 4.0).ceil() * vectors),
        (Feature::RestProduct, positions * rest * columns),
        (Feature::RestWord, positions * rest * words),
        (Feature::OddColumn, positions * rows * odd),
        (Feature::Four, fours),
        (Feature::FourColumn, fours * columns),
        (Feature::FourRow, fours * rows),
        (Feature::FourBlock, fours * blocks),
        (Feature::FourRowWord, fours * rows * words),
        (Feature::FourBlockWord, fours * blocks * words),
    ] {
        features.set(feature, count);
    }
}
