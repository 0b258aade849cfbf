//! The operators: one file each holds the record, its checks, its loop and its tests. [`Op`] lists
//! them.
//!
//! A record is [`OpKind`]'s tag (one byte) followed by the postcard of the operator's struct,
//! which is exactly the postcard of [`Op`]. Adding an operator is its file and one line in
//! `operators!` below, at the end: tags are part of the format.

mod add;
mod affine;
mod argmax;
mod avg_pool2d;
mod coded;
mod concat;
mod conv2d;
mod conv2d_max_pool2d;
mod dense;
mod depthwise_conv2d;
#[cfg(any(test, feature = "std"))]
mod expanded;
mod filter;
mod fixed_point;
mod hard_swish;
mod image;
mod leaky_relu;
mod logistic;
mod max_pool2d;
mod mean;
mod mul;
pub(crate) mod operands;
mod pad;
mod pool;
mod rescale;
mod resize_nearest;
mod rows;
mod select;
mod slice;
mod softmax;
mod tanh;
#[cfg(test)]
pub(crate) mod testing;
mod unary;
pub(crate) mod unpacked;
mod window;

use serde::{Deserialize, Serialize};

pub use add::Add;
pub use argmax::Argmax;
pub use avg_pool2d::AvgPool2d;
pub use coded::{CodedAffine, CodedConv2d, CodedDense, CodedDepthwiseConv2d};
pub use concat::{Concat, MAX_CONCAT};
pub use conv2d::Conv2d;
pub use conv2d_max_pool2d::Conv2dMaxPool2d;
pub use dense::Dense;
pub use depthwise_conv2d::DepthwiseConv2d;
pub use filter::FILTER_MAX;
pub use hard_swish::HardSwish;
pub use leaky_relu::LeakyRelu;
pub use logistic::Logistic;
pub use max_pool2d::MaxPool2d;
pub use mean::Mean;
pub use mul::Mul;
pub use pad::Pad;
pub use rescale::Rescale;
pub use resize_nearest::ResizeNearest;
pub use select::Select;
pub use slice::Slice;
pub use softmax::Softmax;
pub use tanh::Tanh;

pub(crate) use affine::Layer;
pub(crate) use argmax::argmax;
#[cfg(any(test, feature = "std"))]
pub(crate) use avg_pool2d::mean as average;
#[cfg(any(test, feature = "std"))]
pub(crate) use expanded::Expanded;
pub(crate) use image::Image;
#[cfg(any(test, feature = "std"))]
pub(crate) use operands::split;
#[cfg(any(test, feature = "std"))]
pub(crate) use rows::{RowSource, Rows};
pub(crate) use window::Axis;
#[cfg(any(
    test,
    bitsback_isa = "thumb1",
    bitsback_isa = "thumb2",
    bitsback_isa = "armv5te",
    bitsback_isa = "rv32im"
))]
pub(crate) use window::Run;
#[cfg(any(test, feature = "std"))]
pub(crate) use window::geometry;

use crate::features::Features;
use crate::format::{Form, OpFault, Read, Reader, Source, Tensor, UnpackedLayer};

/// Parameters of an operator in numbers, for reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Width of a weight, where there are weights.
    pub bits: Option<u8>,
    /// Weights.
    pub weights: usize,
    /// Bytes of the weights in the weight section.
    pub weight_bytes: usize,
    /// Bytes of the biases.
    pub bias_bytes: usize,
    /// Bytes of the multipliers; those of a whole tensor are in the graph and cost 0 here.
    pub requantization_bytes: usize,
    /// Bytes of a mask.
    pub mask_bytes: usize,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
}

/// Where an operator's record has its operands: `operators!` writes it.
pub(crate) trait Operands {
    /// What it reads.
    fn inputs(&self) -> &[Source];

    /// What it writes.
    fn output(&self) -> &Tensor;
}

/// What an operator's file provides.
///
/// `previous` is the output of the operator before; `section` the weight section.
pub(crate) trait Operator: Operands {
    /// Whether the output may be the very same range as an input.
    fn in_place(&self) -> bool {
        false
    }

