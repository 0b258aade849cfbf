//! Parameters of a weight layer: where they are in the weight section and how to read them.

use serde::{Deserialize, Serialize};

use super::form::Form;
use super::reader::{Read, Reader, read_fields};
use crate::requantize::Multiplier;

read_fields!(Multiplier { value, shift });

/// Most positions that a stored bias is shifted left: beyond, an `i8` leaves 32 bits.
pub const MAX_BIAS_SHIFT: u8 = 24;
/// Bytes of one channel's multiplier and shift in the weight section.
pub const CHANNEL_MULTIPLIER_LEN: usize = 5;

/// How a weight matrix is arranged in the weight section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// Row after row, one row per output, each starting on a byte; fields fill bytes from the
    /// least significant bit.
    #[default]
    RowMajor,
    /// For 8 bits: blocks of [`PAIR_BLOCK_ROWS`](super::PAIR_BLOCK_ROWS) rows, made for kernels that multiply 16-bit
    /// halves of words; `docs/FORMAT.md` has the order. Rows beyond the last whole block follow
    /// as in [`Layout::RowMajor`]. Depthwise layers can't have it.
    ///
    /// Two rows A and B share a half-word, A + 256·B, so that B's sum is found by subtracting A's
    /// and shifting. That takes |Σ B·x| < 2²³, which the file must grant for any input.
    Pairs,
}

impl Read for Layout {
    const FORM: Form = Form::Varint;

    fn read(reader: &mut Reader<'_>) -> Self {
        match reader.case(2) {
            1 => Self::Pairs,
            _ => Self::RowMajor,
        }
    }
}

/// The weight matrix of a layer: one row per output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// First byte in the weight section.
    pub offset: u32,
    /// Width of a weight: 1 to 8, or 16, in two's complement.
    pub bits: u8,
    /// Arrangement.
    pub layout: Layout,
}

read_fields!(Weights { offset, bits, layout });

/// Bytes per stored bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BiasWidth {
    /// One.
    I8,
    /// Two.
    I16,
    /// Four.
    I32,
}

impl Read for BiasWidth {
    const FORM: Form = Form::Varint;

    fn read(reader: &mut Reader<'_>) -> Self {
        match reader.case(3) {
            0 => Self::I8,
            1 => Self::I16,
            _ => Self::I32,
        }
    }
}

impl BiasWidth {
    /// Bytes.
    pub const fn bytes(self) -> usize {
        1 << self as u32
    }
}

/// A vector of biases in the weight section, one per output, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBias {
    /// First byte in the weight section.
    pub offset: u32,
    /// Bytes each.
    pub width: BiasWidth,
    /// Positions that each is shifted left before it is added, up to [`MAX_BIAS_SHIFT`].
    pub shift: u8,
}

impl Read for StoredBias {
    const FORM: Form = Form::Fields(&[u32::FORM, BiasWidth::FORM, u8::FORM]);

    #[inline(never)]
    fn read(reader: &mut Reader<'_>) -> Self {
        Self { offset: reader.take(), width: reader.take(), shift: reader.take() }
    }
}

/// What is added to a layer's sum of products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bias {
    /// Nothing.
    #[default]
    None,
    /// acc = Σ (x − zero point)·w + b.
    Plain(StoredBias),
    /// acc = Σ x·w + b, where b already holds −zero point·Σ w and padding counts as the zero
    /// point. The same accumulator; wider biases, but one operation less per product.
    Folded(StoredBias),
}

impl Read for Bias {
    const FORM: Form = Form::Cases(&[Form::NOTHING, StoredBias::FORM, StoredBias::FORM]);

    fn read(reader: &mut Reader<'_>) -> Self {
        match reader.case(3) {
            1 => Self::Plain(reader.take()),
            2 => Self::Folded(reader.take()),
            _ => Self::None,
        }
    }
}

/// How accumulators become int8 again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Requantization {
    /// One multiplier for the layer.
    PerTensor(Multiplier),
    /// One per output: `i32` multiplier and `i8` shift, little-endian,
    /// [`CHANNEL_MULTIPLIER_LEN`] bytes each.
    PerChannel {
        /// First byte in the weight section.
        offset: u32,
    },
}

impl Read for Requantization {
    const FORM: Form = Form::Cases(&[Multiplier::FORM, u32::FORM]);

    fn read(reader: &mut Reader<'_>) -> Self {
        match reader.case(2) {
            1 => Self::PerChannel { offset: reader.take() },
            _ => Self::PerTensor(reader.take()),
        }
    }
}

/// A fused activation: the range that outputs are limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clamp {
    /// Least.
    pub min: i8,
    /// Greatest.
    pub max: i8,
}

read_fields!(Clamp { min, max });

impl Clamp {
    /// No activation.
    pub const NONE: Self = Self { min: i8::MIN, max: i8::MAX };

    /// What is within both, if anything is.
    pub fn and(self, other: Self) -> Option<Self> {
        let (min, max) = (self.min.max(other.min), self.max.min(other.max));
        (min <= max).then_some(Self { min, max })
    }

    /// The nearest value within.
    pub fn apply(self, value: i32) -> i8 {
        // Ordered by `Model::parse`; `max`/`min` instead of `clamp`, which could panic.
        value.max(i32::from(self.min)).min(i32::from(self.max)) as i8
    }
}

impl Default for Clamp {
    fn default() -> Self {
        Self::NONE
    }
}

/// Parameters of a weight layer, the same for all kinds of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affine {
    /// Weights.
    pub weights: Weights,
    /// Bias.
    pub bias: Bias,
    /// From accumulators to outputs.
    pub requantization: Requantization,
    /// Fused activation.
    pub clamp: Clamp,
}

impl Read for Affine {
    const FORM: Form =
        Form::Fields(&[Weights::FORM, Bias::FORM, Requantization::FORM, Clamp::FORM]);

    #[inline(never)]
    fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            weights: reader.take(),
            bias: reader.take(),
            requantization: reader.take(),
            clamp: reader.take(),
        }
    }
}
