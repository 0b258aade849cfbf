//! The local reparameterisation trick as two differentiable operations below burn's tensors.
//!
//! Written with burn's own operations, a Bayesian layer is a chain of squares, sums, roots and
//! broadcasts, each of which reads and writes whole activations and is recorded for the backward
//! pass. Here each layer is two operations with backward passes of their own: its products (two
//! forward, four backward) are burn's matrix multiplication, and everything between them is one
//! pass over the activations.
//!
//! Kingma, Salimans and Welling, 2015 (arXiv:1506.02557).
#![cfg_attr(feature = "ndarray", allow(deprecated, reason = "kept working as long as burn has it"))]

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::{Tensor, TensorData};

use super::Link;
use super::elementary::exp;
use crate::graph::tensor::primitive::{data, from_data, read, slice, slice_mut, write};

/// Smallest standard deviation that a gradient is divided by.
const DEVIATION_LEAST: f32 = 1e-18;

/// The standard normal sample of every activation, in row-major order.
pub(crate) type Sample = Vec<f32>;

/// Sampled layers on matrices.
#[cfg_attr(
    feature = "ndarray",
    backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)
)]
#[cfg_attr(not(feature = "ndarray"), backend_extension(Flex: cfg(feature = "flex"), Autodiff))]
pub(crate) trait LocalOps: Backend {
    /// h = x·Wᵀ + b + √(x²·Vᵀ + v)·ε.
    ///
    /// # Shapes
    /// `x`: `[rows, inputs]`, `weight` (W) and `variance` (V): `[outputs, inputs]`, `bias` (b) and
    /// `bias_variance` (v): `[outputs]`, `sample` (ε) and out: `[rows, outputs]`
    fn sample_affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        bias_variance: FloatTensor<Self>,
        sample: Sample,
    ) -> FloatTensor<Self> {
        Affine::<Self>::new(x, weight, variance).forward(bias, bias_variance, &sample).0
    }

    /// y = x∘z with z = link(location + spread·ε), one z per example and group.
    ///
    /// # Shapes
    /// `x` and out: `[examples, repeats, groups]`, `location` and `spread`: `[groups]`, `sample`
    /// (ε): `[examples, groups]`
    fn sample_scale(
        x: FloatTensor<Self>,
        location: FloatTensor<Self>,
        spread: FloatTensor<Self>,
        sample: Sample,
        link: Link,
    ) -> FloatTensor<Self> {
        GroupScale::new::<Self>(data::<Self>(x), location, spread, sample, link).forward::<Self>()
    }
}

#[cfg(feature = "flex")]
impl LocalOps for burn::backend::Flex {}

#[cfg(feature = "ndarray")]
impl LocalOps for burn::backend::NdArray {}

/// What the products of a layer need, forward and backward.
#[derive(Clone, Debug)]
struct Affine<B: Backend> {
    x: FloatTensor<B>,
    square: FloatTensor<B>,
    weight: FloatTensor<B>,
    variance: FloatTensor<B>,
}

impl<B: Backend> Affine<B> {
    fn new(x: FloatTensor<B>, weight: FloatTensor<B>, variance: FloatTensor<B>) -> Self {
        let square = B::float_mul(x.clone(), x.clone());
        Self { x, square, weight, variance }
    }

    /// h, and ½·ε/√V, the slope of h by the variance.
    fn forward(
        &self,
        bias: FloatTensor<B>,
        bias_variance: FloatTensor<B>,
        sample: &[f32],
    ) -> (FloatTensor<B>, TensorData) {
        let product = |a: &FloatTensor<B>, b: &FloatTensor<B>| {
            data::<B>(B::float_matmul(a.clone(), B::float_transpose(b.clone())))
        };
        let mut h = product(&self.x, &self.weight);
        let mut slope = product(&self.square, &self.variance);
        let (bias, bias_variance) = (read::<B>(bias), read::<B>(bias_variance));
        let outputs = bias.len().max(1);
        let rows = slice_mut(&mut h).chunks_exact_mut(outputs);
        let rows = rows.zip(slice_mut(&mut slope).chunks_exact_mut(outputs));
        for ((h, slope), sample) in rows.zip(sample.chunks_exact(outputs)) {
            let row = h.iter_mut().zip(slope).zip(sample).zip(bias.iter().zip(&bias_variance));
            for (((h, slope), e), (b, v)) in row {
                let deviation = (*slope + v).sqrt();
                *h += b + deviation * e;
                *slope = 0.5 * e / deviation.max(DEVIATION_LEAST);
            }
        }
        (from_data::<B>(h), slope)
    }
}

