//! Weights in pairs of rows, where that pays on cores that multiply half-words.

use bitsback_runtime::format::{
    Layout, PAIR_BLOCK_ROWS, PAIRED_SUM_MAX, Weights, pack_pairs, pair_block_len, pairs_pay,
};

use super::section::Section;
use crate::graph::LowerError;

/// Kernels read pairs as words.
const ALIGNMENT: usize = 4;
/// Width of a weight.
const BITS: u8 = 8;

/// A matrix that may be arranged in pairs.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    /// Row after row.
    pub(super) values: &'a [i16],
    /// Weights of a row.
    pub(super) columns: usize,
    /// Whether the biases hold the zero point's part, so that inputs are at most 128, not 255.
    pub(super) folded: bool,
    /// Most weights of a row that the operator takes in pairs.
    pub(super) longest: usize,
}

/// Puts the weights into the section in pairs, or nothing and `None` where they can't be, or
/// would take more than a sixteenth more bytes.
pub(super) fn store(
    section: &mut Section,
    candidate: &Candidate<'_>,
) -> Result<Option<Weights>, LowerError> {
    let Some(bytes) = arrange(candidate) else { return Ok(None) };
    let offset = section.push_aligned(&bytes, ALIGNMENT)?;
    Ok(Some(Weights { offset, bits: BITS, layout: Layout::Pairs }))
}

fn arrange(candidate: &Candidate<'_>) -> Option<Vec<u8>> {
    let Candidate { values, columns, folded, longest } = *candidate;
    let rows: Vec<&[i16]> = values.chunks_exact(columns.max(1)).collect();
    if columns > longest || !pairs_pay(rows.len(), columns) {
        return None;
    }
    let most = if folded { 128 } else { 255 };
    let (blocks, rest) = rows.as_chunks::<PAIR_BLOCK_ROWS>();
    let mut bytes = Vec::with_capacity(values.len() + values.len() / 16);
    for block in blocks {
        let sum = |row: &[i16]| row.iter().map(|w| u64::from(w.unsigned_abs())).sum::<u64>();
        let [_, second, _, fourth] = block;
        if sum(second).max(sum(fourth)) * most > PAIRED_SUM_MAX {
            return None;
        }
        let start = bytes.len();
        bytes.resize(start + pair_block_len(columns), 0);
        if !pack_pairs(*block, &mut bytes[start..]) {
            return None;
        }
    }
    for &weight in rest.iter().copied().flatten() {
        bytes.push(i8::try_from(weight).ok()? as u8);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(values: &[i16], columns: usize, folded: bool) -> Option<Weights> {
        let mut section = Section::default();
        section.push(&[1]).unwrap();
        let longest = 70_000;
        store(&mut section, &Candidate { values, columns, folded, longest }).unwrap()
    }

    #[test]
    fn pairs_are_stored_where_they_fit_and_pay() {
        let pairs = Some(Weights { offset: 4, bits: 8, layout: Layout::Pairs });
        assert_eq!(stored(&[1; 7 * 16], 16, false), pairs);
        assert_eq!(stored(&[1; 3 * 16], 16, false), None, "too few rows");
        assert_eq!(stored(&[1; 4 * 5], 5, false), None, "too many bytes");
        assert_eq!(stored(&[-128; 4 * 16], 16, false), None, "no half-word");
        // 127 · 512 · 128 is below 2²³, 127 · 512 · 255 is not.
        assert_eq!(stored(&[127; 4 * 512], 512, true), pairs);
        assert_eq!(stored(&[127; 4 * 512], 512, false), None, "sums too large");
    }

    #[test]
    fn operators_have_a_longest_row() {
        let mut section = Section::default();
        let candidate = Candidate { values: &[0; 64], columns: 16, folded: true, longest: 15 };
        assert_eq!(store(&mut section, &candidate), Ok(None));
    }
}
