//! Outputs that no longer depend on the input, folded into the next bias; weights that are all
//! zero, removed.
//!
//! A neuron or filter whose weights are all zero gives a constant: its bias, through whatever follows
//! ([`Operator::constant`](crate::graph::Operator::constant)): the dead channel behind a logistic
//! function is ½. The next dense layer or unpadded convolution takes it into its bias. A convolution
//! with real padding can't: at the border it reads zeros instead of the constant. There the filter stays,
//! unless the constant is zero.

use super::liveness::Dead;
use super::parameters::check_parameters;
use super::spaces::{Layer, Spaces};
use super::{Decision, Lineage, PruneError, Shrinkage};
use crate::graph::{Affine, Graph, Groups, Units};
use crate::ledger::{GroupKind, GroupRecord, Reason};

/// A network without constants, and how it came about.
#[derive(Clone, Debug)]
pub(crate) struct Folded {
    /// What is left.
    pub graph: Graph<Affine>,
    /// The shrinking steps, first to last; a [`Lineage`] follows them in this order.
    pub steps: Vec<FoldStep>,
}

/// One shrinking step of the folding.
#[derive(Clone, Debug)]
pub(crate) struct FoldStep {
    /// What went.
    pub shrinkage: Shrinkage,
    /// Outputs that were constant, per layer, in indices before the step.
    constant: Vec<Vec<bool>>,
    /// Inputs whose weights were all zero though their source was alive.
    unread: Vec<Vec<bool>>,
}

impl FoldStep {
    /// The ledger's entries of this step; call it before the lineage follows the step.
    pub(crate) fn records(&self, lineage: &Lineage) -> Vec<GroupRecord> {
        let decision = Decision {
            dead: &self.unread,
            prune_score: &[],
            thresholds: &[],
            effects: &[],
            saved: &[],
            reason: Reason::NoConsumer,
            stage: "folding",
            step: 0,
        };
        let mut records = lineage.removed(&self.shrinkage, &decision);
        for record in &mut records {
            let layers = 0..self.shrinkage.layer_count();
            let layer = layers.into_iter().find(|&l| self.shrinkage.layer_name(l) == record.layer);
            let Some(layer) = layer.filter(|_| record.kind == GroupKind::Filter) else { continue };
            let filter = lineage.groups(layer).binary_search(&record.group);
            if record.reason == Reason::NoConsumer
                && filter.is_ok_and(|filter| self.constant[layer][filter])
            {
                record.reason = Reason::Constant;
            }
        }
        records
    }
}

/// Folds constants and removes what only multiplies zeros, until nothing changes.
///
/// # Errors
/// When the graph is inconsistent or batch normalisation isn't folded yet.
pub(crate) fn fold_constants(graph: Graph<Affine>) -> Result<Folded, PruneError> {
    check_parameters(&graph)?;
    let mut graph = graph;
    let mut steps = Vec::new();
    loop {
        let spaces = Spaces::new(&graph)?;
        let Constants { of, outputs: constant } = Constants::fold(&mut graph, &spaces);
        let mut dead = Dead::nothing(&spaces);
        for ((layer, affine), dead) in
            spaces.layers.iter().zip(affines(&graph)).zip(&mut dead.inputs)
        {
            for (input, dead) in dead.iter_mut().enumerate() {
                let mut column = affine.weight[input..].iter().step_by(layer.weights.inputs);
                *dead = column.all(|&w| w == 0.0);
            }
        }
        let unread = unread(&spaces, &dead.inputs, &of);
        let shrinkage = Shrinkage::of(&spaces, dead, &[]);
        if shrinkage.is_identity() {
            return Ok(Folded { graph, steps });
        }
        graph = shrinkage.apply(&graph)?;
        steps.push(FoldStep { shrinkage, constant, unread });
    }
}

/// What the layers hold, which are all that holds something.
fn affines(graph: &Graph<Affine>) -> impl Iterator<Item = &Affine> {
    graph.layers().filter_map(|node| node.parameters.as_ref())
}

/// What of a graph doesn't depend on its input.
struct Constants {
    /// Per value and unit: the number that it is everywhere.
    of: Vec<Vec<Option<f32>>>,
    /// Per layer: which outputs are constant.
    outputs: Vec<Vec<bool>>,
}

impl Constants {
    /// Moves every constant into the next bias, first layer to last, and zeroes the weights that read
    /// it.
    fn fold(graph: &mut Graph<Affine>, spaces: &Spaces) -> Self {
        let values = spaces.graph.values.iter().enumerate();
        let mut constants = Self {
            of: values
                .map(|(id, value)| uniform(value.constant.as_deref(), spaces.units(id)))
                .collect(),
            outputs: Vec::with_capacity(spaces.layers.len()),
        };
        let mut layers = spaces.layers.iter().peekable();
        for at in 0..graph.nodes.len() {
            let written = match layers.next_if(|layer| layer.node == at) {
                Some(layer) => constants.layer(graph, spaces, layer),
                None => constants.passed(spaces, at),
            };
            constants.of[graph.nodes[at].output] = written;
        }
        constants
    }

