//! The forward pass of a graph of floats. An example's result depends neither on its neighbours
//! nor on threads.

use std::num::NonZero;

use super::kernels::{self, Image};
use super::{FloatGraph, FloatGraphError, Kind, Node, ValueId, Window};
use crate::reference::panels::Panels;

/// Examples whose values are held at a time: enough for every core, and little memory.
const CHUNK: usize = 32;

/// Sees every value of an example, in the order of the nodes, the input first.
pub trait Tap {
    /// `values` of the value `id`.
    fn see(&mut self, id: ValueId, values: &[f32]);
}

impl<F: FnMut(ValueId, &[f32])> Tap for F {
    fn see(&mut self, id: ValueId, values: &[f32]) {
        self(id, values);
    }
}

impl FloatGraph {
    /// What the weights of a layer meet in its input, in the mean over all positions: a number for each
    /// column of its weights, or of depthwise convolutions for each tap and channel. The graph has been
    /// checked.
    pub(crate) fn columns(&self, node: &Node, input: &[f32]) -> Option<Vec<f32>> {
        let image = |id: ValueId| self.values[id].image().map(Image);
        let window = match &node.kind {
            Kind::Dense(_) => return Some(input.to_vec()),
            Kind::Conv2d(window, _) | Kind::DepthwiseConv2d(window, _) => *window,
            _ => return None,
        };
        let (from, to) = (image(*node.inputs.first()?)?, image(node.output)?);
        let columns = window.size[0] * window.size[1] * from.0[2];
        let patches = kernels::patches(input, &kernels::Ends { window, from, to });
        let count = patches.len() / columns.max(1);
        let mut sums = vec![0.0f64; columns];
        for patch in patches.chunks_exact(columns.max(1)) {
            sums.iter_mut().zip(patch).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        Some(sums.into_iter().map(|sum| (sum / count.max(1) as f64) as f32).collect())
    }
}

/// A graph that has been checked and prepared.
#[derive(Debug)]
pub struct Executor<'g> {
    graph: &'g FloatGraph,
    /// Packed weights of each node that is a matrix product.
    panels: Vec<Option<Panels>>,
}

impl<'g> Executor<'g> {
    /// Checks and prepares a graph.
    ///
    /// # Errors
    /// As [`FloatGraph::check`].
    pub fn new(graph: &'g FloatGraph) -> Result<Self, FloatGraphError> {
        graph.check()?;
        let panels = graph.nodes.iter().map(|node| match &node.kind {
            Kind::Dense(affine) | Kind::Conv2d(_, affine) => {
                let inputs = affine.weight.len() / affine.bias.len().max(1);
                Some(Panels::pack(&affine.weight, &affine.bias, inputs))
            }
            _ => None,
        });
        Ok(Self { graph, panels: panels.collect() })
    }

    /// Values of one input.
    pub fn input_len(&self) -> usize {
        self.graph.values[self.graph.input].len()
    }

    /// Values of one output.
    pub fn output_len(&self) -> usize {
        self.graph.values[self.graph.output].len()
    }

    /// The outputs of `inputs`, one after the other, on all cores.
    ///
    /// # Errors
    /// When `inputs` isn't a whole number of examples.
    pub fn run(&self, inputs: &[f32]) -> Result<Vec<f32>, FloatGraphError> {
        let mut outputs = Vec::new();
        self.visit(inputs, &mut |id: ValueId, values: &[f32]| {
            if id == self.graph.output {
                outputs.extend_from_slice(values);
            }
        })?;
        Ok(outputs)
    }

