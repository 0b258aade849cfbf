//! A layer as its kernels see it: the path that it takes through them, and its counts.

use bitsback_runtime::format::{Tensor, Window};
use bitsback_runtime::ops::{CodedAffine, FILTER_MAX, MaxPool2d};
use bitsback_runtime::{Op, Source, Step};

use super::convolution::Convolution;
use super::cores::{Core, Family};
use super::counts::Counts;
use super::depthwise::{Depthwise, LANES};
use super::lists::{self, Lists};
use super::others::Other;
use super::parameters::{Parameters, Stored};
use super::path::{Form, Path, Way};
use super::stream::Stream;
use super::turns::{How, Turn};
use super::unpacked;
use super::windows::Axis;

/// A layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layer {
    pub(crate) path: Path,
    pub(crate) counts: Counts,
}

impl Layer {
    /// An operator in its turn on a core; `section` is the model's weight section.
    pub(crate) fn of(core: Core, turn: &Turn, section: &[u8]) -> Self {
        let Turn { step, how } = turn;
        let sight = Sight { core, step, section, how };
        match (how, &step.op) {
            // Its values are moved, which is counted where they were made.
            (How::Done, _) => Self { path: Path::Other(step.kind()), counts: Counts::default() },
            (_, Op::CodedConv2d(op)) => {
                sight.convolution(Stored::Coded(&op.affine), &op.window, op.dilation, None)
            }
            (How::Unpacked(pool, _), op) => match unpacked::plain(core, step, pool.as_ref()) {
                Some(op) => Self::of(core, &Turn::stored(&Step { op, ..step.clone() }), section),
                None => sight.stored(op),
            },
            (_, op) => sight.stored(op),
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
    how: &'a How,
}

/// A pooling behind a convolution.
struct Pooling {
    /// Height and width of what it sees, and of what it leaves.
    positions: [usize; 2],
    output: [usize; 2],
    window: Window,
}

impl Sight<'_> {
    /// An operator as it is stored.
    fn stored(&self, op: &Op) -> Layer {
        match op {
            Op::Dense(op) => self.dense(Stored::Plain(&op.affine)),
            Op::CodedDense(op) => self.dense(Stored::Coded(&op.affine)),
            Op::Conv2d(op) => {
                self.convolution(Stored::Plain(&op.affine), &op.window, op.dilation, None)
            }
            Op::Conv2dMaxPool2d(op) => {
                let [height, width, _] = Self::image(Some(&op.output));
                let positions = op.positions.map(usize::from);
                let pooling = Pooling { positions, output: [height, width], window: op.pool };
                let stored = Stored::Plain(&op.affine);
                self.convolution(stored, &op.window, op.dilation, Some(pooling))
            }
            Op::DepthwiseConv2d(op) => {
                self.depthwise(Stored::Plain(&op.affine), &op.window, op.dilation)
            }
            Op::CodedDepthwiseConv2d(op) => {
                self.depthwise(Stored::Coded(&op.affine), &op.window, op.dilation)
            }
            _ => {
                let mut counts = one();
                Other { kernels: &self.core.kernels(), step: self.step }.count(&mut counts);
                Layer { path: Path::Other(self.step.kind()), counts }
            }
        }
    }

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
            Stream::read(affine, self.section, [rows, columns], lag, None).count(counts);
        }
    }

    /// Has the filters of a convolution of so many positions decoded, and counts what that takes, unless it was
    /// done before.
    fn decode(
        &self,
        affine: &CodedAffine,
        parameters: &mut Parameters,
        counts: &mut Counts,
        [columns, lag, positions]: [usize; 3],
    ) {
        let (kernels, rows) = (self.core.kernels(), parameters.rows);
        let is_before = matches!(self.how, How::Unpacked(..));
        let may_list = kernels.family == Family::Dsp && lists::may_be(columns, positions);
        let mut lists = may_list.then(|| Lists::new(columns, kernels.piece));
        if may_list || !is_before {
            let read = [rows, columns];
            let stream = Stream::read(affine, self.section, read, lag, lists.as_mut());
            if !is_before {
                stream.count(counts);
                lists.iter().for_each(|lists| lists.count_making(counts));
            }
        }
        parameters.in_batches = *self.how == How::Stored;
        if matches!(self.how, How::InArena(_) | How::Unpacked(_, false)) {
            // Nothing is behind the last row but what is left of a word.
            parameters.room = rows.saturating_mul(columns).next_multiple_of(4);
        }
        if is_before {
            parameters.form = if may_list { Form::Listed } else { Form::Bytes };
        }
        parameters.lists = lists;
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

    /// A convolution and the pooling that it does.
    fn convolution(
        &self,
        stored: Stored<'_>,
        window: &Window,
        dilation: [u16; 2],
        pooling: Option<Pooling>,
    ) -> Layer {
        let (kernels, mut parameters) = (self.core.kernels(), self.parameters(stored));
        let [height, width, channels] = Self::image(self.input());
        let [down, right, _] = Self::image(Some(self.step.output()));
        let mut counts = one();
        let pooling = pooling.or_else(|| self.pooling(&mut counts, [down, right]));
        let output = pooling.as_ref().map_or([down, right], |pooling| pooling.positions);
        counts.add("conv", 1.0);
        if let Stored::Coded(affine) = stored {
            let columns = window.positions().saturating_mul(channels);
            let sizes = [columns, channels, output[0] * output[1]];
            self.decode(affine, &mut parameters, &mut counts, sizes);
        }
        let conv = Convolution {
            kernels: &kernels,
            parameters: &parameters,
            axes: Axis::both(window, dilation, [height, width], output),
            channels,
            offset: self.input().map_or(0, |input| input.offset as usize),
            pool: pooling.as_ref().map(|pooling| (pooling.window, pooling.output)),
        };
        conv.count(&mut counts);
        let way = match pooling {
            Some(_) if conv.are_squares() => Way::Squares,
            Some(_) => Way::ConvPool,
            None if conv.columns() > FILTER_MAX => Way::LongConv,
            None => Way::Conv,
        };
        Layer { path: Path::Weights(way, parameters.form), counts }
    }

    /// The pooling of so many positions behind it that a convolution does; what it leaves is moved then.
    fn pooling(&self, counts: &mut Counts, positions: [usize; 2]) -> Option<Pooling> {
        let (How::InArena(pool) | How::Unpacked(pool, _)) = self.how else { return None };
        let MaxPool2d { output, window, .. } = pool.as_ref()?;
        let [height, width, _] = Self::image(Some(output));
        counts.add("moved", output.len() as f64);
        Some(Pooling { positions, output: [height, width], window: *window })
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
