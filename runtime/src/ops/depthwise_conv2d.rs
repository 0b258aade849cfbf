//! Depthwise convolution: every output channel sees one input channel.

use serde::{Deserialize, Serialize};

use super::affine::Layer;
use super::image::Image;
use super::operands::split;
use super::window::Axis;
use super::{Operator, Parameters};
use crate::features::Features;
use crate::format::{Affine, Layout, OpFault, Source, Tensor, Window, read_fields};

/// y = requantize(w ⋆ x + b), channel by channel. With a multiplier m, output channels m·c to
/// m·c + m − 1 read input channel c. Weights: output channels × kernel height × kernel width.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepthwiseConv2d {
    /// Input image.
    pub input: Source,
    /// Output image; its channels are a multiple of the input's.
    pub output: Tensor,
    /// Kernel size, stride and padding.
    pub window: Window,
    /// Distance between taps, down and right.
    pub dilation: [u16; 2],
    /// Parameters, one row per output channel.
    pub affine: Affine,
}

read_fields!(DepthwiseConv2d { input, output, window, dilation, affine });

impl DepthwiseConv2d {
    /// Both axes, input channels and output channels, if the shapes are images.
    fn geometry(&self, input: &Tensor) -> Option<([Axis; 2], usize, usize)> {
        let [h, w, channels] = input.shape.image()?;
        let [oh, ow, outputs] = self.output.shape.image()?;
        Some((Axis::both(&self.window, self.dilation, [h, w], [oh, ow]), channels, outputs))
    }

    /// Weights of one channel.
    fn columns(&self) -> usize {
        let [h, w] = self.window.size.map(usize::from);
        h.saturating_mul(w)
    }
}

impl Operator for DepthwiseConv2d {
    fn inputs(&self) -> &[Source] {
        core::slice::from_ref(&self.input)
    }

    fn check(&self, previous: &Tensor, section: &[u8]) -> Result<(), OpFault> {
        let input = self.input.resolve(previous);
        let (axes, channels, outputs) = self.geometry(input).ok_or(OpFault::Shape)?;
        for axis in axes {
            axis.check()?;
        }
        if self.affine.weights.layout != Layout::RowMajor {
            return Err(OpFault::Layout);
        }
        if !outputs.is_multiple_of(channels) {
            return Err(OpFault::Shape);
        }
        self.affine.check(section, outputs, self.columns())
    }

    fn features(&self) -> Features {
        self.affine.features()
    }

    fn parameters(&self, _previous: &Tensor) -> Parameters {
        let columns = self.columns();
        let macs = (self.output.len() as u64).saturating_mul(columns as u64);
        self.affine.parameters(self.output.shape.channels(), columns, macs)
    }

    fn run(&self, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        let Some((axes, channels, outputs)) = self.geometry(input) else { return };
        let zero_point = self.output.zero_point;
        let Some(layer) = Layer::find(&self.affine, section, outputs, self.columns(), zero_point)
        else {
            return;
        };
        let image =
            Image { values: inputs.get(input), zero_point: input.zero_point, axes, channels };
        image.convolve_channels(&layer, self.columns(), [0, outputs], output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{Plain, fault, plain, run, tensor, values};
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Shapes of a depthwise convolution that keeps the image's size.
    #[derive(Clone, Debug)]
    struct Shapes {
        input: [u16; 3],
        outputs: u16,
        size: [u16; 2],
        dilation: [u16; 2],
    }

    fn op(s: &Shapes, plain: &Plain, zeros: (i8, i8)) -> (Tensor, Op, Vec<u8>) {
        let (affine, section) = plain.store(zeros.0);
        let input = tensor(0, &s.input, zeros.0);
        let [h, w, _] = s.input;
        let output = tensor(input.len() as u32, &[h, w, s.outputs], zeros.1);
        let padding = [0, 1].map(|axis| (s.size[axis] - 1) * s.dilation[axis] / 2);
        let window = Window { size: s.size, stride: [1, 1], padding };
        let op = DepthwiseConv2d {
            input: Source::Previous,
            output,
            window,
            dilation: s.dilation,
            affine,
        };
        (input, Op::DepthwiseConv2d(op), section)
    }

    fn oracle(s: &Shapes, plain: &Plain, x: &[i8], zeros: (i8, i8)) -> Vec<i8> {
        let [h, w, c] = s.input.map(i64::from);
        let [kh, kw] = s.size.map(i64::from);
        let multiplier = i64::from(s.outputs) / c;
        let mut found = Vec::new();
        for (oy, ox) in (0..h).flat_map(|oy| (0..w).map(move |ox| (oy, ox))) {
            for output in 0..i64::from(s.outputs) {
                let mut sum = 0i64;
                for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                    let at = |o: i64, k: i64, axis: usize| {
                        let dilation = i64::from(s.dilation[axis]);
                        o + k * dilation - (i64::from(s.size[axis]) - 1) * dilation / 2
                    };
                    let (y, x_) = (at(oy, ky, 0), at(ox, kx, 1));
                    if (0..h).contains(&y) && (0..w).contains(&x_) {
                        let pixel = x[((y * w + x_) * c + output / multiplier) as usize];
                        let weight = plain.weights[((output * kh + ky) * kw + kx) as usize];
                        sum += i64::from(weight) * (i64::from(pixel) - i64::from(zeros.0));
                    }
                }
                found.push(plain.finish(output as usize, sum, zeros.1));
            }
        }
        found
    }

    prop_compose! {
        fn shapes()(
            input in [1u16..7, 1u16..7, 1u16..4], multiplier in 1u16..4,
            size in [1u16..5, 1u16..5], dilation in [1u16..3, 1u16..3],
        ) -> Shapes {
            Shapes { input, outputs: input[2] * multiplier, size, dilation }
        }
    }

    prop_compose! {
        fn case()(s in shapes())(
            plain in plain(s.outputs.into(), usize::from(s.size[0] * s.size[1])),
            x in values(s.input.iter().product::<u16>() as usize),
            zeros in any::<(i8, i8)>(),
            s in Just(s),
        ) -> (Shapes, Plain, Vec<i8>, (i8, i8)) {
            (s, plain, x, zeros)
        }
    }

    proptest! {
        #[test]
        fn matches_the_oracle((s, plain, x, zeros) in case()) {
            let (input, op, section) = op(&s, &plain, zeros);
            let found = run(&input, &[op], &section, &x).unwrap();
            prop_assert_eq!(found, oracle(&s, &plain, &x, zeros));
        }

        #[test]
        fn channels_must_be_a_multiple((s, plain, _, zeros) in case()) {
            prop_assume!(s.input[2] > 1);
            let outputs = s.outputs + 1;
            let (input, op, section) = op(&Shapes { outputs, ..s }, &plain, zeros);
            prop_assert_eq!(fault(&input, op, &section), Some(OpFault::Shape));
        }
    }
}
