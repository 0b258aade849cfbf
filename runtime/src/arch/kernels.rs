//! What an instruction set has to offer: [`Kernels`].

use core::ops::Range;

use super::{Addition, BLOCK_ROWS, DotListed, Finish, Group, Matrix, Sight, Sums, bets, portable};
use crate::format::Layout;
use crate::ops::{Axis, Image, Layer};

/// The micro-kernels of an instruction set. What a method does by itself is portable and the
/// reference; an instruction set overrides what it does better, and gives the same bits.
pub(crate) trait Kernels: Sized {
    /// What it is called.
    const NAME: &'static str;
    /// Whether there are kernels for rows of bytes. Then the portable loops are left with what is
    /// rare, and short.
    const HAS_BYTES: bool = false;
    /// Whether [`Self::finish`], [`Self::convolve`] and [`Self::convolve_and_pool`] take every layer of bytes
    /// that lie in rows.
    const TAKES_ROWS: bool = false;
    /// Whether there are kernels for four rows of pairs, and of 4 bits.
    const HAS_NARROW: bool = false;
    /// Whether the core divides.
    const DIVIDES: bool = true;
    /// Positions of a convolution that are multiplied at once.
    const POSITIONS: usize = 1;
    /// Most values under a convolution's kernel that are gathered at each position, a multiple of
    /// four: 3 × 3 × 64. Larger filters are read again at each position.
    const PATCH_MAX: usize = 576;
    /// Most outputs of a position that are held apart to be compared.
    const OUTPUTS_MAX: usize = 256;
    /// Weights of coded filters that are decoded at once, where there is memory: four filters of any
    /// length.
    const DECODED_MAX: usize = 2048;
    /// Whether [`Self::depthwise_layer`] takes what there are kernels for, and nothing takes groups.
    const HAS_DEPTHWISE: bool = false;
    /// Whether that looks at [`Sight::spans`].
    const SEES_SPANS: bool = true;
    /// Whether [`Self::depthwise_image`] takes what there are kernels for, and nothing takes groups or
    /// layers.
    const HAS_IMAGES: bool = false;
    /// How the rows of dense layers are arranged where they are unpacked.
    const DENSE_LAYOUT: Layout = Layout::RowMajor;
    /// What multiplies filters that may be lists of what isn't 0, if there are such.
    const DOT_LISTED: Option<DotListed> = None;
    /// Neighbouring channels that a depthwise convolution takes at once; if not four, then
    /// [`Self::depthwise`] is overridden.
    const LANES: usize = 4;

    /// Room for a layer's inputs to be made ready in.
    type Lanes: Lanes;

    /// The outputs of all rows for the inputs x + offset, or `None` where no kernel takes the layer.
    /// The layer and its offset must be the same for the same `lanes`.
    #[inline(always)]
    fn finish(
        _lanes: &mut Self::Lanes,
        _matrix: &Matrix<'_>,
        _x: &[i8],
        _offset: i16,
        _finish: &Finish<'_>,
        _outputs: &mut [i8],
    ) -> Option<()> {
        None
    }

    /// Σ w·(x + offset) of a chunk of rows; what stands beyond the last one has no meaning.
    #[inline(always)]
    fn dot_rows(matrix: &Matrix<'_>, first: usize, inputs: &InputsOf<'_, Self>, sums: &mut Sums) {
        portable::dot_rows::<Self>(matrix, first, inputs, sums);
    }

    /// Σ w·(x + offset) of a block of rows; what stands beyond the last row has no meaning.
    #[inline(always)]
    fn dot_block(
        matrix: &Matrix<'_>,
        first: usize,
        inputs: &InputsOf<'_, Self>,
    ) -> [i32; BLOCK_ROWS] {
        let (x, offset) = inputs.plain();
        portable::dot_block::<Self>(matrix, first, x, offset)
    }

    /// Σ w·(x + offset) over `x`, with weights of a row's fields from number `start` on.
    ///
    /// `bits` is a weight width; a row that is too short counts as zeros beyond its end.
    #[inline(always)]
    fn dot(bits: u8, row: &[u8], start: usize, x: &[i8], offset: i16) -> i32 {
        portable::dot::<Self>(bits, row, start, x, offset)
    }

    /// As [`Self::dot`] over `taps` values of `x`, `stride` apart: one channel of an image.
    #[inline(always)]
    fn dot_strided(
        bits: u8,
        row: &[u8],
        start: usize,
        x: &[i8],
        stride: usize,
        taps: usize,
        offset: i16,
    ) -> i32 {
        portable::dot_strided(bits, row, start, x, stride, taps, offset)
    }

    /// Σ w over `len` of a row's fields from number `start` on.
    #[inline(always)]
    fn row_sum(bits: u8, row: &[u8], start: usize, len: usize) -> i32 {
        portable::row_sum(bits, row, start, len)
    }

    /// The outputs of rows from `first` on, from their sums of products.
    #[inline(always)]
    fn finish_rows(finish: &Finish<'_>, first: usize, sums: &Sums, outputs: &mut [i8]) {
        portable::finish_rows(finish, first, sums, outputs);
    }

    /// The outputs of a convolution by the layer's filters, some of so many, from a number on. `None` where
    /// no kernel takes the layer.
    #[inline(always)]
    fn convolve(
        _image: &Image<'_>,
        _layer: &Layer<'_>,
        [_first, _all]: [usize; 2],
        _output: &mut [i8],
    ) -> Option<()> {
        None
    }

