//! Two-dimensional convolution with coded weights.

use serde::{Deserialize, Serialize};

use super::coded::{CodedAffine, Filters, Rows};
use super::image::Image;
use super::operands::split;
use super::window::Axis;
use super::{Operator, Parameters};
use crate::features::Features;
use crate::format::{MEMORY, Memory, OpFault, Source, Tensor, Window, read_fields};

/// y = requantize(W ⋆ x + b), as [`super::Conv2d`], with filters of at most [`MEMORY`] weights:
/// each is decoded once and moved over the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodedConv2d {
    /// Input image.
    pub input: Source,
    /// Output image; its channels are the filters.
    pub output: Tensor,
    /// Kernel size, stride and padding.
    pub window: Window,
    /// Distance between taps, down and right; 1 is the ordinary convolution.
    pub dilation: [u16; 2],
    /// Parameters, one row per filter.
    pub affine: CodedAffine,
}

read_fields!(CodedConv2d { input, output, window, dilation, affine });

impl CodedConv2d {
    /// Both axes, channels read and filters, if the shapes are images.
    fn geometry(&self, input: &Tensor) -> Option<([Axis; 2], usize, usize)> {
        let [h, w, channels] = input.shape.image()?;
        let [oh, ow, filters] = self.output.shape.image()?;
        Some((Axis::both(&self.window, self.dilation, [h, w], [oh, ow]), channels, filters))
    }

    /// Weights of one filter, saturating.
    fn columns(&self, channels: usize) -> usize {
        let [h, w] = self.window.size.map(usize::from);
        h.saturating_mul(w).saturating_mul(channels)
    }
}

impl Operator for CodedConv2d {
    fn check(&self, previous: &Tensor, section: &[u8]) -> Result<(), OpFault> {
        let input = self.input.resolve(previous);
        let (axes, channels, filters) = self.geometry(input).ok_or(OpFault::Shape)?;
        for axis in axes {
            axis.check()?;
        }
        let columns = self.columns(channels);
        if columns > MEMORY {
            return Err(OpFault::Layout);
        }
        self.affine.check(section, filters, columns)
    }

    fn features(&self) -> Features {
        self.affine.features()
    }

    fn parameters(&self, previous: &Tensor) -> Parameters {
        let columns = self.columns(self.input.resolve(previous).shape.channels());
        let macs = (self.output.len() as u64).saturating_mul(columns as u64);
        self.affine.parameters(self.output.shape.channels(), columns, macs)
    }

    fn steps(&self, previous: &Tensor) -> u64 {
        self.affine.steps(&self.parameters(previous))
    }

    fn run(&self, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        let Some((axes, channels, filters)) = self.geometry(input) else { return };
        let columns = self.columns(channels);
        let zero_points = [input.zero_point, self.output.zero_point];
        let mut memory = Memory::NEW;
        let Some(mut rows) =
            Rows::new(&self.affine, section, &mut memory, filters, channels, zero_points)
        else {
            return;
        };
        let image =
            Image { values: inputs.get(input), zero_point: input.zero_point, axes, channels };
        rows.some_at_once(&mut Filters::new(), filters, columns, |layer, first| {
            image.convolve_some(layer, columns, [first, filters], output);
        });
    }
}
