//! A layer as its kernels see it: the path that it takes through them, and its counts.

use bitsback_runtime::format::{Tensor, Window};
use bitsback_runtime::ops::FILTER_MAX;
use bitsback_runtime::{Op, Source, Step};

use super::convolution::Convolution;
use super::cores::{Core, Family};
use super::counts::Counts;
use super::depthwise::{Depthwise, LANES};
use super::others::Other;
use super::parameters::{Parameters, Stored, decoding};
use super::path::{Form, Path, Way};
use super::windows::Axis;

/// A layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layer {
    pub(crate) path: Path,
    pub(crate) counts: Counts,
}

impl Layer {
    /// An operator of a model on a core; `section` is the model's weight section.
    pub(crate) fn of(core: Core, step: &Step, section: &[u8]) -> Self {
        let sight = Sight { core, step, section };
        match &step.op {
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
            _ => {
                let mut counts = one();
                Other { kernels: &core.kernels(), step }.count(&mut counts);
                Self { path: Path::Other(step.kind()), counts }
            }
        }
    }
}

/// One layer, and nothing of it yet.
fn one() -> Counts {
    let mut counts = Counts::default();
    counts.add("layer", 1.0);
    counts
}

/// An operator with weights, in its place.
struct Sight<'a> {
    core: Core,
    step: &'a Step,
    section: &'a [u8],
}

impl Sight<'_> {
    /// The first operand.
    fn input(&self) -> Option<&Tensor> {
        let source: Option<&Source> = self.step.op.inputs().first();
        source.map(|source| source.resolve(&self.step.previous))
    }

    /// Height, width and channels; ones where there is no such image.
    fn image(tensor: Option<&Tensor>) -> [usize; 3] {
        tensor.and_then(|tensor| tensor.shape.image()).unwrap_or([1; 3])
    }

    fn parameters(&self, stored: Stored<'_>) -> Parameters {
        let zero_point = self.input().map_or(0, |input| input.zero_point);
        Parameters::of(self.step, stored, self.section, zero_point)
    }

    /// What coded weights add, with the distance of a weight to the one before.
    fn decoding(&self, counts: &mut Counts, stored: Stored<'_>, columns: usize, lag: usize) {
        if let Stored::Coded(affine) = stored {
            let rows = self.step.output().shape.channels();
            decoding(counts, affine, self.section, [rows, columns], lag);
        }
    }

    fn dense(&self, stored: Stored<'_>) -> Layer {
        let parameters = self.parameters(stored);
        let columns = self.input().map_or(0, Tensor::len);
        let mut counts = one();
        if parameters.form == Form::Coded {
            // Products are summed as weights are decoded.
            counts.add("row", parameters.rows as f64);
            parameters.finish_each(&mut counts, 1.0);
        } else {
            parameters.dense(&self.core.kernels(), &mut counts, columns);
        }
        self.decoding(&mut counts, stored, columns, 1);
        Layer { path: Path::Weights(Way::Dense, parameters.form), counts }
    }

    /// A convolution; `pooled` are the height and width of its image, and the pooling behind it.
    fn convolution(
        &self,
        stored: Stored<'_>,
        window: &Window,
        dilation: [u16; 2],
        pooled: Option<([u16; 2], Window)>,
    ) -> Layer {
        let (kernels, parameters) = (self.core.kernels(), self.parameters(stored));
        let [height, width, channels] = Self::image(self.input());
        let [down, right, _] = Self::image(Some(self.step.output()));
        let output = pooled.map_or([down, right], |(positions, _)| positions.map(usize::from));
        let conv = Convolution {
            kernels: &kernels,
            parameters: &parameters,
            axes: Axis::both(window, dilation, [height, width], output),
            channels,
            offset: self.input().map_or(0, |input| input.offset as usize),
            pool: pooled.map(|(_, pool)| (pool, [down, right])),
        };
        let mut counts = one();
        counts.add("conv", 1.0);
        conv.count(&mut counts);
        let columns = conv.columns();
        self.decoding(&mut counts, stored, columns, channels);
        let way = match pooled {
            Some(_) if conv.are_squares() => Way::Squares,
            Some(_) => Way::ConvPool,
            None if columns > FILTER_MAX => Way::LongConv,
            None => Way::Conv,
        };
        Layer { path: Path::Weights(way, parameters.form), counts }
    }

    fn depthwise(&self, stored: Stored<'_>, window: &Window, dilation: [u16; 2]) -> Layer {
        let (kernels, parameters) = (self.core.kernels(), self.parameters(stored));
        let [height, width, channels] = Self::image(self.input());
        let [down, right, _] = Self::image(Some(self.step.output()));
        let axes = Axis::both(window, dilation, [height, width], [down, right]);
        if let Some(layer) = self.few_channels(stored, axes, channels) {
            return layer;
        }
        let (kernels, parameters) = (&kernels, &parameters);
        let depthwise = Depthwise { kernels, parameters, axes, channels };
        let (way, mut counts) = (depthwise.way(), one());
        depthwise.count(way, &mut counts);
        self.decoding(&mut counts, stored, axes[0].size * axes[1].size, 1);
        Layer { path: Path::Weights(way, parameters.form), counts }
    }

    /// A depthwise convolution of fewer channels than a group, which `dsp` and `mve` make a convolution of all of them:
    /// filters that are 0 but for their own channel. `None` where it doesn't.
    fn few_channels(&self, stored: Stored<'_>, axes: [Axis; 2], channels: usize) -> Option<Layer> {
        let (kernels, parameters) = (self.core.kernels(), self.parameters(stored));
        let taps = axes[0].size * axes[1].size;
        let columns = taps * channels;
        let is_whole = matches!(kernels.family, Family::Dsp | Family::Vectors);
        let is_few = is_whole && channels < LANES && parameters.bits <= 8;
        let at_once = FILTER_MAX.checked_div(columns).filter(|&rows| is_few && rows > 0)?;
        let offset = self.input().map_or(0, |input| input.offset as usize);
        let convolution = Convolution {
            kernels: &kernels,
            parameters: &parameters,
            axes,
            channels,
            offset,
            pool: None,
        };
        let (mut counts, rows) = (one(), parameters.rows as f64);
        counts.add("few-row", rows);
        counts.add("few-weight", rows * taps as f64);
        counts.add("few-byte", rows * (taps * parameters.bits) as f64 / 8.0);
        let form = if parameters.form == Form::Coded { Form::Coded } else { Form::Bytes };
        for batch in convolution.batches(taps) {
            for start in batch.clone().step_by(at_once) {
                let some = start..batch.end.min(start + at_once);
                let filters = Parameters {
                    form: Form::Bytes,
                    bits: 8,
                    rows: some.len(),
                    room: usize::MAX,
                    multipliers: parameters.some(some).to_vec(),
                    ..parameters.clone()
                };
                counts.add("few-batch", 1.0);
                Convolution { parameters: &filters, ..convolution }.count(&mut counts);
            }
        }
        self.decoding(&mut counts, stored, taps, 1);
        Some(Layer { path: Path::Weights(Way::Conv, form), counts })
    }
}
