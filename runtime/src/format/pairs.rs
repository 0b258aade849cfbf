//! Two rows of 8-bit weights in one row of half-words, for kernels that multiply half-words.

use super::packing::row_len;
use super::weights::Layout;

/// Rows of a block: two pairs.
pub const PAIR_BLOCK_ROWS: usize = 4;
/// Columns of a group: the rows of a block alternate group by group.
const GROUP: usize = 4;
/// Bytes of a block's group.
const GROUP_LEN: usize = GROUP * PAIR_BLOCK_ROWS;
/// Most that the products of a pair's second row may add up to, whatever the inputs: 256 times
/// that stays within 32 bits.
pub const PAIRED_SUM_MAX: u64 = (1 << 23) - 1;

/// Bytes of a block, saturating: columns are filled up to whole groups.
#[inline(never)]
pub const fn pair_block_len(columns: usize) -> usize {
    columns.div_ceil(GROUP).saturating_mul(GROUP_LEN)
}

/// Bytes of a weight matrix, saturating.
pub(crate) const fn matrix_len(layout: Layout, bits: u8, rows: usize, columns: usize) -> usize {
    let packed = row_len(bits, columns);
    match layout {
        Layout::RowMajor => packed.saturating_mul(rows),
        Layout::Pairs => {
            let blocks = (rows / PAIR_BLOCK_ROWS).saturating_mul(pair_block_len(columns));
            blocks.saturating_add(packed.saturating_mul(rows % PAIR_BLOCK_ROWS))
        }
    }
}

/// Whether a matrix of 8-bit weights takes at most a sixteenth more bytes in pairs than row by row,
/// and has any: where it does, kernels that multiply half-words gain more than it costs.
#[cfg(any(test, feature = "writer"))]
pub const fn pairs_pay(rows: usize, columns: usize) -> bool {
    let packed = rows.saturating_mul(columns);
    let growth = matrix_len(Layout::Pairs, 8, rows, columns).saturating_sub(packed);
    rows >= PAIR_BLOCK_ROWS && growth <= packed / 16
}

/// Packs four rows of equally many 8-bit weights into a block of exactly [`pair_block_len`] bytes;
/// `false` when they don't fit it.
///
/// A block is group after group of four columns, 16 bytes each: eight little-endian half-words
/// A + 256·B of the first two rows in columns 0, 2, 1, 3 and then of the last two. The last group's
/// missing columns are 0. (−128 with a negative partner below it has no half-word: use −127.)
#[cfg(any(test, feature = "writer"))]
pub fn pack_pairs(rows: [&[i16]; PAIR_BLOCK_ROWS], block: &mut [u8]) -> bool {
    let columns = rows[0].len();
    if block.len() != pair_block_len(columns) || rows.iter().any(|row| row.len() != columns) {
        return false;
    }
    let (groups, _) = block.as_chunks_mut::<GROUP_LEN>();
    for (group, bytes) in groups.iter_mut().enumerate() {
        let (halves, _) = bytes.as_chunks_mut::<2>();
        for (at, half) in halves.iter_mut().enumerate() {
            let column = group * GROUP + column_of(at);
            let member = at / GROUP * 2;
            let weight = |row: usize| {
                rows.get(row).and_then(|row| row.get(column)).copied().map_or(0, i32::from)
            };
            let (low, high) = (weight(member), weight(member + 1));
            let byte = i32::from(i8::MIN)..=i32::from(i8::MAX);
            match i16::try_from(low + 256 * high) {
                Ok(pair) if byte.contains(&low) && byte.contains(&high) => {
                    *half = pair.to_le_bytes();
                }
                _ => return false,
            }
        }
    }
    true
}

/// The column in its group of half-word `at` of a pair's group.
const fn column_of(at: usize) -> usize {
    match at % GROUP {
        1 => 2,
        2 => 1,
        other => other,
    }
}

/// The weights of one of a block's rows, up to the last group's end. Any bytes mean some weights:
/// −128 to 127 in a pair's first row, −128 to 128 in its second.
#[cfg(any(test, feature = "writer"))]
pub fn paired_row(block: &[u8], member: usize) -> impl Iterator<Item = i16> {
    let (groups, _) = block.as_chunks::<GROUP_LEN>();
    let (second_pair, second_row) = (member / 2 % 2 == 1, member % 2 == 1);
    groups.iter().flat_map(move |group| {
        let &[a0, b0, a2, b2, a1, b1, a3, b3, c0, d0, c2, d2, c1, d1, c3, d3] = group;
        let halves = if second_pair {
            [[c0, d0], [c1, d1], [c2, d2], [c3, d3]]
        } else {
            [[a0, b0], [a1, b1], [a2, b2], [a3, b3]]
        };
        halves.map(|half| {
            let low = i16::from(half[0] as i8);
            let rest = i32::from(i16::from_le_bytes(half)) - i32::from(low);
            if second_row { (rest >> 8) as i16 } else { low }
        })
    })
}

