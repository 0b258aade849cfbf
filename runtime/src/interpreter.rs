//! Runs a model: the only loop over operators, on an arena of the caller's.

use core::fmt;

use fixed::types::U0F8;
use micromath::F32Ext;

use crate::decision::Decision;
use crate::format::{FEATURE_RECORD_LEN, Preprocess, Tensor};
use crate::model::Model;
use crate::ops::{self, ALL_KINDS, OpKind, Operator, Parameters, Record, Visitor};
use crate::sentinel::{Look, Looking};
use crate::unpacked::{Place, Stored, Unpacked, Weights};

/// The arena is shorter than the model needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(all(feature = "defmt", target_os = "none"), derive(defmt::Format))]
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
#[cfg_attr(all(feature = "defmt", target_os = "none"), derive(defmt::Format))]
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

/// An operator that runs.
pub struct Running<'s> {
    /// Its number, counted from 0.
    pub index: u16,
    /// The output of the operator before, or the model's input.
    pub previous: &'s Tensor,
    /// The tensor that it writes.
    pub output: &'s Tensor,
    kind: OpKind,
    op: &'s dyn Operator,
}

impl<'s> Running<'s> {
    /// An operator in its place.
    #[cfg(any(test, feature = "std"))]
    pub(crate) fn new(step: &'s crate::model::Step) -> Self {
        let (index, previous, output) = (step.index, &step.previous, step.output());
        Self { index, previous, output, kind: step.kind(), op: step.op.operator() }
    }
}

impl Running<'_> {
    /// Which operator.
    pub fn kind(&self) -> OpKind {
        self.kind
    }

    /// The tensors that it reads.
    pub fn inputs(&self) -> impl Iterator<Item = &Tensor> {
        self.op.inputs().iter().map(|source| source.resolve(self.previous))
    }

    /// Its parameters in numbers.
    pub fn parameters(&self) -> Parameters {
        self.op.parameters(self.previous)
    }
}

impl fmt::Debug for Running<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operator {}: {}", self.index, self.kind.name())
    }
}

/// Watches inference, operator by operator. `()` watches nothing and costs nothing.
pub trait Profiler {
    /// Whether it looks at outputs. If not, a convolution whose weights are coded or unpacked may do the
    /// maximum pooling behind it as well, and leaves nothing in its own output that means something.
    fn sees_outputs(&self) -> bool {
        true
    }

    /// Called before an operator runs.
    fn before(&mut self, running: &Running<'_>) {
        let _ = running;
    }

    /// Called after it ran, with what it wrote.
    fn after(&mut self, running: &Running<'_>, output: &[i8]) {
        let _ = (running, output);
    }
}

impl Profiler for () {
    fn sees_outputs(&self) -> bool {
        false
    }
}

/// Runs the operators that it is shown.
struct Runner<'r, P, W, const KINDS: u32> {
    section: &'r [u8],
    weights: W,
    is_chain: bool,
    may_pool: bool,
    arena: &'r mut [i8],
    previous: Tensor,
    index: u16,
    profiler: &'r mut P,
}

impl<P: Profiler, W: Weights, const KINDS: u32> Visitor for Runner<'_, P, W, KINDS> {
    fn visit<R: Record>(&mut self, op: &R, rest: &[u8]) {
        let (index, previous, output) = (self.index, &self.previous, op.output());
        let running = Running { index, previous, output, kind: R::KIND, op };
        self.profiler.before(&running);
        let Self { section, is_chain, may_pool, .. } = *self;
        let place = Place { index, previous, section, rest, is_chain, may_pool };
        self.weights.run::<R, KINDS>(op, &place, self.arena);
        self.profiler.after(&running, slice(self.arena, output));
        self.previous = output.clone();
        self.index = index.wrapping_add(1);
    }
}

/// A model, the arena that it runs on, and where it has the weights of its layers from: the model's
/// bytes, or memory where they were [unpacked](Unpacked).
#[derive(Debug)]
pub struct Interpreter<'r, 'a, const KINDS: u32 = ALL_KINDS, W = Stored> {
    model: &'r Model<'a, KINDS>,
    arena: &'r mut [i8],
    weights: W,
}

impl<'r, 'a, const KINDS: u32> Interpreter<'r, 'a, KINDS> {
    /// Takes an arena of at least [`Model::arena_len`] values; what they are doesn't matter.
    pub fn new(model: &'r Model<'a, KINDS>, arena: &'r mut [i8]) -> Result<Self, ArenaTooSmall> {
        let arena = enough(model, arena)?;
        Ok(Self { model, arena, weights: Stored::default() })
    }
}

