//! From a payload to the model's bytes, in pieces of any size and in bounded RAM.

use super::delta::{DeltaError, Number, Operation, Shift};
use super::error::PackageError;
use super::header::Header;

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the payload that were taken in.
    pub taken: usize,
    /// Bytes of the model that were written, from the buffer's start.
    pub given: usize,
}

/// Why a step failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnpackError<E> {
    /// The payload is wrong.
    Package(PackageError),
    /// The base can't be read.
    Base(E),
}

impl<E> From<DeltaError> for UnpackError<E> {
    fn from(error: DeltaError) -> Self {
        Self::Package(error.into())
    }
}

/// What reads a base that lies in memory, or in flash that is mapped there: see [`Unpacker::step`].
pub fn reader(base: &[u8]) -> impl FnMut(u32, &mut [u8]) -> Result<(), DeltaError> + '_ {
    |at, place| {
        let end = (at as usize).checked_add(place.len());
        let bytes = end.and_then(|end| base.get(at as usize..end)).ok_or(DeltaError::Outside)?;
        place.iter_mut().zip(bytes).for_each(|(place, &byte)| *place = byte);
        Ok(())
    }
}

/// Where in a payload the next byte stands.
#[derive(Clone, Copy, Debug)]
enum State {
    /// In an operation's first number.
    Operation(Number),
    /// In the place of a copy.
    Place { len: u32, number: Number },
    /// Behind a copy that has so many bytes to go.
    Copy { at: u32, left: u32 },
    /// In bytes that are taken as they are.
    Insert { left: u32 },
}

impl State {
    const START: Self = Self::Operation(Number::EMPTY);
}

/// Makes the model's bytes of a payload: some sixty bytes of state, whatever the model's size.
///
/// # Going on after an interruption
///
/// Nothing of the state has to be kept. Whoever knows how many bytes of the model are written for good makes a
/// new one with [`super::Admitted::unpack`] and feeds it the payload from [`Unpacker::next`] on: from the byte
/// that is missing if the package is a full one, from the payload's start if it is a delta. Bytes that are
/// written already are then passed over: neither given again, nor read from the base.
#[derive(Clone, Debug)]
pub struct Unpacker {
    state: State,
    /// Bytes of the model, and how many are made.
    model_len: u32,
    made: u32,
    /// As many were there before: what is made up to here isn't given.
    skip: u32,
    /// Bytes of the payload, and how many were taken.
    payload_len: u32,
    taken: u32,
    base_len: u32,
    shift: Shift,
}

impl Unpacker {
    pub(super) fn new(header: &Header, base_len: u32, written: u32) -> Self {
        let Header { model_len, payload_len, .. } = *header;
        let skip = written.min(model_len);
        let start = Self {
            state: State::START,
            model_len,
            made: 0,
            skip,
            payload_len,
            taken: 0,
            base_len,
            shift: Shift::default(),
        };
        match header.base {
            Some(_) => start,
            // A full payload is the model: one insertion without a head.
            None => {
                let state = State::Insert { left: model_len.saturating_sub(skip) };
                Self { state, made: skip, taken: skip, ..start }
            }
        }
    }

    /// Which byte of the payload comes next.
    pub const fn next(&self) -> u32 {
        self.taken
    }

    /// How many bytes of the model are made; those that were there before count.
    pub fn made(&self) -> u32 {
        self.made.max(self.skip)
    }

    /// Whether the model is whole and the payload at its end.
    ///
    /// # Errors
    /// [`DeltaError::Short`] when the payload is at its end amid an operation, or before the model is whole.
    pub fn is_done(&self) -> Result<bool, PackageError> {
        if self.taken < self.payload_len {
            return Ok(false);
        }
        let is_between = match self.state {
            State::Copy { .. } => return Ok(false),
            State::Operation(number) => number.is_empty(),
            State::Insert { left } => left == 0,
            State::Place { .. } => false,
        };
        match is_between && self.made == self.model_len {
            true => Ok(true),
            false => Err(DeltaError::Short.into()),
        }
    }