    /// The shape rule and every other check of the record; places in the arena and overlaps have
    /// been checked before.
    fn check(&self, previous: &Tensor, section: &[u8]) -> Result<(), OpFault>;

    /// The features that it needs.
    fn features(&self) -> Features {
        Features::default()
    }

    /// Its parameters in numbers.
    fn parameters(&self, _previous: &Tensor) -> Parameters {
        Parameters::default()
    }

    /// Elementary steps of one inference, saturating.
    fn steps(&self, previous: &Tensor) -> u64 {
        self.parameters(previous).macs
    }

    /// Computes the output; of a checked record it can't fail.
    fn run(&self, previous: &Tensor, section: &[u8], arena: &mut [i8])
    where
        Self: Sized;

    /// What its weights take unpacked, if they are packed or coded.
    fn unpacked(&self, _previous: &Tensor) -> Option<UnpackedLayer> {
        None
    }

    /// Unpacks them, into zeros.
    fn unpack(&self, _previous: &Tensor, _section: &[u8], _to: &mut [u8])
    where
        Self: Sized,
    {
    }

    /// Computes the output with weights that `bytes` begin with, as [`Self::unpack`] left them; or the
    /// output of the pooling behind it, at the beginning of its own.
    fn run_unpacked(&self, run: &Unpacking<'_>, _bytes: &[u8], arena: &mut [i8])
    where
        Self: Sized,
    {
        self.run(run.previous, run.section, arena);
    }

    /// As [`Self::run_unpacked`], with weights that it unpacks into what neither its input nor its output
    /// has of the arena; `None`, and nothing done, where that is too little.
    fn run_in_room(&self, _run: &Unpacking<'_>, _arena: &mut [i8]) -> Option<()>
    where
        Self: Sized,
    {
        None
    }

    /// Whether it can do the maximum pooling of its output itself.
    fn takes_in(&self, _previous: &Tensor, _section: &[u8], _pool: &MaxPool2d) -> bool {
        false
    }
}

/// What a layer runs with whose weights are unpacked, or that does the pooling behind it.
pub(crate) struct Unpacking<'r> {
    /// The output of the operator before.
    pub(crate) previous: &'r Tensor,
    /// The weight section.
    pub(crate) section: &'r [u8],
    /// The pooling that it does itself.
    pub(crate) pool: Option<MaxPool2d>,
}

/// What every operator has: `operators!` writes it.
pub(crate) trait Record: Operator + Read + Clone + Into<Op> {
    /// Which operator.
    const KIND: OpKind;

    /// Proves the record sound: tensors lie in the arena, inputs don't overlap the output, and
    /// whatever its kind asks for.
    fn prove(&self, previous: &Tensor, section: &[u8], arena_len: usize) -> Result<(), OpFault> {
        check_places(self.inputs(), self.output(), self.in_place(), previous, arena_len)?;
        self.check(previous, section)
    }
}

/// Is shown operators, one after the other, each as what it is.
pub(crate) trait Visitor {
    /// Looks at one; `rest` are the records behind it.
    fn visit<R: Record>(&mut self, op: &R, rest: &[u8]);
}

/// A set of all kinds.
pub const ALL_KINDS: u32 = u32::MAX;

macro_rules! operators {
    ($(#[doc = $text:literal] $tag:literal $kind:ident $name:literal reads $inputs:ident),* $(,)?) => {
        /// One operator with its operands and parameters.
        ///
        /// | tag | operator | what it computes |
        /// |---|---|---|
        $(#[doc = concat!(
            "| ", $tag, " | [`", $name, "`](type@", stringify!($kind), ") |", $text, " |",
        )])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Op {
            $(#[doc = concat!($text, ".")]
            $kind($kind)),*
        }

        /// Which operator; the discriminant is its tag in the file.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum OpKind {
            $(#[doc = concat!($text, ".")]
            $kind = $tag),*
        }

        impl OpKind {
            /// All kinds, in the order of their tags.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The name shown to people.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),* }
            }

