//! A network of integers: the same graph, of operators with multipliers and clamps as the device will
//! use them. What is still open is where values live and how parameters are stored; `compile` decides
//! that. Values may be views of others (reshapes, crops), constants, and be read any number of times.

use bitsback_runtime::format::{self, Clamp, Source, Tensor};
use bitsback_runtime::ops::CodedAffine;
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::{Op as Record, Step};

use super::known::{Kept, Known, Span, Ties};
use super::lower::LowerError;
use super::ops::{IntegerOp, Op};
use super::{Graph, Node, ValueId};
#[cfg(feature = "training")]
use crate::graph::tensor;
#[cfg(feature = "training")]
use crate::graph::tensor::Inputs;
#[cfg(feature = "training")]
use crate::graph::tensor::integer::{IntegerLayer, IntegerSite};
use crate::numbers::Quantization;

/// A graph of integers.
pub type IntegerGraph = Graph<Matrix, IntegerOp, IntegerValue>;
/// A node of one.
pub type IntegerNode = Node<Matrix, IntegerOp>;

/// Values that an operator reads or writes.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerValue {
    /// Its name in the file that it comes from.
    pub name: String,
    /// Dimensions without the batch, slowest first, 1 to 4 of them; images are height, width,
    /// channels.
    pub dims: Vec<usize>,
    /// What its integers stand for.
    pub quantization: Quantization,
    /// What it is.
    pub origin: Origin,
    /// The value of the graph of floats whose numbers these are, up to rounding.
    pub real: Option<ValueId>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// The model's input, or the output of a node.
    Computed,
    /// The same bytes as another value, in another arrangement; or, from so many bytes behind its
    /// beginning on, a part of it.
    View(ValueId, usize),
    /// Known beforehand.
    Constant(Vec<i8>),
}

impl IntegerValue {
    /// Number of values, saturating.
    pub fn len(&self) -> usize {
        self.dims.iter().fold(1, |product: usize, &dim| product.saturating_mul(dim))
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels of an image, or features of a vector: the last dimension, at least 1.
    pub fn units(&self) -> usize {
        self.dims.last().copied().unwrap_or(1).max(1)
    }
}

/// How a layer's weights are stored. Every way gives the same outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// Packed at the layer's width.
    #[default]
    Packed,
    /// Coded where that takes fewer bytes, else packed.
    Shortest,
    /// At 8 bits, two rows at once where that takes at most a sixteenth more bytes, and with the
    /// pooling behind it done at once.
    Fastest,
}

/// Integer weights of a layer, one row per output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// Outputs.
    pub rows: usize,
    /// Weights of each.
    pub columns: usize,
    /// Width of a weight.
    pub bits: u8,
    /// Row after row.
    pub values: Vec<i16>,
    /// Real value of one step of the weights, for all rows or one for each; empty: not known.
    pub scales: Vec<f32>,
    /// One per row, in units of the accumulator; empty: none.
    pub bias: Vec<i32>,
    /// From accumulators to outputs: one for all rows, or one for each.
    pub multipliers: Vec<Multiplier>,
    /// Fused activation.
    pub clamp: Clamp,
    /// How the weights are stored.
    pub storage: Storage,
}

impl Matrix {
    /// Whether there is something in it and all parts have the lengths that its sizes ask for.
    pub fn is_whole(&self) -> bool {
        let each = |len: usize, alone: usize| len == alone || len == self.rows;
        self.rows.checked_mul(self.columns) == Some(self.values.len())
            && !self.values.is_empty()
            && each(self.bias.len(), 0)
            && each(self.multipliers.len(), 1)
    }

    /// The multiplier of a row.
    pub fn multiplier(&self, row: usize) -> Multiplier {
        let own = self.multipliers.get(row).or_else(|| self.multipliers.first());
        own.copied().unwrap_or_default()
    }
}

/// A layer's parameters in the weight section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredLayer {
    /// Row after row, or in pairs of rows.
    Rows(format::Affine),
    /// As one coded stream.
    Coded(CodedAffine),
}

/// What an operator takes of the ways to store weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takes {
    /// Most weights of a row that may be coded.
    pub coded: usize,
    /// Most weights of a row that may lie in pairs.
    pub paired: usize,
    /// Distance in a row to the weight before, by which coding predicts.
    pub lag: usize,
}

/// Makes the runtime's records: gives operands and outputs, and stores parameters.
pub trait Emitter {
    /// What the node writes.
    fn output(&self) -> Result<Tensor, LowerError>;

    /// An operand whose arrangement matters.
    fn shaped(&mut self, operand: usize) -> Result<Source, LowerError>;

    /// An operand that is read as a vector.
    fn flat(&mut self, operand: usize) -> Result<Source, LowerError>;

    /// An operand whose bytes are taken as they are: with the output's zero point.
    fn bytes(&mut self, operand: usize) -> Result<Source, LowerError>;

    /// Number of operands.
    fn operands(&self) -> usize;

    /// Dimensions of an operand.
    fn dims(&self, operand: usize) -> &[usize];

    /// Puts the node's parameters into the weight section.
    fn layer(&mut self, takes: Takes) -> Result<StoredLayer, LowerError>;

