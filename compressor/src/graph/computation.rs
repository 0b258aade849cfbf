//! An operator together with what it holds.

use super::ops::{DepthwiseConv2d, Op};
use super::{Affine, Node, ValueId, Window};

/// What a node computes: an operator, and its parameters if it holds some. Every operator is one
/// without parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Computation<P = Affine> {
    /// The operator.
    pub op: Op,
    /// What it holds.
    pub parameters: Option<P>,
}

impl<P> Computation<P> {
    /// A layer with parameters.
    pub fn new(op: impl Into<Op>, parameters: P) -> Self {
        Self { op: op.into(), parameters: Some(parameters) }
    }
}

impl Computation {
    /// A factor and a summand per channel.
    pub fn per_channel(affine: Affine) -> Self {
        Self::new(DepthwiseConv2d { window: Window::ONE }, affine)
    }
}

impl<P, O: Into<Op>> From<O> for Computation<P> {
    fn from(op: O) -> Self {
        Self { op: op.into(), parameters: None }
    }
}

impl<P> Node<P> {
    /// A node that reads `inputs` and writes `output`.
    pub fn new(
        name: impl Into<String>,
        computes: impl Into<Computation<P>>,
        inputs: Vec<ValueId>,
        output: ValueId,
    ) -> Self {
        let Computation { op, parameters } = computes.into();
        Self { name: name.into(), op, inputs, output, parameters }
    }
}