    /// Takes bytes of the payload, and writes bytes of the model, as many of both as it can; `read` fills a
    /// slice with bytes of the base from a place on. Both are 0 only when the model is whole, or when it
    /// has no `input` or no room in `output`. Bytes behind the payload's end aren't taken.
    ///
    /// # Errors
    /// What is wrong with the payload, or what `read` says. Bytes that this step would have given are lost then:
    /// go on as after an interruption.
    pub fn step<E>(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        mut read: impl FnMut(u32, &mut [u8]) -> Result<(), E>,
    ) -> Result<Progress, UnpackError<E>> {
        let end = (self.payload_len.saturating_sub(self.taken) as usize).min(input.len());
        let (mut source, mut room) = (input.get(..end).unwrap_or_default(), output);
        let (all, start) = (source.len(), room.len());
        loop {
            match self.state {
                State::Copy { at, left } => {
                    let (passed, place) = self.cut(left, &mut room);
                    if passed == 0 {
                        break;
                    }
                    if !place.is_empty() {
                        read(at, place).map_err(UnpackError::Base)?;
                    }
                    let (at, left) = (at.saturating_add(passed), left.saturating_sub(passed));
                    self.made = self.made.saturating_add(passed);
                    self.state = if left == 0 { State::START } else { State::Copy { at, left } };
                }
                State::Insert { left } => {
                    let most = left.min(source.len().try_into().unwrap_or(u32::MAX));
                    let (passed, place) = self.cut(most, &mut room);
                    let Some((bytes, rest)) = source.split_at_checked(passed as usize) else {
                        break;
                    };
                    if passed == 0 {
                        break;
                    }
                    place.iter_mut().zip(bytes).for_each(|(place, &byte)| *place = byte);
                    source = rest;
                    let left = left.saturating_sub(passed);
                    self.made = self.made.saturating_add(passed);
                    self.state = if left == 0 { State::START } else { State::Insert { left } };
                }
                State::Operation(_) | State::Place { .. } => {
                    let Some((&byte, rest)) = source.split_first() else { break };
                    source = rest;
                    self.state = self.number(byte)?;
                }
            }
        }
        let progress = Progress { taken: all - source.len(), given: start - room.len() };
        self.taken = self.taken.saturating_add(progress.taken as u32);
        Ok(progress)
    }

    /// How many of `most` bytes come next, and where they go: nowhere if they were there before, else all of
    /// them to the place that is cut off `room`.
    fn cut<'o>(&self, most: u32, room: &mut &'o mut [u8]) -> (u32, &'o mut [u8]) {
        let known = self.skip.saturating_sub(self.made);
        if known > 0 {
            return (most.min(known), &mut []);
        }
        let whole = core::mem::take(room);
        let len = (most as usize).min(whole.len());
        match whole.split_at_mut_checked(len) {
            Some((place, rest)) => {
                *room = rest;
                (len as u32, place)
            }
            None => (0, &mut []),
        }
    }

    /// The state after a byte of a number.
    fn number(&mut self, byte: u8) -> Result<State, DeltaError> {
        match self.state {
            State::Operation(mut number) => Ok(match number.take(byte)? {
                None => State::Operation(number),
                Some(value) => {
                    let room = self.model_len.saturating_sub(self.made);
                    match Operation::read(value, room)? {
                        Operation::Insert { len } => State::Insert { left: len },
                        Operation::Copy { len } => State::Place { len, number: Number::EMPTY },
                    }
                }
            }),
            State::Place { len, mut number } => Ok(match number.take(byte)? {
                None => State::Place { len, number },
                Some(value) => {
                    let at = self.shift.place(value, self.made, len, self.base_len)?;
                    State::Copy { at, left: len }
                }
            }),
            other => Ok(other),
        }
    }
}
