//! The integer network's forward pass, exactly as the device computes it, with gradients.
//!
//! Every value between layers is an integer: q − zero point, held in an `f32`, which is exact below
//! 2^24. A layer's accumulator is a sum of products of integers, so the order of summation can't
//! change it; it is requantised by the runtime's own function. The gradient goes straight through
//! the rounding (Bengio et al. 2013, arXiv:1308.3432) and stops where the activation's clamp holds.

use std::collections::BTreeMap;

use bitsback_runtime::requantize::requantize;
use burn::tensor::{Device, Tensor};

use crate::bit_width::IntegerWeights;
use crate::calibrate::{Activations, InputQuantization, Quantization};
use crate::lower::LowerError;
use crate::lower::add::Sum;
use crate::lower::affine::{Between, Fixed, clamp};
use crate::lower::fuse::{AffineStage, ConvStage, Stage, WindowStage, fuse};
use crate::network::FloatNetwork;
use crate::train::forward::convolution;
use crate::train::tensor::{Convolution, Value, avg_pool, constant, leaf, max_pool, values};

/// How far below a tie a mean still counts as one: right for windows of fewer than 2048 positions.
const TIE: f32 = 1.0 / 4096.0;

/// One operator.
enum Step {
    Affine { index: usize, convolution: Option<Convolution>, fixed: Box<Fixed> },
    MaxPool { window: WindowStage, clamp: [f32; 2] },
    AvgPool { window: WindowStage, clamp: [f32; 2], zero_point: f32 },
    Select { keep: Vec<u32> },
    Crop { before: [usize; 2], size: [usize; 2] },
    Mark(String),
    From(String),
    Add { name: String, sum: Sum },
}

/// A value on its way: its quantisation, and a constant that it lacks.
#[derive(Clone, Copy)]
struct Flow {
    quantization: Quantization,
    residual: f32,
}

/// A network in integers: what [`crate::lower::lower`] would write, ready to be differentiated.
pub struct Simulation {
    steps: Vec<Step>,
    output_scale: f32,
}

/// One affine layer's integers as leaves of the graph.
pub struct IntegerTensors {
    /// Outputs × (kernel × inputs).
    pub weight: Tensor<2>,
    /// One per output, in units of the accumulator.
    pub bias: Tensor<1>,
}

impl Simulation {
    /// The integer network of `network`'s biases, `weights` and `activations`.
    ///
    /// # Errors
    /// Those of lowering.
    pub fn new(
        network: &FloatNetwork,
        weights: &[IntegerWeights],
        activations: &Activations,
        bias_tolerance: f64,
    ) -> Result<Self, LowerError> {
        let InputQuantization { quantization, residual, .. } = activations.input;
        let mut flow = Flow { quantization, residual };
        let mut named = BTreeMap::new();
        let mut steps = Vec::new();
        for stage in &fuse(&network.topology)? {
            let current = flow.quantization;
            steps.push(match stage {
                Stage::Dense(affine)
                | Stage::Conv2d(ConvStage { affine, .. })
                | Stage::Depthwise(ConvStage { affine, .. }) => {
                    let between = between(affine, flow, activations, bias_tolerance);
                    let name = network.topology.affine_name(affine.index);
                    let bias = &network.affine[affine.index].bias;
                    let fixed = Fixed::new(bias, &weights[affine.index], &between, &name)?;
                    flow = Flow { quantization: fixed.output, residual: 0.0 };
                    let convolution = convolution(&network.topology.layers[affine.layer]);
                    Step::Affine { index: affine.index, convolution, fixed: Box::new(fixed) }
                }
                Stage::MaxPool(pool) => {
                    let clamp = centred(clamp(pool.activation, current), current);
                    Step::MaxPool { window: pool.window, clamp }
                }
                Stage::AvgPool(pool) => {
                    let clamp = centred(clamp(pool.activation, current), current);
                    let zero_point = f32::from(current.zero_point);
                    Step::AvgPool { window: pool.window, clamp, zero_point }
                }
                Stage::Select(select) => Step::Select { keep: select.keep.clone() },
                Stage::Crop { before, size } => Step::Crop { before: *before, size: *size },
                Stage::Mark(name) => {
                    named.insert(name.clone(), flow);
                    Step::Mark(name.clone())
                }
                Stage::From(name) => {
                    flow = named.get(name).copied().unwrap_or(flow);
                    Step::From(name.clone())
                }
                Stage::Add(stage) => {
                    let other = named.get(&stage.name).copied().unwrap_or(flow);
                    let wanted = activations.sums[stage.index];
                    let operands = [current, other.quantization];
                    let sum = Sum::new(operands, wanted, stage.activation, &stage.name)?;
                    let residual = flow.residual + other.residual;
                    flow = Flow { quantization: sum.output, residual };
                    Step::Add { name: stage.name.clone(), sum }
                }
            });
        }
        Ok(Self { steps, output_scale: flow.quantization.scale })
    }

