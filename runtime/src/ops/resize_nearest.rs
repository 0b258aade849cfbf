//! An image in another size, of the nearest pixels.
//!
//! TensorFlow Lite finds the pixel by floats: ⌊(i + ½)·(input / output)⌋, or without the half, where the
//! quotient and the product are each rounded to 24 bits. Where the product is a whole number, these
//! roundings decide which of two pixels it is, so that they are done here, too, in integers ([`Scale`]).

use serde::{Deserialize, Serialize};

use super::Operator;
use super::operands::split;
use crate::arch::{Isa, Kernels};
use crate::format::{OpFault, Source, Tensor, read_fields};

/// Each pixel of the output is one of the input: TFLite's `RESIZE_NEAREST_NEIGHBOR` without
/// `align_corners`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResizeNearest {
    /// Input image.
    pub input: Source,
    /// Output image, of the input's channels and zero point.
    pub output: Tensor,
    /// Whether pixels are found by their centres, not by their corners.
    pub half_pixel_centers: bool,
}

read_fields!(ResizeNearest { input, output, half_pixel_centers });

/// Bits of a float's fraction.
const PRECISION: u32 = 24;

/// Rounds to so many bits less, ties to even.
fn shifted_right(value: u64, by: u32) -> u64 {
    let below = value & (1u64.wrapping_shl(by).wrapping_sub(1));
    let half = 1u64.wrapping_shl(by) >> 1;
    let floor = value.wrapping_shr(by);
    let up = below > half || by > 0 && below == half && floor & 1 == 1;
    floor.wrapping_add(u64::from(up))
}

/// From positions of the output to those of the input, along one axis.
struct Scale {
    /// Pixels of the input.
    input: usize,
    /// input / output as a float holds it: so many 2^−shift.
    ratio: u64,
    shift: u32,
    /// 1 for centres.
    half: u64,
}

impl Scale {
    /// Of lengths of at most 16 bits, none of them 0.
    fn new(input: usize, output: usize, half_pixel_centers: bool) -> Self {
        // `max(1)`: neither is 0, but the compiler can't know.
        let (from, to) = (input.max(1) as u64, output.max(1) as u64);
        // A quotient of a bit more than a float has, or two.
        let shift = (PRECISION + 1).wrapping_add(to.ilog2()).wrapping_sub(from.ilog2());
        let quotient = from.wrapping_shl(shift) / to;
        let exact = quotient.wrapping_mul(to) == from.wrapping_shl(shift);
        // What is left is less than the last bit; one more bit says that there is something.
        let sticky = quotient << 1 | u64::from(!exact);
        let drop = bits(sticky).saturating_sub(PRECISION);
        let ratio = shifted_right(sticky, drop);
        let shift = shift.wrapping_add(1).wrapping_sub(drop);
        Self { input, ratio, shift, half: u64::from(half_pixel_centers) }
    }

    /// The pixel of the input for one of the output.
    fn at(&self, position: usize) -> usize {
        let twice = (position as u64).wrapping_mul(2).wrapping_add(self.half);
        let product = twice.wrapping_mul(self.ratio);
        let drop = bits(product).saturating_sub(PRECISION);
        let rounded = shifted_right(product, drop).wrapping_shl(drop);
        let pixel = rounded.wrapping_shr(self.shift.wrapping_add(1)) as usize;
        pixel.min(self.input.wrapping_sub(1))
    }
}

/// Bits of a number without leading zeros.
fn bits(value: u64) -> u32 {
    u64::BITS.wrapping_sub(value.leading_zeros())
}

impl Operator for ResizeNearest {
    fn check(&self, previous: &Tensor, _section: &[u8]) -> Result<(), OpFault> {
        let input = self.input.resolve(previous);
        let (from, to) = (input.shape.image(), self.output.shape.image());
        let channels = |image: Option<[usize; 3]>| image.map(|[.., channels]| channels);
        if from.is_none() || channels(from) != channels(to) {
            return Err(OpFault::Shape);
        }
        if input.zero_point == self.output.zero_point { Ok(()) } else { Err(OpFault::ZeroPoint) }
    }

    fn steps(&self, _previous: &Tensor) -> u64 {
        self.output.len() as u64
    }

