//! The tests that all kernels must pass, against an i64 oracle that calls none:
//! `kernel_suite!(Type)` in a module's tests is all it takes.

use core::ops::{Deref, DerefMut, Range};
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

/// The most bytes that a vector is aligned to.
pub(crate) const ALIGNMENT: usize = 32;

/// Bytes at a place of one's own choice.
pub(crate) struct Placed<T> {
    room: Vec<T>,
    place: Range<usize>,
}

/// Bytes (`u8`, `i8`, or arrays of them) that begin so far behind a multiple of [`ALIGNMENT`].
pub(crate) fn placed<T: Copy>(values: &[T], at: usize) -> Placed<T> {
    assert_eq!(align_of::<T>(), 1);
    let Some(&any) = values.first() else { return Placed { room: Vec::new(), place: 0..0 } };
    // Some number of values ends at any distance from a multiple, as their size has no factor of 2.
    let mut room = vec![any; values.len() + 2 * ALIGNMENT];
    let first = room.as_ptr() as usize;
    let lies = |start: &usize| (first + start * size_of::<T>()) % ALIGNMENT == at % ALIGNMENT;
    let start = (0..ALIGNMENT).find(lies).unwrap();
    let place = start..start + values.len();
    room[place.clone()].copy_from_slice(values);
    Placed { room, place }
}

impl<T> Deref for Placed<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.room[self.place.clone()]
    }
}

