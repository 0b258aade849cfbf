//! Layers with weights: fully connected, convolution, depthwise convolution.

use bitsback_runtime::format::{Clamp, Window};
use bitsback_runtime::requantize::Multiplier;

use super::convert::{Converter, Site, activation};
use super::dilated::Dilated;
use super::operators;
use super::schema::{Tensor, Type};
use super::window::{Geometry, padding_and_stride};
use crate::graph::ops::{IntegerConv2d, IntegerDense, IntegerDepthwiseConv2d};
use crate::graph::{IntegerOp, Matrix, Storage, ValueId};
use crate::import::ImportError;
use crate::numbers::multiplier;

/// How far a bias's scale may be from the product of the input's and the weights', in steps of the
/// output: what TensorFlow Lite itself accepts for fully connected layers.
const BIAS_SCALE_TOLERANCE: f64 = 0.02;

/// A layer's ends and weights.
struct Ends<'a> {
    input: ValueId,
    output: ValueId,
    weights: &'a Tensor<'a>,
    /// Dimensions of the weights.
    dims: Vec<usize>,
}

impl<'a> Converter<'a> {
    /// The ends of the operator, or those of the dilated convolution that it is a part of.
    fn ends(
        &mut self,
        site: &Site<'a>,
        rank: usize,
        dilated: Option<Dilated>,
    ) -> Result<Ends<'a>, ImportError> {
        let (input, output) = match dilated {
            Some(Dilated { input, output, .. }) => (input, output),
            None => (self.operand(site, 0, "its input")?, self.result(site)?),
        };
        let (_, weights) = self.input(site, 1, "its weights")?;
        let dims: Vec<usize> =
            weights.shape.iter().map(|&dim| usize::try_from(dim).unwrap_or_default()).collect();
        if dims.len() != rank || dims.contains(&0) {
            return Err(site.shape_error("the weights have another rank", &[&dims]));
        }
        if weights.sparse {
            return Err(ImportError::Attribute {
                at: site.at(),
                what: "the weights' storage",
                found: "sparse".to_owned(),
                supported: "dense storage",
            });
        }
        Ok(Ends { input, output, weights, dims })
    }

    /// `FULLY_CONNECTED`. Several rows of inputs become the positions of an image.
    pub(super) fn fully_connected(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let options = site.operator.options;
        let format = options.map_or(Ok(0), |options| options.i8(1, 0))?;
        if format != 0 {
            return Err(ImportError::Attribute {
                at: site.at(),
                what: "the weights' format",
                found: format!("number {format}"),
                supported: "DEFAULT",
            });
        }
        let ends = self.ends(site, 2, None)?;
        let [rows, columns] = [ends.dims[0], ends.dims[1]];
        let (from, to) = (self.of(ends.input).clone(), self.of(ends.output).clone());
        let positions = to.len() / rows;
        if from.len() != positions.saturating_mul(columns) || to.len() != positions * rows {
            let shapes: [&[usize]; 3] = [&from.dims, &ends.dims, &to.dims];
            return Err(site.shape_error("the sizes don't fit together", &shapes));
        }
        let code = options.map_or(Ok(0), |options| options.i8(0, 0))?;
        let clamp = activation(site, code, &to)?;
        let values = self.weights(site, &ends, rows)?;
        let mut matrix = self.matrix(site, &ends, [rows, columns], values, clamp)?;
        if let [scale] = ends.weights.scales.as_slice() {
            // Here TensorFlow Lite multiplies the scales in single precision.
            let product = f64::from(from.quantization.scale * scale);
            matrix.multipliers = vec![multiplier(product / f64::from(to.quantization.scale))];
            self.check_bias_scale(
                site,
                f64::from(from.quantization.scale) * f64::from(*scale),
                to.quantization.scale,
            )?;
        }
        if positions == 1 {
            self.push_layer(site, IntegerDense {}, matrix, vec![ends.input], ends.output);
            return Ok(());
        }
        let image = |channels| vec![positions, 1, channels];
        let mut view = |id: ValueId, dims: Vec<usize>| {
            let mut view = self.graph.values[id].clone();
            view.dims = dims;
            self.graph.values.push(view);
            self.graph.values.len() - 1
        };
        let (input, output) = (view(ends.input, image(columns)), view(ends.output, image(rows)));
        self.make_view(ends.input, input);
        self.graph.values[output].origin = crate::graph::Origin::Computed;
        self.make_view(output, ends.output);
        let window = Window { size: [1, 1], stride: [1, 1], padding: [0, 0] };
        let op = IntegerConv2d { window, dilation: [1, 1] };
        self.push_layer(site, op, matrix, vec![input], output);
        Ok(())
    }

    /// Whether the operator is `DEPTHWISE_CONV_2D`.
    pub(super) fn is_depthwise(&self, site: &Site<'a>) -> bool {
        operators::find(site.operator.code)
            .is_some_and(|operator| operator.name == "DEPTHWISE_CONV_2D")
    }

    /// `CONV_2D` and `DEPTHWISE_CONV_2D`, alone or between `SPACE_TO_BATCH_ND` and its counterpart.
    pub(super) fn convolution(
        &mut self,
        site: &Site<'a>,
        dilated: Option<Dilated>,
    ) -> Result<(), ImportError> {
        if dilated.is_none() && self.is_within_blocks(site, true)? {
            return Ok(());
        }
        let depthwise = self.is_depthwise(site);
        let options = site.operator.options.ok_or_else(|| site.missing("its options"))?;
        let (padding, stride) = padding_and_stride(site, &options)?;
        // The schema has the multiplier of depthwise convolutions before the activation.
        let next = if depthwise { 4 } else { 3 };
        let dilation = [options.i32(next + 2, 1)?, options.i32(next + 1, 1)?];
        let ends = self.ends(site, 4, dilated)?;
        let geometry = Geometry {
            size: [ends.dims[1], ends.dims[2]],
            stride,
            dilation: dilated.map_or(dilation, |dilated| dilated.dilation),
            padding,
            before: dilated.map(|dilated| dilated.before),
        };
        let (from, to) = (self.of(ends.input).clone(), self.of(ends.output).clone());
        let (window, dilation) = geometry.window(site, &from.dims, &to.dims)?;
        let clamp = activation(site, options.i8(next, 0)?, &to)?;
        let channels = from.dims.last().copied().unwrap_or_default().max(1);
        let outputs = to.dims.last().copied().unwrap_or_default();
        let matrix = if depthwise {
            self.depthwise_matrix(site, &ends, channels, outputs, clamp)?
        } else {
            self.conv2d_matrix(site, &ends, channels, outputs, clamp)?
        };
        // Also as many groups as channels.
        let op: IntegerOp = if depthwise || ends.dims[3] == 1 && channels > 1 {
            IntegerDepthwiseConv2d { window, dilation }.into()
        } else {
            IntegerConv2d { window, dilation }.into()
        };
        self.push_layer(site, op, matrix, vec![ends.input], ends.output);
        Ok(())
    }

    /// Of `CONV_2D`, whose weights are filters × height × width × channels of a group.
    fn conv2d_matrix(
        &mut self,
        site: &Site<'a>,
        ends: &Ends<'a>,
        channels: usize,
        outputs: usize,
        clamp: Clamp,
    ) -> Result<Matrix, ImportError> {
        let [filters, height, width, own] = [0, 1, 2, 3].map(|axis| ends.dims[axis]);
        let groups = channels / own;
        if outputs != filters || groups * own != channels || !filters.is_multiple_of(groups) {
            let shapes: [&[usize]; 2] = [&ends.dims, &[channels, outputs]];
            return Err(site.shape_error("channels and filters must fit the weights", &shapes));
        }
        let mut values = self.weights(site, ends, filters)?;
        let taps = height.saturating_mul(width);
        let mut columns = taps.saturating_mul(own);
        if groups > 1 && own > 1 {
            columns = columns.saturating_mul(groups);
            values = self.ungrouped(&values, own, groups)?;
        }
        self.matrix(site, ends, [filters, columns], values, clamp)
    }

    /// Weights of groups with `own` channels, with zeros for the channels of other groups.
    fn ungrouped(
        &mut self,
        values: &[i16],
        own: usize,
        groups: usize,
    ) -> Result<Vec<i16>, ImportError> {
        let len = values.len().saturating_mul(groups);
        self.count(len)?;
        let mut filled = vec![0; len];
        let pixels = filled.chunks_exact_mut(own * groups).zip(values.chunks_exact(own));
        let of_group = values.len() / (own * groups);
        for (pixel, (to, from)) in pixels.enumerate() {
            let start = pixel / of_group * own;
            to[start..start + own].copy_from_slice(from);
        }
        Ok(filled)
    }

    /// Of `DEPTHWISE_CONV_2D`, whose weights are 1 × height × width × channels.
    fn depthwise_matrix(
        &mut self,
        site: &Site<'a>,
        ends: &Ends<'a>,
        channels: usize,
        outputs: usize,
        clamp: Clamp,
    ) -> Result<Matrix, ImportError> {
        if ends.dims[0] != 1 || ends.dims[3] != outputs || !outputs.is_multiple_of(channels) {
            let shapes: [&[usize]; 2] = [&ends.dims, &[channels, outputs]];
            return Err(site.shape_error("channels must fit the weights", &shapes));
        }
        let by_tap = self.weights(site, ends, outputs)?;
        let columns = by_tap.len() / outputs;
        let mut values = Vec::with_capacity(by_tap.len());
        for channel in 0..outputs {
            values.extend(by_tap.iter().skip(channel).step_by(outputs));
        }
        self.matrix(site, ends, [outputs, columns], values, clamp)
    }

    /// The weights in the file's order; they must be symmetric, with one scale or one for each
    /// of the `rows`.
    fn weights(
        &mut self,
        site: &Site<'a>,
        ends: &Ends<'a>,
        rows: usize,
    ) -> Result<Vec<i16>, ImportError> {
        let tensor = ends.weights;
        if tensor.zero_points.iter().any(|&zero_point| zero_point != 0) {
            return Err(site.quantization(tensor, "has weights whose zero point isn't 0"));
        }
        let scales = tensor.scales.len();
        if scales != 1 && scales != rows {
            let problem = "needs one scale, or one for each output channel";
            return Err(site.quantization(tensor, problem));
        }
        let outputs = if ends.dims.get(tensor.axis as usize) == Some(&rows) { rows } else { 0 };
        if scales > 1 && outputs != rows {
            return Err(site.quantization(tensor, "has scales along another dimension"));
        }
        if tensor.scales.iter().any(|scale| !(scale.is_finite() && *scale >= 0.0)) {
            return Err(site.quantization(tensor, "has a scale that is no number from 0 on"));
        }
        let count = ends.dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        let count = count.ok_or_else(|| site.missing("a part of its weights"))?;
        let values: Vec<i16> = match tensor.kind {
            Type::I8 => tensor.data.iter().map(|&byte| i16::from(byte as i8)).collect(),
            // Two in a byte, the lower half first.
            Type::I4 => tensor
                .data
                .iter()
                .flat_map(|&byte| [((byte << 4) as i8) >> 4, (byte as i8) >> 4])
                .map(i16::from)
                .take(count)
                .collect(),
            other => {
                let (tensor, found) = (tensor.name.clone(), other.name());
                let supported = "INT8 or INT4";
                return Err(ImportError::Type { at: site.at(), tensor, found, supported });
            }
        };
        self.count(count)?;
        if values.len() == count { Ok(values) } else { Err(site.missing("a part of its weights")) }
    }

    /// Weights by rows, with biases and multipliers.
    fn matrix(
        &mut self,
        site: &Site<'a>,
        ends: &Ends<'a>,
        [rows, columns]: [usize; 2],
        values: Vec<i16>,
        clamp: Clamp,
    ) -> Result<Matrix, ImportError> {
        let input = f64::from(self.of(ends.input).quantization.scale);
        let output = f64::from(self.of(ends.output).quantization.scale);
        let factor = |&scale: &f32| multiplier(input * f64::from(scale) / output);
        let multipliers: Vec<Multiplier> = ends.weights.scales.iter().map(factor).collect();
        let bias = match self.optional(site, 2) {
            None => Vec::new(),
            Some((_, tensor)) if tensor.kind == Type::I32 => {
                let chunks = tensor.data.as_chunks::<4>().0;
                chunks.iter().map(|&chunk| i32::from_le_bytes(chunk)).collect()
            }
            Some((_, tensor)) => {
                let (tensor, found) = (tensor.name.clone(), tensor.kind.name());
                let supported = "INT32";
                return Err(ImportError::Type { at: site.at(), tensor, found, supported });
            }
        };
        if !bias.is_empty() && bias.len() != rows
            || self.optional(site, 2).is_some() && bias.is_empty()
        {
            return Err(site.missing("a part of its biases"));
        }
        self.count(bias.len())?;
        let bits = if ends.weights.kind == Type::I4 { 4 } else { 8 };
        let (scales, storage) = (ends.weights.scales.clone(), Storage::default());
        Ok(Matrix { rows, columns, bits, values, scales, bias, multipliers, clamp, storage })
    }

    fn check_bias_scale(
        &self,
        site: &Site<'a>,
        product: f64,
        output: f32,
    ) -> Result<(), ImportError> {
        let Some((_, tensor)) = self.optional(site, 2) else { return Ok(()) };
        let Some(&scale) = tensor.scales.first() else { return Ok(()) };
        if (product - f64::from(scale)).abs() / f64::from(output) <= BIAS_SCALE_TOLERANCE {
            return Ok(());
        }
        Err(site.quantization(tensor, "has a scale that isn't the input's times the weights'"))
    }
}
