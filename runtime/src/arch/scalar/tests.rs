//! What is around the kernels, with their model, against sums of 64 bits.

use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

use super::scales::{Places, Scale};
use super::{convolve, depthwise, scales};
use crate::arch::suite::{ALIGNMENT, placed};
use crate::arch::{Finish, Multipliers};
use crate::format::{Clamp, Window};
use crate::ops::testing::{BiasKind, Plain, plain, values};
use crate::ops::{Axis, Image, Layer};
use crate::requantize::Multiplier;

mod suite {
    crate::arch::suite::kernel_suite!(super::super::Scalar);
}

/// A convolution's shapes; of a depthwise one, `rows` are the channels.
#[derive(Clone, Debug)]
struct Case {
    input: [u16; 2],
    channels: u16,
    size: [u16; 2],
    stride: [u16; 2],
    dilation: [u16; 2],
    padding: [u16; 2],
    output: [u16; 2],
    rows: u16,
}

impl Case {
    fn axes(&self) -> [Axis; 2] {
        let window = Window { size: self.size, stride: self.stride, padding: self.padding };
        let [input, output] = [self.input, self.output].map(|axis| axis.map(usize::from));
        Axis::both(&window, self.dilation, input, output)
    }

    /// Positions of the output, the taps that see the image at each, and the pixel under each tap.
    fn taps(&self) -> Vec<Vec<(usize, usize)>> {
        let [height, width] = self.output.map(i64::from);
        let at = |axis: usize, place: i64, tap: i64| {
            let [stride, dilation, padding] =
                [self.stride, self.dilation, self.padding].map(|of| i64::from(of[axis]));
            let pixel = place * stride + tap * dilation - padding;
            (0..i64::from(self.input[axis])).contains(&pixel).then_some(pixel)
        };
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
        let [down, right] = self.size.map(i64::from);
        let taps = || (0..down).flat_map(|y| (0..right).map(move |x| (y, x)));
        let seen = |(y, x): (i64, i64)| {
            let pixel = |(tap, (dy, dx)): (usize, (i64, i64))| {
                let (row, column) = (at(0, y, dy)?, at(1, x, dx)?);
                Some((tap, (row * i64::from(self.input[1]) + column) as usize))
            };
            taps().enumerate().filter_map(pixel).collect()
        };
        places.map(seen).collect()
    }

    fn window(&self) -> usize {
        self.size.into_iter().map(usize::from).product()
    }
}

prop_compose! {
    fn cases(channels: core::ops::Range<u16>, rows: core::ops::Range<u16>)(
        input in [1u16..12, 1u16..12],
        channels in channels,
        size in [1u16..8, 1u16..8],
        stride in [1u16..4, 1u16..4],
        dilation in [1u16..3, 1u16..3],
        padding in [0u16..8, 0u16..8],
        output in [1u16..9, 1u16..9],
        rows in rows,
        is_point in prop::bool::weighted(0.3),
    ) -> Case {
        let size = if is_point { [1, 1] } else { size };
        // As far as the shape rule allows.
        let pad = |axis: usize| padding[axis].min((size[axis] - 1) * dilation[axis]);
        let padding = [pad(0), pad(1)];
        let most = |axis: usize| (padding[axis] + input[axis] - 1) / stride[axis] + 1;
        let output = [output[0].min(most(0)), output[1].min(most(1))];
        Case { input, channels, size, stride, dilation, padding, output, rows }
    }
}

prop_compose! {
    fn convolutions()(case in cases(1..24, 1..70))(
        parameters in plain(case.rows.into(), case.window() * usize::from(case.channels)),
        x in values(case.input.iter().product::<u16>() as usize * usize::from(case.channels)),
        zeros in any::<[i8; 2]>(),
        case in Just(case),
    ) -> (Case, Plain, Vec<i8>, [i8; 2]) {
        let weights = parameters.weights.iter().map(|&weight| i16::from(weight as i8)).collect();
        (case, Plain { bits: 8, weights, ..parameters }, x, zeros)
    }
}

