//! Weights that somebody else trained: tensors with names, out of a safetensors file or a PyTorch
//! state dict, and their way into a network.
//!
//! Files are an allegation. After [`load`] returned, every tensor has as many values as its shape
//! says, all of them finite, and nothing that the file says was executed: a PyTorch file is a
//! pickle, of which only the few instructions that build tensors are understood (module `pickle`). After
//! [`assign`](assign::assign) returned, every layer has parameters of its own shape, in this
//! program's layout.

pub(crate) mod assign;
mod element;
mod error;
#[cfg(feature = "training")]
pub(crate) mod model;
mod modules;
mod pickle;
mod pytorch;
mod safetensors;
#[cfg(test)]
#[cfg(feature = "training")]
mod tests;

#[cfg(feature = "training")]
use std::path::Path;

#[cfg(feature = "training")]
pub(crate) use assign::Assigned;
pub use assign::assign;
#[cfg(not(feature = "training"))]
use error::FormatError;
#[cfg(feature = "training")]
pub use error::{AssignError, FormatError, PickleError, WeightsError};
#[cfg(feature = "training")]
pub use model::{ModelError, PretrainedModel};

#[cfg(feature = "training")]
use crate::files;

/// Largest file (1 GiB): four times the weights that any supported network has as f32.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 30;

/// Most values of all tensors together (256 Mi), which is one GiB as f32.
pub(crate) const MAX_VALUES: usize = 1 << 28;

/// Most tensors: 16 for each of the layers that a network may have, and some that are left out.
pub(crate) const MAX_TENSORS: usize = 1 << 13;

/// Most dimensions of one tensor; a convolution's weights have four.
pub(crate) const MAX_RANK: usize = 8;

/// Longest name of a tensor or of its storage, in bytes.
pub(crate) const MAX_NAME_LEN: usize = 512;

/// A tensor of a file, row-major, as f32.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Its name, such as `conv1.weight`.
    pub name: String,
    /// Its dimensions, as the file has them.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
}

/// Reads all floating-point tensors of a file; its first bytes say which format it is. They come in
/// the file's order where it has one (PyTorch), and sorted by name with numbers by value where it
/// has none (safetensors).
///
/// # Errors
/// [`WeightsError::File`] and [`WeightsError::Format`], with the file's path.
#[cfg(feature = "training")]
pub(crate) fn load(path: &Path) -> Result<Vec<NamedTensor>, WeightsError> {
    let bytes = files::read(path, MAX_FILE_BYTES)?;
    parse(&bytes).map_err(|source| WeightsError::Format { path: path.to_owned(), source })
}

/// Reads all floating-point tensors of a file's bytes; the first of them say which format it is.
///
/// # Errors
/// What is wrong with them.
pub fn parse(bytes: &[u8]) -> Result<Vec<NamedTensor>, FormatError> {
    let tensors = if bytes.starts_with(b"PK\x03\x04") {
        pytorch::parse(bytes)?
    } else if bytes.get(8) == Some(&b'{') {
        safetensors::parse(bytes)?
    } else if bytes.starts_with(pytorch::OLD_MAGIC) {
        return Err(FormatError::OldPyTorch);
    } else {
        return Err(FormatError::Unknown);
    };
    match tensors.iter().find(|tensor| tensor.values.iter().any(|v| !v.is_finite())) {
        Some(tensor) => Err(FormatError::NotFinite { name: tensor.name.clone() }),
        None => Ok(tensors),
    }
}

/// The number of values of a shape, if it is within the limits and `spent` values are gone already.
fn checked_len(name: &str, shape: &[usize], spent: usize) -> Result<usize, FormatError> {
    if shape.len() > MAX_RANK {
        return Err(FormatError::Rank { name: name.to_owned(), rank: shape.len() });
    }
    let len = shape.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim));
    let len = len.filter(|len| len.checked_add(spent).is_some_and(|all| all <= MAX_VALUES));
    len.ok_or(FormatError::TooMany { what: "values", limit: MAX_VALUES })
}
