//! What the graph says about the model as a whole.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::form::Form;
use super::reader::{Read, Reader, is_utf8, read_fields};
use super::tensor::Tensor;

/// Most channels with a preprocessing of their own: colour and one more.
pub const MAX_PREPROCESS_CHANNELS: usize = 4;
/// Most positions that preprocessing shifts right: with multipliers below 2²³ nothing overflows.
pub const MAX_PREPROCESS_SHIFT: u8 = 22;
/// Bytes of one feature's offset and scale in the weight section.
pub const FEATURE_RECORD_LEN: usize = 8;

/// Names, quantisation of both ends, and preprocessing. What is absent costs one byte.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta<'a> {
    /// The model's name; may be empty.
    pub name: &'a str,
    /// Names of the classes, one a line; empty when they are just numbers.
    pub classes: &'a str,
    /// Names of the operators, one a line, in order; empty when nobody asked.
    pub op_names: &'a str,
    /// The input. It must be written anew before each inference: its place may be reused.
    pub input: Tensor,
    /// Real value of one step of the input.
    pub input_scale: f32,
    /// Real value of one step of the output.
    pub output_scale: f32,
    /// How raw data become inputs.
    pub preprocess: Preprocess,
}

/// [`Meta`] without its texts: what a device needs.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub(crate) input: Tensor,
    pub(crate) input_scale: f32,
    pub(crate) output_scale: f32,
    pub(crate) preprocess: Preprocess,
}

read_fields!(Numbers { input, input_scale, output_scale, preprocess });

impl Numbers {
    /// Reads a `Meta`'s input and passes over the rest.
    pub(crate) fn input_of_meta(reader: &mut Reader<'_>) -> Tensor {
        Self::skip_texts(reader);
        let input = reader.take();
        reader.bytes(2 * size_of::<f32>()); // scales
        match reader.case(3) {
            1 => {
                for _ in 0..reader.varint(u32::BITS) {
                    reader.varint(u32::BITS); // ByteAffine's
                    reader.varint(u32::BITS);
                    reader.byte();
                    if !reader.is_sound() {
                        break;
                    }
                }
            }
            2 => {
                reader.varint(u32::BITS);
            }
            _ => {}
        }
        input
    }

    /// Reads a `Meta`, passing over its texts.
    pub(crate) fn of_meta(reader: &mut Reader<'_>) -> Self {
        Self::skip_texts(reader);
        reader.take()
    }

    /// Passes over what a `Meta` begins with.
    pub(super) const fn skip_texts(reader: &mut Reader<'_>) {
        let mut left = TEXTS;
        while left > 0 {
            reader.text();
            left -= 1;
        }
    }
}

/// Texts of a model: its name, its classes', its operators'.
const TEXTS: usize = 3;

impl<'a> Meta<'a> {
    /// Whether the texts that a graph begins with are UTF-8.
    pub(crate) fn has_sound_texts(graph: &[u8]) -> bool {
        let mut reader = Reader::new(graph);
        (0..TEXTS).all(|_| is_utf8(reader.text()))
    }

    pub(crate) fn read(reader: &mut Reader<'a>) -> Self {
        let [name, classes, op_names]: [_; TEXTS] =
            core::array::from_fn(|_| match core::str::from_utf8(reader.text()) {
                Ok(text) => text,
                Err(_) => {
                    reader.refuse();
                    ""
                }
            });
        let Numbers { input, input_scale, output_scale, preprocess } = reader.take();
        Self { name, classes, op_names, input, input_scale, output_scale, preprocess }
    }

    /// The name of an operator, if the file holds names.
    pub fn op_name(&self, index: usize) -> Option<&'a str> {
        line(self.op_names, index)
    }

    /// The name of a class, if the file holds names.
    pub fn class_name(&self, class: usize) -> Option<&'a str> {
        line(self.classes, class)
    }
}

/// Line number `index` of `text`, counted from 0. (`str::lines` keeps a panic path in the binary.)
fn line(text: &str, index: usize) -> Option<&str> {
    let (mut start, mut number) = (0usize, 0usize);
    for (at, _) in text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n') {
        if number == index {
            return text.get(start..at);
        }
        start = at.saturating_add(1);
        number = number.saturating_add(1);
    }
    if number == index { text.get(start..).filter(|rest| !rest.is_empty()) } else { None }
}