    fn run(&self, previous: &Tensor, _section: &[u8], arena: &mut [i8]) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        let (Some([height, width, channels]), Some([rows, columns, _])) =
            (input.shape.image(), self.output.shape.image())
        else {
            return;
        };
        let values = inputs.get(input);
        let down = Scale::new(height, rows, self.half_pixel_centers);
        let right = Scale::new(width, columns, self.half_pixel_centers);
        // `max(1)`: there are values, but the compiler can't know.
        let (channels, line) = (channels.max(1), columns.wrapping_mul(channels).max(1));
        // The row before, and where it is from: often the next one is the same.
        let mut before: (usize, &[i8]) = (usize::MAX, &[]);
        for (row, pixels) in output.chunks_exact_mut(line).enumerate() {
            let top = down.at(row);
            if top == before.0 {
                Isa::copy(pixels, before.1);
            } else {
                let from = top.wrapping_mul(width).wrapping_mul(channels);
                let from = values.get(from..).unwrap_or_default();
                for (column, pixel) in pixels.chunks_exact_mut(channels).enumerate() {
                    let at = right.at(column).wrapping_mul(channels);
                    Isa::copy(pixel, from.get(at..).unwrap_or_default());
                }
            }
            before = (top, pixels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{fault, run, tensor, values};
    use proptest::prelude::*;
    use std::vec::Vec;

    fn op(place: u32, dims: &[u16], half_pixel_centers: bool) -> Op {
        let output = tensor(place, dims, 0);
        Op::ResizeNearest(ResizeNearest { input: Source::Previous, output, half_pixel_centers })
    }

    /// TFLite's arithmetic, in floats.
    fn in_floats(position: usize, input: usize, output: usize, centers: bool) -> usize {
        let scale = input as f32 / output as f32;
        let offset = if centers { 0.5 } else { 0.0 };
        let pixel = ((position as f32 + offset) * scale).floor() as usize;
        pixel.min(input - 1)
    }

    fn assert_pixels(input: usize, output: usize, positions: impl Iterator<Item = usize>) {
        let [corners, centers] = [false, true].map(|centers| Scale::new(input, output, centers));
        for position in positions {
            for (is_center, scale) in [(false, &corners), (true, &centers)] {
                let expected = in_floats(position, input, output, is_center);
                let what = (position, input, output, is_center);
                assert_eq!(scale.at(position), expected, "{what:?}");
            }
        }
    }

    #[test]
    fn all_sizes_up_to_400_give_the_pixels_of_floats() {
        for input in 1..=400 {
            for output in 1..=400 {
                assert_pixels(input, output, 0..output);
            }
        }
    }

    #[test]
    fn exact_quotients_alone_would_give_other_pixels() {
        let exact = |position: usize, input: usize, output: usize| position * input / output;
        let differ = (1..=100).flat_map(|input| (1..=100).map(move |output| (input, output))).any(
            |(input, output)| {
                let scale = Scale::new(input, output, false);
                (0..output).any(|at| scale.at(at) != exact(at, input, output))
            },
        );
        assert!(differ);
    }

    proptest! {
        #[test]
        fn sizes_of_16_bits_give_the_pixels_of_floats(
            input in 1usize..=65_535,
            output in 1usize..=65_535,
            seeds in proptest::collection::vec(any::<usize>(), 20),
        ) {
            assert_pixels(input, output, seeds.into_iter().map(|seed| seed % output));
        }

        #[test]
        fn matches_the_oracle(
            dims in [1u16..7, 1u16..7, 1u16..5], to in [1u16..14, 1u16..14], half: bool, x in values(144),
        ) {
            let input = tensor(0, &dims, 0);
            let x = &x[..input.len()];
            let op = op(x.len() as u32, &[to[0], to[1], dims[2]], half);
            let found = run(&input, &[op], &[], x).unwrap();
            let [h, w, c] = dims.map(usize::from);
            let [rows, columns] = to.map(usize::from);
            let expected: Vec<i8> = (0..rows * columns * c)
                .map(|i| {
                    let (row, column) = (i / c / columns, i / c % columns);
                    let [y, x_] = [in_floats(row, h, rows, half), in_floats(column, w, columns, half)];
                    x[(y * w + x_) * c + i % c]
                })
                .collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn each_fault() {
        let input = tensor(0, &[2, 3, 2], 0);
        let fault_of = |op: Op| fault(&input, op, &[]);
        assert_eq!(fault_of(op(12, &[4, 6, 2], false)), None);
        assert_eq!(fault_of(op(12, &[4, 6, 3], true)), Some(OpFault::Shape));
        assert_eq!(fault_of(op(12, &[4, 12], false)), Some(OpFault::Shape));
        assert_eq!(fault_of(op(8, &[4, 6, 2], false)), Some(OpFault::Overlap));
        let flat = tensor(0, &[12], 0);
        assert_eq!(fault(&flat, op(12, &[4, 6, 2], false), &[]), Some(OpFault::Shape));
        let shifted = tensor(0, &[2, 3, 2], 1);
        assert_eq!(fault(&shifted, op(12, &[4, 6, 2], false), &[]), Some(OpFault::ZeroPoint));
    }
}
