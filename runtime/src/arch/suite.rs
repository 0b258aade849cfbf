//! The tests that every instruction set's module must pass, against an i64 oracle that calls no
//! kernel: `kernel_suite!(module)` in the module's tests is all it takes.

use std::vec;
use std::vec::Vec;

use crate::format::{pack_pairs, pack_row, pair_block_len, row_len};

/// Σ w·(x + offset), exactly.
pub(crate) fn oracle(weights: &[i16], x: &[i8], offset: i16) -> i64 {
    weights.iter().zip(x).map(|(&w, &x)| i64::from(w) * (i64::from(x) + i64::from(offset))).sum()
}

/// A packed row of these weights.
pub(crate) fn packed(weights: &[i16], bits: u8) -> Vec<u8> {
    let mut row = vec![0; row_len(bits, weights.len())];
    pack_row(weights, bits, &mut row).unwrap();
    row
}

/// The bytes of a matrix, in pairs only of 8-bit weights.
pub(crate) fn arranged(rows: &[Vec<i16>], bits: u8, in_pairs: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (blocks, rest) = if in_pairs { rows.as_chunks::<4>() } else { (&[][..], rows) };
    for block in blocks {
        let start = bytes.len();
        bytes.resize(start + pair_block_len(block[0].len()), 0);
        assert!(pack_pairs(block.each_ref().map(|row| &row[..]), &mut bytes[start..]));
    }
    rest.iter().for_each(|row| bytes.extend(packed(row, bits)));
    bytes
}

/// All weight widths.
pub(crate) const WIDTHS: [u8; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 16];

macro_rules! kernel_suite {
    ($module:path) => {
        use proptest::prelude::*;
        use std::vec::Vec;
        use $crate::arch::suite::{WIDTHS, arranged, oracle, packed};
        use $crate::arch::{BLOCK_ROWS, Matrix};
        use $crate::format::{Layout, row_len};
        use $module as kernels;

        #[test]
        fn dot_at_the_extremes() {
            for bits in WIDTHS {
                let (least, most) = (-(1i32 << (bits - 1)) as i16, ((1i32 << (bits - 1)) - 1) as i16);
                for n in [0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 33, 200] {
                    for w in [least, most] {
                        let weights: Vec<i16> = std::vec![w; n];
                        let row = packed(&weights, bits);
                        for (x, offset) in [(-128, -127), (127, 128), (-128, 0), (127, 0)] {
                            let x: Vec<i8> = std::vec![x; n];
                            let found = kernels::dot(bits, &row, 0, &x, offset);
                            assert_eq!(i64::from(found), oracle(&weights, &x, offset));
                        }
                        assert_eq!(kernels::row_sum(bits, &row, 0, n), i32::from(w) * n as i32);
                    }
                }
            }
        }

        proptest! {
            #[test]
            fn blocks_match_the_oracle(
                data in proptest::collection::vec(proptest::array::uniform11(-127i16..=127), 1..200),
                bits in proptest::sample::select(&WIDTHS[..]),
                rows in 1usize..11,
                behind in 0usize..40,
                in_pairs: bool,
                is_folded: bool,
                offset in -127i16..=128,
            ) {
                let (in_pairs, offset) = (in_pairs && bits == 8, if is_folded { 0 } else { offset });
                let narrow = |w: i16| if bits == 16 { w * 258 } else { w >> (8 - bits) };
                let x: Vec<i8> = data.iter().map(|column| column[10] as i8).collect();
                let weights: Vec<Vec<i16>> =
                    (0..rows).map(|row| data.iter().map(|column| narrow(column[row])).collect()).collect();
                let mut bytes = arranged(&weights, bits, in_pairs);
                bytes.resize(bytes.len() + behind, 0x5A);
                let layout = if in_pairs { Layout::Pairs } else { Layout::RowMajor };
                let (columns, row_len) = (x.len(), row_len(bits, x.len()));
                let matrix =
                    Matrix { bytes: &bytes, arrangement: layout, width: bits, rows, columns, row_len };
                let mut lanes = kernels::Lanes::new();
                let inputs = lanes.prepare(&matrix, &x, offset);
                for (block, rows) in weights.chunks(BLOCK_ROWS).enumerate() {
                    let sums = kernels::dot_block(&matrix, block * BLOCK_ROWS, &inputs);
                    for (weights, sum) in rows.iter().zip(sums) {
                        prop_assert_eq!(i64::from(sum), oracle(weights, &x, offset));
                    }
                }
            }

            #[test]
            fn dot_matches_the_oracle(
                bits in proptest::sample::select(&WIDTHS[..]),
                data in proptest::collection::vec((any::<i16>(), any::<i8>()), 0..130),
                skip in 0usize..130,
                offset in -127i16..=128,
            ) {
                let weights: Vec<i16> = data.iter().map(|(w, _)| w >> (16 - bits)).collect();
                let x: Vec<i8> = data.iter().map(|&(_, x)| x).collect();
                let row = packed(&weights, bits);
                let skip = skip.min(x.len());
                let found = kernels::dot(bits, &row, skip, &x[skip..], offset);
                prop_assert_eq!(i64::from(found), oracle(&weights[skip..], &x[skip..], offset));
                let stride = 1 + skip % 3;
                let taps = (x.len() - skip).div_ceil(stride);
                let found = kernels::dot_strided(
                    bits, &row, 0, &x[skip..], stride, taps, offset,
                );
                let apart: Vec<i8> = x[skip..].iter().copied().step_by(stride).collect();
                prop_assert_eq!(i64::from(found), oracle(&weights, &apart, offset));
                let sum: i32 = weights[skip..].iter().map(|&w| i32::from(w)).sum();
                prop_assert_eq!(kernels::row_sum(bits, &row, skip, x.len() - skip), sum);
            }
        }
    };
}

pub(crate) use kernel_suite;