/// How raw data become inputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Preprocess {
    /// By the caller, with the input's scale and zero point.
    #[default]
    None,
    /// Bytes such as pixels, in integers alone, one entry for all channels or one per channel.
    Bytes(Vec<ByteAffine, MAX_PREPROCESS_CHANNELS, u8>),
    /// Real features, such as columns of a table: q = round((x − offset)·scale) + zero point,
    /// limited to int8. Offset and scale are `f32` pairs, [`FEATURE_RECORD_LEN`] bytes a feature.
    Features {
        /// First byte in the weight section.
        offset: u32,
    },
}

impl Read for Preprocess {
    const FORM: Form = Form::Cases(&[
        Form::NOTHING,
        Vec::<ByteAffine, MAX_PREPROCESS_CHANNELS, u8>::FORM,
        u32::FORM,
    ]);

    fn read(reader: &mut Reader<'_>) -> Self {
        match reader.case(3) {
            1 => Self::Bytes(reader.take()),
            2 => Self::Features { offset: reader.take() },
            _ => Self::None,
        }
    }
}

/// Maps a raw byte to an input: q = (raw·mul + add + half) >> shift, limited to int8, where
/// half = 2^(shift − 1), or 0 without a shift; the shift rounds down, so ties go up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteAffine {
    /// Factor.
    pub mul: i32,
    /// Summand, the zero point included.
    pub add: i32,
    /// Positions to the right.
    pub shift: u8,
}

read_fields!(ByteAffine { mul, add, shift });

impl ByteAffine {
    /// The input for a raw byte.
    pub fn apply(self, raw: u8) -> i8 {
        let half = (1i32.wrapping_shl(u32::from(self.shift))) >> 1;
        let sum = i32::from(raw).wrapping_mul(self.mul).wrapping_add(self.add).wrapping_add(half);
        let q = sum.wrapping_shr(u32::from(self.shift));
        q.max(i32::from(i8::MIN)).min(i32::from(i8::MAX)) as i8
    }

    /// Whether no byte makes it overflow.
    pub fn is_sound(self) -> bool {
        let half = (1i64 << self.shift.min(63)) >> 1;
        let at = |raw: i64| raw * i64::from(self.mul) + i64::from(self.add) + half;
        let fits = |sum: i64| i32::try_from(sum).is_ok();
        self.shift <= MAX_PREPROCESS_SHIFT && fits(at(0)) && fits(at(255)) && fits(at(255) - half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_up_and_extremes_are_limited() {
        let half = ByteAffine { mul: 1, add: 0, shift: 1 };
        assert_eq!([0, 1, 2, 3].map(|raw| half.apply(raw)), [0, 1, 1, 2]);
        let negative = ByteAffine { mul: -1, add: 0, shift: 1 };
        assert_eq!([0, 1, 2, 3].map(|raw| negative.apply(raw)), [0, 0, -1, -1]);
        let identity = ByteAffine { mul: 1, add: -128, shift: 0 };
        assert_eq!([0, 128, 255].map(|raw| identity.apply(raw)), [-128, 0, 127]);
        let steep = ByteAffine { mul: 1 << 22, add: 0, shift: 8 };
        assert_eq!(steep.apply(255), 127);
    }

    #[test]
    fn names_are_lines() {
        let meta = Meta { classes: "a\n\nlong name", op_names: "x\n", ..Meta::default() };
        let classes = [0, 1, 2, 3].map(|class| meta.class_name(class));
        assert_eq!(classes, [Some("a"), Some(""), Some("long name"), None]);
        assert_eq!((meta.op_name(0), meta.op_name(1)), (Some("x"), None));
        assert_eq!(Meta::default().class_name(0), None);
    }

    #[test]
    fn overflow_is_unsound() {
        assert!(ByteAffine { mul: 1 << 22, add: 1 << 28, shift: 22 }.is_sound());
        assert!(!ByteAffine { mul: 1 << 23, add: 1 << 28, shift: 22 }.is_sound());
        assert!(!ByteAffine { mul: 1, add: i32::MAX, shift: 0 }.is_sound());
        assert!(!ByteAffine { mul: 1, add: 0, shift: 23 }.is_sound());
    }
}
