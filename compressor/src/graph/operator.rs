//! What an operator's file provides.

use std::fmt::Debug;

use super::execute::Operands;
use super::exporter::{Exported, Exporter};
use super::lower::{LowerError, Lowering};
use super::ops::Op;
use super::panels::Panels;
use super::places::{Places, Reach};
#[cfg(feature = "training")]
use super::tensor::{self, Inputs, Pass};
use super::{Affine, Value, Window};

/// A node's values.
#[derive(Clone, Debug)]
pub struct Site<'g> {
    /// What it reads.
    pub inputs: Vec<&'g Value>,
    /// What it writes.
    pub output: &'g Value,
}

impl Site<'_> {
    /// The first operand; checked graphs have one.
    pub fn input(&self) -> &Value {
        self.inputs.first().copied().unwrap_or(self.output)
    }
}

/// Sizes of a layer's weights: outputs × taps × inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Neurons or filters.
    pub outputs: usize,
    /// Kernel height × width; 1 for dense layers.
    pub taps: usize,
    /// Features or channels that an output reads; 1 for depthwise convolutions.
    pub inputs: usize,
    /// Which slices of the weights one scale of the posterior is for.
    pub groups: Groups,
}

/// What a group is: what the prior switches on or off together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// The weights that read one input: dense layers.
    Inputs,
    /// A filter with its bias: convolutions.
    Filters,
    /// The kernel of a channel with its bias: depthwise convolutions.
    Channels,
}

impl Weights {
    /// Number of weights, saturating.
    pub fn len(&self) -> usize {
        self.outputs.saturating_mul(self.columns())
    }

    /// Whether there are no weights.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Weights of one output, saturating.
    pub fn columns(&self) -> usize {
        self.taps.saturating_mul(self.inputs)
    }

    /// Number of groups.
    pub fn group_count(&self) -> usize {
        match self.groups {
            Groups::Inputs => self.inputs,
            Groups::Filters | Groups::Channels => self.outputs,
        }
    }

    /// Multiply-accumulates of one inference that writes `output`.
    pub fn macs(&self, output: &Value) -> u64 {
        (self.columns() as u64).saturating_mul(output.len() as u64)
    }
}

/// How the units of an output (channels of an image, or features) come from those of the operands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Units {
    /// Each from all units of the operand: dense layers and convolutions.
    Mixed,
    /// Each from the same unit of every operand; an operand that has one number for all counts for each.
    Alike,
    /// As [`Units::Alike`], and it is zero as soon as one of them is.
    Product,
    /// Each from one unit of one operand: (which operand, which of its units).
    Taken(Vec<(usize, usize)>),
    /// In a way that takes all of them to stay.
    Fixed,
}

/// A layer's parameters, packed for products where it makes any.
#[derive(Debug)]
pub struct Prepared<'g> {
    /// Weights and bias.
    pub affine: &'g Affine,
    /// The same for matrix products.
    pub(super) panels: Option<Panels>,
}

impl Prepared<'_> {
    /// Rows × inputs in, rows × outputs out.
    pub(super) fn multiply(&self, x: &[f32]) -> Vec<f32> {
        self.panels.as_ref().map_or_else(Vec::new, |panels| panels.multiply(x))
    }
}

/// What the host knows of an operator. Each has one file, and its line in the table of [`super::ops`].
///
/// A graph's values state their dimensions; [`Operator::check`] is the rule that they follow, and what
/// comes after it may rely on that rule.
pub trait Operator: Debug {
    /// What it is called, as the runtime's operators are.
    fn name(&self) -> &'static str;

    /// Whether it takes so many operands.
    fn takes(&self, operands: usize) -> bool {
        operands == 1
    }

