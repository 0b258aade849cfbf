//! From a network of integers to a model file: the one compiler, whatever the network came from.
//!
//! 1. [`calibrate`](crate::quantize::calibrate()) watches floats and chooses scales; [`crate::graph::lower()`] makes integers;
//! 2. `constants` leaves out what is known beforehand; `prepare` drops what the output doesn't need and gives constants an operator;
//! 3. [`SizeConfig`] says how weights are stored; `fuse` makes one operator of two where that pays;
//! 4. `emit` makes the runtime's records and the weight section;
//! 5. `place` lays tensors out in the arena;
//! 6. [`serialize`](serialize()) writes the file, parsed back before it is given out.
//!
//! Everything from integers on is deterministic to the byte.

#[cfg(feature = "training")]
mod agreement;
mod biases;
pub(crate) mod calibrate;
pub(crate) mod coding;
mod constants;
mod emit;
mod fuse;
mod input;
mod pairs;
mod place;
mod prepare;
mod section;
pub(crate) mod serialize;
pub(crate) mod storage;
mod streams;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(feature = "training")]
pub(crate) mod widths;

use bitsback_runtime::Op;
use bitsback_runtime::format::Tensor;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::storage::Costing;
use self::streams::Streams;
use crate::graph::ops::{IntegerArgmax, IntegerSoftmax};
use crate::graph::{
    IntegerGraph, IntegerNode, IntegerOp, IntegerValue, LeftOut, LowerError, Matrix, Origin,
    Storage, ValueId,
};
#[cfg(feature = "training")]
use crate::network::Output;
use crate::numbers::Quantization;

#[cfg(feature = "training")]
pub(crate) use agreement::disagreement;
pub use input::{ByteMap, InputQuantization, RawInput};
pub use serialize::{MAX_NAME_LEN, ModelInfo, SerializeError, serialize};
pub use storage::{Costs, Goal, SizeConfig};

pub use crate::cost::{Core, Instructions, Provenance, Unpacked};

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

#[cfg(feature = "training")]
impl From<Output> for Head {
    fn from(output: Output) -> Self {
        match output {
            Output::Logits => Self::Logits,
            Output::Softmax => Self::Softmax,
            Output::Argmax => Self::Argmax,
        }
    }
}

/// Choices that change no output.
#[derive(Clone, Debug, PartialEq)]
pub struct CompileOptions {
    /// What the storage of weights is chosen for; without it, weights of 8 bits are stored for the fewest
    /// instructions, others packed.
    pub size: Option<SizeConfig>,
    /// The core that weights are laid out for, and whose instructions count. Every core takes every layout,
    /// with the same results.
    pub core: Core,
    /// RAM that its program gives for weights: instructions are those with as many of them unpacked as fit.
    pub weights_ram_bytes: u64,
    /// Whether a convolution and the pooling behind it become one operator, where their layer is stored
    /// for the fewest instructions. Values between the two are then computed nowhere.
    pub fused: bool,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self { size: None, core: Core::default(), weights_ram_bytes: 0, fused: true }
    }
}

/// A network in the runtime's operators, ready to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
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
    /// What of the network isn't in it, as it is known beforehand.
    pub left_out: LeftOut,
}

/// What an operator is, seen from the network.
#[derive(Clone, Debug, PartialEq)]
pub struct OpNote {
    /// Its kind and number, such as `conv2d_1` or `max_pool2d_1`.
    pub name: String,
    /// The name of the node that it was made of.
    pub node: String,
    /// The value of the graph of floats with the same numbers, up to rounding.
    pub value: Option<ValueId>,
    /// Real value of one step of its output.
    pub scale: f32,
}

