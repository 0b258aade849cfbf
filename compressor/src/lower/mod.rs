//! From a float network and its integers to the runtime's graph.
//!
//! 1. [`mod@fuse`] turns layers into stages: activations go into the affine or pooling stage before
//!    them, flattening and dropout vanish;
//! 2. each stage's file makes its operator record and puts its parameters into the weight section;
//! 3. [`crate::memory_plan`] places the tensors in the arena.
//!
//! Everything from here on is deterministic to the byte.

pub(crate) mod add;
pub(crate) mod affine;
mod conv2d;
mod dense;
mod depthwise;
pub mod fuse;
mod head;
pub mod multiplier;
pub(crate) mod pairs;
mod pool;
pub(crate) mod section;
mod select;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bitsback_runtime::Op;
use bitsback_runtime::format::{self, Source, Tensor};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bit_width::IntegerWeights;
use crate::calibrate::{Activations, InputQuantization, Quantization};
use crate::memory_plan;
use crate::network::{Affine, FloatNetwork, Shape};
use crate::prune::PruneError;
use crate::prune::shrinkage::{check_layer_count, check_parameters};
use crate::shapes;
use crate::storage::Storage;

use fuse::{Stage, fuse};
use section::Section;

/// What the model gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// The logits, quantised. The largest is the class; nothing is lost and nothing added.
    #[default]
    Logits,
    /// Probabilities in 256ths.
    Softmax,
    /// The class's number alone.
    Argmax,
}

/// Choices that change no accuracy, or hardly any.
#[derive(Clone, Debug, PartialEq)]
pub struct LowerOptions {
    /// What the model gives.
    pub head: Head,
    /// How far rounding a bias may move an output, in steps of the output. Biases take one or two
    /// bytes where that is enough, otherwise four.
    pub bias_tolerance: f64,
    /// How weights are stored, per affine layer; layers beyond the last are packed.
    pub storage: Vec<Storage>,
}

impl LowerOptions {
    fn storage(&self, affine: usize) -> Storage {
        self.storage.get(affine).copied().unwrap_or_default()
    }
}

impl Default for LowerOptions {
    fn default() -> Self {
        // A 64th of a step: one output in 64 may fall on the other side of a rounding tie.
        Self { head: Head::Logits, bias_tolerance: 1.0 / 64.0, storage: Vec::new() }
    }
}

/// Why a network can't be lowered.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum LowerError {
    /// The network and what goes with it don't fit together.
    #[error(transparent)]
    Network(#[from] PruneError),
    /// A batch normalisation is left.
    #[error("layer {layer} is a batch normalisation; fold it (`fold_batch_norm`) before lowering")]
    BatchNormNotFolded {
        /// Position among the layers, from 0.
        layer: usize,
    },
    /// A crop isn't followed by a window that stays within it.
    #[error(
        "layer {layer} is a crop, behind which only a convolution or a pooling with padding \
         \"valid\" can stand"
    )]
    Crop {
        /// Position among the layers, from 0.
        layer: usize,
    },
    /// An activation comes before anything that it could be fused into.
    #[error("layer {layer} ({kind}) acts on the network's input; remove it, or normalise instead")]
    NothingToFuse {
        /// Position among the layers, from 0.
        layer: usize,
        /// Kind of the layer.
        kind: &'static str,
    },
    /// A dimension doesn't fit the format's 16 bits.
    #[error(
        "{layer}: {what} is {value}, but the format holds at most 65535; make the layer smaller"
    )]
    TooLarge {
        /// Name of the layer.
        layer: String,
        /// Which dimension.
        what: &'static str,
        /// Its value.
        value: usize,
    },
    /// A bias is too large to be added to the sum of products in 32 bits.
    #[error(
        "{layer}: the bias of output {output} is {bias} in units of the accumulator, beyond 32 \
         bits; the activations' scales before the layer are too small for it"
    )]
    Bias {
        /// Name of the layer.
        layer: String,
        /// Which output.
        output: usize,
        /// Its bias.
        bias: f64,
    },
    /// A weight doesn't fit its width.
    #[error("{layer}: {source}; choose the layer's bits anew")]
    Weights {
        /// Name of the layer.
        layer: String,
        /// What is wrong.
        source: format::PackError,
    },
    /// A scale is not a positive number.
    #[error("{layer}: the scale {scale} is not a positive finite number; calibrate anew")]
    Scale {
        /// Name of the layer.
        layer: String,
        /// The scale.
        scale: f32,
    },
    /// All parameters together don't fit a file.
    #[error("the parameters take more than the format's {limit} bytes; compress more")]
    TooManyParameters {
        /// Most bytes.
        limit: u32,
    },
}

