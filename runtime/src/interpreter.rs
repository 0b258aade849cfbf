//! Runs a model: the only loop over operators, on an arena of the caller's.

use core::fmt;

use fixed::types::U0F8;
use micromath::F32Ext;

use crate::format::{FEATURE_RECORD_LEN, Preprocess, Tensor};
use crate::model::{Model, Step};
use crate::ops::{ALL_KINDS, OpKind, argmax};

/// The arena is shorter than the model needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaTooSmall {
    /// Bytes that the model needs; [`crate::arena_len`] gives them at compile time.
    pub needed: usize,
    /// Bytes given.
    pub given: usize,
}

impl fmt::Display for ArenaTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the model needs an arena of {} bytes, not {}", self.needed, self.given)
    }
}

impl core::error::Error for ArenaTooSmall {}

/// Raw data don't fit the model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputError {
    /// There must be one item per input value.
    Length {
        /// Values of the input.
        needed: usize,
        /// Items given.
        given: usize,
    },
    /// The model doesn't say how bytes become inputs: quantise them and use
    /// [`Interpreter::input_mut`].
    NotBytes,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { needed, given } => {
                write!(f, "the model's input has {needed} values, not {given}")
            }
            Self::NotBytes => f.write_str("the model doesn't say how bytes become inputs"),
        }
    }
}

impl core::error::Error for InputError {}

/// Watches inference, operator by operator. `()` watches nothing and costs nothing.
pub trait Profiler {
    /// Called before an operator runs.
    fn before(&mut self, step: &Step) {
        let _ = step;
    }

    /// Called after it ran, with what it wrote.
    fn after(&mut self, step: &Step, output: &[i8]) {
        let _ = (step, output);
    }
}

impl Profiler for () {}

/// A model and the arena that it runs on.
#[derive(Debug)]
pub struct Interpreter<'r, 'a, const KINDS: u32 = ALL_KINDS> {
    model: &'r Model<'a, KINDS>,
    arena: &'r mut [i8],
}

impl<'r, 'a, const KINDS: u32> Interpreter<'r, 'a, KINDS> {
    /// Takes an arena of at least [`Model::arena_len`] values; what they are doesn't matter.
    pub fn new(model: &'r Model<'a, KINDS>, arena: &'r mut [i8]) -> Result<Self, ArenaTooSmall> {
        let (needed, given) = (model.arena_len(), arena.len());
        match arena.get_mut(..needed) {
            Some(arena) => Ok(Self { model, arena }),
            None => Err(ArenaTooSmall { needed, given }),
        }
    }

    /// The model.
    pub fn model(&self) -> &'r Model<'a, KINDS> {
        self.model
    }

    /// The quantised input, to be written before each [`Interpreter::invoke`], which may reuse
    /// its place.
    pub fn input_mut(&mut self) -> &mut [i8] {
        let input = self.model.input();
        self.arena.get_mut(input.offset as usize..input.end()).unwrap_or_default()
    }

    /// Sets the input from raw bytes such as pixels, by the model's integer preprocessing.
    pub fn set_input_bytes(&mut self, raw: &[u8]) -> Result<(), InputError> {
        let Preprocess::Bytes(channels) = self.model.meta().preprocess else {
            return Err(InputError::NotBytes);
        };
        let input = self.input_of(raw.len())?;
        for (channel, affine) in channels.iter().enumerate() {
            let every = channels.len().max(1);
            let places = input.iter_mut().skip(channel).step_by(every);
            for (place, &byte) in places.zip(raw.iter().skip(channel).step_by(every)) {
                *place = affine.apply(byte);
            }
        }
        Ok(())
    }

    /// Sets the input from real features: by the model's offsets and scales, or, where it has
    /// none, by the input's own quantisation. This is the only use of floats; [`Self::invoke`]
    /// has none.
    pub fn set_input_features(&mut self, features: &[f32]) -> Result<(), InputError> {
        let meta = self.model.meta();
        let zero_point = f32::from(meta.input.zero_point);
        let table = match meta.preprocess {
            Preprocess::Features { offset } => {
                self.model.section().get(offset as usize..).unwrap_or_default()
            }
            Preprocess::None | Preprocess::Bytes(_) => &[],
        };
        let (records, _) = table.as_chunks::<FEATURE_RECORD_LEN>();
        let mut records = records.iter();
        let own = 1.0 / meta.input_scale;
        for (place, &x) in self.input_of(features.len())?.iter_mut().zip(features) {
            let (offset, scale) = match records.next() {
                Some(&[o0, o1, o2, o3, s0, s1, s2, s3]) => {
                    (f32::from_le_bytes([o0, o1, o2, o3]), f32::from_le_bytes([s0, s1, s2, s3]))
                }
                None => (0.0, own),
            };
            *place = quantize(x, offset, scale, zero_point);
        }
        Ok(())
    }

    /// Computes the output from the input.
    pub fn invoke(&mut self) {
        self.invoke_with(&mut ());
    }

    /// As [`Self::invoke`], watched.
    pub fn invoke_with(&mut self, profiler: &mut impl Profiler) {
        for step in self.model.ops() {
            profiler.before(&step);
            step.op.run::<KINDS>(&step.previous, self.model.section(), self.arena);
            profiler.after(&step, slice(self.arena, step.output()));
        }
    }

    /// The quantised output of the last [`Self::invoke`].
    pub fn output(&self) -> &[i8] {
        slice(self.arena, self.model.output())
    }

    /// The predicted class: what the model's argmax found, or the position of the largest output,
    /// the first of equals.
    pub fn class(&self) -> usize {
        match (self.model.last_kind(), self.output()) {
            (OpKind::Argmax, &[low, high]) => {
                usize::from(u16::from_le_bytes([low as u8, high as u8]))
            }
            (_, output) => argmax(output),
        }
    }

    /// The probability of a class, if the model ends with a softmax: exact, in 256ths.
    pub fn probability(&self, class: usize) -> Option<U0F8> {
        match self.model.last_kind() {
            OpKind::Softmax => self.output().get(class).map(|&q| U0F8::from_bits((q as u8) ^ 0x80)),
            _ => None,
        }
    }

    /// The output as real numbers: scale · (q − zero point).
    pub fn dequantized_output(&self) -> impl Iterator<Item = f32> {
        let scale = self.model.meta().output_scale;
        let zero_point = i16::from(self.model.output().zero_point);
        self.output().iter().map(move |&q| scale * f32::from(i16::from(q).wrapping_sub(zero_point)))
    }

    fn input_of(&mut self, given: usize) -> Result<&mut [i8], InputError> {
        let input = self.input_mut();
        let needed = input.len();
        if given == needed { Ok(input) } else { Err(InputError::Length { needed, given }) }
    }
}

/// round((x − offset)·scale) + zero point, half away from zero, limited to int8. Not-a-number
/// becomes the least value.
pub fn quantize(x: f32, offset: f32, scale: f32, zero_point: f32) -> i8 {
    // Limited first, so that the rounding, which goes through i32, can't overflow.
    let steps = ((x - offset) * scale).max(-512.0).min(512.0);
    // Casting limits to the range of i8.
    (F32Ext::round(steps) + zero_point) as i8
}

fn slice<'s>(arena: &'s [i8], tensor: &Tensor) -> &'s [i8] {
    arena.get(tensor.offset as usize..tensor.end()).unwrap_or_default()
}
