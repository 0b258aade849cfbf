//! A convolution and the maximum pooling behind it as one operator on integers.

use bitsback_runtime::format::{Clamp, Window as RuntimeWindow};
use bitsback_runtime::{self as runtime, Step, ops};

use super::super::integer::{Emitter, IntegerOperator, Parts, Relation, StoredLayer, Takes};
use super::super::lower::LowerError;
use super::{IntegerConv2d, IntegerMaxPool2d, Op};
use crate::numbers::Quantization;

/// A convolution and the largest value of each window of its outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerConv2dMaxPool2d {
    /// Kernel, stride and padding.
    pub window: RuntimeWindow,
    /// Distance between taps.
    pub dilation: [u16; 2],
    /// Rows and columns of the convolution's outputs.
    pub positions: [u16; 2],
    /// The pooling.
    pub pool: RuntimeWindow,
}

impl IntegerOperator for IntegerConv2dMaxPool2d {
    fn label(&self) -> &'static str {
        "conv2d_max_pool2d"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let runtime::Op::Conv2dMaxPool2d(op) = &step.op else { return None };
        let ops::Conv2dMaxPool2d { window, dilation, positions, pool, .. } = *op;
        Some(Self { window, dilation, positions, pool })
    }

    fn layer(step: &Step) -> Option<(StoredLayer, usize)> {
        let runtime::Op::Conv2dMaxPool2d(op) = &step.op else { return None };
        Some((StoredLayer::Rows(op.affine), step.inputs().next()?.shape.channels()))
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let Self { window, dilation, positions, pool } = *self;
        let lag = emitter.dims(0).last().copied().unwrap_or(1);
        let takes = Takes { coded: 0, paired: ops::FILTER_MAX, lag };
        let (output, input) = (emitter.output()?, emitter.shaped(0)?);
        let affine = match emitter.layer(takes)? {
            StoredLayer::Rows(affine) => affine,
            // Of no weights at most nothing is coded.
            StoredLayer::Coded(_) => return Err(LowerError::Coded),
        };
        let fused =
            ops::Conv2dMaxPool2d { input, output, window, dilation, positions, affine, pool };
        Ok(runtime::Op::Conv2dMaxPool2d(fused))
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        Vec::new()
    }

    fn parts(&self) -> Option<Parts> {
        let Self { window, dilation, positions, pool } = *self;
        Some(Parts {
            first: IntegerConv2d { window, dilation }.into(),
            between: positions,
            second: IntegerMaxPool2d { window: pool, clamp: Clamp::NONE }.into(),
        })
    }

    /// Floats have two operators.
    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        None
    }
}
