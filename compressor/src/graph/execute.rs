//! The forward pass of a graph of floats. An example's result depends neither on its neighbours
//! nor on threads.

use std::num::NonZero;

use super::operator::Prepared;
use super::panels::Panels;
use super::{Affine, Graph, GraphError, ValueId};

/// Examples whose values are held at a time by each thread: enough to reuse weights from the cache,
/// few enough that activations stay there.
const CHUNK: usize = 32;

/// Sees every value of some examples, in the order of the nodes, the input first.
pub trait Tap {
    /// `values` of the value `id`, example after example.
    fn see(&mut self, id: ValueId, values: &[f32]);
}

impl<F: FnMut(ValueId, &[f32])> Tap for F {
    fn see(&mut self, id: ValueId, values: &[f32]) {
        self(id, values);
    }
}

/// What a node reads, for several examples.
#[derive(Debug)]
pub struct Operands<'x> {
    /// One after the other: examples × values; of a constant its values, once.
    all: Vec<&'x [f32]>,
    /// Number of examples.
    count: usize,
}

impl<'x> Operands<'x> {
    /// The first operand of all examples.
    pub fn all(&self) -> &'x [f32] {
        self.all.first().copied().unwrap_or_default()
    }

    /// The first operand, example by example.
    pub fn examples(&self) -> impl Iterator<Item = &'x [f32]> {
        let x = self.all();
        x.chunks_exact((x.len() / self.count.max(1)).max(1))
    }

    /// Every operand of one example; `lens` are their sizes.
    pub fn of(&self, example: usize, lens: impl Iterator<Item = usize>) -> Vec<&'x [f32]> {
        let operand = |(x, len): (&&'x [f32], usize)| -> &'x [f32] {
            if x.len() == len {
                x
            } else {
                x.get(example * len..(example + 1) * len).unwrap_or(&[])
            }
        };
        self.all.iter().zip(lens).map(operand).collect()
    }

    /// Number of examples.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// A graph that has been checked and prepared.
#[derive(Debug)]
pub struct Executor<'g> {
    graph: &'g Graph<Affine>,
    /// Parameters of each node that has some.
    layers: Vec<Option<Prepared<'g>>>,
    /// The last node that reads each value; of the output, one behind the last.
    last: Vec<usize>,
}

impl<'g> Executor<'g> {
    /// Checks and prepares a graph.
    ///
    /// # Errors
    /// As [`Graph::check`].
    pub fn new(graph: &'g Graph<Affine>) -> Result<Self, GraphError> {
        graph.check()?;
        let prepare = |affine: &'g Affine, matrix: bool| Prepared {
            affine,
            panels: matrix.then(|| {
                let inputs = affine.weight.len() / affine.bias.len().max(1);
                Panels::pack(&affine.weight, &affine.bias, inputs)
            }),
        };
        let nodes = graph.nodes.iter();
        let layers =
            nodes.map(|node| Some(prepare(node.parameters.as_ref()?, node.op.is_matrix())));
        let mut last = vec![0; graph.values.len()];
        for (at, node) in graph.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|&id| last[id] = at);
        }
        last[graph.output] = graph.nodes.len();
        Ok(Self { graph, layers: layers.collect(), last })
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
    /// # Shapes
    /// `inputs`: examples × input, images as height × width × channels; gives examples × outputs.
    /// # Errors
    /// When `inputs` isn't a whole number of examples.
    pub fn run(&self, inputs: &[f32]) -> Result<Vec<f32>, GraphError> {
        let examples = self.examples(inputs)?;
        let (width, out) = (self.input_len(), self.output_len());
        let mut outputs = vec![0.0; examples * out];
        let share = examples.div_ceil(threads()).max(1);
        std::thread::scope(|scope| {
            let parts = inputs.chunks(share * width).zip(outputs.chunks_mut(share * out));
            for (inputs, outputs) in parts {
                scope.spawn(move || {
                    let chunks = inputs.chunks(CHUNK * width).zip(outputs.chunks_mut(CHUNK * out));
                    for (inputs, outputs) in chunks {
                        let mut values = self.forward(inputs, false);
                        outputs.copy_from_slice(&std::mem::take(&mut values[self.graph.output]));
                    }
                });
            }
        });
        Ok(outputs)
    }

    /// Shows all values of some examples at a time; they are computed on all cores.
    ///
    /// # Errors
    /// When `inputs` isn't a whole number of examples.
    pub fn visit(&self, inputs: &[f32], tap: &mut impl Tap) -> Result<(), GraphError> {
        self.examples(inputs)?;
        let width = self.input_len();
        for chunk in inputs.chunks(CHUNK * width) {
            let share = (chunk.len() / width).div_ceil(threads()).max(1);
            let mut seen: Vec<Vec<Vec<f32>>> = Vec::new();
            std::thread::scope(|scope| {
                let shares = chunk.chunks(share * width);
                let handles: Vec<_> =
                    shares.map(|inputs| scope.spawn(move || self.forward(inputs, true))).collect();
                seen = handles.into_iter().filter_map(|handle| handle.join().ok()).collect();
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

    fn examples(&self, inputs: &[f32]) -> Result<usize, GraphError> {
        let (expected, found) = (self.input_len(), inputs.len());
        if !found.is_multiple_of(expected) {
            return Err(GraphError::InputLength { expected, found });
        }
        Ok(found / expected)
    }

    /// All values of some examples, or of those that are needed no more nothing.
    fn forward(&self, inputs: &[f32], keep: bool) -> Vec<Vec<f32>> {
        let count = inputs.len() / self.input_len();
        let mut values: Vec<Vec<f32>> = vec![Vec::new(); self.graph.values.len()];
        values[self.graph.input] = inputs.to_vec();
        for (at, (node, layer)) in self.graph.nodes.iter().zip(&self.layers).enumerate() {
            let operand = |&id: &ValueId| match &self.graph.values[id].constant {
                Some(constant) => constant.as_slice(),
                None => values[id].as_slice(),
            };
            let operands = Operands { all: node.inputs.iter().map(operand).collect(), count };
            let output = node.op.forward(&self.graph.site(node), &operands, layer.as_ref());
            values[node.output] = output;
            for &id in node.inputs.iter().filter(|&&id| !keep && self.last[id] == at) {
                values[id] = Vec::new();
            }
        }
        values
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}
