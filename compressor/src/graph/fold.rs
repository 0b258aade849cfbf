//! Factors and summands per channel, as batch normalisation and scaled inputs leave them, put into
//! the weights of a neighbour.

use std::collections::BTreeSet;

#[cfg(feature = "training")]
use super::ops::Pad;
use super::ops::{Clip, HardSigmoid, Op};
use super::{Affine, Graph, Node, ValueId, Window};

impl Graph<Affine> {
    /// Folds the lines of hard sigmoids into the layers before them, which leaves their limits, and every
    /// depthwise convolution of one tap into the layer before it, or else into the one
    /// behind it, where that changes no result and nothing else reads what lies between; limits move
    /// before poolings. Values in `fixed` are kept as they are. Nodes that nothing reads are dropped.
    /// The graph must be in order ([`Graph::check`]).
    pub fn fold(&mut self, fixed: &BTreeSet<ValueId>) {
        self.drop_unused();
        (0..self.nodes.len()).for_each(|at| self.fold_line(at, fixed));
        self.hoist_limits(fixed);
        let mut at = 0;
        while at < self.nodes.len() {
            if self.fold_back(at, fixed) || self.fold_forward(at, fixed) {
                self.nodes.remove(at);
            } else {
                at += 1;
            }
        }
    }

    /// Borders of zeros that only a convolution without padding reads become its padding.
    #[cfg(feature = "training")]
    pub(crate) fn pad_by_windows(&mut self) {
        let mut at = 0;
        while at < self.nodes.len() {
            if self.pad_by_window(at).is_some() {
                self.nodes.remove(at);
            } else {
                at += 1;
            }
        }
    }

    #[cfg(feature = "training")]
    fn pad_by_window(&mut self, at: usize) -> Option<()> {
        let Op::Pad(Pad { before, fill: 0.0 }) = &self.nodes[at].op else { return None };
        let &[top, left, 0] = before.as_slice() else { return None };
        let (input, between) = (self.nodes[at].inputs[0], self.nodes[at].output);
        let reader = self.only_reader(between)?;
        let channels = |id: ValueId| self.values[id].dims.last().copied();
        let same = channels(input) == channels(between);
        let window = match &mut self.nodes[reader].op {
            Op::Conv2d(conv) => &mut conv.window,
            Op::DepthwiseConv2d(conv) => &mut conv.window,
            _ => return None,
        };
        let [height, width] = window.extent();
        if !same || window.padding != [0, 0] || top >= height || left >= width {
            return None;
        }
        window.padding = [top, left];
        self.nodes[reader].inputs = vec![input];
        Some(())
    }

    /// Drops nodes that the output doesn't depend on.
    fn drop_unused(&mut self) {
        let mut needed = BTreeSet::from([self.output]);
        let mut kept: Vec<Node<Affine>> = Vec::with_capacity(self.nodes.len());
        for node in std::mem::take(&mut self.nodes).into_iter().rev() {
            if needed.contains(&node.output) {
                needed.extend(&node.inputs);
                kept.push(node);
            }
        }
        kept.reverse();
        self.nodes = kept;
    }

    /// Factor and summand per channel of a node that is nothing else.
    fn scaling(&self, at: usize) -> Option<(&Node<Affine>, &Affine)> {
        let node = &self.nodes[at];
        match (&node.op, &node.parameters) {
            (Op::DepthwiseConv2d(conv), Some(affine)) if conv.window == Window::ONE => {
                let (from, to) = (&self.values[*node.inputs.first()?], &self.values[node.output]);
                // Of another size it takes a part of the image.
                let whole = from.len() == to.len();
                (whole && from.dims.last() == Some(&affine.bias.len())).then_some((node, affine))
            }
            _ => None,
        }
    }

    /// The line of a hard sigmoid into the layer before it.
    fn fold_line(&mut self, at: usize, fixed: &BTreeSet<ValueId>) {
        let Op::HardSigmoid(HardSigmoid { slope }) = self.nodes[at].op else { return };
        let between = self.nodes[at].inputs[0];
        if fixed.contains(&between) || self.only_reader(between) != Some(at) {
            return;
        }
        let Some(writer) = self.writer(between) else { return };
        let layer = self.nodes[writer].op.is_affine();
        let Some(affine) = self.nodes[writer].parameters.as_mut().filter(|_| layer) else { return };
        affine.weight.iter_mut().for_each(|weight| *weight *= slope);
        affine.bias.iter_mut().for_each(|bias| *bias = *bias * slope + 0.5);
        self.nodes[at].op = Clip { low: 0.0, high: 1.0 }.into();
    }