            /// The kind of this tag.
            pub const fn from_tag(tag: u8) -> Option<Self> {
                match tag { $($tag => Some(Self::$kind),)* _ => None }
            }
        }

        /// What the record of each kind consists of, in the order of their tags.
        pub(crate) const FORMS: &[Form] = &[$(<$kind as Read>::FORM),*];

        impl Op {
            /// Which operator.
            pub fn kind(&self) -> OpKind {
                match self { $(Self::$kind(_) => OpKind::$kind),* }
            }

            /// What it reads.
            pub fn inputs(&self) -> &[Source] {
                match self { $(Self::$kind(op) => op.inputs()),* }
            }

            /// What it reads, to be placed.
            pub fn inputs_mut(&mut self) -> &mut [Source] {
                match self { $(Self::$kind(op) => op.$inputs.as_mut()),* }
            }

            /// What it writes.
            pub fn output(&self) -> &Tensor {
                match self { $(Self::$kind(op) => &op.output),* }
            }

            /// What it writes, to be placed.
            pub fn output_mut(&mut self) -> &mut Tensor {
                match self { $(Self::$kind(op) => &mut op.output),* }
            }

            /// Whether it may write where it reads: the output may be the very same range as an
            /// input.
            pub fn in_place(&self) -> bool {
                match self { $(Self::$kind(op) => op.in_place()),* }
            }

            /// The features of this crate that it needs.
            pub fn features(&self) -> Features {
                match self { $(Self::$kind(op) => op.features()),* }
            }

            /// Parameters in numbers, given the output of the operator before.
            pub fn parameters(&self, previous: &Tensor) -> Parameters {
                match self { $(Self::$kind(op) => op.parameters(previous)),* }
            }

            /// It as what it does.
            #[cfg(any(test, feature = "std"))]
            pub(crate) fn operator(&self) -> &dyn Operator {
                match self { $(Self::$kind(op) => op),* }
            }

            /// Computes its output.
            #[cfg(any(test, feature = "std"))]
            pub(crate) fn run(&self, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
                match self { $(Self::$kind(op) => op.run(previous, section, arena)),* }
            }

            /// Elementary steps of one inference, given the output of the operator before.
            pub fn steps(&self, previous: &Tensor) -> u64 {
                match self { $(Self::$kind(op) => op.steps(previous)),* }
            }
        }

        $(
            impl Record for $kind {
                const KIND: OpKind = OpKind::$kind;
            }

            impl Operands for $kind {
                fn inputs(&self) -> &[Source] {
                    self.$inputs.as_ref()
                }

                fn output(&self) -> &Tensor {
                    &self.output
                }
            }

            impl From<$kind> for Op {
                fn from(op: $kind) -> Self {
                    Self::$kind(op)
                }
            }
        )*

        /// As [`visit`].
        #[inline(always)]
        fn visit_any<const KINDS: u32>(
            bytes: &mut &[u8],
            visitor: &mut impl Visitor,
        ) -> Option<()> {
            match OpKind::from_tag(*bytes.first()?)? {
                $(OpKind::$kind => {
                    if KINDS & OpKind::$kind.bit() == 0 {
                        return None;
                    }
                    visit_one::<$kind>(bytes, visitor)
                })*
            }
        }
    };
}

operators! {
    /// y = W·x + b, of a vector
    0 Dense "dense" reads input,
    /// y = W ⋆ x + b: two-dimensional convolution, with strides, padding and dilation
    1 Conv2d "conv2d" reads input,
    /// the largest value of each window
    2 MaxPool2d "max_pool2d" reads input,
    /// the mean of each window
    3 AvgPool2d "avg_pool2d" reads input,
    /// the values that a mask keeps
    4 Select "select" reads input,
    /// exp(β·x) / Σ exp(β·x) over the fastest dimension
    5 Softmax "softmax" reads input,
    /// where the greatest value is
    6 Argmax "argmax" reads input,
    /// each output channel from one input channel
    7 DepthwiseConv2d "depthwise_conv2d" reads input,
    /// a + b of two tensors, or of one and a value a channel
    8 Add "add" reads inputs,
    /// a · b, alike
    9 Mul "mul" reads inputs,
    /// tensors one behind the other along a dimension
    10 Concat "concat" reads inputs,
    /// values around an image
    11 Pad "pad" reads input,
    /// the mean over rows and columns
    12 Mean "mean" reads input,
    /// to another scale, limited: `QUANTIZE`, `RELU`, `RELU6`
    13 Rescale "rescale" reads input,
    /// x for x ≥ 0, else α·x
    14 LeakyRelu "leaky_relu" reads input,
    /// 1 / (1 + exp(−x))
    15 Logistic "logistic" reads input,
    /// tanh(x)
    16 Tanh "tanh" reads input,
    /// [`Dense`] with entropy-coded weights
    17 CodedDense "coded_dense" reads input,
    /// [`Conv2d`] with entropy-coded weights
    18 CodedConv2d "coded_conv2d" reads input,
    /// [`DepthwiseConv2d`] with entropy-coded weights
    19 CodedDepthwiseConv2d "coded_depthwise_conv2d" reads input,
    /// a convolution and the maximum pooling behind it as one
    20 Conv2dMaxPool2d "conv2d_max_pool2d" reads input,
    /// x · min(max(x + 3, 0), 6) / 6
    21 HardSwish "hard_swish" reads input,
    /// some of the values, at equal distances along each dimension
    22 Slice "slice" reads input,
    /// an image in another size, of the nearest pixels
    23 ResizeNearest "resize_nearest" reads input,
}