/// The gradient by the variance, from the gradient and the slope, in the slope's place; and the sums
/// of both over the rows.
fn variance_gradient(gradient: &[f32], slope: &mut [f32], outputs: usize) -> [Vec<f32>; 2] {
    let (mut sum, mut variance_sum) = (vec![0.0; outputs], vec![0.0; outputs]);
    let rows = gradient.chunks_exact(outputs.max(1)).zip(slope.chunks_exact_mut(outputs.max(1)));
    for (gradient, slope) in rows {
        let row = gradient.iter().zip(slope).zip(sum.iter_mut().zip(&mut variance_sum));
        for ((g, slope), (sum, variance_sum)) in row {
            *slope *= g;
            *sum += g;
            *variance_sum += *slope;
        }
    }
    [sum, variance_sum]
}

#[derive(Debug)]
struct SampleAffine;

impl<B: LocalOps> Backward<B, 5> for SampleAffine {
    type State = (Affine<B>, TensorData);

    fn backward(self, ops: Ops<Self::State, 5>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (affine, mut slope) = ops.state;
        let gradient = data::<B>(grads.consume::<B>(&ops.node));
        let outputs = gradient.shape().last().copied().unwrap_or(1);
        let sums = variance_gradient(slice(&gradient), slice_mut(&mut slope), outputs);
        let (gradient, by_variance) = (from_data::<B>(gradient), from_data::<B>(slope));
        let [x, weight, variance, bias, bias_variance] = ops.parents;
        let transposed = |g: &FloatTensor<B>| B::float_transpose(g.clone());
        if let Some(node) = weight {
            grads.register::<B>(node.id, B::float_matmul(transposed(&gradient), affine.x.clone()));
        }
        if let Some(node) = variance {
            let by = B::float_matmul(transposed(&by_variance), affine.square);
            grads.register::<B>(node.id, by);
        }
        let [sum, variance_sum] = sums;
        for (node, sum) in [(bias, sum), (bias_variance, variance_sum)] {
            if let Some(node) = node {
                grads.register::<B>(node.id, write::<B>(sum, &[outputs]));
            }
        }
        if let Some(node) = x {
            // ∂/∂x = g·W + 2x∘(g_V·V)
            let mut by = data::<B>(B::float_matmul(gradient, affine.weight));
            let square = B::float_matmul(by_variance, affine.variance);
            let square = data::<B>(B::float_mul(square, affine.x));
            let pairs = slice_mut(&mut by).iter_mut().zip(slice(&square));
            pairs.for_each(|(by, square)| *by += 2.0 * square);
            grads.register::<B>(node.id, from_data::<B>(by));
        }
    }
}

/// What a layer's scales need, forward and backward.
#[derive(Clone, Debug)]
struct GroupScale {
    x: TensorData,
    z: Vec<f32>,
    sample: Sample,
    link: Link,
    groups: usize,
    /// Values of x that share an example's scales.
    per_example: usize,
}

impl GroupScale {
    fn new<B: Backend>(
        x: TensorData,
        location: FloatTensor<B>,
        spread: FloatTensor<B>,
        sample: Sample,
        link: Link,
    ) -> Self {
        let (location, spread) = (read::<B>(location), read::<B>(spread));
        let groups = location.len().max(1);
        let mut z = Vec::with_capacity(sample.len());
        for sample in sample.chunks_exact(groups) {
            let y = sample.iter().zip(location.iter().zip(&spread)).map(|(e, (l, s))| l + s * e);
            match link {
                Link::Identity => z.extend(y),
                Link::Exp => z.extend(y.map(exp)),
            }
        }
        let per_example = x.shape().iter().skip(1).product::<usize>().max(1);
        Self { x, z, sample, link, groups, per_example }
    }

    fn forward<B: Backend>(&self) -> FloatTensor<B> {
        let mut y = Vec::with_capacity(slice(&self.x).len());
        let examples = slice(&self.x).chunks_exact(self.per_example);
        for (x, z) in examples.zip(self.z.chunks_exact(self.groups)) {
            for x in x.chunks_exact(self.groups) {
                y.extend(x.iter().zip(z).map(|(x, z)| x * z));
            }
        }
        from_data::<B>(TensorData::new(y, self.x.shape().clone()))
    }