/// Why a graph of integers can't be compiled.
#[derive(Debug, Error)]
pub enum CompileError {
    /// A node reads what nothing before it has written.
    #[error("{node}: reads `{value}`, which nothing before it writes; the graph is out of order")]
    Order {
        /// Which node.
        node: String,
        /// Which value.
        value: String,
    },
    /// A node writes what is written already, or is the input, a view or a constant.
    #[error("{node}: writes `{value}` a second time")]
    Twice {
        /// Which node.
        node: String,
        /// Which value.
        value: String,
    },
    /// Nothing is computed.
    #[error("the output `{value}` is not computed from the input by any operator")]
    NothingComputed {
        /// The output.
        value: String,
    },
    /// A value's size is beyond what the arena can hold.
    #[error("`{value}` has {len} values, but at most {limit} are supported")]
    Values {
        /// Which value.
        value: String,
        /// Its size.
        len: usize,
        /// Largest that is supported.
        limit: usize,
    },
    /// A number of dimensions that the format doesn't have.
    #[error("`{value}` has {rank} dimensions besides the batch; 1 to 4 are supported")]
    Rank {
        /// Which value.
        value: String,
        /// Its dimensions.
        rank: usize,
    },
    /// Something doesn't fit the format.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The model can't be written.
    #[error(transparent)]
    Serialize(#[from] SerializeError),
}

/// The runtime's operators of a graph whose layers say how they are stored.
///
/// # Errors
/// What doesn't fit together, by name.
pub fn compile(
    graph: IntegerGraph,
    input: &InputQuantization,
    options: &CompileOptions,
) -> Result<Compiled, CompileError> {
    compile_with(graph, input, options, &Streams::default())
}

/// As [`compile`], with the streams of layers that were coded before.
fn compile_with(
    graph: IntegerGraph,
    input: &InputQuantization,
    options: &CompileOptions,
    streams: &Streams,
) -> Result<Compiled, CompileError> {
    let mut graph = prepare::prepare(graph)?;
    fuse::take_selections(&mut graph);
    if options.fused {
        fuse::take_poolings(&mut graph);
    }
    let mut compiled = emit::emit(&graph, options.core.layout(), streams)?;
    compiled.input_quantization.raw = input.raw.clone();
    compiled.input_quantization.residual = input.residual;
    Ok(compiled)
}

/// Appends the operator of a head behind a graph's output.
pub fn append_head(graph: &mut IntegerGraph, head: Head) {
    let output = graph.values[graph.output].clone();
    let (name, op, dims, quantization): (_, IntegerOp, _, _) = match head {
        Head::Logits => return,
        Head::Softmax => {
            let op = IntegerSoftmax::of(output.quantization);
            ("softmax", op.into(), output.dims, IntegerSoftmax::OUTPUT)
        }
        Head::Argmax => {
            let quantization = Quantization { scale: 1.0, zero_point: 0 };
            ("argmax", IntegerArgmax {}.into(), vec![2], quantization)
        }
    };
    let name = name.to_owned();
    let value = IntegerValue {
        name: name.clone(),
        dims,
        quantization,
        origin: Origin::Computed,
        real: None,
    };
    let inputs = vec![graph.output];
    graph.values.push(value);
    graph.output = graph.values.len() - 1;
    graph.nodes.push(IntegerNode { name, op, inputs, output: graph.output, parameters: None });
}

/// The file of a graph without what is known beforehand, each layer stored as `options` say, and what it
/// was written from.
///
/// # Errors
/// What doesn't fit the runtime.
pub fn write(
    graph: &IntegerGraph,
    input: &InputQuantization,
    options: &CompileOptions,
    info: &ModelInfo,
) -> Result<(Vec<u8>, Compiled), CompileError> {
    Writer::new(graph, input, info)?.write(options)
}

/// Writes files of one graph that differ in how its layers are stored: what is known beforehand is looked
/// for once, and a layer is coded once.
pub(crate) struct Writer<'a> {
    graph: IntegerGraph,
    left_out: LeftOut,
    input: &'a InputQuantization,
    info: &'a ModelInfo,
    streams: Streams,
}

impl<'a> Writer<'a> {
    /// Of a graph.
    ///
    /// # Errors
    /// What doesn't fit the runtime.
    pub(crate) fn new(
        graph: &IntegerGraph,
        input: &'a InputQuantization,
        info: &'a ModelInfo,
    ) -> Result<Self, CompileError> {
        let (graph, left_out) = constants::leave_out(graph.clone())?;
        Ok(Self { graph, left_out, input, info, streams: Streams::default() })
    }

    /// As [`write`].
    ///
    /// # Errors
    /// What doesn't fit the runtime.
    pub(crate) fn write(
        &self,
        options: &CompileOptions,
    ) -> Result<(Vec<u8>, Compiled), CompileError> {
        let Some(size) = &options.size else {
            return self.stored(options, |_, matrix| match matrix.bits {
                8 => Storage::Fastest,
                _ => Storage::Packed,
            });
        };
        let mut costing = Costing::new(options.core, options.weights_ram_bytes);
        let has_ram = options.weights_ram_bytes > 0;
        size.choose(self.graph.layers().count(), has_ram, |chosen| {
            let form = |layer: usize, _: &Matrix| chosen.get(layer).copied().unwrap_or_default();
            let made = self.stored(options, form)?;
            let costs = costing.of(&made.0).map_err(SerializeError::from)?;
            Ok((made, costs))
        })
    }

    /// The file with each layer stored as `storage` says.
    fn stored(
        &self,
        options: &CompileOptions,
        storage: impl Fn(usize, &Matrix) -> Storage,
    ) -> Result<(Vec<u8>, Compiled), CompileError> {
        let mut graph = self.graph.clone();
        for (layer, matrix) in graph.layers_mut().enumerate() {
            matrix.storage = storage(layer, matrix);
        }
        let mut compiled = compile_with(graph, self.input, options, &self.streams)?;
        compiled.left_out = self.left_out.clone();
        let bytes = serialize(&compiled, self.info)?;
        Ok((bytes, compiled))
    }
}