    /// The largest outputs in each window of a pooling, where no multiplier shifts to the left. `None`
    /// where no kernel takes the layer.
    #[inline(always)]
    fn convolve_and_pool(
        _image: &Image<'_>,
        _layer: &Layer<'_>,
        _pool: &[Axis; 2],
        _output: &mut [i8],
    ) -> Option<()> {
        None
    }

    /// The outputs of a group of channels at `rows` rows of positions; `x` and `y` begin with the
    /// group's first channel, of the first row of pixels that is read and written. Returns the channels
    /// that the kernel doesn't take, a bit each; `None` where none takes the layer.
    #[inline(always)]
    fn depthwise(
        group: &Group,
        finish: &Finish<'_>,
        first: usize,
        rows: usize,
        (x, y): (&[i8], &mut [i8]),
    ) -> Option<u64> {
        portable::depthwise(group, finish, first, rows, (x, y)).map(|()| 0)
    }

    /// The outputs of a depthwise convolution with an output a channel, but for the channels that `rare`
    /// is called with and makes them of; `None` where no kernel takes whole layers.
    #[inline(always)]
    fn depthwise_layer(
        _sight: &Sight<'_>,
        _matrix: &Matrix<'_>,
        _finish: &Finish<'_>,
        _output: &mut [i8],
        _rare: &mut dyn FnMut(usize, &mut [i8]),
    ) -> Option<()> {
        None
    }

    /// The outputs of a depthwise convolution with an output a channel; `None` where no kernel takes the
    /// layer.
    #[inline(always)]
    fn depthwise_image(_image: &Image<'_>, _layer: &Layer<'_>, _output: &mut [i8]) -> Option<()> {
        None
    }

    /// The sums of two tensors that are as long as the output, all of them in the arena; operands may
    /// be the output, or one another. `None` where no kernel makes them.
    #[inline(always)]
    fn add(
        _arena: &mut [i8],
        _operands: [Range<usize>; 2],
        _output: Range<usize>,
        _addition: &Addition,
    ) -> Option<()> {
        None
    }

    /// Σ x of as many neighbouring channels as there are sums, over `size[0]` rows of `size[1]` pixels:
    /// `steps` apart, a row from the next and a pixel from the next. Values that aren't there count
    /// as 0.
    #[inline(always)]
    fn sum_pixels(values: &[i8], size: [usize; 2], steps: [usize; 2], sums: &mut [i32]) {
        portable::sum_pixels(values, size, steps, sums);
    }

    /// Copies as many values as the shorter one has.
    #[inline(always)]
    fn copy(to: &mut [i8], from: &[i8]) {
        portable::copy(to, from);
    }

    /// Copies `rows` stretches of `len` values, from `strides[0]` apart to `strides[1]` apart; nothing
    /// where they don't fit.
    #[inline(always)]
    fn copy_rows(from: &[i8], to: &mut [i8], rows: usize, len: usize, strides: [usize; 2]) {
        portable::copy_rows::<Self>(from, to, rows, len, strides);
    }

    /// Puts a filter's weights, decoded ones and so none of them −128, into the place of its row, as a
    /// list where that is faster. They are followed by zeros up to a multiple of four.
    #[inline(always)]
    fn put_filter(weights: &[u8], row: &mut [u8]) {
        for (to, &from) in row.iter_mut().zip(weights) {
            *to = from;
        }
    }

    /// Sets all values.
    #[inline(always)]
    fn fill(values: &mut [i8], value: i8) {
        values.fill(value);
    }

    /// Adds scores, signed bytes, to evidence, which isn't below 0 then. Gives a number below 0 if one is above
    /// `most`; neither that nor evidence is above 2¹⁵ − 1.
    #[inline(always)]
    fn add_scores(evidence: &mut [u16; 4], scores: &[u8; 4], most: i32) -> i32 {
        bets::add_scores(evidence, scores, most)
    }

    /// Takes the losses of events, the second of each two bytes, off evidence, but not below 0.
    #[inline(always)]
    fn lose(evidence: &mut [u16; 4], events: &[[u8; 2]; 4]) {
        bets::lose(evidence, events);
    }

    /// Whether a convolution's rows of weights of this width are read as they are stored, and need
    /// not be unpacked first.
    #[inline(always)]
    fn is_direct(bits: u8) -> bool {
        matches!(bits, 2 | 4 | 8 | 16)
    }
}

/// Room for a layer's inputs to be made ready in, for all of its rows.
pub(crate) trait Lanes {
    /// Inputs of a layer as kernels meet them.
    type Inputs<'a>: Inputs
    where
        Self: 'a;

    /// Nothing is ready yet.
    fn new() -> Self;

    /// Makes the inputs x + offset ready.
    fn prepare<'a>(&'a mut self, matrix: &Matrix<'_>, x: &'a [i8], offset: i16)
    -> Self::Inputs<'a>;
}

/// Inputs of a layer that are ready.
pub(crate) trait Inputs {
    /// As they were, and what is added to each.
    fn plain(&self) -> (&[i8], i16);
}

/// Inputs are taken as they are.
impl Lanes for () {
    type Inputs<'a> = (&'a [i8], i16);

    #[inline(always)]
    fn new() {}

    #[inline(always)]
    fn prepare<'a>(&'a mut self, _: &Matrix<'_>, x: &'a [i8], offset: i16) -> (&'a [i8], i16) {
        (x, offset)
    }
}

impl Inputs for (&[i8], i16) {
    #[inline(always)]
    fn plain(&self) -> (&[i8], i16) {
        *self
    }
}

/// Inputs as the kernels `K` meet them.
pub(crate) type InputsOf<'a, K> = <<K as Kernels>::Lanes as Lanes>::Inputs<'a>;
