//! Layers with weights: `Gemm`, `MatMul`, `Conv`, and what is folded into them.

use super::constant::Constant;
use super::convert::Converter;
use super::order::Order;
use super::shape::Shape;
use super::site::{Activation, Site};
use super::window::Geometry;
use crate::graph::ops::{Conv2d, Dense, DepthwiseConv2d};
use crate::graph::{Affine, Computation, Window};
use crate::import::ImportError;
use crate::import::layout::Role;

impl Converter<'_> {
    /// `Gemm`: α·A·B + β·C.
    pub(super) fn gemm(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        if site.int("transA", 0) != 0 {
            return Err(site.unsupported("transA", 1, "0"));
        }
        let (alpha, beta) = (site.float("alpha", 1.0), site.float("beta", 1.0));
        let input = self.computed_rows(site, 0)?;
        let weights = self.parameter(site, 1, "its weights")?;
        let bias = self.optional_parameter(site, 2)?;
        let mut rows = Matrix::new(site, &weights, site.int("transB", 0) != 0)?;
        rows.weight.iter_mut().for_each(|w| *w *= alpha);
        if alpha != 1.0 {
            rows.scales = None;
        }
        let bias = match bias {
            None => vec![0.0; rows.outputs],
            Some(bias) => match bias.floats().as_slice() {
                [one] => vec![beta * one; rows.outputs],
                all if all.len() == rows.outputs => all.iter().map(|b| beta * b).collect(),
                _ => return Err(site.shape_error("the biases don't fit", &[&bias.dims])),
            },
        };
        self.dense(site, &input, rows, bias)
    }

    /// `MatMul` with a matrix of weights on the right.
    pub(super) fn mat_mul(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let input = self.computed_rows(site, 0)?;
        if let Some(last) = input.dims.len().checked_sub(1).filter(|&last| last > 0) {
            self.evidence.hint(input.lineage.get(last), Role::Channels);
        }
        let weights = self.parameter(site, 1, "its weights")?;
        let rows = Matrix::new(site, &weights, false)?;
        let bias = vec![0.0; rows.outputs];
        self.dense(site, &input, rows, bias)
    }

    /// A product with the last dimension: of one vector, or of as many as the other dimensions have
    /// steps, which is a convolution of one tap.
    fn dense(
        &mut self,
        site: &Site<'_>,
        input: &Activation,
        matrix: Matrix,
        bias: Vec<f32>,
    ) -> Result<(), ImportError> {
        let Matrix { inputs, outputs, weight, scales } = matrix;
        let wrong = |problem| site.shape_error(problem, &[&input.dims, &[outputs, inputs]]);
        let last = input.dims.len().saturating_sub(1);
        if input.dims.last() != Some(&inputs) || input.rows && last == 0 {
            return Err(wrong("the sizes don't fit"));
        }
        let rows = input.order.rows(&input.dims, |axis| axis == last);
        let rows = rows.ok_or_else(|| wrong(TRANSPOSED))?;
        let columns = |row: &[f32]| -> Vec<f32> { rows.inner.iter().map(|&at| row[at]).collect() };
        let weight = weight.chunks_exact(inputs).flat_map(columns).collect();
        let affine = Affine { weight, bias };
        let mut dims = input.dims.clone();
        dims[last] = outputs;
        let written = if last == 0 {
            self.push(
                site,
                Computation::new(Dense {}, affine),
                vec![input.value],
                dims,
                Order::LOGICAL,
            )?
        } else {
            let places = rows
                .outer
                .iter()
                .flat_map(|row| (0..outputs).map(move |output| (row * outputs + output) as u32));
            let shape =
                Shape { rows: input.rows, ..Shape::new(dims, Order::new(places.collect())) };
            let mut kept = match self.kept(input) {
                kept if kept.len() <= 3 && kept.last() == Some(&inputs) => kept.to_vec(),
                _ => vec![rows.outer.len(), inputs],
            };
            let read = self.arranged(site, input, kept.clone())?;
            *kept.last_mut().unwrap_or(&mut 0) = outputs;
            let shape = Shape { kept, ..shape };
            self.push_shape(
                site,
                Computation::new(Conv2d { window: Window::ONE }, affine),
                vec![read],
                shape,
            )?
        };
        if let Some(scales) = scales {
            self.model.weights.insert(written.value, scales);
        }
        Ok(())
    }

    /// `Conv` along one or two dimensions.
    pub(super) fn conv(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let input = self.image(site)?;
        let weights = self.parameter(site, 1, "its weights")?;
        let bias = self.optional_parameter(site, 2)?;
        let [filters, depth, taps @ ..] = weights.dims.as_slice() else {
            return Err(site.shape_error("the weights have another rank", &[&weights.dims]));
        };
        let (filters, depth, channels) = (*filters, *depth, input.dims[0]);
        let group = usize::try_from(site.int("group", 1)).unwrap_or_default();
        let wrong = |problem| site.shape_error(problem, &[&input.dims, &weights.dims, &[group]]);
        if taps.len() + 1 != input.dims.len() || weights.len() == 0 {
            return Err(wrong("the weights have another rank"));
        }
        let divided = group > 0 && filters.is_multiple_of(group);
        if !divided || depth.checked_mul(group) != Some(channels) {
            return Err(wrong("channels, filters and groups must fit the weights"));
        }
        let geometry = Geometry::new(site, taps)?;
        let (input, window, dims) = self.placed(site, input, &geometry, filters)?;
        let bias = match bias.map(|bias| bias.floats()) {
            None => vec![0.0; filters],
            Some(bias) if bias.len() == filters => bias,
            Some(bias) => return Err(site.shape_error("the biases don't fit", &[&[bias.len()]])),
        };
        let positions: usize = taps.iter().product();
        let depthwise = depth == 1 && group > 1;
        let all = if depthwise { 1 } else { channels };
        self.count(filters.saturating_mul(all).saturating_mul(positions))?;
        let numbers = weights.floats();
        let mut weight = vec![0.0; filters * all * positions];
        let blocks =
            weight.chunks_exact_mut(all * positions).zip(numbers.chunks_exact(depth * positions));
        for (filter, (to, from)) in blocks.enumerate() {
            // The first of the channels that this filter reads; others keep zeros.
            let first = if depthwise { 0 } else { filter / (filters / group) * depth };
            for (at, &number) in from.iter().enumerate() {
                to[at % positions * all + first + at / positions] = number;
            }
        }
        let affine = Affine { weight, bias };
        let op = match depthwise {
            true => Computation::new(DepthwiseConv2d { window }, affine),
            false => Computation::new(Conv2d { window }, affine),
        };
        let scales = row_scales(site, &weights, 0)?;
        let written = self.push_image(site, op, input.value, dims)?;
        if let Some(scales) = scales {
            self.model.weights.insert(written.value, scales);
        }
        Ok(())
    }

    /// `BatchNormalization` as it is at inference: a factor and a summand per channel.
    pub(super) fn batch_normalization(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let input = self.computed_rows(site, 0)?;
        // Behind the batch, which may be a part of the first dimension.
        let axis = usize::from(input.rows);
        let Some(&channels) = input.dims.get(axis) else {
            return Err(site.shape_error("there are no channels", &[&input.dims]));
        };
        if input.dims.len() > 1 {
            self.evidence.prove(&site.at(), input.lineage.get(axis), Role::Channels);
        }
        let epsilon = f64::from(site.float("epsilon", 1e-5));
        let mut parts = Vec::with_capacity(4);
        for (place, what) in
            ["its scale", "its shift", "its mean", "its variance"].iter().enumerate()
        {
            let part = self.parameter(site, place + 1, what)?;
            if part.len() != channels {
                let problem = "there must be one parameter per channel";
                return Err(site.shape_error(problem, &[&input.dims, &part.dims]));
            }
            parts.push(part.floats());
        }
        let each = |channel: usize| {
            let [gamma, beta, mean, variance] =
                [0, 1, 2, 3].map(|part: usize| f64::from(parts[part][channel]));
            let factor = gamma / (variance + epsilon).sqrt();
            (factor as f32, (beta - mean * factor) as f32)
        };
        let (factors, summands): (Vec<f32>, Vec<f32>) = (0..channels).map(each).unzip();
        let mut dims = vec![1; input.dims.len()];
        dims[axis] = channels;
        let factor = Constant::of_floats(dims.clone(), factors);
        let summand = Constant::of_floats(dims, summands);
        self.scale(site, &input, Some(&factor), Some(&summand))
    }

    /// The input of an operator on images or sequences, whose channels are its first dimension.
    pub(super) fn image(&mut self, site: &Site<'_>) -> Result<Activation, ImportError> {
        let input = self.computed(site, 0)?;
        let at = site.at();
        for axis in 0..input.dims.len() {
            let role = if axis == 0 { Role::Channels } else { Role::Position };
            self.evidence.prove(&at, input.lineage.get(axis), role);
        }
        self.laid_as_image(site, input)
    }

    /// An input whose numbers lie as an image's do, kept as an image.
    pub(super) fn laid_as_image(
        &mut self,
        site: &Site<'_>,
        input: Activation,
    ) -> Result<Activation, ImportError> {
        if !(2..=3).contains(&input.dims.len()) {
            let problem = "one or two dimensions besides batch and channels are supported";
            return Err(site.shape_error(problem, &[&input.dims]));
        }
        if !input.is_image() {
            return Err(site.shape_error(TRANSPOSED, &[&input.dims]));
        }
        let mut kept = input.dims.clone();
        kept.rotate_left(1);
        let value = self.arranged(site, &input, kept)?;
        Ok(Activation { value, ..input })
    }
}