/// A network in integers, ready to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The input, placed in the arena.
    pub input: Tensor,
    /// The operators, with their outputs placed.
    pub ops: Vec<Op>,
    /// One note per operator.
    pub notes: Vec<OpNote>,
    /// The weight section.
    pub section: Vec<u8>,
    /// The input's quantisation and raw data's way to it.
    pub input_quantization: InputQuantization,
    /// Real value of one step of the output.
    pub output_scale: f32,
}

/// What an operator is, seen from the network.
#[derive(Clone, Debug, PartialEq)]
pub struct OpNote {
    /// Such as `conv2d_1` (as [`crate::network::Topology::affine_name`]) or `max_pool2d_1`.
    pub name: String,
    /// Boundary of the topology with the same values, up to rounding; `None` where an activation
    /// moved past others, so that there is none.
    pub boundary: Option<usize>,
    /// Real value of one step of its output.
    pub scale: f32,
}

/// Lowers a network: weights of each affine layer as integers, activations as calibrated.
///
/// # Errors
/// The first layer that doesn't fit, by name.
pub fn lower(
    network: &FloatNetwork,
    weights: &[IntegerWeights],
    activations: &Activations,
    options: &LowerOptions,
) -> Result<Graph, LowerError> {
    check_parameters(network)?;
    check_layer_count("integer weights", network.affine.len(), weights.len())?;
    check_layer_count("activation scales", network.affine.len(), activations.layers.len())?;
    let stages = fuse(&network.topology)?;
    let sums = stages.iter().filter(|stage| matches!(stage, Stage::Add(_))).count();
    check_layer_count("scales of sums", sums, activations.sums.len())?;
    let shapes = shapes::infer(&network.topology).map_err(PruneError::from)?;
    let input = activations.input.quantization;
    let mut lowering = Lowering {
        network,
        weights,
        activations,
        options,
        shapes,
        section: Section::default(),
        ops: Vec::new(),
        notes: Vec::new(),
        current: input,
        residual: activations.input.residual,
        value: 0,
        reads: Vec::new(),
        read: Vec::new(),
        named: BTreeMap::new(),
        columns: None,
        view: None,
        stored: Storage::default(),
    };
    let input = lowering.tensor(0, "input", input)?;
    for (index, stage) in stages.iter().enumerate() {
        lowering.stage(stage, &stages[index + 1..])?;
    }
    let output_scale = lowering.head()?;
    let Lowering { section, mut ops, notes, reads, .. } = lowering;
    let mut input = input;
    memory_plan::place(&mut input, &mut ops, &reads);
    Ok(Graph {
        input,
        ops,
        notes,
        section: section.finish(),
        input_quantization: activations.input.clone(),
        output_scale,
    })
}

/// The lowering in progress.
struct Lowering<'a> {
    network: &'a FloatNetwork,
    weights: &'a [IntegerWeights],
    activations: &'a Activations,
    options: &'a LowerOptions,
    shapes: Vec<Shape>,
    section: Section,
    ops: Vec<Op>,
    notes: Vec<OpNote>,
    /// Quantisation of the current value: what the last operator gives, or a named one.
    current: Quantization,
    /// A constant that the current value lacks; poolings and selections pass it on as it is. See
    /// [`InputQuantization::residual`].
    residual: f32,
    /// The current value: 0 is the input, `i + 1` the output of operator `i`.
    value: usize,
    /// Values that each operator reads.
    reads: Vec<Vec<usize>>,
    /// Values that the next operator reads.
    read: Vec<usize>,
    /// Named values: which, their quantisation, and what they lack.
    named: BTreeMap<&'a str, (usize, Quantization, f32)>,
    /// A selection that the next dense layer takes over as columns of zeros.
    columns: Option<Columns>,
    /// The part of the input that the next operator reads.
    view: Option<View>,
    /// How the last affine layer is stored.
    stored: Storage,
}

/// An image within the input's: the same rows, from another place on.
#[derive(Clone, Copy)]
struct View {
    /// Values before it.
    offset: usize,
    /// Width of the input: what is beyond the part is there, and no window reads it.
    width: usize,
}

/// Which of a dense layer's stored columns hold weights; the others are zero.
struct Columns {
    keep: Vec<u32>,
    width: usize,
}

