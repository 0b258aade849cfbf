//! Two-dimensional convolution (cross-correlation).

use serde::{Deserialize, Serialize};

use super::affine::Layer;
use super::operands::split;
use super::window::Axis;
use super::{Operator, Parameters};
use crate::arch;
use crate::format::{Affine, Fields, OpFault, Source, Tensor, Window};

/// Most weights of a filter that are unpacked on the stack, once per filter: 5 × 5 × 20. Larger
/// filters are unpacked again at each position, field by field.
const FILTER_MAX: usize = 512;

/// y = requantize(W ⋆ x + b). Weights: filters × kernel height × kernel width × channels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Input image.
    pub input: Source,
    /// Output image; its channels are the filters.
    pub output: Tensor,
    /// Kernel size, stride and padding.
    pub window: Window,
    /// Distance between taps, down and right; 1 is the ordinary convolution.
    pub dilation: [u16; 2],
    /// Parameters, one row per filter.
    pub affine: Affine,
}

impl Conv2d {
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

impl Operator for Conv2d {
    fn inputs(&self) -> &[Source] {
        core::slice::from_ref(&self.input)
    }

    fn check(&self, previous: &Tensor, section: &[u8]) -> Result<(), OpFault> {
        let input = self.input.resolve(previous);
        let (axes, channels, filters) = self.geometry(input).ok_or(OpFault::Shape)?;
        for axis in axes {
            axis.check()?;
        }
        self.affine.check(section, filters, self.columns(channels))
    }

    fn parameters(&self, previous: &Tensor) -> Parameters {
        let columns = self.columns(self.input.resolve(previous).shape.channels());
        let macs = (self.output.len() as u64).saturating_mul(columns as u64);
        self.affine.parameters(self.output.shape.channels(), columns, macs)
    }

    fn run(&self, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        let Some((axes, channels, filters)) = self.geometry(input) else { return };
        let columns = self.columns(channels);
        let zero_point = self.output.zero_point;
        let Some(layer) = Layer::find(&self.affine, section, filters, columns, zero_point) else {
            return;
        };
        let image = Image { values: inputs.get(input), axes, channels };
        let offset = -i16::from(input.zero_point);
        let mut buffer = [0; FILTER_MAX];
        for (row, packed) in layer.rows().enumerate() {
            let filter = Filter::unpack(packed, layer.bits, columns, &mut buffer);
            let mut bias = layer.bias(row);
            if layer.folded {
                // Take the zero point's part out again: once a filter, not once a product.
                let sum = arch::row_sum(filter.bits, filter.row, 0, columns);
                bias = bias.wrapping_add(sum.wrapping_mul(i32::from(input.zero_point)));
            }
            image.convolve(&filter, offset, |position, sum| {
                let at = position.wrapping_mul(filters).wrapping_add(row);
                if let Some(y) = output.get_mut(at) {
                    *y = layer.finish(row, sum.wrapping_add(bias));
                }
            });
        }
    }
}

/// One filter's weights, unpacked to 8 bits where that pays.
struct Filter<'a> {
    row: &'a [u8],
    bits: u8,
}

impl<'a> Filter<'a> {
    fn unpack(
        packed: &'a [u8],
        bits: u8,
        columns: usize,
        buffer: &'a mut [u8; FILTER_MAX],
    ) -> Self {
        match buffer.get_mut(..columns) {
            Some(row) if bits < 8 => {
                let mut fields = Fields::new(packed, bits, 0);
                for byte in row.iter_mut() {
                    *byte = fields.take() as u8;
                }
                Self { row, bits: 8 }
            }
            _ => Self { row: packed, bits },
        }
    }
}

/// The input and how the kernel moves over it.
struct Image<'a> {
    values: &'a [i8],
    axes: [Axis; 2],
    channels: usize,
}

impl Image<'_> {
    /// Hands over Σ w·(x + offset) of each position in turn, rows first.
    fn convolve(&self, filter: &Filter<'_>, offset: i16, mut sink: impl FnMut(usize, i32)) {
        let [rows, columns] = self.axes;
        let mut position = 0usize;
        for down in 0..rows.output {
            let (row_taps, top) = rows.taps(down);
            for right in 0..columns.output {
                let (taps, left) = columns.taps(right);
                let mut sum = 0i32;
                let mut y = top;
                for row_tap in row_taps.clone() {
                    let tap = row_tap.wrapping_mul(columns.size).wrapping_add(taps.start);
                    let x = y.wrapping_mul(columns.input).wrapping_add(left);
                    sum = sum.wrapping_add(self.segment(filter, tap, x, taps.len(), offset));
                    y = y.wrapping_add(rows.dilation);
                }
                sink(position, sum);
                position = position.wrapping_add(1);
            }
        }
    }

    /// The part of a sum that lies on one row of the image: `taps` taps from `tap` on, and pixels
    /// from number `pixel` on.
    fn segment(
        &self,
        filter: &Filter<'_>,
        tap: usize,
        pixel: usize,
        taps: usize,
        offset: i16,
    ) -> i32 {
        let channels = self.channels;
        let part = |tap: usize, pixel: usize, taps: usize| {
            let start = pixel.wrapping_mul(channels);
            let end = start.wrapping_add(taps.wrapping_mul(channels));
            let x = self.values.get(start..end).unwrap_or_default();
            arch::dot(filter.bits, filter.row, tap.wrapping_mul(channels), x, offset)
        };
        let [_, Axis { dilation, .. }] = self.axes;
        if dilation == 1 {
            return part(tap, pixel, taps);
        }
        (0..taps).fold(0i32, |sum, i| {
            sum.wrapping_add(part(tap.wrapping_add(i), pixel.wrapping_add(i * dilation), 1))
        })
    }
}
