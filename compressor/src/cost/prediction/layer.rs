//! A layer as its kernels see it: the path that it takes through them, and its counts.

use bitsback_runtime::format::{Layout, PAIR_BLOCK_ROWS, Tensor, Window, pairs_pay};
use bitsback_runtime::ops::FILTER_MAX;
use bitsback_runtime::{Op, Source, Step};

use super::convolution::Convolution;
use super::cores::Core;
use super::counts::Counts;
use super::depthwise::Depthwise;
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

    /// A layer of 8-bit weights that is yet to be compiled, in the core's own layout: its weights' shape,
    /// outputs × inputs or filters × height × width × channels, at so many `positions`, which lie inside
    /// the image, in a line.
    pub(crate) fn plain(core: Core, shape: &[usize], positions: usize) -> Self {
        let kernels = core.kernels();
        let rows = shape.first().copied().unwrap_or_default();
        let columns = shape.iter().skip(1).product::<usize>();
        let [height, width, channels] = match shape[..] {
            [_, height, width, channels] => [height, width, channels],
            _ => [1, 1, columns],
        };
        let mut counts = one();
        let fits =
            |longest| rows >= PAIR_BLOCK_ROWS && columns <= longest && pairs_pay(rows, columns);
        let layout = |longest| if fits(longest) { core.layout() } else { Layout::RowMajor };
        if positions <= 1 {
            let parameters = Parameters::plain(rows, layout(usize::MAX));
            parameters.dense(&kernels, &mut counts, columns);
            return Self { path: Path::Weights(Way::Dense, parameters.form), counts };
        }
        let parameters = Parameters::plain(rows, layout(FILTER_MAX));
        let axis = |size: usize, output: usize| Axis {
            size,
            stride: 1,
            padding: 0,
            dilation: 1,
            input: output + size.saturating_sub(1),
            output,
        };
        // As a line of positions would be a very long one, they are a square.
        let side = (positions as f64).sqrt().round() as usize;
        let axes = [axis(height, side), axis(width, positions.div_ceil(side.max(1)))];
        let (kernels, parameters) = (&kernels, &parameters);
        let conv = Convolution { kernels, parameters, axes, channels, offset: 0, pool: None };
        conv.count(&mut counts);
        let way = if columns > FILTER_MAX { Way::LongConv } else { Way::Conv };
        Self { path: Path::Weights(way, parameters.form), counts }
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
        let (kernels, parameters) = (&kernels, &parameters);
        let depthwise = Depthwise { kernels, parameters, axes, channels };
        let (way, mut counts) = (depthwise.way(), one());
        depthwise.count(way, &mut counts);
        self.decoding(&mut counts, stored, axes[0].size * axes[1].size, 1);
        Layer { path: Path::Weights(way, parameters.form), counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_is_yet_to_be_compiled_has_a_path() {
        let path = |core, shape: &[usize], positions| {
            let layer = Layer::plain(core, shape, positions);
            assert_eq!(layer.counts.get("layer"), 1.0);
            layer.path
        };
        let of = Path::Weights;
        assert_eq!(path(Core::CortexM4, &[10, 100], 1), of(Way::Dense, Form::Pairs));
        assert_eq!(path(Core::CortexM55, &[10, 100], 1), of(Way::Dense, Form::Bytes));
        assert_eq!(path(Core::CortexM4, &[8, 3, 3, 4], 50), of(Way::Conv, Form::Pairs));
        assert_eq!(path(Core::CortexM4, &[2, 3, 3, 100], 50), of(Way::LongConv, Form::Bytes));
        assert_eq!(path(Core::CortexM0, &[8, 25], 7), of(Way::Conv, Form::Bytes));
        assert_eq!(path(Core::CortexM4, &[], 0), of(Way::Dense, Form::Bytes));
    }
}
