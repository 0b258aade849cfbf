//! Limits move towards the operator that can take them in: a rectifier is monotone and acts on each
//! value alone, so it commutes, exactly, with largest values, selections and reshapes.

use std::collections::BTreeSet;

use super::{Affine, Graph, ValueId};

/// A node and the limits that are fused into it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
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
    pub fn steps(&self, has_scale: impl Fn(ValueId) -> bool) -> Vec<Step> {
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
