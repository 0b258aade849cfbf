//! The float forward pass in plain Rust: what the integer model is compared with, and what
//! calibration watches. Dropout is the identity; nothing is random.
//!
//! Every affine layer is one matrix product over packed weights (`panels`); examples are spread
//! over threads. The result of an example does not depend on its neighbours nor on the threads.

pub(crate) mod panels;
mod windows;

use std::collections::BTreeMap;
use std::num::NonZero;

use thiserror::Error;

use crate::network::{FloatNetwork, Layer, Norm, Shape};
use crate::prune::PruneError;
use crate::prune::batch_norm::NORM_EPSILON;
use crate::prune::shrinkage::check_parameters;
use crate::shapes;

use panels::Panels;
use windows::Depthwise;

/// Examples that go through the layers together: enough to reuse weights from the cache, few
/// enough that the activations stay there.
const CHUNK: usize = 32;

/// Why there is no forward pass.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ReferenceError {
    /// The network is inconsistent.
    #[error(transparent)]
    Network(#[from] PruneError),
    /// A normalisation has the wrong number of parameters, or there are too few of them.
    #[error("layer {layer} (batch_norm): its parameters do not cover its {channels} channels")]
    Norm {
        /// Position among the layers, from 0.
        layer: usize,
        /// Channels needed.
        channels: usize,
    },
    /// The inputs are not a whole number of examples.
    #[error("{found} input values are not a multiple of the network's {expected}")]
    InputLength {
        /// Values of one example.
        expected: usize,
        /// Values given.
        found: usize,
    },
}

/// A float network, prepared for evaluation.
#[derive(Clone, Debug)]
pub struct Reference {
    steps: Vec<Step>,
    shapes: Vec<Shape>,
}

/// One layer with what it needs to run.
#[derive(Clone, Debug)]
enum Step {
    Dense(Panels),
    Conv2d {
        panels: Panels,
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
    },
    Depthwise(Depthwise),
    /// y = scale·x + shift per channel.
    Normalise {
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
    MaxPool {
        size: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
    },
    AvgPool {
        size: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
    },
    Relu,
    Relu6,
    Select(Vec<u32>),
    Crop {
        before: [usize; 2],
    },
    /// Flatten and dropout.
    Nothing,
    Mark(String),
    From(String),
    Add(String),
}

impl Reference {
    /// Checks and packs a network.
    ///
    /// # Errors
    /// When shapes, parameter lengths or numbers are wrong.
    pub fn new(network: &FloatNetwork) -> Result<Self, ReferenceError> {
        check_parameters(network)?;
        let shapes = shapes::infer(&network.topology).map_err(PruneError::from)?;
        let mut affine = network.affine.iter();
        let mut norms = network.norms.iter();
        let mut steps = Vec::with_capacity(network.topology.layers.len());
        for (index, layer) in network.topology.layers.iter().enumerate() {
            let mut packed = |inputs| {
                affine
                    .next()
                    .map_or_else(Panels::default, |a| Panels::pack(&a.weight, &a.bias, inputs))
            };
            steps.push(match layer {
                Layer::Dense { inputs, .. } => Step::Dense(packed(*inputs)),
                Layer::Conv2d { channels, kernel, stride, padding, .. } => Step::Conv2d {
                    panels: packed(kernel[0] * kernel[1] * channels),
                    kernel: *kernel,
                    stride: *stride,
                    pad: windows::padding(shapes[index], *kernel, *stride, *padding),
                },
                Layer::DepthwiseConv2d { kernel, stride, padding, .. } => {
                    let pad = windows::padding(shapes[index], *kernel, *stride, *padding);
                    let affine = affine.next().cloned().unwrap_or_default();
                    Step::Depthwise(Depthwise { affine, kernel: *kernel, stride: *stride, pad })
                }
                Layer::BatchNorm { channels } => {
                    let missing = ReferenceError::Norm { layer: index, channels: *channels };
                    normalise(norms.next(), *channels).ok_or(missing)?
                }
                Layer::MaxPool2d { size, stride, padding } => Step::MaxPool {
                    size: *size,
                    stride: *stride,
                    pad: windows::padding(shapes[index], *size, *stride, *padding),
                },
                Layer::AvgPool2d { size, stride, padding } => Step::AvgPool {
                    size: *size,
                    stride: *stride,
                    pad: windows::padding(shapes[index], *size, *stride, *padding),
                },
                Layer::Relu => Step::Relu,
                Layer::Relu6 => Step::Relu6,
                Layer::Select { keep } => Step::Select(keep.clone()),
                Layer::Crop { before, .. } => Step::Crop { before: *before },
                Layer::Flatten | Layer::Dropout { .. } => Step::Nothing,
                Layer::Mark { name } => Step::Mark(name.clone()),
                Layer::From { name } => Step::From(name.clone()),
                Layer::Add { name } => Step::Add(name.clone()),
            });
        }
        Ok(Self { steps, shapes })
    }

    /// Values of one input example.
    pub fn input_len(&self) -> usize {
        self.shapes.first().map_or(0, |s| s.len())
    }

    /// Values of one output (logits).
    pub fn output_len(&self) -> usize {
        self.shapes.last().map_or(0, |s| s.len())
    }