    /// What a layer writes, when it has taken the constants that it reads.
    fn layer(
        &mut self,
        graph: &mut Graph<Affine>,
        spaces: &Spaces,
        layer: &Layer,
    ) -> Vec<Option<f32>> {
        let (node, sizes) = (&spaces.graph.nodes[layer.node], layer.weights);
        let padded = node.op.reads_padding(&spaces.graph.site(node));
        let mut read = self.of[layer.input].clone();
        if padded {
            read.iter_mut().for_each(|number| *number = number.filter(|&number| number == 0.0));
        }
        let Some(affine) = &mut graph.nodes[layer.node].parameters else { return Vec::new() };
        let mut written: Vec<Option<f32>> = Vec::with_capacity(sizes.outputs);
        if layer.mixed {
            take(affine, sizes.inputs, &read);
        }
        let rows = affine.weight.chunks_exact(sizes.columns()).zip(&affine.bias);
        let repeats = (sizes.outputs / read.len().max(1)).max(1);
        for (output, (row, &bias)) in rows.enumerate() {
            let zeros = row.iter().all(|&w| w == 0.0);
            // A depthwise kernel makes a constant of a constant, whatever its weights.
            let number = if layer.mixed { None } else { read[output / repeats] };
            let sum = || row.iter().map(|&w| f64::from(w)).sum::<f64>();
            let passed = number.map(|number| (f64::from(bias) + sum() * f64::from(number)) as f32);
            written.push(if zeros { Some(bias) } else { passed });
        }
        self.outputs.push(written.iter().map(Option::is_some).collect());
        // A dense layer may write an image, with several of its outputs to a channel.
        let fits = written.len() == spaces.units(layer.output);
        if fits { written } else { vec![None; spaces.units(layer.output)] }
    }

    /// What a node without weights makes of constants.
    fn passed(&self, spaces: &Spaces, at: usize) -> Vec<Option<f32>> {
        let node = &spaces.graph.nodes[at];
        let units = spaces.units(node.output);
        let number = |operand: usize, unit: usize| {
            let operand = &self.of[operand];
            if operand.len() == units { operand[unit] } else { same(operand) }
        };
        let all = |unit: usize| -> Option<f32> {
            let numbers: Option<Vec<f32>> =
                node.inputs.iter().map(|&id| number(id, unit)).collect();
            node.op.constant(&numbers?)
        };
        match &spaces.relations[at] {
            Units::Fixed | Units::Mixed => vec![None; units],
            Units::Alike => (0..units).map(all).collect(),
            Units::Product => {
                let zero = |unit| node.inputs.iter().any(|&id| number(id, unit) == Some(0.0));
                (0..units).map(|unit| if zero(unit) { Some(0.0) } else { all(unit) }).collect()
            }
            Units::Taken(from) => {
                let taken = |&(operand, unit): &(usize, usize)| {
                    node.op.constant(&[self.of[node.inputs[operand]][unit]?])
                };
                from.iter().map(taken).collect()
            }
        }
    }
}

/// Moves the constants among what a layer reads into its biases; `read` has one entry a channel.
fn take(affine: &mut Affine, inputs: usize, read: &[Option<f32>]) {
    let columns = affine.weight.len() / affine.bias.len().max(1);
    for input in 0..inputs {
        let Some(number) = read[input % read.len().max(1)] else { continue };
        let rows = affine.weight.chunks_exact_mut(columns.max(1));
        for (row, bias) in rows.zip(&mut affine.bias) {
            let taps = row[input..].iter_mut().step_by(inputs);
            let sum: f64 = taps.map(|w| f64::from(std::mem::take(w))).sum();
            *bias = (f64::from(*bias) + sum * f64::from(number)) as f32;
        }
    }
}

/// Per unit: the number that a constant has everywhere.
fn uniform(constant: Option<&[f32]>, units: usize) -> Vec<Option<f32>> {
    let Some(numbers) = constant else { return vec![None; units] };
    let of = |unit: usize| {
        let numbers: Vec<_> = numbers[unit..].iter().step_by(units).copied().map(Some).collect();
        same(&numbers)
    };
    (0..units).map(of).collect()
}

/// The number that all are.
fn same(numbers: &[Option<f32>]) -> Option<f32> {
    let first = numbers.first().copied().flatten()?;
    numbers.iter().all(|&number| number == Some(first)).then_some(first)
}

