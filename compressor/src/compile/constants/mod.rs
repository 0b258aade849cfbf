//! What is known beforehand isn't computed: channels that never change, and those that nothing reads,
//! leave a graph of integers, and their constants go into the next biases. No output byte changes.
//!
//! 1. [`Facts`]: the bytes that every unit (channel or feature) can be, from the input on, whatever the
//!    input is;
//! 2. [`Classes`]: the units that stay or leave together, through all operators without weights;
//! 3. [`leave`]: classes leave where every layer that reads them can do without: it has no weights for
//!    them, or takes their constants into its biases;
//! 4. [`rebuild()`]: rows, columns, dimensions and what operators name without what left;
//! 5. [`record()`]: what left, and why.
//!
//! The model's input and output keep all their units, and every value at least one. A constant that a
//! window reads beside its padding can go only if it is the zero point, which the padding is as well.
//! Sums stay within the bounds that they had before: see [`classes::Reader::folds`].

mod classes;
mod leave;
mod rebuild;
mod record;
mod spans;
#[cfg(test)]
mod tests;

use super::{CompileError, prepare};
use crate::graph::{IntegerGraph, LeftOut};
use classes::Classes;
use leave::leave;
use rebuild::rebuild;
use record::record;
use spans::Facts;

/// The graph without what is known beforehand, and what that was.
///
/// # Errors
/// As [`super::compile`], where values or the order of nodes don't fit together.
pub(super) fn leave_out(mut graph: IntegerGraph) -> Result<(IntegerGraph, LeftOut), CompileError> {
    prepare::drop_unused(&mut graph);
    prepare::check_order(&graph)?;
    prepare::check_values(&graph)?;
    let facts = Facts::new(&graph);
    let classes = Classes::new(&graph, &facts);
    let kept = leave(&graph, &facts, &classes);
    let left_out = record(&graph, &facts, &classes, &kept);
    rebuild(&mut graph, &facts, &classes, &kept);
    Ok((graph, left_out))
}