prop_compose! {
    fn depthwise_convolutions()(case in cases(1..40, 1..2))(
        parameters in plain(case.channels.into(), case.window()),
        x in values(case.input.iter().product::<u16>() as usize * usize::from(case.channels)),
        zeros in any::<[i8; 2]>(),
        case in Just(case),
    ) -> (Case, Plain, Vec<i8>, [i8; 2]) {
        (case, parameters, x, zeros)
    }
}

/// Lets `run` make the outputs of all rows, with weights and inputs anywhere.
fn outputs(
    (case, plain, x, [zero_point, output]): &(Case, Plain, Vec<i8>, [i8; 2]),
    at: usize,
    run: impl FnOnce(&Image<'_>, &Layer<'_>, &mut [i8]) -> Option<()>,
) -> Option<Vec<i8>> {
    let (affine, section) = plain.store(*zero_point);
    let (section, x) = (placed(&section, at), placed(x, at / 2));
    let layer = Layer::find(&affine, &section, plain.rows(), plain.columns, *output).unwrap();
    let (axes, channels) = (case.axes(), case.channels.into());
    let image = Image { values: &x, zero_point: *zero_point, axes, channels };
    let positions: usize = case.output.into_iter().map(usize::from).product();
    let mut found = vec![0x55; positions * plain.rows()];
    run(&image, &layer, &mut found).map(|()| found)
}

fn convolved(of: &(Case, Plain, Vec<i8>, [i8; 2]), at: usize) -> Option<Vec<i8>> {
    outputs(of, at, |image, layer, found| {
        let rows = [0, layer.matrix.rows];
        if convolve::takes(image, layer) {
            return convolve::convolve(image, layer, rows, found);
        }
        None
    })
}

fn convolution_oracle((case, plain, x, zeros): &(Case, Plain, Vec<i8>, [i8; 2])) -> Vec<i8> {
    let channels = usize::from(case.channels);
    let mut found = Vec::new();
    for taps in case.taps() {
        for (row, weights) in plain.weights.chunks(plain.columns).enumerate() {
            let product = |&(tap, pixel): &(usize, usize)| {
                let pairs =
                    (0..channels).map(|c| (weights[tap * channels + c], x[pixel * channels + c]));
                pairs.map(|(w, x)| i64::from(w) * (i64::from(x) - i64::from(zeros[0]))).sum::<i64>()
            };
            found.push(plain.finish(row, taps.iter().map(product).sum(), zeros[1]));
        }
    }
    found
}

fn depthwise_oracle((case, plain, x, zeros): &(Case, Plain, Vec<i8>, [i8; 2])) -> Vec<i8> {
    let channels = usize::from(case.channels);
    let mut found = Vec::new();
    for taps in case.taps() {
        for (channel, weights) in plain.weights.chunks(plain.columns).enumerate() {
            let product = |&(tap, pixel): &(usize, usize)| {
                let x = i64::from(x[pixel * channels + channel]) - i64::from(zeros[0]);
                i64::from(weights[tap]) * x
            };
            found.push(plain.finish(channel, taps.iter().map(product).sum(), zeros[1]));
        }
    }
    found
}