impl<T> DerefMut for Placed<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.room[self.place.clone()]
    }
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
    ($kernels:ty) => {
        use proptest::prelude::*;
        use std::vec::Vec;
        use $crate::arch::suite::{
            ALIGNMENT, WIDTHS, arranged, depthwise_case, oracle, packed, placed,
        };
        use $crate::arch::{
            BLOCK_ROWS, CHUNK_ROWS, Finish, Group, Kernels, LANES, Lanes, Matrix, Multipliers, Steps,
        };
        use $crate::format::{BiasWidth, Clamp, Layout, row_len};
        use $crate::requantize::{Multiplier, requantize};

        type K = $kernels;

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
                            let found = K::dot(bits, &row, 0, &x, offset);
                            assert_eq!(i64::from(found), oracle(&weights, &x, offset));
                        }
                        assert_eq!(K::row_sum(bits, &row, 0, n), i32::from(w) * n as i32);
                    }
                }
            }
        }

        #[test]
        fn sums_are_the_same_wherever_weights_and_inputs_lie() {
            let (rows, columns) = (7, 69);
            let kinds = WIDTHS.iter().map(|&bits| (bits, false)).chain([(8, true)]);
            for (bits, in_pairs) in kinds {
                let weight = |at: usize| ((at * 1_237 % 60_013) as i16) >> (16 - bits);
                let weight = |at: usize| weight(at).max(if in_pairs { -127 } else { i16::MIN });
                let weights: Vec<Vec<i16>> = (0..rows)
                    .map(|row| (0..columns).map(|column| weight(row * columns + column)).collect())
                    .collect();
                let x: Vec<i8> = (0..columns).map(|at| (at * 89 % 256) as u8 as i8).collect();
                let bytes = arranged(&weights, bits, in_pairs);
                let arrangement = if in_pairs { Layout::Pairs } else { Layout::RowMajor };
                for (weights_at, x_at) in (0..ALIGNMENT).flat_map(|at| (0..4).map(move |x| (at, x)))
                {
                    let bytes = placed(&bytes, weights_at);
                    let x = placed(&x, x_at * 5 + weights_at);
                    let row_len = row_len(bits, columns);
                    let matrix =
                        Matrix { bytes: &bytes, arrangement, width: bits, rows, columns, row_len, listed: None };
                    let mut lanes = <K as Kernels>::Lanes::new();
                    for offset in [0, 77] {
                        let inputs = lanes.prepare(&matrix, &x, offset);
                        for (block, weights) in weights.chunks(BLOCK_ROWS).enumerate() {
                            let sums = K::dot_block(&matrix, block * BLOCK_ROWS, &inputs);
                            for (weights, sum) in weights.iter().zip(sums) {
                                assert_eq!(i64::from(sum), oracle(weights, &x, offset));
                            }
                        }
                    }
                    let row = placed(&packed(&weights[0], bits), weights_at);
                    let sum = K::dot(bits, &row, 0, &x, 77);
                    assert_eq!(i64::from(sum), oracle(&weights[0], &x, 77));
                    let sum: i32 = weights[0].iter().map(|&w| i32::from(w)).sum();
                    assert_eq!(K::row_sum(bits, &row, 0, columns), sum);
                }
            }
        }

        #[test]
        fn outputs_are_the_same_wherever_parameters_lie() {
            let sums: [i32; CHUNK_ROWS] = core::array::from_fn(|row| row as i32 * 9_173 - 90_000);
            let biases: Vec<u8> = (0..92).map(|byte| (byte * 37 % 256) as u8).collect();
            let table: Vec<[u8; 5]> = (0..23u8)
                .map(|row| [row, 7, row, 0x41 + row, (-9 - i8::try_from(row % 5).unwrap()) as u8])
                .collect();
            let clamp = Clamp { min: -120, max: 125 };
            for width in [BiasWidth::I8, BiasWidth::I16, BiasWidth::I32] {
                for at in 0..ALIGNMENT {
                    let (biases, table) = (placed(&biases, at), placed(&table, at + 3));
                    let multipliers = Multipliers::PerChannel(&table);
                    let bias = Some((width, 2, &biases[..]));
                    let finish = Finish { bias, multipliers, zero_point: -5, clamp };
                    let mut found = placed(&[0; 23], at + 1);
                    K::finish_rows(&finish, 0, &sums, &mut found);
                    for (row, (&y, sum)) in found.iter().zip(&sums).enumerate() {
                        let bytes = biases.chunks(width.bytes()).nth(row).unwrap();
                        let sign = if bytes.last().unwrap() >> 7 == 1 { 0xFF } else { 0 };
                        let mut bias = [sign; 4];
                        bias[..bytes.len()].copy_from_slice(bytes);
                        let [b0, b1, b2, b3, shift] = table[row];
                        let value = i32::from_le_bytes([b0, b1, b2, b3]);
                        let multiplier = Multiplier { value, shift: shift as i8 };
                        let acc = sum.wrapping_add(i32::from_le_bytes(bias) << 2);
                        assert_eq!(y, clamp.apply(requantize(acc, multiplier, -5)), "{row} {at}");
                    }
                }
            }
        }

        #[test]
        fn copies_are_the_same_wherever_values_lie() {
            for len in (0..70).chain([200]) {
                let values: Vec<i8> = (0..len).map(|at| (at * 7 % 251) as u8 as i8).collect();
                for at in 0..ALIGNMENT {
                    let from = placed(&values, at);
                    let mut to = placed(&std::vec![0; values.len()], at * 3 + 1);
                    K::copy(&mut to, &from);
                    assert_eq!(to[..], values[..]);
                }
            }
        }

        /// Up to what evidence can be: a threshold's most, a hit above it.
        #[test]
        fn evidence_is_never_negative_and_never_missed() {
            let values = [0, 1, 15, 126, 127, 128, 129, 7_000, 29_999, 30_000, 30_127];
            for most in [-1, 0, 127, 7_000, 29_999] {
                for (at, &value) in values.iter().enumerate() {
                    for score in i8::MIN..=i8::MAX {
                        // One of four is looked at; the others are small.
                        let place = at % 4;
                        let (mut evidence, mut scores) = ([0; 4], [(-1i8) as u8; 4]);
                        (evidence[place], scores[place]) = (value, score as u8);
                        let sum = (i32::from(value) + i32::from(score)).max(0);
                        let above = K::add_scores(&mut evidence, &scores, most);
                        let mut expected = [0; 4];
                        expected[place] = sum as u16;
                        assert_eq!((evidence, above < 0), (expected, sum > most || most < 0));
                        let mut events = [[255, 0]; 4];
                        events[place] = [0, score as u8];
                        K::lose(&mut evidence, &events);
                        expected[place] = expected[place].saturating_sub((score as u8).into());
                        assert_eq!(evidence, expected, "{value} {score}");
                    }
                }
            }
        }

        #[test]
        fn stretches_are_copied_and_filled() {
            let from: Vec<i8> = (0..120).map(|at| (at * 7 % 251) as u8 as i8).collect();
            for (rows, len, strides) in
                [(1, 1, [1, 1]), (3, 5, [7, 5]), (4, 17, [30, 17]), (5, 20, [20, 21]), (2, 33, [40, 50])]
            {
                let from = placed(&from, rows);
                let mut to = placed(&[0; 120], len);
                K::fill(&mut to, -3);
                let mut expected = std::vec![-3; 120];
                for row in 0..rows {
                    let (x, y) = (row * strides[0], row * strides[1]);
                    expected[y..y + len].copy_from_slice(&from[x..x + len]);
                }
                K::copy_rows(&from, &mut to, rows, len, strides);
                assert_eq!(to[..], expected, "{rows} {len}");
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
                    Matrix { bytes: &bytes, arrangement: layout, width: bits, rows, columns, row_len, listed: None };
                let mut lanes = <K as Kernels>::Lanes::new();
                let inputs = lanes.prepare(&matrix, &x, offset);
                for (block, rows) in weights.chunks(BLOCK_ROWS).enumerate() {
                    let sums = K::dot_block(&matrix, block * BLOCK_ROWS, &inputs);
                    for (weights, sum) in rows.iter().zip(sums) {
                        prop_assert_eq!(i64::from(sum), oracle(weights, &x, offset));
                    }
                }
                let mut sums = [0; CHUNK_ROWS];
                K::dot_rows(&matrix, 0, &inputs, &mut sums);
                for (weights, sum) in weights.iter().zip(sums) {
                    prop_assert_eq!(i64::from(sum), oracle(weights, &x, offset));
                }
            }

            #[test]
            fn depthwise_matches_the_oracle(
                at in 0usize..ALIGNMENT,
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
                let (x, bytes) = (placed(&x, at), placed(&bytes, at / 2 + 1));
                let matrix = Matrix {
                    bytes: &bytes,
                    arrangement: Layout::RowMajor,
                    width: case.bits,
                    rows: channels,
                    columns,
                    row_len: row_len(case.bits, columns),
                    listed: None,
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
                let mut found = placed(&std::vec![0; rows * across * channels], at / 3);
                for first in [0, channels - LANES] {
                    let offset = (case.offset, false);
                    group.begin(&matrix, &finish, first, offset);
                    group.arrange(&matrix, first, 0..case.size[0]).unwrap();
                    let images = (&x[first..], &mut found[first..]);
                    K::depthwise(&group, &finish, first, rows, images).unwrap();
                    // A row more would begin behind the image.
                    let images = (&x[first..], &mut [][..]);
                    prop_assert!(K::depthwise(&group, &finish, first, rows, images).is_none());
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
                let found = K::dot(bits, &row, skip, &x[skip..], offset);
                prop_assert_eq!(i64::from(found), oracle(&weights[skip..], &x[skip..], offset));
                let stride = 1 + skip % 3;
                let taps = (x.len() - skip).div_ceil(stride);
                let found =
                    K::dot_strided(bits, &row, 0, &x[skip..], stride, taps, offset);
                let apart: Vec<i8> = x[skip..].iter().copied().step_by(stride).collect();
                prop_assert_eq!(i64::from(found), oracle(&weights, &apart, offset));
                let sum: i32 = weights[skip..].iter().map(|&w| i32::from(w)).sum();
                prop_assert_eq!(K::row_sum(bits, &row, skip, x.len() - skip), sum);
            }
        }
    };
}

pub(crate) use kernel_suite;