impl<'r, 'a, const KINDS: u32> Interpreter<'r, 'a, KINDS, Unpacked<'r>> {
    /// As [`Interpreter::new`], and unpacks packed and coded weights once, into as much of `weights` as
    /// [`weights_len`](crate::weights_len) says: inference then takes as long as with plain 8-bit
    /// weights, and gives the same bits. Where `weights` is shorter, those layers are unpacked that
    /// cost most for the room they take; the others run as with `new`.
    ///
    /// ```
    /// use bitsback_runtime::{Interpreter, Model, arena_len, include_model, weights_len};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// static MODEL: &[u8] = include_model!(concat!(
    ///     env!("CARGO_MANIFEST_DIR"),
    ///     "/tests/fixtures/v1/convolutional.bbk"
    /// ));
    /// let mut arena = [0; arena_len(MODEL)];
    /// let mut weights = [0; weights_len(MODEL)];
    /// let model = Model::parse(MODEL)?;
    /// let mut interpreter = Interpreter::with_weights(&model, &mut arena, &mut weights)?;
    /// interpreter.input_mut().fill(5);
    /// interpreter.invoke();
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_weights(
        model: &'r Model<'a, KINDS>,
        arena: &'r mut [i8],
        weights: &'r mut [u8],
    ) -> Result<Self, ArenaTooSmall> {
        let arena = enough(model, arena)?;
        Ok(Self { model, arena, weights: Unpacked::new(model, weights) })
    }

    /// The layers that were unpacked.
    pub fn weights(&self) -> &Unpacked<'r> {
        &self.weights
    }

    /// As [`Self::with_weights`], with weights that were unpacked before, from the same model: with those
    /// of another one, outputs mean nothing.
    pub fn with_unpacked(
        model: &'r Model<'a, KINDS>,
        arena: &'r mut [i8],
        weights: Unpacked<'r>,
    ) -> Result<Self, ArenaTooSmall> {
        let arena = enough(model, arena)?;
        Ok(Self { model, arena, weights })
    }
}

impl<'r, 'a, const KINDS: u32, W: Weights> Interpreter<'r, 'a, KINDS, W> {
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
        let Preprocess::Bytes(channels) = self.model.numbers().preprocess else {
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

    /// As [`Self::set_input_bytes`], and looks at the quantised input, for a
    /// [`Watch`](crate::sentinel::Watch): on the way, where one rule serves all channels.
    pub fn set_input_bytes_looking(&mut self, raw: &[u8]) -> Result<Look, InputError> {
        let preprocess = self.model.numbers().preprocess;
        let Preprocess::Bytes(channels) = preprocess else { return Err(InputError::NotBytes) };
        let [affine] = channels.as_slice() else {
            self.set_input_bytes(raw)?;
            return Ok(Look::of(self.input_mut()));
        };
        let input = self.input_of(raw.len())?;
        let mut rest = input.iter_mut().zip(raw).map(|(place, &byte)| {
            *place = affine.apply(byte);
            *place
        });
        let Some(first) = rest.next() else { return Ok(Look::default()) };
        let mut looking = Looking::from(first);
        for x in rest {
            looking.at(x);
        }
        Ok(looking.look())
    }

    /// Sets the input from real features: by the model's offsets and scales, or, where it has
    /// none, by the input's own quantisation. This is the only use of floats; [`Self::invoke`]
    /// has none.
    pub fn set_input_features(&mut self, features: &[f32]) -> Result<(), InputError> {
        let meta = self.model.numbers();
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
        let (mut records, previous) = (self.model.records(), self.model.input().clone());
        let section = self.model.section();
        let (weights, arena) = (self.weights, &mut *self.arena);
        let is_chain = self.model.is_chain();
        let may_pool = is_chain && !profiler.sees_outputs();
        let mut runner = Runner::<_, _, KINDS> {
            section,
            weights,
            is_chain,
            may_pool,
            arena,
            previous,
            index: 0,
            profiler,
        };
        while ops::visit::<KINDS>(&mut records, &mut runner).is_some() {}
    }

    /// The quantised output of the last [`Self::invoke`].
    pub fn output(&self) -> &[i8] {
        slice(self.arena, self.model.output())
    }

    /// The predicted class: what the model's argmax found, or the position of the largest output,
    /// the first of equals.
    pub fn class(&self) -> usize {
        self.model.class_of(self.output())
    }

    /// The class of the last [`Self::invoke`], or that the model isn't sure: its largest output isn't as
    /// far above all others as the margin in its file says. A model without a margin is always sure.
    pub fn decision(&self) -> Decision {
        self.model.decision_of(self.output())
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
        self.model.reals_of(self.output())
    }

    fn input_of(&mut self, given: usize) -> Result<&mut [i8], InputError> {
        let input = self.input_mut();
        let needed = input.len();
        if given == needed { Ok(input) } else { Err(InputError::Length { needed, given }) }
    }
}

/// round((x − offset)·scale) + zero point, half away from zero, limited to int8. Not-a-number
/// becomes the zero point.
pub fn quantize(x: f32, offset: f32, scale: f32, zero_point: f32) -> i8 {
    // Limited first, so that the rounding, which goes through i32, can't overflow.
    let steps = ((x - offset) * scale).clamp(-512.0, 512.0);
    // Casting limits to the range of i8.
    (F32Ext::round(steps) + zero_point) as i8
}

/// As much of the arena as the model needs.
fn enough<'r, const KINDS: u32>(
    model: &Model<'_, KINDS>,
    arena: &'r mut [i8],
) -> Result<&'r mut [i8], ArenaTooSmall> {
    let (needed, given) = (model.arena_len(), arena.len());
    arena.get_mut(..needed).ok_or(ArenaTooSmall { needed, given })
}

fn slice<'s>(arena: &'s [i8], tensor: &Tensor) -> &'s [i8] {
    arena.get(tensor.offset as usize..tensor.end()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
