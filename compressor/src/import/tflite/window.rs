//! Windows of convolutions and poolings, and the poolings.

use bitsback_runtime::format::Window;

use super::convert::{Converter, Site, activation};
use crate::graph::IntegerOp;
use crate::graph::ops::{IntegerAvgPool2d, IntegerMaxPool2d};
use crate::import::ImportError;
use crate::import::flatbuffer::Table;

/// Options of a window along both axes, rows first.
pub(super) struct Geometry {
    pub(super) size: [usize; 2],
    pub(super) stride: [i32; 2],
    pub(super) dilation: [i32; 2],
    /// The schema's number: 0 is `SAME`, 1 is `VALID`.
    pub(super) padding: i8,
    /// Positions before the image, where that rule doesn't say it; then sizes have been checked.
    pub(super) before: Option<[usize; 2]>,
}

impl Geometry {
    /// The runtime's window between an input and an output image, whose sizes must agree with the
    /// rule of TensorFlow Lite.
    pub(super) fn window(
        &self,
        site: &Site<'_>,
        input: &[usize],
        output: &[usize],
    ) -> Result<(Window, [u16; 2]), ImportError> {
        let wrong = |problem| site.shape_error(problem, &[input, output, &self.size]);
        let ([in_h, in_w, _], [out_h, out_w, _]) = (input, output) else {
            return Err(wrong("images of 1 × height × width × channels are supported"));
        };
        let mut padding = [0; 2];
        let axes = [(*in_h, *out_h), (*in_w, *out_w)];
        for (axis, (input, output)) in axes.into_iter().enumerate() {
            let positive = |value: i32| usize::try_from(value).ok().filter(|&value| value > 0);
            let (stride, dilation) = positive(self.stride[axis])
                .zip(positive(self.dilation[axis]))
                .ok_or_else(|| wrong("strides and dilations must be positive"))?;
            if let Some(before) = self.before {
                padding[axis] = before[axis];
                continue;
            }
            let extent = self.size[axis].saturating_sub(1).saturating_mul(dilation) + 1;
            let expected = match self.padding {
                0 => input.div_ceil(stride),
                _ => (input + 1).saturating_sub(extent).div_ceil(stride),
            };
            if expected != output || output == 0 {
                return Err(wrong("the output's size doesn't follow from the window"));
            }
            if self.padding == 0 {
                let reach = (output - 1).saturating_mul(stride).saturating_add(extent);
                padding[axis] = reach.saturating_sub(input) / 2;
            }
        }
        let small = |values: [usize; 2]| {
            let [h, w] = values.map(|value| u16::try_from(value).ok());
            h.zip(w).map(|(h, w)| [h, w]).ok_or_else(|| wrong("a window is too large"))
        };
        let positive = |values: [i32; 2]| values.map(|value| value as usize);
        let window = Window {
            size: small(self.size)?,
            stride: small(positive(self.stride))?,
            padding: small(padding)?,
        };
        Ok((window, small(positive(self.dilation))?))
    }
}

/// The schema's options: padding, then strides across and down.
pub(super) fn padding_and_stride(
    site: &Site<'_>,
    options: &Table<'_>,
) -> Result<(i8, [i32; 2]), ImportError> {
    let padding = options.i8(0, 0)?;
    if !(0..=1).contains(&padding) {
        return Err(ImportError::Attribute {
            at: site.at(),
            what: "the padding",
            found: format!("number {padding}"),
            supported: "SAME or VALID",
        });
    }
    Ok((padding, [options.i32(2, 0)?, options.i32(1, 0)?]))
}

impl<'a> Converter<'a> {
    /// `MAX_POOL_2D` and `AVERAGE_POOL_2D`.
    pub(super) fn pool(&mut self, site: &Site<'a>, max: bool) -> Result<(), ImportError> {
        let options = site.operator.options.ok_or_else(|| site.missing("its options"))?;
        let (padding, stride) = padding_and_stride(site, &options)?;
        let size = [options.i32(4, 0)?, options.i32(3, 0)?];
        let size = size.map(|value| usize::try_from(value).unwrap_or_default());
        let input = self.operand(site, 0, "its input")?;
        let output = self.result(site)?;
        let geometry = Geometry { size, stride, dilation: [1; 2], padding, before: None };
        let (from, to) = (self.of(input), self.of(output));
        if from.dims.last() != to.dims.last() {
            return Err(site.shape_error("channels must be kept", &[&from.dims, &to.dims]));
        }
        let (window, _) = geometry.window(site, &from.dims, &to.dims)?;
        let clamp = activation(site, options.i8(5, 0)?, to)?;
        let op: IntegerOp = if max {
            IntegerMaxPool2d { window, clamp }.into()
        } else {
            IntegerAvgPool2d { window, clamp }.into()
        };
        self.push(site, op, vec![input], output);
        Ok(())
    }
}