    /// Turns the gradient into that by x; returns those by location and spread.
    fn backward(&self, gradient: &mut [f32]) -> [Vec<f32>; 2] {
        let groups = self.groups;
        let (mut location, mut spread) = (vec![0.0; groups], vec![0.0; groups]);
        let mut by_z = vec![0.0; groups];
        let x = slice(&self.x).chunks_exact(self.per_example);
        let scales = self.z.chunks_exact(groups).zip(self.sample.chunks_exact(groups));
        for ((g, x), (z, e)) in gradient.chunks_exact_mut(self.per_example).zip(x).zip(scales) {
            by_z.fill(0.0);
            for (g, x) in g.chunks_exact_mut(groups).zip(x.chunks_exact(groups)) {
                for ((g, x), (z, by_z)) in g.iter_mut().zip(x).zip(z.iter().zip(&mut by_z)) {
                    *by_z += *g * x;
                    *g *= z;
                }
            }
            if self.link == Link::Exp {
                by_z.iter_mut().zip(z).for_each(|(by, z)| *by *= z);
            }
            let sums = location.iter_mut().zip(&mut spread);
            for ((location, spread), (by, e)) in sums.zip(by_z.iter().zip(e)) {
                *location += by;
                *spread += by * e;
            }
        }
        [location, spread]
    }
}

#[derive(Debug)]
struct SampleScale;

impl<B: LocalOps> Backward<B, 3> for SampleScale {
    type State = GroupScale;

    fn backward(self, ops: Ops<GroupScale, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let scale = ops.state;
        let mut gradient = data::<B>(grads.consume::<B>(&ops.node));
        let sums = scale.backward(slice_mut(&mut gradient));
        let [x, location, spread] = ops.parents;
        if let Some(node) = x {
            grads.register::<B>(node.id, from_data::<B>(gradient));
        }
        let [by_location, by_spread] = sums;
        for (node, by) in [(location, by_location), (spread, by_spread)] {
            if let Some(node) = node {
                grads.register::<B>(node.id, write::<B>(by, &[scale.groups]));
            }
        }
    }
}

impl<B: LocalOps, C: CheckpointStrategy> LocalOps for Autodiff<B, C> {
    fn sample_affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        bias_variance: FloatTensor<Self>,
        sample: Sample,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), variance.node(), bias.node(), bias_variance.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let affine = Affine::<B>::new(x, weight, variance.into_primitive());
        let (bias, bias_variance) = (bias.into_primitive(), bias_variance.into_primitive());
        let (h, slope) = affine.forward(bias, bias_variance, &sample);
        match SampleAffine.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((affine, slope), h),
            OpsKind::UnTracked(prep) => prep.finish(h),
        }
    }

    fn sample_scale(
        x: FloatTensor<Self>,
        location: FloatTensor<Self>,
        spread: FloatTensor<Self>,
        sample: Sample,
        link: Link,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), location.node(), spread.node()];
        let (location, spread) = (location.into_primitive(), spread.into_primitive());
        let x = data::<B>(x.into_primitive());
        let scale = GroupScale::new::<B>(x, location, spread, sample, link);
        let y = scale.forward::<B>();
        match SampleScale.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(scale, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// The parameters of a sampled product: means and variances of weights and biases.
#[derive(Clone, Debug)]
pub(crate) struct AffineParameters {
    /// `[outputs, inputs]`
    pub weight: Tensor<2>,
    /// `[outputs, inputs]`
    pub variance: Tensor<2>,
    /// `[outputs]`
    pub bias: Tensor<1>,
    /// `[outputs]`
    pub bias_variance: Tensor<1>,
}

/// A sample of x·Wᵀ + b, as [`LocalOps::sample_affine`].
pub(crate) fn sample_affine(
    x: Tensor<2>,
    parameters: &AffineParameters,
    sample: Sample,
) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as LocalOps>::sample_affine(
        x.into_dispatch(),
        parameters.weight.clone().into_dispatch(),
        parameters.variance.clone().into_dispatch(),
        parameters.bias.clone().into_dispatch(),
        parameters.bias_variance.clone().into_dispatch(),
        sample,
    ))
}

/// x times a sample of the group scales, as [`LocalOps::sample_scale`].
pub(crate) fn sample_scale(
    x: Tensor<3>,
    location: Tensor<1>,
    spread: Tensor<1>,
    sample: Sample,
    link: Link,
) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as LocalOps>::sample_scale(
        x.into_dispatch(),
        location.into_dispatch(),
        spread.into_dispatch(),
        sample,
        link,
    ))
}