    /// Shows all values of each example in turn; they are computed on all cores.
    ///
    /// # Errors
    /// When `inputs` isn't a whole number of examples.
    pub fn visit(&self, inputs: &[f32], tap: &mut impl Tap) -> Result<(), FloatGraphError> {
        let width = self.input_len();
        if !inputs.len().is_multiple_of(width) {
            let (expected, found) = (width, inputs.len());
            return Err(FloatGraphError::InputLength { expected, found });
        }
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        for chunk in inputs.chunks(CHUNK * width) {
            let share = (chunk.len() / width).div_ceil(threads).max(1);
            let mut seen: Vec<Vec<Vec<f32>>> = vec![Vec::new(); chunk.len() / width];
            std::thread::scope(|scope| {
                let shares = chunk.chunks(share * width).zip(seen.chunks_mut(share));
                for (inputs, seen) in shares {
                    scope.spawn(move || {
                        for (input, seen) in inputs.chunks_exact(width).zip(seen) {
                            *seen = self.example(input);
                        }
                    });
                }
            });
            for values in &seen {
                tap.see(self.graph.input, &values[self.graph.input]);
                for node in &self.graph.nodes {
                    tap.see(node.output, &values[node.output]);
                }
            }
        }
        Ok(())
    }

    /// All values of an example.
    fn example(&self, input: &[f32]) -> Vec<Vec<f32>> {
        let constants = self.graph.values.iter().map(|value| value.constant.clone());
        let mut values: Vec<Vec<f32>> = constants.map(Option::unwrap_or_default).collect();
        values[self.graph.input] = input.to_vec();
        for (node, panels) in self.graph.nodes.iter().zip(&self.panels) {
            let operands: Vec<&[f32]> =
                node.inputs.iter().map(|&id| values[id].as_slice()).collect();
            values[node.output] = self.node(node, panels.as_ref(), &operands);
        }
        values
    }

    fn image(&self, id: ValueId) -> Image {
        Image(self.graph.values[id].image().unwrap_or([1, 1, self.graph.values[id].len()]))
    }

    /// What a node writes. `operands` has as many as the kind needs: the graph has been checked.
    fn node(&self, node: &Node, panels: Option<&Panels>, operands: &[&[f32]]) -> Vec<f32> {
        let x = operands[0];
        let ends = |window: &Window| kernels::Ends {
            window: *window,
            from: self.image(node.inputs[0]),
            to: self.image(node.output),
        };
        let output = &self.graph.values[node.output];
        let last = output.dims.last().copied().unwrap_or(1).max(1);
        let each = |f: &dyn Fn(f32) -> f32| x.iter().map(|&x| f(x)).collect();
        match &node.kind {
            Kind::Dense(_) => panels.map_or_else(Vec::new, |panels| panels.multiply(x)),
            Kind::Conv2d(window, _) => {
                let patches = kernels::patches(x, &ends(window));
                panels.map_or_else(Vec::new, |panels| panels.multiply(&patches))
            }
            Kind::DepthwiseConv2d(window, affine) => kernels::depthwise(x, &ends(window), affine),
            Kind::MaxPool2d(window) => kernels::max_pool(x, &ends(window)),
            Kind::AvgPool2d(window) => kernels::avg_pool(x, &ends(window)),
            Kind::Mean => kernels::mean(x, output.len().max(1)),
            Kind::Add => kernels::pairwise(x, operands[1], |a, b| a + b),
            Kind::Mul => kernels::pairwise(x, operands[1], |a, b| a * b),
            Kind::Concat(axis) => kernels::concat(operands, *axis, &output.dims),
            Kind::Pad(before, fill) => {
                let from = &self.graph.values[node.inputs[0]].dims;
                kernels::pad(x, from, &output.dims, before, *fill)
            }
            Kind::Reshape => x.to_vec(),
            Kind::Clip(low, high) => each(&|x| x.max(*low).min(*high)),
            Kind::LeakyRelu(alpha) => each(&|x| if x < 0.0 { alpha * x } else { x }),
            Kind::HardSwish => each(&|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
            Kind::Sigmoid => each(&|x| 1.0 / (1.0 + (-x).exp())),
            Kind::Tanh => each(&f32::tanh),
            Kind::Softmax => kernels::softmax(x, last, false),
            Kind::LogSoftmax => kernels::softmax(x, last, true),
        }
    }
}
