//! The integer network's forward pass, exactly as the device computes it, with gradients.
//!
//! The network is lowered as for the device ([`crate::graph::lower()`]); here its graph of integers is
//! run on burn. Every value is an integer: q − zero point, held in an `f32`, which is exact below
//! 2^24. A layer's accumulator is a sum of products of integers, so the order of summation can't
//! change it; it is requantised by the runtime's own function. The gradient goes straight through
//! the rounding (Bengio et al. 2013, arXiv:1308.3432) and stops where the activation's clamp holds.
//!
//! What an operator does is in its file ([`crate::graph::IntegerOperator::train`]), or else the runtime
//! says it ([`super::alone`]).

use burn::tensor::{Device, Tensor};

use super::alone::Alone;
use crate::compile::calibrate::plan;
use crate::compile::{Head, InputQuantization, append_head};
use crate::graph::tensor::Inputs;
use crate::graph::tensor::integer::{IntegerLayer, IntegerSite, IntegerTensors};
use crate::graph::tensor::{Value, constant, leaf};
use crate::graph::{
    Affine, Graph, IntegerGraph, IntegerNode, Matrix, Origin, Plan, Rows, ValueId, lower,
};
use crate::numbers::Quantization;
use crate::train::TrainError;
use std::collections::BTreeMap;

/// A network in integers: what is compiled for the device, ready to be differentiated.
pub(crate) struct Simulation {
    graph: IntegerGraph,
    /// Nodes whose operators leave it to the runtime.
    alone: Vec<Option<Alone>>,
}

impl Simulation {
    /// The integer network of `network`'s biases, `weights` and `activations`.
    ///
    /// # Errors
    /// Those of lowering and compiling.
    pub(crate) fn new(
        network: &Graph<Affine>,
        weights: &[Rows],
        activations: &BTreeMap<ValueId, Quantization>,
        input: &InputQuantization,
        bias_tolerance: f64,
    ) -> Result<Self, TrainError> {
        let rows = network.layers().map(|node| node.output).zip(weights.iter().cloned());
        let plan = plan(network, activations.clone(), input);
        let graph = lower(network, &Plan { rows: rows.collect(), bias_tolerance, ..plan })?;
        let alone = graph.nodes.iter().map(|node| Alone::new(&graph, node)).collect();
        Ok(Self { alone: Result::from_iter::<Vec<_>>(alone)?, graph })
    }

    /// The same with the device's head, so that its classes are the device's: probabilities in 256ths
    /// may be equal where logits differ. An argmax takes the largest logit, as whoever counts does.
    ///
    /// # Errors
    /// Those of compiling.
    pub(crate) fn with_head(mut self, head: Head) -> Result<Self, TrainError> {
        if head == Head::Softmax {
            append_head(&mut self.graph, head);
            for node in self.graph.nodes.get(self.alone.len()..).unwrap_or_default() {
                self.alone.push(Alone::new(&self.graph, node)?);
            }
        }
        Ok(self)
    }

    /// Each layer with weights, in order, and where it is.
    fn layers(&self) -> impl Iterator<Item = (&IntegerNode, &Matrix)> {
        self.graph.nodes.iter().filter_map(|node| Some((node, node.parameters.as_ref()?)))
    }

    /// Real value of one step of each accumulator of each layer.
    pub(crate) fn units(&self) -> impl Iterator<Item = Vec<f64>> {
        self.layers().map(|(node, matrix)| units(self.site(node).from(0), matrix))
    }

    /// What the output's integers stand for.
    pub(crate) fn output(&self) -> Quantization {
        self.graph.values[self.graph.output].quantization
    }

    /// The biases of all layers and their integers, as tensors.
    pub(crate) fn tensors(&self, device: &Device) -> Vec<IntegerTensors> {
        let layers = self.layers().map(|(_, matrix)| {
            let Matrix { rows, columns, values, bias, .. } = matrix;
            let weight = values.iter().map(|&w| f32::from(w)).collect();
            let bias = bias.iter().map(|&b| b as f32).collect();
            IntegerTensors {
                weight: leaf(weight, [*rows, *columns], device),
                bias: leaf(bias, [*rows], device),
            }
        });
        layers.collect()
    }

    fn site<'g>(&'g self, node: &IntegerNode) -> IntegerSite<'g> {
        let values = &self.graph.values;
        IntegerSite {
            inputs: node.inputs.iter().map(|&id| &values[id]).collect(),
            output: &values[node.output],
        }
    }

    /// The real outputs of a batch of integer inputs (q − zero point): logits, or what the head gives.
    ///
    /// # Shapes
    /// out: `[batch, outputs]`
    pub(crate) fn forward(&self, x: Value, layers: &[IntegerTensors]) -> Tensor<2> {
        let mut run =
            Run { graph: &self.graph, batch: x.batch(), device: x.device(), known: Vec::new() };
        run.known.resize(self.graph.values.len(), None);
        run.known[self.graph.input] = Some(x);
        let mut tensors = layers.iter();
        for (node, alone) in self.graph.nodes.iter().zip(&self.alone) {
            let site = self.site(node);
            let layer = node.parameters.as_ref().zip(
                // One for each node with parameters.
                if node.parameters.is_some() { tensors.next() } else { None },
            );
            let layer = layer.map(|(matrix, tensors)| {
                let to = f64::from(site.to().scale);
                let units = units(site.from(0), matrix).into_iter();
                IntegerLayer { matrix, tensors, factors: units.map(|unit| unit / to).collect() }
            });
            let mut operands: Vec<Value> =
                node.inputs.iter().filter_map(|&id| run.value(id)).collect();
            if operands.is_empty() {
                continue;
            }
            let x = Inputs { first: operands.remove(0), rest: operands };
            let y = match alone {
                Some(alone) => alone.run(&site, x),
                None => node.op.train(&site, x, layer.as_ref()),
            };
            run.known[node.output] = y;
        }
        let logits = run.value(self.graph.output).map(Value::flat);
        // No lowered graph lacks its output.
        let logits = logits.unwrap_or_else(|| constant(Vec::new(), [run.batch, 0], &run.device));
        logits * self.output().scale
    }
}

/// Real value of one step of each of a layer's accumulators.
fn units(from: Quantization, matrix: &Matrix) -> Vec<f64> {
    let scales = matrix.scales.iter().cycle().take(matrix.rows);
    scales.map(|&scale| f64::from(from.scale) * f64::from(scale)).collect()
}

/// A forward pass.
struct Run<'g> {
    graph: &'g IntegerGraph,
    batch: usize,
    device: Device,
    /// What nodes have written so far.
    known: Vec<Option<Value>>,
}

impl Run<'_> {
    /// A value, from wherever it comes.
    fn value(&self, id: ValueId) -> Option<Value> {
        let value = &self.graph.values[id];
        let (stored, offset) = self.graph.storage(id);
        let numbers = match &self.graph.values[stored].origin {
            Origin::Constant(bytes) => {
                let zero = f32::from(value.quantization.zero_point);
                let numbers: Vec<f32> = bytes.iter().map(|&q| f32::from(q) - zero).collect();
                let dims = &self.graph.values[stored].dims;
                Value::repeated(&numbers, dims, self.batch, &self.device)
            }
            Origin::Computed | Origin::View(..) => self.known[stored].clone()?,
        };
        if stored == id {
            return Some(numbers);
        }
        let x = numbers.flat();
        let (batch, len) = (self.batch, value.len());
        let x = if x.dims()[1] == len { x } else { x.slice([0..batch, offset..offset + len]) };
        Some(Value::of_rows(x, &value.dims))
    }
}
