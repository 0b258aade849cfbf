//! Why bytes are not a model.

use core::fmt;

/// Why [`crate::Model::parse`] refused; every variant says where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(all(feature = "defmt", target_os = "none"), derive(defmt::Format))]
pub enum ParseError {
    /// The file ends within the header.
    TooShort {
        /// Bytes there are.
        len: usize,
    },
    /// The file doesn't start with the magic: it is something else.
    Magic,
    /// Written in a version of the format that this runtime doesn't know (byte 4).
    FormatVersion {
        /// The file's version.
        found: u8,
    },
    /// Needs arithmetic that this runtime doesn't have (byte 5).
    NumericsVersion {
        /// The file's version.
        found: u8,
    },
    /// Byte 7 isn't zero.
    Reserved,
    /// The header has a margin (byte 6), but the model doesn't answer with a score for each of several
    /// classes.
    Margin,
    /// The header's file length (byte 12) isn't the number of bytes given, or is beyond
    /// [`super::MAX_FILE_LEN`].
    FileLength {
        /// As the header says.
        stated: u32,
        /// As given.
        actual: usize,
    },
    /// The checksum differs: the bytes were damaged.
    Crc {
        /// As the header says (byte 8).
        stated: u32,
        /// Of the bytes given.
        computed: u32,
    },
    /// The header's graph length (byte 16) reaches beyond the file.
    GraphLength {
        /// As the header says.
        stated: u32,
    },
    /// The graph can't be decoded.
    Graph {
        /// File offset of the record that can't.
        offset: usize,
    },
    /// The graph holds no operator.
    NoOps,
    /// The graph holds more than [`super::MAX_OPS`] operators.
    TooManyOps,
    /// The header's set of operator kinds (byte 32) isn't the graph's.
    Kinds {
        /// As the header says.
        stated: u32,
        /// In the graph.
        found: u32,
    },
    /// The model uses operator kinds that this program was built without
    /// ([`crate::Model::parse_only`]).
    KindsLeftOut {
        /// The set of those kinds.
        missing: u32,
    },
    /// The header's arena length (byte 20) isn't what the tensors take.
    ArenaLength {
        /// As the header says.
        stated: u32,
        /// What the tensors take.
        needed: usize,
    },
    /// The input is empty, beyond the arena, or not of the header's length (byte 24).
    Input,
    /// The output isn't of the header's length (byte 28).
    Output,
    /// An input or output scale is not a positive finite number.
    Scale,
    /// Preprocessing could overflow, has the wrong number of channels, or lies outside the weight
    /// section.
    Preprocess,
    /// One inference would take more steps than [`crate::Limits`] allow, [`super::MAX_STEPS`] where
    /// the caller states none.
    TooMuchWork {
        /// The operator that crosses the limit, counted from 0.
        index: u16,
        /// Steps up to and with that operator.
        steps: u64,
        /// What is allowed.
        most: u64,
    },
    /// An operator is not sound.
    Op {
        /// Which, counted from 0.
        index: u16,
        /// What is wrong with it.
        fault: OpFault,
    },
}

/// What is wrong with an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(all(feature = "defmt", target_os = "none"), derive(defmt::Format))]
pub enum OpFault {
    /// A tensor has no dimension, a dimension of 0, or reaches beyond the arena.
    Tensor,
    /// Shapes of inputs, outputs and windows don't fit together.
    Shape,
    /// Input and output overlap where the operator can't work in place.
    Overlap,
    /// Zero points must be equal here.
    ZeroPoint,
    /// The weight width is neither 1 to 8 nor 16.
    WeightBits,
    /// The weights' layout isn't for this operator, this width or so many columns.
    Layout,
    /// Weights, biases, multipliers or a mask lie outside the weight section.
    Section,
    /// A bias is shifted by more than [`super::MAX_BIAS_SHIFT`].
    BiasShift,
    /// A multiplier or its shift is out of range.
    Multiplier,
    /// The least value of the activation is above the greatest.
    Clamp,
    /// The sum of products could leave 32 bits.
    Accumulator,
    /// A mask doesn't select as many values as the output has.
    Mask,
    /// The program was built without a feature of this crate that the operator needs: see
    /// [`crate::Features`].
    LeftOut,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooShort { len } => write!(f, "{len} bytes are too short for a .bbk header"),
            Self::Magic => f.write_str("not a .bbk file: it doesn't start with \"BBK\\n\""),
            Self::FormatVersion { found } => {
                write!(f, "byte 4: format version {found}; this runtime reads 1: update it")
            }
            Self::NumericsVersion { found } => {
                write!(f, "byte 5: numerics version {found}; this runtime has 1: update it")
            }
            Self::Reserved => f.write_str("byte 7 must be zero"),
            Self::Margin => f.write_str(
                "byte 6: a margin, but the model has no scores of several classes to compare",
            ),
            Self::FileLength { stated, actual } => write!(
                f,
                "byte 12: the file says it has {stated} bytes, but {actual} were given: \
                 truncated, padded or too long"
            ),
            Self::Crc { stated, computed } => write!(
                f,
                "byte 8: checksum {stated:#010x}, but the bytes give {computed:#010x}: damaged"
            ),
            Self::GraphLength { stated } => {
                write!(f, "byte 16: a graph of {stated} bytes reaches beyond the file")
            }
            Self::Graph { offset } => write!(f, "byte {offset}: the graph can't be decoded"),
            Self::NoOps => f.write_str("the graph has no operator"),
            Self::TooManyOps => write!(f, "the graph has more than {} operators", super::MAX_OPS),
            Self::Kinds { stated, found } => {
                write!(f, "byte 32: operator kinds {stated:#x}, but the graph has {found:#x}")
            }
            Self::KindsLeftOut { missing } => write!(
                f,
                "the model uses operators that this program was built without (set {missing:#x})"
            ),
            Self::ArenaLength { stated, needed } => {
                write!(f, "byte 20: an arena of {stated} bytes, but the tensors take {needed}")
            }
            Self::Input => f.write_str("byte 24: the input's shape, place or length is wrong"),
            Self::Output => f.write_str("byte 28: the output's length is wrong"),
            Self::Scale => f.write_str("scales of input and output must be positive and finite"),
            Self::Preprocess => f.write_str("the preprocessing record is not sound"),
            Self::TooMuchWork { index, steps, most } => write!(
                f,
                "operator {index}: one inference takes {steps} steps so far, and {most} are allowed"
            ),
            Self::Op { index, fault } => write!(f, "operator {index}: {fault}"),
        }
    }
}

impl core::error::Error for ParseError {}

impl fmt::Display for OpFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tensor => "a tensor is empty or reaches beyond the arena",
            Self::Shape => "shapes of inputs, outputs and windows don't fit together",
            Self::Overlap => "input and output overlap",
            Self::ZeroPoint => "zero points of input and output differ",
            Self::WeightBits => "weights must have 1 to 8 bits, or 16",
            Self::Layout => "the weights' layout isn't for this operator, width or size",
            Self::Section => "parameters lie outside the weight section",
            Self::BiasShift => "a bias is shifted too far",
            Self::Multiplier => "a multiplier or its shift is out of range",
            Self::Clamp => "the activation's least value is above its greatest",
            Self::Accumulator => "the sum of products could leave 32 bits",
            Self::Mask => "the mask doesn't select as many values as the output has",
            Self::LeftOut => {
                "this program was built without a feature of bitsback-runtime that it needs: \
                 widths, pairs or per-channel (`bitsback inspect` says which)"
            }
        })
    }
}
