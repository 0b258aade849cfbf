//! Depthwise convolution with coded weights.

use serde::{Deserialize, Serialize};

use super::coded::{CodedAffine, Filters, Rows};
use super::image::Image;
use super::operands::split;
use super::window::Axis;
use super::{Operator, Parameters};
use crate::features::Features;
use crate::format::{MEMORY, Memory, OpFault, Source, Tensor, Window, read_fields};

/// y = requantize(w ⋆ x + b), channel by channel, as [`super::DepthwiseConv2d`], with kernels of at
/// most [`MEMORY`] weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodedDepthwiseConv2d {
    /// Input image.
    pub input: Source,
    /// Output image; its channels are a multiple of the input's.
    pub output: Tensor,
    /// Kernel size, stride and padding.
    pub window: Window,
    /// Distance between taps, down and right.
    pub dilation: [u16; 2],
    /// Parameters, one row per output channel.
    pub affine: CodedAffine,
}

read_fields!(CodedDepthwiseConv2d { input, output, window, dilation, affine });

impl CodedDepthwiseConv2d {
    /// Both axes, input channels and output channels, if the shapes are images.
    fn geometry(&self, input: &Tensor) -> Option<([Axis; 2], usize, usize)> {
        let [h, w, channels] = input.shape.image()?;
        let [oh, ow, outputs] = self.output.shape.image()?;
        Some((Axis::both(&self.window, self.dilation, [h, w], [oh, ow]), channels, outputs))
    }

    /// Weights of one channel.
    fn columns(&self) -> usize {
        let [h, w] = self.window.size.map(usize::from);
        h.saturating_mul(w)
    }
}

impl Operator for CodedDepthwiseConv2d {
    fn check(&self, previous: &Tensor, section: &[u8]) -> Result<(), OpFault> {
        let input = self.input.resolve(previous);
        let (axes, channels, outputs) = self.geometry(input).ok_or(OpFault::Shape)?;
        for axis in axes {
            axis.check()?;
        }
        if self.columns() > MEMORY {
            return Err(OpFault::Layout);
        }
        if !outputs.is_multiple_of(channels) {
            return Err(OpFault::Shape);
        }
        self.affine.check(section, outputs, self.columns())
    }

    fn features(&self) -> Features {
        self.affine.features()
    }

    fn parameters(&self, _previous: &Tensor) -> Parameters {
        let columns = self.columns();
        let macs = (self.output.len() as u64).saturating_mul(columns as u64);
        self.affine.parameters(self.output.shape.channels(), columns, macs)
    }

    fn steps(&self, previous: &Tensor) -> u64 {
        self.affine.steps(&self.parameters(previous))
    }

    fn run(&self, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        let Some((axes, channels, outputs)) = self.geometry(input) else { return };
        let columns = self.columns();
        let zero_points = [input.zero_point, self.output.zero_point];
        let mut memory = Memory::NEW;
        let Some(mut rows) = Rows::new(&self.affine, section, &mut memory, outputs, 1, zero_points)
        else {
            return;
        };
        let image =
            Image { values: inputs.get(input), zero_point: input.zero_point, axes, channels };
        rows.some_at_once(&mut Filters::new(), outputs, columns, |layer, first| {
            image.convolve_channels(layer, columns, [first, outputs], output);
        });
    }
}
