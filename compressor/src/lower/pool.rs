//! Poolings: they keep the quantisation of what they read, so that one of maxima may be done with
//! the convolution before it.

use bitsback_runtime::Op;
use bitsback_runtime::format::{Requantization, Source, Window};
use bitsback_runtime::ops::{AvgPool2d, Conv2dMaxPool2d, MaxPool2d};

use crate::network::Shape;
use crate::shapes::padding_before;
use crate::storage::Storage;

use super::affine::clamp;
use super::fuse::{PoolStage, WindowStage};
use super::{LowerError, Lowering, OpNote, smalls};

/// One operator.
pub(super) fn lower(
    lowering: &mut Lowering,
    stage: &PoolStage,
    max: bool,
) -> Result<(), LowerError> {
    let name = lowering.numbered(if max { "max_pool2d" } else { "avg_pool2d" });
    let window = window(lowering, stage.layer, &name, &stage.window)?;
    let clamp = clamp(stage.activation, lowering.current);
    let output = lowering.tensor(stage.layer + 1, &name, lowering.current)?;
    let input = lowering.source(stage.layer, &name)?;
    let op = if max {
        let pool = MaxPool2d { input, output, window, clamp };
        if let Some(fused) = fuse(lowering, &pool)? {
            // The convolution's operator, what it reads and its name, with the pooling's output.
            lowering.ops.pop();
            lowering.read = lowering.reads.pop().unwrap_or_default();
            let conv = lowering.notes.pop().map(|note: OpNote| note.name).unwrap_or(name);
            lowering.push(fused, conv, stage.boundary, lowering.current);
            return Ok(());
        }
        Op::MaxPool2d(pool)
    } else {
        Op::AvgPool2d(AvgPool2d { input, output, window, clamp })
    };
    lowering.push(op, name, stage.boundary, lowering.current);
    Ok(())
}

/// The pooling and the convolution just before it as one, where instructions are to be few: for
/// weights of 8 bits and multipliers that don't shift to the left.
fn fuse(lowering: &Lowering, pool: &MaxPool2d) -> Result<Option<Op>, LowerError> {
    let (Storage::Fastest, [before @ .., Op::Conv2d(conv)]) =
        (lowering.stored, lowering.ops.as_slice())
    else {
        return Ok(None);
    };
    // Somebody else may read a value that has a name.
    let named = lowering.named.values().any(|(value, ..)| *value == lowering.value);
    if named || pool.input != Source::Previous {
        return Ok(None);
    }
    let shifts_left = match conv.affine.requantization {
        Requantization::PerTensor(multiplier) => multiplier.shift > 0,
        Requantization::PerChannel { .. } => true,
    };
    if shifts_left || conv.affine.weights.bits != 8 {
        return Ok(None);
    }
    let previous = match before.last() {
        Some(op) => op.output().clone(),
        None => lowering.tensor(0, "input", lowering.activations.input.quantization)?,
    };
    Ok(Conv2dMaxPool2d::fuse(conv, pool, &previous).map(Op::Conv2dMaxPool2d))
}

/// The runtime's window, with its padding in numbers.
pub(super) fn window(
    lowering: &Lowering,
    layer: usize,
    name: &str,
    stage: &WindowStage,
) -> Result<Window, LowerError> {
    let (height, width) = match lowering.shapes[layer] {
        Shape::Image { height, width, .. } => (height, width),
        Shape::Flat(_) => (1, 1),
    };
    let padding = [
        padding_before(height, stage.size[0], stage.stride[0], stage.padding),
        padding_before(width, stage.size[1], stage.stride[1], stage.padding),
    ];
    Ok(Window {
        size: smalls(name, "the window's size", stage.size)?,
        stride: smalls(name, "the stride", stage.stride)?,
        padding: smalls(name, "the padding", padding)?,
    })
}