proptest! {
    #[test]
    fn convolutions_match_the_oracle(of in convolutions(), at in 0..ALIGNMENT) {
        let is_taken = of.0.rows >= 8 && of.0.output[0] * of.0.output[1] >= 4;
        let expected = is_taken.then(|| convolution_oracle(&of));
        prop_assert_eq!(convolved(&of, at), expected);
    }

    #[test]
    fn depthwise_convolutions_match_the_oracle(of in depthwise_convolutions(), at in 0..ALIGNMENT) {
        // Windows whose taps are apart may see nothing of the image: such layers are left to others.
        let is_taken = of.0.taps().iter().all(|taps| !taps.is_empty());
        let expected = is_taken.then(|| depthwise_oracle(&of));
        prop_assert_eq!(outputs(&of, at, depthwise::depthwise), expected);
    }

    #[test]
    fn all_sums_and_multipliers_give_the_portable_outputs(
        sums in proptest::array::uniform16(prop_oneof![
            any::<i32>(),
            -(1i32 << 20)..1 << 20,
            proptest::sample::select(&[0, 1, -1, (1 << 29) - 1, 1 - (1 << 29), 1 << 29, i32::MAX, i32::MIN][..]),
        ]),
        multipliers in proptest::array::uniform16((0i32.., -31i8..=30)),
        zero_point: i8,
        [a, b] in any::<[i8; 2]>(),
        rows in 1usize..17,
    ) {
        let table = multipliers.map(|(value, shift)| {
            let [b0, b1, b2, b3] = value.to_le_bytes();
            [b0, b1, b2, b3, shift as u8]
        });
        let clamp = Clamp { min: a.min(b), max: a.max(b) };
        let multipliers = Multipliers::PerChannel(&table);
        let finish = Finish { bias: None, multipliers, zero_point, clamp };
        // Each row's sum and its opposite, outputs side by side.
        let scale = |row: usize| Scale::new(finish.multiplier(row), 0, sums[row].unsigned_abs());
        let scales: Vec<Scale> = (0..rows).map(scale).collect();
        let sums: Vec<i32> = sums.iter().flat_map(|&sum| [sum, sum.wrapping_neg()]).collect();
        let places = Places { count: 2, stride: rows, sums_step: 2 };
        let mut found = vec![0; 2 * rows];
        let done = scales::outputs(&finish, 0, (&scales, &sums), places, &mut found);
        prop_assert!(done.is_some());
        for (at, y) in found.into_iter().enumerate() {
            let (row, sum) = (at % rows, sums[at % rows * 2 + at / rows]);
            prop_assert_eq!(y, finish.output(row, sum));
        }
        let mut few = vec![0; 2 * rows - 1];
        let done = scales::outputs(&finish, 0, (&scales, &sums), places, &mut few);
        prop_assert!(done.is_none());
    }
}

/// Bytes that come closest to leaving a half of a word.
#[test]
fn extremes_stay_apart() {
    let shape = |channels| Case {
        input: [2, 3],
        channels,
        size: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        padding: [0, 0],
        output: [2, 3],
        rows: 9,
    };
    let multipliers = vec![Multiplier { value: 1 << 30, shift: -15 }];
    for (channels, weight) in (1..80).flat_map(|channels| [-128i16, 127].map(|w| (channels, w))) {
        for (x, zero) in [(-128i8, 127i8), (127, -128), (-128, 0), (127, 0)] {
            let columns = usize::from(channels);
            let plain = Plain {
                bits: 8,
                columns,
                weights: vec![weight; 9 * columns],
                bias: vec![0; 9],
                bias_kind: if channels % 2 == 0 { BiasKind::None } else { BiasKind::Folded },
                multipliers: multipliers.clone(),
                clamp: Clamp::NONE,
            };
            let of = (shape(channels), plain, vec![x; 6 * columns], [zero, 3]);
            assert_eq!(
                convolved(&of, columns),
                Some(convolution_oracle(&of)),
                "{channels} {weight}"
            );
        }
    }
}

/// Windows of more taps than there is room for.
#[test]
fn large_windows_are_left_to_others() {
    let case = Case {
        input: [8, 8],
        channels: 2,
        size: [8, 7],
        stride: [1, 1],
        dilation: [1, 1],
        padding: [0, 0],
        output: [1, 2],
        rows: 1,
    };
    let plain = Plain {
        bits: 8,
        columns: 56,
        weights: vec![1; 112],
        bias: vec![0; 2],
        bias_kind: BiasKind::None,
        multipliers: vec![Multiplier { value: 1 << 30, shift: -5 }],
        clamp: Clamp::NONE,
    };
    assert_eq!(outputs(&(case, plain, vec![1; 128], [0, 0]), 0, depthwise::depthwise), None);
}