    /// The shape rule: what is wrong with the dimensions, if something is. There are as many operands
    /// as it takes.
    fn check(&self, site: &Site<'_>) -> Option<&'static str>;

    /// Sizes of its weights, if it is a layer with some.
    fn weights(&self, _site: &Site<'_>) -> Option<Weights> {
        None
    }

    /// Lengths of weights and biases, if it holds any.
    fn parameters(&self, site: &Site<'_>) -> Option<[usize; 2]> {
        self.weights(site).map(|weights| [weights.len(), weights.outputs])
    }

    /// The window that it moves over an image, if it does.
    fn window(&self) -> Option<Window> {
        None
    }

    /// Whether its weights are used as a matrix, and are packed for that.
    fn is_matrix(&self) -> bool {
        false
    }

    /// What it writes for several examples. `layer` are its parameters, of an operator that holds any.
    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, layer: Option<&Prepared<'_>>) -> Vec<f32>;

    /// What it writes for a batch as burn computes it, with gradients.
    #[cfg(feature = "training")]
    fn train(&self, site: &Site<'_>, x: Inputs, pass: &mut Pass<'_>) -> tensor::Value;

    /// How units of the output come from those of the operands.
    fn units(&self, site: &Site<'_>) -> Units;

    /// Itself when only the `kept` units of its operand are left, of one whose units are taken from them;
    /// none where it stays as it is.
    fn on_kept(&self, _kept: &[bool]) -> Option<Op> {
        None
    }

    /// How rows and columns of the output come from those of the operands.
    fn places(&self, _site: &Site<'_>) -> Places {
        self.window().map_or(Places::Fixed, |window| Places::Within(Reach::of(window)))
    }

    /// Itself on a part of its operand, of which the first output's reach begins at a row and column, and
    /// so many lie behind that of the last; none where it can't read that part as it is.
    fn on_part(&self, _begin: [isize; 2], _behind: [usize; 2]) -> Option<Op> {
        None
    }

    /// What it makes of operands that are the same number everywhere; none where that is no such
    /// number, or depends on its parameters.
    fn constant(&self, operands: &[f32]) -> Option<f32>;

    /// What the weights of a layer meet in its input, in the mean over all positions: a number for each
    /// column of its weights, or of depthwise convolutions for each tap and channel. `mean` is the mean
    /// of its input over examples.
    fn mean_columns(&self, _site: &Site<'_>, _mean: &[f32]) -> Option<Vec<f32>> {
        None
    }

    /// Whether its windows reach beyond the operand, where they read zeros.
    fn reads_padding(&self, _site: &Site<'_>) -> bool {
        false
    }

    /// The limits that it sets, if it does nothing else.
    fn limits(&self) -> Option<(f32, f32)> {
        None
    }

    /// Whether limits behind it may as well stand before it.
    fn commutes_with_limits(&self) -> bool {
        false
    }

    /// Whether what it writes lies within what it reads, so that an output's range may be taken behind
    /// it: what it leaves out changes nothing.
    fn keeps_range(&self) -> bool {
        false
    }

    /// Whether its form on integers limits its output at no cost.
    fn has_clamp(&self) -> bool {
        false
    }

    /// Whether it sums or multiplies, so that its form on integers may cut off what lies beyond its
    /// output's range.
    fn saturates(&self) -> bool {
        false
    }

    /// Whether its form on integers can give its output any scale.
    fn takes_any_scale(&self) -> bool {
        false
    }

    /// Whether its output has its operand's scale, whatever that is.
    fn copies_scale(&self) -> bool {
        false
    }

    /// Whether it puts operands side by side, which must then have one scale.
    fn joins(&self) -> bool {
        false
    }

    /// What it becomes on integers.
    ///
    /// # Errors
    /// What doesn't fit the runtime, by the node's name.
    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError>;

    /// What it becomes in an ONNX file. `layer` are its parameters, of an operator that holds any.
    ///
    /// # Errors
    /// Why there is no form for it.
    fn export(&self, site: &Site<'_>, layer: Option<&Affine>, file: &mut dyn Exporter) -> Exported;
}

/// A check that gives the problem unless something holds.
pub(super) fn unless(fits: bool, problem: &'static str) -> Option<&'static str> {
    (!fits).then_some(problem)
}
