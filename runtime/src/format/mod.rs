//! The `.bbk` container, read and written by the same definitions.
//!
//! ```text
//! header (36 bytes) | graph (postcard) | 0–3 zero bytes | weight section
//! ```
//! The [`Header`] is little-endian and readable in a `const` context. The graph is one [`Meta`],
//! then one [`crate::Op`] record per operator, back to back up to its end; records are decoded
//! again whenever they are needed, so they cost no RAM. `docs/FORMAT.md` gives the bytes exactly.
//!
//! # What holds of a checked model
//!
//! [`crate::Model::parse`] proves it, a writer must keep it, and operators and kernels rely on nothing
//! else (`docs/FORMAT.md` has the same list):
//!
//! - *Places in the file.* Every part lies in the weight section, as long as its rows, columns and width
//!   say. **Nothing is said of addresses**: files, sections and parts begin anywhere, as do the arena
//!   and the tensors in it. [`WEIGHT_ALIGNMENT`], and that writers put [`Layout::Pairs`] on a multiple of
//!   four, is for speed. A kernel loads more than a byte by instructions that take any address, or looks
//!   at the address first.
//! - *Ends.* What follows a part counts for nothing; nothing beyond the section may be read.
//! - *Widths and layouts.* 1 to 8 bits and 16; pairs of 8 alone, and of second rows that stay below
//!   [`PAIRED_SUM_MAX`].
//! - *Accumulators.* Within 32 bits, whatever the inputs; so sums may wrap on their way.
//! - *Multipliers.* [`crate::requantize::Multiplier::is_sound`], and what the operator's `check` adds.
//! - *Clamps.* Ordered.
//! - *Tensors.* Not empty, within the arena, apart from the output or, where an operator works in place,
//!   the same.
//! - *Windows.* Each has a tap inside the image.

mod crc;
mod error;
mod form;
mod header;
mod meta;
mod packing;
mod pairs;
mod reader;
mod tensor;
mod unpacked;
mod weights;

#[doc(hidden)] // for records of devices, which have the same checksum
pub use crc::crc32;
pub use error::{OpFault, ParseError};
pub(crate) use form::Form;
#[cfg(any(test, feature = "writer"))]
pub(crate) use header::{FILE_LEN_AT, MARGIN_AT};
pub use header::{
    FORMAT_VERSION, HEADER_LEN, Header, MAGIC, NUMERICS_VERSION, WEIGHT_ALIGNMENT, arena_len,
    input_len, op_kinds, output_len,
};
pub(crate) use meta::Numbers;
pub use meta::{
    ByteAffine, FEATURE_RECORD_LEN, MAX_PREPROCESS_CHANNELS, MAX_PREPROCESS_SHIFT, Meta, Preprocess,
};
pub use packing::{Fields, is_width, row_len};
#[cfg(any(test, feature = "writer"))]
pub use packing::{PackError, pack_row};
pub use pairs::{PAIR_BLOCK_ROWS, PAIRED_SUM_MAX, pair_block_len};
pub(crate) use pairs::{matrix_len, paired_magnitude, paired_place, paired_weight};
#[cfg(any(test, feature = "writer"))]
pub use pairs::{pack_pairs, paired_row, pairs_pay};
pub(crate) use reader::{Read, Reader, read_fields};
pub use tensor::{MAX_RANK, Shape, Source, Tensor, Window};
pub use unpacked::weights_len;
pub(crate) use unpacked::{UNPACKED_ALIGNMENT, UNPACKED_HEAD, UnpackedLayer, add_unpacked};
pub use weights::{
    Affine, Bias, BiasWidth, CHANNEL_MULTIPLIER_LEN, Clamp, Layout, MAX_BIAS_SHIFT, Requantization,
    StoredBias, Weights,
};

/// Most bytes of a file: flash of the largest devices, and offsets stay far from `u32` overflow.
pub const MAX_FILE_LEN: u32 = 1 << 28;
/// Most bytes of an arena: sums of an offset and a length stay far from overflow on 32 bits.
pub const MAX_ARENA_LEN: u32 = 1 << 26;
/// Most operators of a model: deep residual networks have a few hundred.
pub const MAX_OPS: u16 = 1024;
/// Most elementary steps (multiply-accumulates, comparisons, …) of one inference: ResNet-50 takes
/// 4.1·10⁹; beyond that a crafted file could keep a device busy for hours. [`crate::Limits`] set less.
pub const MAX_STEPS: u64 = 1 << 33;
