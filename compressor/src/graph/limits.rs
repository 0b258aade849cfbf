//! Limits move towards the operator that can take them in: a rectifier is monotone and acts on each
//! value alone, so it commutes, exactly, with largest values, selections and reshapes.

use std::collections::BTreeSet;

use super::{Affine, Graph, ValueId};

/// A node and the limits that are fused into it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// Position among the graph's nodes.
    pub node: usize,
    /// Limits of the output.
    pub limits: Option<(f32, f32)>,
    /// The value that is written: behind the limits.
    pub output: ValueId,
}

impl Graph<Affine> {
    /// Moves limits before the operators that they commute with, as long as nothing else reads what
    /// lies between. Values in `fixed` are kept as they are.
    pub fn hoist_limits(&mut self, fixed: &BTreeSet<ValueId>) {
        for at in 0..self.nodes.len() {
            let mut at = at;
            while let Some(before) = self.hoist(at, fixed) {
                at = before;
            }
        }
    }

    /// Moves the limits at a node before the one that writes what they read; gives their new place.
    fn hoist(&mut self, at: usize, fixed: &BTreeSet<ValueId>) -> Option<usize> {
        self.nodes[at].op.limits()?;
        let between = self.nodes[at].inputs[0];
        let before = self.nodes[..at].iter().position(|node| node.output == between)?;
        let movable = self.nodes[before].op.commutes_with_limits();
        let source = self.nodes[before].inputs[0];
        // Limits of the input have nothing to be fused into.
        let writer = self.writer(source)?;
        let lands = self.takes_in(writer);
        let alone = |value| self.only_reader(value).is_some() && !fixed.contains(&value);
        if !movable || !lands || !alone(between) || !alone(source) {
            return None;
        }
        let limited = self.nodes[at].output;
        self.nodes.swap(before, at);
        (self.nodes[before].inputs, self.nodes[before].output) = (vec![source], between);
        (self.nodes[at].inputs, self.nodes[at].output) = (vec![between], limited);
        self.values[between].dims = self.values[source].dims.clone();
        Some(before)
    }

    /// Whether limits behind a node come to something that takes them in.
    fn takes_in(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        if node.op.has_clamp() || node.op.limits().is_some() {
            return true;
        }
        let source = node.inputs[0];
        node.op.commutes_with_limits()
            && self.only_reader(source).is_some()
            && self.writer(source).is_some_and(|writer| self.takes_in(writer))
    }

    /// All nodes but those that are fused into the one before: limits of what an operator with a clamp
    /// alone gives them, unless the value between has a scale of its own.
    pub(crate) fn steps(&self, has_scale: impl Fn(ValueId) -> bool) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::with_capacity(self.nodes.len());
        for (at, node) in self.nodes.iter().enumerate() {
            if let Some(limits) = node.op.limits() {
                let input = node.inputs.first().copied().unwrap_or_default();
                let only = self.only_reader(input) == Some(at) && !has_scale(input);
                let before = steps.iter_mut().find(|step| step.output == input);
                if let Some(step) = before
                    && only
                    && self.nodes[step.node].op.has_clamp()
                    && let Some(both) = within(step.limits, limits)
                {
                    step.limits = Some(both);
                    step.output = node.output;
                    continue;
                }
            }
            steps.push(Step { node: at, limits: None, output: node.output });
        }
        steps
    }
}

/// Limits behind others, as long as they have something in common.
fn within(first: Option<(f32, f32)>, then: (f32, f32)) -> Option<(f32, f32)> {
    let Some(first) = first else { return Some(then) };
    let (low, high) = (first.0.max(then.0), first.1.min(then.1));
    (low <= high).then_some((low, high))
}

#[cfg(test)]
mod tests {
    use super::super::ops::{
        AvgPool2d, Clip, Conv2d, Dropout, MaxPool2d, Mul, Op, Reshape, Select,
    };
    use super::super::{Executor, Window};
    use super::*;
    use proptest::prelude::*;

    const HALVES: Window = Window { size: [2; 2], stride: [2; 2], ..Window::ONE };

    /// A convolution of 8 × 8 pixels to two channels.
    fn conv() -> Graph<Affine> {
        let mut graph = Graph::of_input(vec![8, 8, 1]);
        let affine = Affine { weight: vec![1.5, -0.5], bias: vec![0.1, -0.2] };
        graph.push("conv", Conv2d { window: Window::ONE }, vec![0], vec![8, 8, 2], Some(affine));
        graph
    }

    fn then(graph: &mut Graph<Affine>, op: impl Into<Op>, dims: &[usize]) {
        graph.push("then", op, vec![graph.output], dims.to_vec(), None);
    }

