//! Writes a `.bbk` file from the very types that reading yields: for hosts, behind the feature `writer`.

use alloc::vec::Vec;
use core::fmt;

use serde::Serialize;

use crate::format::{
    FILE_LEN_AT, FORMAT_VERSION, HEADER_LEN, Header, MARGIN_AT, MAX_ARENA_LEN, MAX_FILE_LEN, Meta,
    NUMERICS_VERSION, Source, Tensor, WEIGHT_ALIGNMENT, crc32,
};
use crate::ops::Op;
use crate::sentinel::{self, SECTION_MAGIC, TAIL_LEN};

/// Why a model can't be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(all(feature = "defmt", target_os = "none"), derive(defmt::Format))]
pub enum WriteError {
    /// There is no operator.
    NoOps,
    /// The file would be longer than [`MAX_FILE_LEN`].
    FileTooLong,
    /// A tensor ends beyond [`MAX_ARENA_LEN`].
    ArenaTooLong,
    /// The buffer is shorter than the file; see [`model_len`].
    Buffer {
        /// Bytes that the file takes.
        needed: usize,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOps => f.write_str("a model needs at least one operator"),
            Self::FileTooLong => write!(f, "the file would exceed {MAX_FILE_LEN} bytes"),
            Self::ArenaTooLong => write!(f, "a tensor ends beyond {MAX_ARENA_LEN} bytes of arena"),
            Self::Buffer { needed } => write!(f, "the file takes {needed} bytes of buffer"),
        }
    }
}

impl core::error::Error for WriteError {}

/// Bytes of the file that [`write_model`] writes: with weights that end with the magic of a sentinel's section,
/// four more, since what is written has none.
pub fn model_len(meta: &Meta<'_>, ops: &[Op], weights: &[u8]) -> Result<usize, WriteError> {
    let graph = graph_len(meta, ops)?;
    let start = HEADER_LEN.saturating_add(graph).checked_next_multiple_of(WEIGHT_ALIGNMENT);
    let len = start.unwrap_or(usize::MAX).saturating_add(weights.len());
    let len = len.saturating_add(padding(weights));
    if len > MAX_FILE_LEN as usize { Err(WriteError::FileTooLong) } else { Ok(len) }
}

/// Writes the file into the start of `out` and returns its length. The header's lengths, operator
/// kinds and checksum are derived here; that the model is sound is for [`crate::Model::parse`] to
/// say.
pub fn write_model(
    meta: &Meta<'_>,
    ops: &[Op],
    weights: &[u8],
    out: &mut [u8],
) -> Result<usize, WriteError> {
    let needed = model_len(meta, ops, weights)?;
    let Some(file) = out.get_mut(..needed) else { return Err(WriteError::Buffer { needed }) };
    let Some(last) = ops.last() else { return Err(WriteError::NoOps) };
    let header = Header {
        format_version: FORMAT_VERSION,
        numerics_version: NUMERICS_VERSION,
        margin: 0,
        reserved: 0,
        crc: 0,
        file_len: needed as u32,
        graph_len: graph_len(meta, ops)? as u32,
        arena_len: tensors_end(meta, ops)?,
        input_len: meta.input.len() as u32,
        output_len: last.output().len() as u32,
        op_kinds: ops.iter().fold(0, |kinds, op| kinds | op.kind().bit()),
    };
    let buffer = WriteError::Buffer { needed };
    let (_, rest) = file.split_at_mut_checked(HEADER_LEN).ok_or(buffer)?;
    let mut rest = put(meta, rest).ok_or(buffer)?;
    for op in ops {
        rest = put(op, rest).ok_or(buffer)?;
    }
    let section_len = weights.len().saturating_add(padding(weights));
    let (gap, section) =
        rest.split_at_mut_checked(rest.len().saturating_sub(section_len)).ok_or(buffer)?;
    gap.fill(0);
    section.fill(0);
    for (to, from) in section.iter_mut().zip(weights) {
        *to = *from;
    }
    if let Some(head) = file.first_chunk_mut::<HEADER_LEN>() {
        *head = header.emit();
    }
    seal(file);
    Ok(needed)
}

/// Gives a file another margin, 0 for none, and the checksum that belongs to it; does nothing to bytes
/// without a header. That the model has scores to compare is for [`crate::Model::parse`] to say.
pub fn set_margin(file: &mut [u8], margin: u8) {
    if Header::read(file).is_some()
        && let Some(place) = file.get_mut(MARGIN_AT)
    {
        *place = margin;
        seal(file);
    }
}