/// Zero columns of dense layers whose source is alive: a matter of the reader alone.
fn unread(spaces: &Spaces, zero: &[Vec<bool>], of: &[Vec<Option<f32>>]) -> Vec<Vec<bool>> {
    let of_layer = |(layer, zero): (&Layer, &Vec<bool>)| {
        if layer.weights.groups != Groups::Inputs {
            return vec![false; layer.weights.outputs];
        }
        let read = &of[layer.input];
        let inputs = zero.iter().enumerate();
        inputs.map(|(input, &zero)| zero && read[input % read.len()].is_none()).collect()
    };
    spaces.layers.iter().zip(zero).map(of_layer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ops::{Clip, Conv2d, Dense, Logistic, Reshape};
    use crate::graph::{Executor, Op, Padding, Window};

    fn wave(len: usize, phase: f32) -> Vec<f32> {
        (0..len).map(|i| (i as f32 * 0.71 + phase).sin()).collect()
    }

    fn conv(graph: &mut Graph<Affine>, padding: Padding, affine: Affine) {
        let &[height, width, _] = graph.values[graph.output].dims.as_slice() else { panic!() };
        let window = Window::with_rule([3; 2], [1; 2], [1; 2], padding, [height, width]);
        let (window, [rows, columns]) = window.unwrap();
        let dims = vec![rows, columns, affine.bias.len()];
        let name = format!("conv2d_{}", 1 + graph.layers().count());
        graph.push(&name, Conv2d { window }, vec![graph.output], dims, Some(affine));
    }

    /// Two convolutions; the first one's filter 1 is constant.
    fn network(second: Padding, bias: f32, activation: impl Into<Op>) -> Graph<Affine> {
        let mut graph = Graph::of_input(vec![6, 6, 1]);
        let mut first = Affine { weight: wave(27, 0.1), bias: vec![0.1, bias, -0.3] };
        first.weight[9..18].fill(0.0);
        conv(&mut graph, Padding::Valid, first);
        graph.push("relu_1", activation, vec![graph.output], vec![4, 4, 3], None);
        conv(&mut graph, second, Affine { weight: wave(54, 0.5), bias: vec![0.2, -0.1] });
        let features = graph.values[graph.output].len();
        graph.push("flatten_1", Reshape {}, vec![graph.output], vec![features], None);
        let dense = Affine { weight: wave(features * 2, 0.9), bias: vec![0.0, 0.5] };
        graph.push("dense_1", Dense {}, vec![graph.output], vec![2], Some(dense));
        graph
    }

    fn filters(graph: &Graph<Affine>) -> usize {
        graph.weights()[0].outputs
    }

    fn same_outputs(a: &Graph<Affine>, b: &Graph<Affine>) {
        let x = wave(36 * 3, 2.0);
        let a = Executor::new(a).unwrap().run(&x).unwrap();
        let b = Executor::new(b).unwrap().run(&x).unwrap();
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn a_constant_filter_moves_into_an_unpadded_convolution() {
        let net = network(Padding::Valid, 0.7, Clip::RELU);
        let folded = fold_constants(net.clone()).unwrap();
        assert_eq!(filters(&folded.graph), 2);
        same_outputs(&net, &folded.graph);
        let records = folded.steps[0].records(&Lineage::new(&net));
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].group, records[0].reason), (1, Reason::Constant));
    }

    #[test]
    fn in_front_of_padding_it_stays() {
        let net = network(Padding::Same, 0.7, Clip::RELU);
        let folded = fold_constants(net.clone()).unwrap();
        assert_eq!(folded.graph, net);
    }

    #[test]
    fn a_constant_zero_goes_even_in_front_of_padding() {
        let net = network(Padding::Same, -0.7, Clip::RELU);
        let folded = fold_constants(net.clone()).unwrap();
        assert_eq!(filters(&folded.graph), 2);
        same_outputs(&net, &folded.graph);
    }

    #[test]
    fn zero_is_a_half_behind_a_logistic_function() {
        let net = network(Padding::Valid, 0.0, Logistic {});
        let dead = [vec![false, true, false], vec![false; 2], vec![false; 8]];
        assert!(Shrinkage::plan(&net, &dead).unwrap().is_identity());
        let folded = fold_constants(net.clone()).unwrap();
        assert_eq!(filters(&folded.graph), 2);
        same_outputs(&net, &folded.graph);
    }

    #[test]
    fn a_dead_end_folds_all_the_way_and_no_layer_is_empty() {
        let mut net = network(Padding::Valid, 0.7, Clip::RELU);
        net.nodes[2].parameters.as_mut().unwrap().weight.fill(0.0);
        let folded = fold_constants(net.clone()).unwrap();
        assert_eq!(folded.graph.parameters().last().unwrap().weight.len(), 2);
        same_outputs(&net, &folded.graph);
    }
}