/// What is said where numbers would have to be moved.
pub(super) const TRANSPOSED: &str =
    "its input would have to be transposed in memory, which the runtime doesn't do";

/// A matrix by rows, one per output.
struct Matrix {
    inputs: usize,
    outputs: usize,
    weight: Vec<f32>,
    /// Of its integers, if it was quantised.
    scales: Option<Vec<f32>>,
}

impl Matrix {
    /// Of a matrix that comes by rows, or by columns.
    fn new(site: &Site<'_>, weights: &Constant, by_rows: bool) -> Result<Self, ImportError> {
        let [first, second] = *weights.dims.as_slice() else {
            return Err(site.shape_error("the weights must be a matrix", &[&weights.dims]));
        };
        if first == 0 || second == 0 {
            return Err(site.shape_error("the weights must be a matrix", &[&weights.dims]));
        }
        let numbers = weights.floats();
        let scales = row_scales(site, weights, usize::from(!by_rows))?;
        if by_rows {
            return Ok(Self { inputs: second, outputs: first, weight: numbers, scales });
        }
        let column = |at: usize| numbers.iter().skip(at).step_by(second).copied();
        let weight = (0..second).flat_map(column).collect();
        Ok(Self { inputs: first, outputs: second, weight, scales })
    }
}

/// The scales of quantised weights: one, or one per output.
fn row_scales(
    site: &Site<'_>,
    weights: &Constant,
    outputs: usize,
) -> Result<Option<Vec<f32>>, ImportError> {
    match &weights.scales {
        None => Ok(None),
        Some((scales, _)) if scales.len() == 1 => Ok(Some(scales.clone())),
        Some((scales, axis)) if *axis == outputs => Ok(Some(scales.clone())),
        Some((_, axis)) => {
            let supported = "the dimension of the outputs";
            Err(site.unsupported("the dimension of its weights' scales", axis, supported))
        }
    }
}
