//! What can be wrong with a file of weights, and with its way into a network.

#[cfg(feature = "training")]
use std::path::PathBuf;

use thiserror::Error;

use super::{MAX_RANK, MAX_TENSORS};
#[cfg(feature = "training")]
use crate::files::FileError;

/// Why weights can't be used.
#[cfg(feature = "training")]
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no file of weights, or a damaged one.
    #[error("{}: {source}", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: FormatError,
    },
    /// The weights don't fit the network.
    #[error("{}: {source}", path.display())]
    Assign {
        /// Which file.
        path: PathBuf,
        /// What doesn't fit.
        source: Box<AssignError>,
    },
}

/// What is wrong with a file's bytes.
#[derive(Debug, Error)]
pub enum FormatError {
    /// No format that is known.
    #[error(
        "is neither a safetensors file nor a PyTorch state dict; write one with \
         safetensors.torch.save_file(model.state_dict(), …) or torch.save(model.state_dict(), …)"
    )]
    Unknown,
    /// PyTorch's format before version 1.6.
    #[error(
        "was written by a PyTorch before 1.6; load it there once and save it again with \
         torch.save(state_dict, …)"
    )]
    OldPyTorch,
    /// The archive is damaged.
    #[error("the archive is damaged: {source}; copy it again")]
    Archive {
        /// What the reader of archives says.
        source: zip::result::ZipError,
    },
    /// The archive lacks a member.
    #[error("the archive has no `{member}`; is it a file of torch.save?")]
    NoMember {
        /// Which.
        member: String,
    },
    /// A big-endian machine wrote it.
    #[error("was written on a big-endian machine; save it on another")]
    BigEndian,
    /// The pickle in the archive.
    #[error("byte {byte} of its pickle: {source}")]
    Pickle {
        /// Where.
        byte: usize,
        /// What is there.
        source: PickleError,
    },
    /// The pickle holds something else than tensors by name.
    #[error("holds no tensors by name; save model.state_dict() instead of the model")]
    NoTensors,
    /// A safetensors header that isn't one.
    #[error("the header is damaged: {what}; copy it again")]
    Header {
        /// What is wrong.
        what: String,
    },
    /// A tensor's bytes aren't where the file says.
    #[error("`{name}`: its values lie outside of the file's data; copy it again")]
    Outside {
        /// Which tensor.
        name: String,
    },
    /// Too many dimensions.
    #[error("`{name}` has {rank} dimensions; at most {MAX_RANK} are read")]
    Rank {
        /// Which tensor.
        name: String,
        /// How many.
        rank: usize,
    },
    /// Beyond a limit.
    #[error("has more than the {limit} {what} that are read here; is it the right file?")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// Most that are read.
        limit: usize,
    },
    /// A weight that is no number.
    #[error("`{name}` has values that are infinite or not a number; its training diverged")]
    NotFinite {
        /// Which tensor.
        name: String,
    },
}

/// Why a pickle's instruction isn't followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PickleError {
    /// It ends within an instruction, or without `STOP`.
    #[error("it ends too early")]
    End,
    /// An instruction that builds no tensors.
    #[error("instruction {0:#04x} isn't needed for tensors, and isn't followed")]
    Instruction(u8),
    /// A name that isn't on the list.
    #[error(
        "asks for `{0}`, which isn't needed for tensors and isn't loaded; save \
         model.state_dict() instead of the model"
    )]
    Global(String),
    /// An instruction finds something else on the stack than it needs.
    #[error("instruction {0:#04x} finds nothing that it can work on")]
    Operand(u8),
}

/// Why weights don't fit the network.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum AssignError {
    /// A layer of `[network.names]` that the network doesn't have.
    #[error("[network.names] names the layer `{layer}`; the network has {}", known.join(", "))]
    UnknownLayer {
        /// The key.
        layer: String,
        /// Layers with parameters.
        known: Vec<String>,
    },
    /// A tensor that the file doesn't have.
    #[error("{layer}: there is no tensor `{tensor}`; the file has {}", some(present))]
    NoTensor {
        /// Which layer.
        layer: String,
        /// What it wants.
        tensor: String,
        /// What there is.
        present: Vec<String>,
    },
    /// Another number of modules than layers.
    #[error(
        "the network has {} {kind} layers, but the file {}: {}; say which belong together with \
         [network.names]", layers.len(), modules.len(), some(modules)
    )]
    Count {
        /// `dense`, `conv2d` or `batch-norm`.
        kind: &'static str,
        /// Layers that need weights.
        layers: Vec<String>,
        /// Modules of that kind.
        modules: Vec<String>,
    },
    /// A tensor of another shape than its layer.
    #[error(
        "{layer} needs {expected:?} ({meaning}), but `{tensor}` is {found:?}; change \
         [[network.layers]], or say which tensors belong to it with [network.names]"
    )]
    Shape {
        /// Which layer.
        layer: String,
        /// Which tensor.
        tensor: String,
        /// What the dimensions stand for.
        meaning: &'static str,
        /// The layer's dimensions.
        expected: Vec<usize>,
        /// The tensor's.
        found: Vec<usize>,
    },
    /// The network itself doesn't fit together.
    #[error(transparent)]
    Graph(#[from] crate::graph::GraphError),
}

/// The first few names.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 12;
    match names {
        [] => String::from("none"),
        names if names.len() <= SHOWN => names.join(", "),
        names => format!("{}, … ({} in all)", names[..SHOWN].join(", "), names.len()),
    }
}

/// More tensors than [`MAX_TENSORS`].
pub(super) fn too_many_tensors() -> FormatError {
    FormatError::TooMany { what: "tensors", limit: MAX_TENSORS }
}
