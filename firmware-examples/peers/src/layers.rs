//! Layers of the peer, in few words: per-tensor requantisation, relu, no padding.

use embedded_nn::convolution::convolve_s8;
use embedded_nn::fully_connected::fully_connected_s8;
use embedded_nn::pooling::max_pool_s8;
use embedded_nn::types::{
    Activation, ConvParams, Dims, FcParams, Padding2D, PerTensorQuantParams, PoolParams, Tile,
};

const RELU: Activation = Activation::new(-128, 127);
const SCALE: PerTensorQuantParams = PerTensorQuantParams { multiplier: 1 << 30, shift: -9 };
const ZERO: i32 = 128;
const NO_PADDING: Padding2D = Padding2D { top: 0, bottom: 0, left: 0, right: 0 };
const KERNEL: i32 = 5;

const fn tile(side: i32) -> Tile {
    Tile { w: side, h: side }
}

/// A dense layer.
pub(crate) struct Dense {
    pub(crate) weights: &'static [i8],
    pub(crate) columns: i32,
    pub(crate) rows: i32,
}

impl Dense {
    pub(crate) fn run(&self, input: &[i8], output: &mut [i8]) -> Result<(), &'static str> {
        let params = FcParams {
            input_offset: ZERO,
            filter_offset: 0,
            output_offset: -ZERO,
            activation: RELU,
        };
        fully_connected_s8(
            &params,
            &SCALE,
            &Dims::new(1, 1, 1, self.columns),
            input,
            &Dims::new(self.columns, 1, 1, self.rows),
            self.weights,
            None,
            &Dims::new(1, 1, 1, self.rows),
            output,
        )
        .map_err(|_| "a dense layer was refused")
    }
}

/// A convolution of 5 × 5 on a square image.
pub(crate) struct Conv {
    pub(crate) weights: &'static [i8],
    pub(crate) side: i32,
    pub(crate) channels: i32,
    pub(crate) filters: i32,
}

impl Conv {
    pub(crate) fn run(&self, input: &[i8], output: &mut [i8]) -> Result<(), &'static str> {
        let params = ConvParams {
            input_offset: ZERO,
            output_offset: -ZERO,
            stride: tile(1),
            padding: NO_PADDING,
            dilation: tile(1),
            activation: RELU,
        };
        let out = self.side - KERNEL + 1;
        convolve_s8(
            &params,
            &SCALE,
            &Dims::new(1, self.side, self.side, self.channels),
            input,
            &Dims::new(self.filters, KERNEL, KERNEL, self.channels),
            self.weights,
            None,
            &Dims::new(1, out, out, self.filters),
            output,
        )
        .map_err(|_| "a convolution was refused")
    }
}

/// Windows of 2 × 2 on a square image of `side`.
pub(crate) fn max_pool(
    side: i32,
    channels: i32,
    input: &[i8],
    output: &mut [i8],
) -> Result<(), &'static str> {
    let params = PoolParams { stride: tile(2), padding: NO_PADDING, activation: RELU };
    max_pool_s8(
        &params,
        &tile(2),
        &Dims::new(1, side, side, channels),
        input,
        &Dims::new(1, side / 2, side / 2, channels),
        output,
    )
    .map_err(|_| "a pooling was refused")
}
