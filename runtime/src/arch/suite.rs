//! The tests that every instruction set's module must pass, against an i64 oracle that calls no
//! kernel: `kernel_suite!(module)` in the module's tests is all it takes.

use core::ops::Range;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::LANES;
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

/// A depthwise layer of a group's channels and a few more, in an image of a few pixels.
#[derive(Clone, Debug)]
pub(crate) struct DepthwiseCase {
    pub(crate) channels: usize,
    /// Rows and columns of the input, of taps and of positions.
    pub(crate) input: [usize; 2],
    pub(crate) size: [usize; 2],
    pub(crate) output: [usize; 2],
    /// Columns before the image, and between the windows' beginnings.
    pub(crate) padding: usize,
    pub(crate) stride: usize,
    pub(crate) offset: i32,
    pub(crate) bits: u8,
}

impl DepthwiseCase {
    /// Columns of taps that lie inside at a position, and the pixel under the first of them.
    pub(crate) fn columns(&self, right: usize) -> (Range<usize>, usize) {
        let pixel = |tap: usize| (right * self.stride + tap).wrapping_sub(self.padding);
        let mut inside = (0..self.size[1]).filter(|&tap| pixel(tap) < self.input[1]);
        let first = inside.next().unwrap();
        (first..inside.next_back().unwrap_or(first) + 1, pixel(first))
    }

    /// Σ w·(x + offset) of all channels at each position; windows begin at each row in turn.
    pub(crate) fn oracle(&self, weights: &[Vec<i16>], x: &[i8]) -> Vec<i64> {
        let mut sums = Vec::new();
        for (down, right) in
            (0..self.output[0]).flat_map(|y| (0..self.output[1]).map(move |x| (y, x)))
        {
            let (taps, pixel) = self.columns(right);
            sums.extend(weights.iter().enumerate().map(|(channel, weights)| {
                let mut sum = 0;
                for (row, tap) in (0..self.size[0]).flat_map(|y| taps.clone().map(move |x| (y, x)))
                {
                    let at = (down + row) * self.input[1] + pixel + tap - taps.start;
                    let x = i64::from(x[at * self.channels + channel]) + i64::from(self.offset);
                    sum += i64::from(weights[row * self.size[1] + tap]) * x;
                }
                sum
            }));
        }
        sums
    }
}

prop_compose! {
    pub(crate) fn depthwise_case()(
        more in 0usize..6,
        size in [1usize..5, 1usize..5],
        output in [1usize..4, 1usize..6],
        padding in 0usize..4,
        (stride, width) in (1usize..3, 1usize..8),
        offset in -127i32..=128,
        bits in proptest::sample::select(&WIDTHS[..]),
    ) -> DepthwiseCase {
        let padding = padding.min(size[1] - 1);
        let output = [output[0], output[1].min((width + padding - 1) / stride + 1)];
        let input = [size[0] + output[0] - 1, width];
        DepthwiseCase { channels: LANES + more, input, size, output, padding, stride, offset, bits }
    }
}

macro_rules! kernel_suite {
    ($module:path) => {
        use proptest::prelude::*;
        use std::vec::Vec;
        use $crate::arch::suite::{WIDTHS, arranged, depthwise_case, oracle, packed};
        use $crate::arch::{BLOCK_ROWS, Finish, Group, LANES, Matrix, Multipliers, Steps};
        use $crate::format::{Clamp, Layout, row_len};
        use $crate::requantize::{Multiplier, requantize};
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
            fn depthwise_matches_the_oracle(
                (case, data, zero_point) in depthwise_case().prop_flat_map(|case| {
                    let count = case.channels
                        * (case.size[0] * case.size[1] + case.input[0] * case.input[1]);
                    (Just(case), proptest::collection::vec(any::<i16>(), count), any::<i8>())
                }),
            ) {
                let (channels, columns) = (case.channels, case.size[0] * case.size[1]);
                let (weights, x) = data.split_at(channels * columns);
                let weights: Vec<Vec<i16>> = weights
                    .chunks(columns)
                    .map(|row| row.iter().map(|w| w >> (16 - case.bits)).collect())
                    .collect();
                let x: Vec<i8> = x.iter().map(|&x| x as i8).collect();
                let bytes: Vec<u8> = weights.iter().flat_map(|w| packed(w, case.bits)).collect();
                let matrix = Matrix {
                    bytes: &bytes,
                    arrangement: Layout::RowMajor,
                    width: case.bits,
                    rows: channels,
                    columns,
                    row_len: row_len(case.bits, columns),
                };
                let multiplier = Multiplier { value: 1_500_000_000, shift: -i8::try_from(case.bits).unwrap() };
                let multipliers = Multipliers::PerTensor(multiplier);
                let clamp = Clamp { min: -100, max: 120 };
                let finish = Finish { bias: None, multipliers, zero_point, clamp };
                let ([_, width], [rows, across]) = (case.input, case.output);
                let steps = Steps {
                    taps: [width * channels, channels],
                    input: [width * channels, case.stride * channels],
                    output: [across * channels, channels],
                };
                let mut group = Group::new(case.size[1], steps);
                for right in 0..across {
                    let (taps, pixel) = case.columns(right);
                    group.add_run(taps, pixel * channels, 1).unwrap();
                }
                let mut found = std::vec![0; rows * across * channels];
                for first in [0, channels - LANES] {
                    let offset = (case.offset, false);
                    group.begin(&matrix, &finish, first, offset);
                    group.arrange(&matrix, first, 0..case.size[0]).unwrap();
                    let images = (&x[first..], &mut found[first..]);
                    kernels::depthwise(&group, &finish, first, rows, images).unwrap();
                    // A row more would begin behind the image.
                    let images = (&x[first..], &mut [][..]);
                    prop_assert!(kernels::depthwise(&group, &finish, first, rows, images).is_none());
                }
                let sums = case.oracle(&weights, &x);
                for (at, (&y, sum)) in found.iter().zip(sums).enumerate() {
                    let is_covered = at % channels < LANES || at % channels >= channels - LANES;
                    let expected = clamp.apply(requantize(sum as i32, multiplier, zero_point));
                    prop_assert!(!is_covered || y == expected, "{} for {} at {}", y, expected, at);
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