/// Where the half-word with a column of one of a block's rows begins.
pub(crate) fn paired_place(member: usize, column: usize) -> usize {
    let pair = (column / GROUP).wrapping_mul(2).wrapping_add(member / 2 % 2);
    pair.wrapping_mul(GROUP).wrapping_add(column_of(column)).wrapping_mul(2)
}

/// One weight of one of a block's rows, 0 beyond its end.
pub(crate) fn paired_weight(block: &[u8], member: usize, column: usize) -> i32 {
    let place = paired_place(member, column);
    let Some(&half) = block.get(place..).and_then(<[_]>::first_chunk) else {
        return 0;
    };
    let [low, _] = half.map(|byte| i32::from(byte as i8));
    let rest = i32::from(i16::from_le_bytes(half)).wrapping_sub(low);
    if member.is_multiple_of(2) { low } else { rest >> 8 }
}

/// Σ |w| over the first `columns` weights of one of a block's rows.
pub(crate) fn paired_magnitude(block: &[u8], member: usize, columns: usize) -> u32 {
    let (halves, _) = block.as_chunks::<2>();
    let (pairs, _) = halves.as_chunks::<GROUP>();
    let mut left = columns;
    let mut sum = 0u32;
    for &[h0, h2, h1, h3] in pairs.iter().skip(member / 2 % 2).step_by(PAIR_BLOCK_ROWS / 2) {
        for half in [h0, h1, h2, h3].into_iter().take(left) {
            let low = half[0] as i8;
            let rest = i32::from(i16::from_le_bytes(half)).wrapping_sub(low.into());
            let weight = if member % 2 == 1 { rest >> 8 } else { low.into() };
            sum = sum.saturating_add(weight.unsigned_abs());
        }
        left = left.saturating_sub(GROUP);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn rows_come_back(weights in prop::collection::vec(prop::array::uniform4(-127i16..=127), 1..19)) {
            let rows: [Vec<i16>; 4] =
                core::array::from_fn(|row| weights.iter().map(|column| column[row]).collect());
            let mut block = vec![0; pair_block_len(weights.len())];
            prop_assert!(pack_pairs(rows.each_ref().map(|row| &row[..]), &mut block));
            for (member, row) in rows.iter().enumerate() {
                let mut found: Vec<i16> = paired_row(&block, member).collect();
                prop_assert!(found.drain(row.len()..).all(|filler| filler == 0));
                prop_assert_eq!(&found, row);
                let magnitude = row.iter().map(|w| u32::from(w.unsigned_abs())).sum::<u32>();
                prop_assert_eq!(paired_magnitude(&block, member, row.len()), magnitude);
            }
        }

        #[test]
        fn any_bytes_are_weights(bytes: [u8; GROUP_LEN], member in 0usize..4) {
            let weights: Vec<i16> = paired_row(&bytes, member).collect();
            prop_assert_eq!(weights.len(), GROUP);
            prop_assert!(weights.iter().all(|w| (-128..=128).contains(w)));
        }
    }

    #[test]
    fn what_has_no_half_word_is_refused() {
        let mut block = [0; GROUP_LEN];
        assert!(pack_pairs([&[-128], &[-127], &[0], &[-128]], &mut block));
        assert!(!pack_pairs([&[-1], &[-128], &[0], &[0]], &mut block));
        assert!(!pack_pairs([&[128], &[0], &[0], &[0]], &mut block));
        assert!(!pack_pairs([&[1], &[0], &[0], &[0, 0]], &mut block));
        assert!(!pack_pairs([&[1; 5], &[0; 5], &[0; 5], &[0; 5]], &mut block));
    }

    #[test]
    fn pairs_pay_where_few_bytes_are_added() {
        assert!(pairs_pay(4, 100) && pairs_pay(7, 325) && pairs_pay(300, 784));
        assert!(!pairs_pay(3, 100) && !pairs_pay(20, 25));
    }

    #[test]
    fn lengths() {
        assert_eq!(matrix_len(Layout::RowMajor, 3, 2, 3), 4);
        assert_eq!(matrix_len(Layout::Pairs, 8, 10, 25), 2 * 28 * 4 + 2 * 25);
    }
}