impl OpKind {
    /// Its bit in a set of kinds.
    pub const fn bit(self) -> u32 {
        1 << (self as u32)
    }
}

/// Takes the operator that it sees.
struct Taken(Option<Op>);

impl Visitor for Taken {
    fn visit<R: Record>(&mut self, op: &R, _: &[u8]) {
        self.0 = Some(op.clone().into());
    }
}

impl Op {
    /// Decodes one record, and leaves what follows it.
    pub(crate) fn take<const KINDS: u32>(bytes: &mut &[u8]) -> Option<Self> {
        let mut taken = Taken(None);
        visit::<KINDS>(bytes, &mut taken)?;
        taken.0
    }
}

/// Decodes one record, shows it, and leaves what follows it. Kinds outside of `KINDS` are refused and
/// leave no code behind.
pub(crate) fn visit<const KINDS: u32>(bytes: &mut &[u8], visitor: &mut impl Visitor) -> Option<()> {
    // What each of many kinds needs would be computed before a loop, and kept on the stack: some 300 bytes.
    match const { KINDS.count_ones() } {
        ..=8 => visit_any::<KINDS>(bytes, visitor),
        _ => visit_apart::<KINDS>(bytes, visitor),
    }
}

/// As [`visit`], apart from the loop that it is called in.
#[inline(never)]
fn visit_apart<const KINDS: u32>(bytes: &mut &[u8], visitor: &mut impl Visitor) -> Option<()> {
    visit_any::<KINDS>(bytes, visitor)
}

/// As [`visit`], of the kind that the tag says.
#[inline(always)]
fn visit_one<R: Record>(bytes: &mut &[u8], visitor: &mut impl Visitor) -> Option<()> {
    let (_, record) = bytes.split_first()?;
    let mut reader = Reader::new(record);
    let op: R = reader.take();
    if !reader.is_sound() {
        return None;
    }
    *bytes = reader.rest();
    visitor.visit(&op, bytes);
    Some(())
}

/// Places of operands, as [`Record::prove`] asks for them.
#[inline(never)] // the same for all kinds
fn check_places(
    inputs: &[Source],
    output: &Tensor,
    in_place: bool,
    previous: &Tensor,
    arena_len: usize,
) -> Result<(), OpFault> {
    check_place(output, arena_len)?;
    for source in inputs {
        let input = source.resolve(previous);
        check_place(input, arena_len)?;
        let (start, end) = (input.offset as usize, input.end());
        let apart = end <= output.offset as usize || output.end() <= start;
        let same = start == output.offset as usize && end == output.end();
        if !(apart || in_place && same) {
            return Err(OpFault::Overlap);
        }
    }
    Ok(())
}

/// A tensor has values, and they lie within the arena.
pub(crate) fn check_place(tensor: &Tensor, arena_len: usize) -> Result<(), OpFault> {
    let sound = !tensor.shape.dims().is_empty() && !tensor.is_empty() && tensor.end() <= arena_len;
    if sound { Ok(()) } else { Err(OpFault::Tensor) }
}