    /// Each affine layer's arithmetic, in order.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &Fixed> {
        self.steps.iter().filter_map(|step| match step {
            Step::Affine { fixed, .. } => Some(&**fixed),
            Step::MaxPool { .. }
            | Step::AvgPool { .. }
            | Step::Select { .. }
            | Step::Crop { .. }
            | Step::Mark(_)
            | Step::From(_)
            | Step::Add { .. } => None,
        })
    }

    /// Leaves of `weights` and this simulation's biases.
    pub fn tensors(&self, weights: &[IntegerWeights], device: &Device) -> Vec<IntegerTensors> {
        let layers = self.layers().zip(weights);
        layers
            .map(|(fixed, integers)| {
                let rows = fixed.biases.len();
                let columns = integers.values.len() / rows.max(1);
                let weight = integers.values.iter().map(|&w| f32::from(w)).collect();
                let bias = fixed.biases.iter().map(|&b| b as f32).collect();
                IntegerTensors {
                    weight: leaf(weight, [rows, columns], device),
                    bias: leaf(bias, [rows], device),
                }
            })
            .collect()
    }

    /// The real logits of a batch of integer inputs (q − zero point).
    ///
    /// # Shapes
    /// out: `[batch, outputs]`
    pub fn forward(&self, x: Value, layers: &[IntegerTensors]) -> Tensor<2> {
        let mut x = x;
        let mut named: BTreeMap<&str, Value> = BTreeMap::new();
        for step in &self.steps {
            x = match step {
                Step::Affine { index, convolution, fixed } => {
                    let IntegerTensors { weight, bias } = &layers[*index];
                    match convolution {
                        Some(c) => {
                            Value::Image(requantized(c.apply(x.image(), weight, bias), fixed))
                        }
                        None => {
                            let sums = x.flat().matmul(weight.clone().transpose());
                            Value::Flat(requantized(sums + bias.clone().unsqueeze(), fixed))
                        }
                    }
                }
                Step::MaxPool { window, clamp: [low, high] } => {
                    let WindowStage { size, stride, padding } = *window;
                    Value::Image(max_pool(x.image(), size, stride, padding).clamp(*low, *high))
                }
                Step::AvgPool { window, clamp: [low, high], zero_point } => {
                    Value::Image(mean(x.image(), window, *zero_point).clamp(*low, *high))
                }
                Step::Select { keep } => x.select(keep),
                Step::Crop { before, size } => x.crop(*before, *size),
                Step::Mark(name) => {
                    named.insert(name, x.clone());
                    x
                }
                // Shape inference has checked that names exist.
                Step::From(name) => named.get(name.as_str()).cloned().unwrap_or(x),
                Step::Add { name, sum } => match (x, named.get(name.as_str()).cloned()) {
                    (Value::Image(x), Some(Value::Image(y))) => Value::Image(added(x, y, sum)),
                    (x, Some(y)) => Value::Flat(added(x.flat(), y.flat(), sum)),
                    (x, None) => x,
                },
            };
        }
        x.flat() * self.output_scale
    }
}

