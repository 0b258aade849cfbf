//! A convolution and the maximum pooling behind it as one operator on integers.

use bitsback_runtime::format::{Clamp, Window as RuntimeWindow};
use bitsback_runtime::{self as runtime, ops};

use super::super::integer::{Emitter, IntegerOperator, StoredLayer, Takes};
use super::super::lower::LowerError;
use super::Op;
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

    /// Floats have two operators.
    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        None
    }
}