    /// Puts bytes into the weight section, and tells where.
    fn store(&mut self, bytes: &[u8]) -> Result<u32, LowerError>;
}

/// What the factors of an operator tell of its values' scales, which a file doesn't hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Relation {
    /// All operands have the output's scale.
    Same,
    /// An operand has so many times the output's scale.
    Ratio(usize, f64),
    /// An operand has this scale.
    Operand(usize, f64),
    /// The output has this scale.
    Output(f64),
    /// The product of two operands' scales, which may be the same, is so many times the output's.
    Product([usize; 2], f64),
}

/// Two operators in one.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// What reads the operands, and holds the parameters.
    pub first: IntegerOp,
    /// Rows and columns of the image that the first writes.
    pub between: [u16; 2],
    /// What reads that, and copies its bytes.
    pub second: IntegerOp,
}

/// What the host knows of an operator on integers; in the same file as its float form.
pub trait IntegerOperator: std::fmt::Debug {
    /// What it is called among a model's operators.
    fn label(&self) -> &'static str;

    /// The runtime's record.
    fn emit(&self, emitter: &mut dyn Emitter) -> Result<Record, LowerError>;

    /// The operator that a record of a model is, however it stores its parameters; none if it is
    /// another one. `section` is the model's weight section.
    fn of(step: &Step, section: &[u8]) -> Option<Self>
    where
        Self: Sized;

    /// The parameters of a record, if it is this operator and holds some, and the distance in a row
    /// to the weight before ([`Takes::lag`]).
    fn layer(_step: &Step) -> Option<(StoredLayer, usize)>
    where
        Self: Sized,
    {
        None
    }

    /// What is known of the scales of what it reads and writes; nothing of a layer's, as its weights
    /// have scales, too. `step` is where it stands in its model.
    fn scales(&self, step: &Step) -> Vec<Relation>;

    /// The operators on integers that it does the work of, if it is two in one.
    fn parts(&self) -> Option<Parts> {
        None
    }

    /// Whether it answers with one of its operand's places, which floats leave to who reads them.
    fn chooses(&self) -> bool {
        false
    }

    /// The operator on floats that it stands for, and the clamp of its output, which becomes an operator
    /// of its own there; none where there is no such operator. `to` is the output's quantisation.
    fn real(&self, to: Quantization) -> Option<(Op, Clamp)>;

    /// What it writes for a batch in training: integers about their zero points, exactly as the device
    /// has them, with gradients; none where that is left to the runtime and [`IntegerOperator::real`].
    #[cfg(feature = "training")]
    fn train(
        &self,
        _site: &IntegerSite<'_>,
        _x: Inputs,
        _layer: Option<&IntegerLayer<'_>>,
    ) -> Option<tensor::Value> {
        None
    }

    /// Whether it has a forward pass of its own in training.
    #[cfg(feature = "training")]
    fn trains(&self) -> bool {
        false
    }

    /// What each unit of its output can be, by the runtime's arithmetic, of what is known of its operands:
    /// as many spans as [`Known::units`]. Functions of single values are left to the runtime itself.
    fn spans(&self, known: &Known<'_>) -> Vec<Span> {
        known.nothing()
    }

    /// Which units of its operands stay or leave with those of its output: as with floats, unless it says
    /// otherwise.
    fn ties(&self, known: &Known<'_>) -> Ties {
        let real = self.real(known.output.quantization);
        real.map_or(Ties::Fixed, |(op, _)| known.on_floats(|site| op.units(site)).into())
    }

    /// Whether its windows reach beyond the image that they move over.
    fn reads_padding(&self, _known: &Known<'_>) -> bool {
        false
    }

    /// Itself when only these units stay, where it names some; none where it stays as it is.
    fn on_kept(&self, _kept: Kept<'_>) -> Option<IntegerOp> {
        None
    }

    /// Whether only its readers say what its bytes stand for, so that a model can't end with it.
    fn needs_reader(&self) -> bool {
        false
    }

    /// Whether it works value by value, whatever the arrangement.
    fn one_by_one(&self) -> bool {
        false
    }
}

impl IntegerGraph {
    /// The value that holds the bytes of `id`, the end of a chain of views, and how far behind its
    /// beginning they are.
    pub fn storage(&self, id: ValueId) -> (ValueId, usize) {
        let (mut id, mut offset) = (id, 0usize);
        // More steps than values would be a circle, which `compile` then refuses.
        for _ in 0..self.values.len() {
            match self.values.get(id) {
                Some(IntegerValue { origin: Origin::View(of, behind), .. }) => {
                    (id, offset) = (*of, offset.saturating_add(*behind));
                }
                _ => break,
            }
        }
        (id, offset)
    }

    /// The nodes with weights that a graph of floats has layers for, in order.
    pub fn layers(&self) -> impl Iterator<Item = &IntegerNode> {
        self.nodes.iter().filter(|node| node.parameters.is_some())
    }

    /// As [`IntegerGraph::layers`], to change them.
    pub fn layers_mut(&mut self) -> impl Iterator<Item = &mut Matrix> {
        self.nodes.iter_mut().filter_map(|node| node.parameters.as_mut())
    }
}
