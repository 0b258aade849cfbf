//! Layers whose weights were unpacked into RAM: they run as 8-bit layers do, and convolutions do the pooling
//! behind them, which moves its values then: nothing beside the convolution.

use bitsback_runtime::format::{
    Affine, Bias, BiasWidth, Layout, PAIRED_SUM_MAX, StoredBias, Weights,
};
use bitsback_runtime::ops::{
    CodedAffine, Conv2d, Conv2dMaxPool2d, Dense, DepthwiseConv2d, MaxPool2d,
};
use bitsback_runtime::{Op, Step};

use super::cores::Core;

/// A layer with its weights as bytes where they were coded or packed; `pool` is the pooling that it does. Coded
/// convolutions, whose filters may be lists, aren't among these.
pub(super) fn plain(core: Core, step: &Step, pool: Option<&MaxPool2d>) -> Option<Op> {
    let rows = Layout::RowMajor;
    Some(match &step.op {
        Op::Dense(Dense { input, output, affine }) => {
            let (input, output) = (input.clone(), output.clone());
            let layout = dense_layout(core, step, i64::from(affine.weights.bits));
            Op::Dense(Dense { input, output, affine: bytes(affine, layout) })
        }
        Op::CodedDense(op) => {
            let (input, output) = (op.input.clone(), op.output.clone());
            let layout = dense_layout(core, step, i64::from(op.affine.bits));
            Op::Dense(Dense { input, output, affine: decoded(&op.affine, layout) })
        }
        Op::Conv2d(op) => pooled(&Conv2d { affine: bytes(&op.affine, rows), ..op.clone() }, pool),
        Op::Conv2dMaxPool2d(op) => {
            let affine = bytes(&op.affine, rows);
            Op::Conv2dMaxPool2d(Conv2dMaxPool2d { affine, ..op.clone() })
        }
        Op::DepthwiseConv2d(op) => {
            Op::DepthwiseConv2d(DepthwiseConv2d { affine: bytes(&op.affine, rows), ..op.clone() })
        }
        Op::CodedDepthwiseConv2d(op) => {
            let DepthwiseConv2d { input, output, window, dilation, affine } = op.clone();
            let affine = decoded(&affine, rows);
            Op::DepthwiseConv2d(DepthwiseConv2d { input, output, window, dilation, affine })
        }
        _ => return None,
    })
}

/// A convolution, with the pooling behind it.
fn pooled(conv: &Conv2d, pool: Option<&MaxPool2d>) -> Op {
    let Some(pool) = pool else { return Op::Conv2d(conv.clone()) };
    let positions = match *conv.output.shape.dims() {
        [height, width, _] => [height, width],
        _ => return Op::Conv2d(conv.clone()),
    };
    Op::Conv2dMaxPool2d(Conv2dMaxPool2d {
        input: conv.input.clone(),
        output: pool.output.clone(),
        window: conv.window,
        dilation: conv.dilation,
        affine: conv.affine,
        positions,
        pool: pool.window,
    })
}

/// How a dense layer's rows are arranged: in pairs where the core is fastest with these, and sums of so
/// many products of so many bits allow it.
fn dense_layout(core: Core, step: &Step, bits: i64) -> Layout {
    let rows = step.output().len();
    let columns = step.parameters().weights.checked_div(rows).unwrap_or_default() as u64;
    let largest = columns.saturating_mul(255 << bits.clamp(1, 16).saturating_sub(1));
    if largest <= PAIRED_SUM_MAX { core.layout() } else { Layout::RowMajor }
}

fn bytes(affine: &Affine, layout: Layout) -> Affine {
    Affine { weights: Weights { bits: 8, layout, ..affine.weights }, ..*affine }
}

/// Biases are unpacked, too.
fn decoded(affine: &CodedAffine, layout: Layout) -> Affine {
    Affine {
        weights: Weights { offset: affine.offset, bits: 8, layout },
        bias: Bias::Folded(StoredBias { offset: 0, width: BiasWidth::I32, shift: 0 }),
        requantization: affine.requantization,
        clamp: affine.clamp,
    }
}
