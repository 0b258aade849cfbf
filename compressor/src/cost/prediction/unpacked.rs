//! Layers whose weights were unpacked into RAM: they run as 8-bit layers do, and convolutions do the pooling
//! behind them.

use bitsback_runtime::format::{
    Affine, Bias, BiasWidth, Layout, PAIRED_SUM_MAX, StoredBias, Weights,
};
use bitsback_runtime::ops::{
    CodedAffine, Conv2d, Conv2dMaxPool2d, Dense, DepthwiseConv2d, MaxPool2d,
};
use bitsback_runtime::{Model, Op, Step};

use super::cores::Core;
use super::operator;

/// Instructions of each operator of a model, with weights unpacked into so many bytes of RAM as
/// [`Unpacked::new`](bitsback_runtime::Unpacked::new) does; `stored` are those of an operator as it is
/// stored.
pub(crate) fn operators(
    core: Core,
    model: &Model<'_>,
    room: usize,
    mut stored: impl FnMut(&Step) -> u64,
) -> Vec<u64> {
    let (section, steps) = (model.section(), model.ops().collect::<Vec<_>>());
    let chosen = model.unpacked_ops(room);
    let mut counts = Vec::with_capacity(steps.len());
    // A pooling that was done moves its values, which is nothing beside the convolution.
    let mut done = false;
    for (step, next) in steps.iter().zip(steps.iter().skip(1).map(Some).chain([None])) {
        let of_step = chosen.iter().find(|op| op.index == step.index);
        let pool = match next.map(|next| &next.op) {
            Some(Op::MaxPool2d(pool)) if of_step.is_some_and(|op| op.pools) => Some(pool),
            _ => None,
        };
        let unpacked = of_step.and_then(|_| plain(core, step, pool));
        counts.push(match unpacked {
            _ if std::mem::take(&mut done) => 0,
            Some(op) => operator(core, &Step { op, ..step.clone() }, section),
            None => stored(step),
        });
        done = pool.is_some();
    }
    counts
}

/// A layer with its weights as bytes where they were coded or packed; `pool` is the pooling that it does.
fn plain(core: Core, step: &Step, pool: Option<&MaxPool2d>) -> Option<Op> {
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
        Op::CodedConv2d(op) => {
            let Conv2d { input, output, window, dilation, affine } = op.clone();
            let affine = decoded(&affine, rows);
            pooled(&Conv2d { input, output, window, dilation, affine }, pool)
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(name: &str) -> Vec<u8> {
        let path = format!("{}/../tests/golden/{name}/model.bbk", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    }

    /// Instructions with so much RAM, of all operators.
    fn all(core: Core, model: &Model<'_>, room: usize) -> Vec<u64> {
        operators(core, model, room, |step| operator(core, step, model.section()))
    }

    #[test]
    fn without_room_operators_are_as_they_are_stored() {
        for name in ["digits", "coded", "pairs", "widths", "coded-lenet"] {
            let bytes = golden(name);
            let model = Model::parse(&bytes).unwrap();
            let stored: Vec<u64> =
                model.ops().map(|step| operator(Core::CortexM4, &step, model.section())).collect();
            assert_eq!(all(Core::CortexM4, &model, 0), stored, "{name}");
        }
    }

    #[test]
    fn more_room_never_costs_more() {
        let bytes = golden("coded-lenet");
        let model = Model::parse(&bytes).unwrap();
        let whole = model.weights_len();
        for core in Core::ALL {
            let counts: Vec<u64> =
                [0, whole / 2, whole].map(|room| all(core, &model, room).iter().sum()).to_vec();
            assert!(counts[0] > counts[1] && counts[1] >= counts[2], "{core}: {counts:?}");
            assert!(2 * counts[0] > 3 * counts[2], "{core}: {counts:?}");
        }
    }

    #[test]
    fn a_pooling_is_done_by_the_convolution_before_it() {
        let bytes = golden("coded-lenet");
        let model = Model::parse(&bytes).unwrap();
        let counts = all(Core::CortexM4, &model, model.weights_len());
        let of_kind = |wanted| {
            model.ops().filter(move |step| step.kind() == wanted).map(|step| step.index as usize)
        };
        let done: Vec<usize> = of_kind(bitsback_runtime::OpKind::MaxPool2d).collect();
        assert!(!done.is_empty() && done.iter().all(|&index| counts[index] == 0), "{counts:?}");
    }
}
