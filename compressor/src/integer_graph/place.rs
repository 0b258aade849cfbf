//! Places in the arena for a graph that branches.
//!
//! An operator that can, writes over an operand that nobody needs any more; everything else gets a
//! buffer of its own for as long as it is needed, and [`memory_plan::plan`] packs these.

use super::{IntegerGraph, Kind, ValueId};
use crate::memory_plan::{self, Buffer};

/// First byte of each value that is stored.
pub(super) struct Places {
    offset_of: Vec<Option<usize>>,
}

impl Places {
    /// First byte of a value that isn't a view.
    pub(super) fn offset(&self, storage: ValueId) -> usize {
        self.offset_of.get(storage).copied().flatten().unwrap_or_default()
    }
}

/// Places all values of a prepared graph.
pub(super) fn place(graph: &IntegerGraph) -> Places {
    let last_use = last_uses(graph);
    let mut buffers = vec![Buffer { len: graph.values[graph.input].len(), born: 0, dies: 0 }];
    let mut buffer_of: Vec<Option<usize>> = vec![None; graph.values.len()];
    buffer_of[graph.input] = Some(0);
    buffers[0].dies = last_use[graph.input];
    for (step, node) in graph.nodes.iter().enumerate() {
        let len = graph.values[node.output].len();
        let reusable = |&&id: &&ValueId| {
            let storage = graph.storage(id);
            last_use[storage] == step && graph.values[storage].len() == len
        };
        let reused = if works_in_place(&node.kind) {
            node.inputs.iter().find(reusable).and_then(|&id| buffer_of[graph.storage(id)])
        } else {
            None
        };
        let dies = last_use[node.output].max(step);
        buffer_of[node.output] = match reused {
            Some(buffer) => {
                buffers[buffer].dies = dies;
                Some(buffer)
            }
            None => {
                buffers.push(Buffer { len, born: step, dies });
                Some(buffers.len() - 1)
            }
        };
    }
    let plan = memory_plan::plan(&buffers);
    let offset = |buffer: Option<usize>| buffer.map(|buffer| plan.offsets[buffer]);
    Places { offset_of: buffer_of.into_iter().map(offset).collect() }
}

/// For each value that is stored, the last step that reads it or a view of it.
fn last_uses(graph: &IntegerGraph) -> Vec<usize> {
    let mut last = vec![0; graph.values.len()];
    for (step, node) in graph.nodes.iter().enumerate() {
        for &id in &node.inputs {
            last[graph.storage(id)] = step;
        }
    }
    last
}

/// Whether the operator may write where it reads.
fn works_in_place(kind: &Kind) -> bool {
    match kind {
        Kind::Add(..)
        | Kind::Mul(..)
        | Kind::Rescale(..)
        | Kind::Limit(_)
        | Kind::LeakyRelu(..)
        | Kind::HardSwish(..)
        | Kind::Logistic(_)
        | Kind::Tanh(_)
        | Kind::Softmax(_) => true,
        Kind::Dense(_)
        | Kind::Conv2d(..)
        | Kind::Conv2dMaxPool2d(..)
        | Kind::DepthwiseConv2d(..)
        | Kind::MaxPool2d(..)
        | Kind::AvgPool2d(..)
        | Kind::Concat(_)
        | Kind::Pad(..)
        | Kind::Mean(..)
        | Kind::Argmax => false,
    }
}