    /// Shapes of all boundaries: input, then the output of each layer.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Logits of a batch, on all cores.
    ///
    /// # Shapes
    /// `inputs`: examples × input, images as height × width × channels; gives examples × outputs.
    /// # Errors
    /// When `inputs` isn't a whole number of examples.
    pub fn logits(&self, inputs: &[f32]) -> Result<Vec<f32>, ReferenceError> {
        let examples = self.examples(inputs)?;
        let (width, out) = (self.input_len(), self.output_len());
        let mut logits = vec![0.0; examples * out];
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let share = examples.div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            let parts = inputs.chunks(share * width).zip(logits.chunks_mut(share * out));
            for (inputs, logits) in parts {
                scope.spawn(move || self.forward(inputs, logits));
            }
        });
        Ok(logits)
    }

    /// Shows every boundary's activations, a few examples at a time and in order: `visit` gets the
    /// boundary (0 is the input) and examples × values.
    ///
    /// # Errors
    /// When `inputs` isn't a whole number of examples.
    pub fn visit(
        &self,
        inputs: &[f32],
        mut visit: impl FnMut(usize, &[f32]),
    ) -> Result<(), ReferenceError> {
        self.examples(inputs)?;
        for chunk in inputs.chunks(CHUNK * self.input_len()) {
            self.layers(chunk, &mut visit);
        }
        Ok(())
    }

    fn examples(&self, inputs: &[f32]) -> Result<usize, ReferenceError> {
        let (expected, found) = (self.input_len(), inputs.len());
        if expected == 0 || !found.is_multiple_of(expected) {
            return Err(ReferenceError::InputLength { expected, found });
        }
        Ok(found / expected)
    }

    fn forward(&self, inputs: &[f32], logits: &mut [f32]) {
        let (width, out) = (self.input_len(), self.output_len());
        let parts = inputs.chunks(CHUNK * width).zip(logits.chunks_mut(CHUNK * out));
        for (inputs, logits) in parts {
            logits.copy_from_slice(&self.layers(inputs, &mut |_, _| {}));
        }
    }

    fn layers(&self, inputs: &[f32], visit: &mut dyn FnMut(usize, &[f32])) -> Vec<f32> {
        let mut current = inputs.to_vec();
        let mut marks: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
        visit(0, &current);
        for (index, step) in self.steps.iter().enumerate() {
            let named = |name: &str| marks.get(name).map(Vec::as_slice).unwrap_or_default();
            match step {
                Step::Mark(name) => drop(marks.insert(name, current.clone())),
                Step::From(name) => current = named(name).to_vec(),
                Step::Add(name) => current.iter_mut().zip(named(name)).for_each(|(x, y)| *x += y),
                step => current = step.run(self.shapes[index], self.shapes[index + 1], current),
            }
            visit(index + 1, &current);
        }
        current
    }
}

impl Step {
    /// Runs the layer on a few examples; `from` and `to` are the shapes of one.
    fn run(&self, from: Shape, to: Shape, mut x: Vec<f32>) -> Vec<f32> {
        match self {
            Self::Dense(panels) => panels.multiply(&x),
            Self::Conv2d { panels, kernel, stride, pad } => {
                let mut y = Vec::with_capacity(x.len() / from.len().max(1) * to.len());
                for image in x.chunks_exact(from.len()) {
                    let patches = windows::patches(image, from, to, *kernel, *stride, *pad);
                    y.extend(panels.multiply(&patches));
                }
                y
            }
            Self::Normalise { scale, shift } => {
                for pixel in x.chunks_exact_mut(scale.len()) {
                    for ((v, scale), shift) in pixel.iter_mut().zip(scale).zip(shift) {
                        *v = *v * scale + shift;
                    }
                }
                x
            }
            Self::MaxPool { size, stride, pad } => windows::pool(
                &x,
                from,
                to,
                *size,
                *stride,
                *pad,
                f32::NEG_INFINITY,
                f32::max,
                false,
            ),
            Self::AvgPool { size, stride, pad } => {
                windows::pool(&x, from, to, *size, *stride, *pad, 0.0, |a, b| a + b, true)
            }
            Self::Relu => {
                // Not `max`, which would hide what isn't a number.
                x.iter_mut().filter(|v| **v < 0.0).for_each(|v| *v = 0.0);
                x
            }
            Self::Relu6 => {
                x.iter_mut().for_each(|v| *v = v.clamp(0.0, 6.0));
                x
            }
            Self::Select(keep) => {
                let examples = x.chunks_exact(from.len());
                examples.flat_map(|e| keep.iter().map(|&k| e[k as usize])).collect()
            }
            Self::Crop { before } => windows::crop(&x, from, to, *before),
            Self::Depthwise(layer) => layer.run(&x, from, to),
            Self::Nothing | Self::Mark(_) | Self::From(_) | Self::Add(_) => x,
        }
    }
}

fn normalise(norm: Option<&Norm>, channels: usize) -> Option<Step> {
    let norm = norm?;
    let whole = [&norm.gamma, &norm.beta, &norm.mean, &norm.variance];
    if channels == 0 || whole.iter().any(|v| v.len() != channels) {
        return None;
    }
    let scale: Vec<f32> = norm
        .gamma
        .iter()
        .zip(&norm.variance)
        .map(|(gamma, variance)| gamma / (variance + NORM_EPSILON).sqrt())
        .collect();
    let shift = norm.beta.iter().zip(&norm.mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
    Some(Step::Normalise { scale, shift })
}

#[cfg(test)]
mod tests;