    fn names(graph: &Graph<Affine>) -> Vec<&'static str> {
        graph.nodes.iter().map(|node| node.op.name()).collect()
    }

    fn hoisted(graph: &Graph<Affine>) -> Graph<Affine> {
        let mut hoisted = graph.clone();
        hoisted.hoist_limits(&BTreeSet::new());
        hoisted.check().unwrap();
        hoisted
    }

    #[test]
    fn a_relu_moves_before_max_pooling_and_is_fused() {
        let mut graph = conv();
        then(&mut graph, MaxPool2d { window: HALVES }, &[4, 4, 2]);
        then(&mut graph, Clip::RELU, &[4, 4, 2]);
        then(&mut graph, Reshape {}, &[32]);
        let graph = hoisted(&graph);
        assert_eq!(names(&graph), ["conv2d", "clip", "max_pool2d", "reshape"]);
        let steps = graph.steps(|_| false);
        assert_eq!(steps[0].limits, Some((0.0, f32::INFINITY)));
        assert_eq!((steps[0].output, steps[1].limits, steps.len()), (2, None, 3));
    }

    #[test]
    fn a_relu_stays_behind_average_pooling() {
        let mut graph = conv();
        then(&mut graph, AvgPool2d { window: HALVES }, &[4, 4, 2]);
        then(&mut graph, Clip::RELU6, &[4, 4, 2]);
        let graph = hoisted(&graph);
        assert_eq!(names(&graph), ["conv2d", "avg_pool2d", "clip"]);
        let steps = graph.steps(|_| false);
        assert_eq!((steps[0].limits, steps[1].limits), (None, Some((0.0, 6.0))));
    }

    #[test]
    fn limits_of_the_input_are_an_operator_of_their_own() {
        let mut graph = Graph::of_input(vec![8, 8, 1]);
        then(&mut graph, Reshape {}, &[64]);
        then(&mut graph, Clip::RELU, &[64]);
        let graph = hoisted(&graph);
        assert_eq!(names(&graph), ["reshape", "clip"]);
        assert_eq!(graph.steps(|_| false).len(), 2);
        // A pooling takes them in.
        let mut pooled = Graph::of_input(vec![8, 8, 1]);
        then(&mut pooled, MaxPool2d { window: HALVES }, &[4, 4, 1]);
        then(&mut pooled, Clip::RELU, &[4, 4, 1]);
        let steps = hoisted(&pooled).steps(|_| false);
        assert_eq!((steps.len(), steps[0].limits), (1, Some((0.0, f32::INFINITY))));
    }

    #[test]
    fn what_others_read_or_is_fixed_stays_as_it_is() {
        let mut graph = conv();
        then(&mut graph, MaxPool2d { window: HALVES }, &[4, 4, 2]);
        let pooled = graph.output;
        then(&mut graph, Clip::RELU, &[4, 4, 2]);
        let mut fixed = graph.clone();
        fixed.hoist_limits(&BTreeSet::from([pooled]));
        assert_eq!(fixed, graph);
        let limited = graph.output;
        graph.push("mul", Mul {}, vec![pooled, limited], vec![4, 4, 2], None);
        assert_eq!(hoisted(&graph), graph);
        assert_eq!(graph.steps(|_| false).len(), graph.nodes.len());
    }

    #[test]
    fn limits_without_anything_in_common_are_not_fused() {
        assert_eq!(within(None, (0.0, 6.0)), Some((0.0, 6.0)));
        assert_eq!(within(Some((-1.0, 1.0)), (0.0, 6.0)), Some((0.0, 1.0)));
        assert_eq!(within(Some((-1.0, 1.0)), (2.0, 6.0)), None);
    }

    /// One more operator behind a chain, by a number.
    fn draw(graph: &mut Graph<Affine>, which: u8, value: f32) {
        let dims = graph.values[graph.output].dims.clone();
        match (which, dims.as_slice()) {
            (0, _) => then(graph, Clip { low: value.min(0.0), high: value.abs() }, &dims),
            (1, _) => then(graph, Clip { low: value, high: value + 0.5 }, &dims),
            (2, &[height, width, channels]) if height > 1 => {
                let to = [height / 2, width / 2, channels];
                then(graph, MaxPool2d { window: HALVES }, &to);
            }
            (3, &[len]) if len > 2 => {
                let keep: Vec<u32> = (0..len as u32).filter(|at| at % 3 != 1).collect();
                let to = [keep.len()];
                then(graph, Select { keep }, &to);
            }
            (4, _) => then(graph, Reshape {}, &[dims.iter().product()]),
            _ => then(graph, Dropout { rate: 0.5 }, &dims),
        }
    }

    proptest! {
        #[test]
        fn moving_limits_changes_no_output(
            chain in proptest::collection::vec((0u8..6, -0.8f32..0.8), 1..10),
            bare in any::<bool>(),
        ) {
            let mut graph = if bare { Graph::of_input(vec![8, 8, 1]) } else { conv() };
            for (which, value) in chain {
                draw(&mut graph, which, value);
            }
            let moved = hoisted(&graph);
            let inputs: Vec<f32> = (0..192).map(|i| (i as f32 * 0.7).sin()).collect();
            let run = |graph: &Graph<Affine>| Executor::new(graph).unwrap().run(&inputs).unwrap();
            prop_assert_eq!(run(&graph), run(&moved));
            prop_assert_eq!(graph.nodes.len(), moved.nodes.len());
            // Everything that could be moved has been.
            prop_assert_eq!(&hoisted(&moved), &moved);
        }
    }
}