    /// Into the layer that writes what node `at` reads: W′ = f·W, b′ = f·b + s.
    fn fold_back(&mut self, at: usize, fixed: &BTreeSet<ValueId>) -> bool {
        let Some((node, scaling)) = self.scaling(at) else { return false };
        let (between, output, scaling) = (node.inputs[0], node.output, scaling.clone());
        let writer = self.nodes[..at].iter().position(|node| node.output == between);
        let Some(writer) = writer else { return false };
        if fixed.contains(&between) || self.only_reader(between) != Some(at) {
            return false;
        }
        let flat = matches!(self.nodes[writer].op, Op::Dense(_));
        let affine = &mut self.nodes[writer];
        let layer = affine.op.is_affine();
        let Some(affine) = affine.parameters.as_mut().filter(|_| layer) else { return false };
        let (outputs, channels) = (affine.bias.len(), scaling.bias.len());
        if outputs != channels && !flat || !outputs.is_multiple_of(channels) {
            return false;
        }
        let columns = affine.weight.len() / outputs.max(1);
        let rows = affine.weight.chunks_exact_mut(columns).zip(&mut affine.bias);
        let scales = scaling.weight.iter().zip(&scaling.bias).cycle();
        for ((row, bias), (&factor, &summand)) in rows.zip(scales) {
            row.iter_mut().for_each(|weight| *weight *= factor);
            *bias = *bias * factor + summand;
        }
        self.nodes[writer].output = output;
        true
    }

    /// Into the only layer that reads what node `at` writes: W′ = W·f, b′ = b + W·s. Where windows
    /// reach into padding a summand would be wrong there.
    fn fold_forward(&mut self, at: usize, fixed: &BTreeSet<ValueId>) -> bool {
        let Some((node, scaling)) = self.scaling(at) else { return false };
        let (input, between, scaling) = (node.inputs[0], node.output, scaling.clone());
        let Some(reader) = self.only_reader(between) else { return false };
        if fixed.contains(&between) || fixed.contains(&self.nodes[reader].output) {
            return false;
        }
        let channels = scaling.bias.len();
        let shifted = scaling.bias.iter().any(|&summand| summand != 0.0);
        let inside = !self.nodes[reader].op.reads_padding(&self.site(&self.nodes[reader]));
        let takes = match self.nodes[reader].op {
            Op::Dense(_) => true,
            Op::Conv2d(_) => !shifted || inside,
            _ => false,
        };
        let reads = &mut self.nodes[reader].parameters;
        let Some(affine) = reads.as_mut().filter(|_| takes) else { return false };
        let columns = affine.weight.len() / affine.bias.len().max(1);
        for (row, bias) in affine.weight.chunks_exact_mut(columns).zip(&mut affine.bias) {
            for (column, weight) in row.iter_mut().enumerate() {
                *bias += *weight * scaling.bias[column % channels];
                *weight *= scaling.weight[column % channels];
            }
        }
        let operand = self.nodes[reader].inputs.iter_mut().find(|operand| **operand == between);
        if let Some(operand) = operand {
            *operand = input;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Executor;
    use crate::graph::ops::{Conv2d, Dense, Mul, Reshape};

    /// A convolution of one tap, what `behind` appends, and a dense layer.
    fn graph(behind: impl FnOnce(&mut Graph<Affine>, ValueId) -> ValueId) -> Graph<Affine> {
        let wave = |len: usize| (0..len).map(|i| (i as f32 * 1.3).sin() * 3.0).collect();
        let affine = |weights, outputs| Some(Affine { weight: wave(weights), bias: wave(outputs) });
        let mut graph = Graph::of_input(vec![2, 2, 2]);
        let op = Conv2d { window: Window::ONE };
        let x = graph.push("conv", op, vec![0], vec![2, 2, 3], affine(6, 3));
        let x = behind(&mut graph, x);
        let x = graph.push("flatten", Reshape {}, vec![x], vec![12], None);
        graph.push("dense", Dense {}, vec![x], vec![2], affine(24, 2));
        graph
    }

    #[test]
    fn a_hard_sigmoid_is_a_limit_where_the_layer_before_takes_its_line() {
        let dims = || vec![2, 2, 3];
        let op = HardSigmoid { slope: 0.3 };
        let alone = graph(|graph, x| graph.push("gate", op, vec![x], dims(), None));
        let read_twice = graph(|graph, x| {
            let gate = graph.push("gate", op, vec![x], dims(), None);
            graph.push("gated", Mul {}, vec![x, gate], dims(), None)
        });
        let inputs: Vec<f32> = (0..16).map(|i| (i as f32 * 0.7).cos()).collect();
        for (mut graph, folds) in [(alone, true), (read_twice, false)] {
            let before = Executor::new(&graph).unwrap().run(&inputs).unwrap();
            graph.fold(&BTreeSet::new());
            graph.check().unwrap();
            let after = Executor::new(&graph).unwrap().run(&inputs).unwrap();
            for (a, b) in before.iter().zip(&after) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
            let limit: Op = Clip { low: 0.0, high: 1.0 }.into();
            assert_eq!(graph.nodes.iter().any(|node| node.op == limit), folds);
        }
    }
}