/// Gives a file another sentinel, the bytes of a [`Draft`](crate::sentinel::Draft), or none if there are no
/// bytes; file length and checksum are made to fit. Does nothing to bytes without a header.
///
/// The section becomes the file's last bytes, in the place of one that was there. A file that would end with
/// the section's magic by chance ends with four zeros more.
pub fn set_sentinel(file: &mut Vec<u8>, section: &[u8]) {
    let Some(header) = Header::read(file) else { return };
    let start = header.weights_start().min(file.len());
    let kept = match sentinel::find(file.get(start..).unwrap_or_default()) {
        Ok(Some(found)) => file.len().saturating_sub(found.len().saturating_add(TAIL_LEN)),
        Ok(None) | Err(_) => file.len(),
    };
    file.truncate(kept);
    file.extend_from_slice(section);
    if section.is_empty() {
        file.resize(file.len().saturating_add(padding(file.get(start..).unwrap_or_default())), 0);
    }
    let len = (file.len() as u32).to_le_bytes();
    if let Some(place) =
        file.get_mut(FILE_LEN_AT..HEADER_LEN).and_then(|head| head.first_chunk_mut())
    {
        *place = len;
    }
    seal(file);
}

/// Zeros behind weights that end as a section does, so that they aren't taken for one.
fn padding(weights: &[u8]) -> usize {
    if weights.ends_with(&SECTION_MAGIC) { SECTION_MAGIC.len() } else { 0 }
}

/// Writes the checksum that belongs to the other bytes of a file, such as after a deliberate
/// change; does nothing to bytes without a header.
pub fn seal(file: &mut [u8]) {
    let crc = crc32(&[file.get(..8).unwrap_or_default(), file.get(12..).unwrap_or_default()]);
    if let Some(head) = file.first_chunk_mut::<HEADER_LEN>()
        && let Some(place) = head.get_mut(8..12)
    {
        place.copy_from_slice(&crc.to_le_bytes());
    }
}

/// Serialises `value` and returns what is left of the buffer.
fn put<'o, T: Serialize>(value: &T, out: &'o mut [u8]) -> Option<&'o mut [u8]> {
    let used = postcard::to_slice(value, out).ok()?.len();
    out.get_mut(used..)
}

fn graph_len(meta: &Meta<'_>, ops: &[Op]) -> Result<usize, WriteError> {
    // Only a file beyond the limit could fail to be counted.
    let size = |counted: postcard::Result<usize>| counted.map_err(|_| WriteError::FileTooLong);
    ops.iter().try_fold(size(postcard::experimental::serialized_size(meta))?, |sum, op| {
        Ok(sum.saturating_add(size(postcard::experimental::serialized_size(op))?))
    })
}

/// Where the last tensor of a model ends in the arena.
fn tensors_end(meta: &Meta<'_>, ops: &[Op]) -> Result<u32, WriteError> {
    let mut end = meta.input.end();
    let mut extend = |tensor: &Tensor| end = end.max(tensor.end());
    for op in ops {
        extend(op.output());
        for source in op.inputs() {
            if let Source::At(tensor) = source {
                extend(tensor);
            }
        }
    }
    match u32::try_from(end) {
        Ok(end) if end <= MAX_ARENA_LEN => Ok(end),
        _ => Err(WriteError::ArenaTooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Shape;
    use crate::ops::{Argmax, Op};

    fn argmax(offset: u32) -> Op {
        let output = Tensor { offset, shape: Shape::flat(2), zero_point: 0 };
        Op::Argmax(Argmax { input: Source::Previous, output })
    }

    #[test]
    fn each_error() {
        let meta = Meta::default();
        let mut out = [0; 100];
        assert_eq!(write_model(&meta, &[], &[], &mut out), Err(WriteError::NoOps));
        let far = [argmax(MAX_ARENA_LEN - 1)];
        assert_eq!(write_model(&meta, &far, &[], &mut out), Err(WriteError::ArenaTooLong));
        let needed = model_len(&meta, &[argmax(0)], &[7; 3]).unwrap();
        let short = write_model(&meta, &[argmax(0)], &[7; 3], &mut out[..needed - 1]);
        assert_eq!(short, Err(WriteError::Buffer { needed }));
        let long = std::vec![0; MAX_FILE_LEN as usize];
        assert_eq!(model_len(&meta, &[argmax(0)], &long), Err(WriteError::FileTooLong));
    }

    #[test]
    fn overhead_is_small() {
        // Header, metadata and one operator without parameters.
        let meta = Meta {
            input: Tensor { shape: Shape::flat(10), ..Tensor::default() },
            ..Meta::default()
        };
        assert_eq!(model_len(&meta, &[argmax(10)], &[]), Ok(36 + 16 + 6 + 2));
    }
}