impl<'a> Lowering<'a> {
    /// Makes the operator of one stage. `rest` are the stages after it.
    fn stage(&mut self, stage: &'a Stage, rest: &[Stage]) -> Result<(), LowerError> {
        match stage {
            Stage::Dense(affine) => dense::lower(self, affine),
            Stage::Conv2d(conv) => conv2d::lower(self, conv),
            Stage::Depthwise(conv) => depthwise::lower(self, conv),
            Stage::Add(sum) => add::lower(self, sum),
            Stage::Mark(name) => {
                self.named.insert(name, (self.value, self.current, self.residual));
                Ok(())
            }
            Stage::From(name) => {
                self.go_on_from(name);
                Ok(())
            }
            Stage::MaxPool(pool) => pool::lower(self, pool, true),
            Stage::AvgPool(pool) => pool::lower(self, pool, false),
            Stage::Select(select) => select::lower(self, select, rest),
            Stage::Crop { before: [top, left], .. } => {
                if let Shape::Image { width, channels, .. } = self.shapes[0] {
                    self.view = Some(View { offset: (top * width + left) * channels, width });
                }
                Ok(())
            }
        }
    }

    fn head(&mut self) -> Result<f32, LowerError> {
        head::lower(self)
    }

    /// Makes a named value the current one. That there is one, shape inference has checked.
    fn go_on_from(&mut self, name: &str) {
        if let Some(&(value, quantization, residual)) = self.named.get(name) {
            (self.value, self.current, self.residual) = (value, quantization, residual);
        }
    }

    /// The current value as an operand, in the shape of a boundary.
    fn source(&mut self, boundary: usize, layer: &str) -> Result<Source, LowerError> {
        self.read.push(self.value);
        if let (Some(View { offset, width }), Shape::Image { height, channels, .. }) =
            (self.view.take(), self.shapes[boundary])
        {
            let shape = Shape::Image { height, width, channels };
            let view = self.shaped(shape, layer, self.current)?;
            // The memory plan adds where the input lies.
            return Ok(Source::At(Tensor { offset: offset as u32, ..view }));
        }
        if self.value == self.ops.len() {
            return Ok(Source::Previous);
        }
        Ok(Source::At(self.tensor(boundary, layer, self.current)?))
    }

    /// Appends an operator whose output has the quantisation `output`.
    fn push(&mut self, op: Op, name: String, boundary: Option<usize>, output: Quantization) {
        let read = std::mem::take(&mut self.read);
        self.reads.push(if read.is_empty() { vec![self.value] } else { read });
        self.ops.push(op);
        self.value = self.ops.len();
        self.notes.push(OpNote { name, boundary, scale: output.scale });
        self.current = output;
    }

    /// As [`Lowering::push`], for operators that compute anew: nothing is lacking any more.
    fn push_affine(&mut self, op: Op, name: String, boundary: Option<usize>, output: Quantization) {
        self.push(op, name, boundary, output);
        self.residual = 0.0;
    }

    /// Number of operators so far whose name starts with `kind`, plus one: `max_pool2d_2`.
    fn numbered(&self, kind: &str) -> String {
        let before = self.notes.iter().filter(|note| note.name.starts_with(kind)).count();
        format!("{kind}_{}", before + 1)
    }

    /// A tensor of the shape of a boundary, not placed yet.
    fn tensor(
        &self,
        boundary: usize,
        layer: &str,
        quantization: Quantization,
    ) -> Result<Tensor, LowerError> {
        self.shaped(self.shapes[boundary], layer, quantization)
    }

    fn shaped(
        &self,
        shape: Shape,
        layer: &str,
        quantization: Quantization,
    ) -> Result<Tensor, LowerError> {
        let dims = match shape {
            Shape::Flat(n) => vec![("the number of features", n)],
            Shape::Image { height, width, channels } => {
                vec![("the height", height), ("the width", width), ("the channels", channels)]
            }
        };
        let dims: Result<Vec<u16>, LowerError> =
            dims.into_iter().map(|(what, value)| small(layer, what, value)).collect();
        let shape = format::Shape::new(&dims?);
        Ok(Tensor { offset: 0, shape, zero_point: quantization.zero_point })
    }

    fn parameters(&self, layer: usize) -> (&'a Affine, &'a IntegerWeights) {
        (&self.network.affine[layer], &self.weights[layer])
    }
}

/// A number that the format holds in 16 bits.
pub(crate) fn small(layer: &str, what: &'static str, value: usize) -> Result<u16, LowerError> {
    u16::try_from(value).map_err(|_| LowerError::TooLarge { layer: layer.to_owned(), what, value })
}

fn smalls(layer: &str, what: &'static str, values: [usize; 2]) -> Result<[u16; 2], LowerError> {
    Ok([small(layer, what, values[0])?, small(layer, what, values[1])?])
}