fn between(
    affine: &AffineStage,
    input: Flow,
    activations: &Activations,
    bias_tolerance: f64,
) -> Between {
    Between {
        input: input.quantization,
        wanted: activations.layers[affine.index],
        residual: input.residual,
        activation: affine.activation,
        bias_tolerance,
    }
}

/// A clamp about the zero point.
fn centred(clamp: bitsback_runtime::format::Clamp, of: Quantization) -> [f32; 2] {
    [clamp.min, clamp.max].map(|end| f32::from(end) - f32::from(of.zero_point))
}

/// Accumulators to outputs: the runtime's rounding, and a straight line's gradient within the clamp.
fn requantized<const D: usize>(accumulators: Tensor<D>, fixed: &Fixed) -> Tensor<D> {
    let zero_point = fixed.output.zero_point;
    let factor = fixed.factor as f32;
    straight_through(accumulators, |acc| {
        let q = requantize(acc.round() as i32, fixed.multiplier, zero_point);
        let inside = (i32::from(fixed.clamp.min)..=i32::from(fixed.clamp.max)).contains(&q);
        let y = fixed.clamp.apply(q);
        (f32::from(y) - f32::from(zero_point), if inside { factor } else { 0.0 })
    })
}

/// The sum of two values by the runtime's rounding; within the clamp, each operand's gradient is that
/// of a straight line.
fn added<const D: usize>(x: Tensor<D>, y: Tensor<D>, sum: &Sum) -> Tensor<D> {
    let (shape, device) = (x.dims(), x.device());
    let zero_point = sum.output.zero_point;
    let integers = |t: &Tensor<D>| {
        let values = values(if device.is_autodiff() { t.clone().inner() } else { t.clone() });
        values.into_iter().map(|v| v.round() as i32)
    };
    let sums: Vec<(f32, bool)> = integers(&x)
        .zip(integers(&y))
        .map(|(x, y)| {
            let q = sum.apply([x, y]);
            let inside = (i32::from(sum.clamp.min)..=i32::from(sum.clamp.max)).contains(&q);
            (f32::from(sum.clamp.apply(q)) - f32::from(zero_point), inside)
        })
        .collect();
    let exact = constant(sums.iter().map(|(sum, _)| *sum).collect(), shape, &device);
    if !device.is_autodiff() {
        return exact;
    }
    let [by_x, by_y] = sum.factors.map(|factor| {
        let slopes = sums.iter().map(|(_, inside)| if *inside { factor } else { 0.0 });
        constant::<D>(slopes.collect(), shape, &device)
    });
    let lines = x * by_x + y * by_y;
    let at = Tensor::from_inner(lines.clone().inner());
    // Zero plus the exact sum, so that rounding of the lines doesn't stay in it.
    (lines - at) + exact
}

/// The mean of each window over the positions inside the image, rounded half away from zero as the
/// integer that it is (zero point included).
fn mean(x: Tensor<4>, window: &WindowStage, zero_point: f32) -> Tensor<4> {
    let WindowStage { size, stride, padding } = *window;
    // A mean of n integers is a multiple of 1/n: of those below a tie, the nearest is 1/(2n) away,
    // an `f32`'s error much less.
    let rounded = |mean: f32| {
        let q = mean + zero_point;
        (q.abs() + 0.5 + TIE).floor().copysign(q) - zero_point
    };
    straight_through(avg_pool(x, size, stride, padding), |mean| (rounded(mean), 1.0))
}

/// `f` of every value, where `f` gives the result and the slope to use for the gradient.
fn straight_through<const D: usize>(x: Tensor<D>, f: impl Fn(f32) -> (f32, f32)) -> Tensor<D> {
    let (shape, device) = (x.dims(), x.device());
    if !device.is_autodiff() {
        let y = values(x).into_iter().map(|v| f(v).0).collect();
        return constant(y, shape, &device);
    }
    let at = values(x.clone().inner());
    let (slopes, offsets): (Vec<f32>, Vec<f32>) = at
        .into_iter()
        .map(|v| {
            let (y, slope) = f(v);
            (slope, y - v * slope)
        })
        .unzip();
    x * constant(slopes, shape, &device) + constant(offsets, shape, &device)
}
