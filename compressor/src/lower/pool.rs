//! Poolings: they keep the quantisation of what they read.

use bitsback_runtime::Op;
use bitsback_runtime::format::Window;
use bitsback_runtime::ops::{AvgPool2d, MaxPool2d};

use crate::network::Shape;
use crate::shapes::padding_before;

use super::affine::clamp;
use super::fuse::{PoolStage, WindowStage};
use super::{LowerError, Lowering, smalls};

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
        Op::MaxPool2d(MaxPool2d { input, output, window, clamp })
    } else {
        Op::AvgPool2d(AvgPool2d { input, output, window, clamp })
    };
    lowering.push(op, name, stage.boundary, lowering.current);
    Ok(())
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
