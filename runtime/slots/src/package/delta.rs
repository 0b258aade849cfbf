//! The operations of a delta: copies out of the base, and bytes of their own.
//!
//! Each begins with a number: its length, at least 1, times two, plus 1 for a copy. A copy has another number,
//! the place in the base: by how far it is moved against the model, relative to the copy before, zigzag. What
//! stayed in its place beyond a change is then one byte of length and a zero. An insertion has its bytes.
//!
//! Numbers are of 32 bits in groups of seven, the lowest first, with the highest bit on all but the last; the
//! shortest way to write one is the only one.

use core::fmt;

/// Most bytes of a number: 32 bits in groups of seven.
pub const MAX_NUMBER_LEN: usize = 5;

/// Why a payload is no delta of its base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeltaError {
    /// A number is longer than it may be.
    Number,
    /// An operation without length.
    Empty,
    /// An operation leads beyond the model's end.
    TooLong,
    /// A copy reaches outside of the base.
    Outside,
    /// The payload ends before the model does.
    Short,
}

impl fmt::Display for DeltaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "a number is longer than it may be",
            Self::Empty => "an operation has no length",
            Self::TooLong => "an operation leads beyond the model's end",
            Self::Outside => "a copy reaches outside of the base",
            Self::Short => "it ends before the model does",
        })
    }
}

impl core::error::Error for DeltaError {}

/// A number whose bytes come one by one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    value: u32,
    bytes: u8,
}

impl Number {
    /// One of which nothing has come.
    pub(super) const EMPTY: Self = Self { value: 0, bytes: 0 };

    /// Whether nothing has come of it.
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Takes the next byte; the value, when it was the last.
    pub(super) fn take(&mut self, byte: u8) -> Result<Option<u32>, DeltaError> {
        let group = u32::from(byte & 0x7F);
        let shift = u32::from(self.bytes) * 7;
        let is_last = byte & 0x80 == 0;
        // The fifth group has four bits left, and a last group of zero would be another way to write it.
        let is_too_long = shift > 28 || (shift == 28 && (group > 0xF || !is_last));
        if is_too_long || (is_last && group == 0 && shift > 0) {
            return Err(DeltaError::Number);
        }
        self.value |= group << shift;
        self.bytes += 1;
        Ok(is_last.then_some(self.value))
    }
}

/// Writes a number: its bytes, and how many of them there are.
pub const fn emit_number(mut value: u32) -> ([u8; MAX_NUMBER_LEN], usize) {
    let mut bytes = [0; MAX_NUMBER_LEN];
    let mut len = 0;
    while len < MAX_NUMBER_LEN {
        let is_last = value < 0x80;
        bytes[len] = value as u8 & 0x7F | if is_last { 0 } else { 0x80 };
        len += 1;
        if is_last {
            break;
        }
        value >>= 7;
    }
    (bytes, len)
}

/// An operation's first number, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Copy { len: u32 },
    Insert { len: u32 },
}

impl Operation {
    /// An operation that isn't longer than the `room` that the model leaves.
    pub(super) fn read(number: u32, room: u32) -> Result<Self, DeltaError> {
        let len = number >> 1;
        match (len, number & 1) {
            (0, _) => Err(DeltaError::Empty),
            _ if len > room => Err(DeltaError::TooLong),
            (_, 0) => Ok(Self::Insert { len }),
            _ => Ok(Self::Copy { len }),
        }
    }
}

/// How far copies are moved against the model: their place in the base, less that in the model.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shift(i64);

impl Shift {
    /// The place in the base of a copy of `len` bytes to `place` in the model, by its second number.
    pub(super) fn place(
        &mut self,
        number: u32,
        place: u32,
        len: u32,
        base_len: u32,
    ) -> Result<u32, DeltaError> {
        let change = i64::from(number >> 1) ^ -i64::from(number & 1);
        self.0 += change;
        let at = i64::from(place) + self.0;
        let end = at + i64::from(len);
        let is_inside = at >= 0 && end <= i64::from(base_len);
        u32::try_from(at).ok().filter(|_| is_inside).ok_or(DeltaError::Outside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<u32>, DeltaError> {
        let mut number = Number::EMPTY;
        bytes.iter().try_fold(None, |_, &byte| number.take(byte))
    }

    #[test]
    fn numbers_come_back_and_have_one_form() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, 1 << 28, u32::MAX - 1, u32::MAX] {
            let (bytes, len) = emit_number(value);
            assert_eq!(read(&bytes[..len]), Ok(Some(value)), "{value}");
            assert_eq!(read(&bytes[..len - 1]), Ok(None), "{value}");
        }
        let wrong: [&[u8]; 5] = [
            &[0x80, 0],
            &[0xFF, 0x80, 0],
            &[0x80, 0x80, 0x80, 0x80, 0x10],
            &[0x80, 0x80, 0x80, 0x80, 0x80],
            &[0xFF, 0xFF, 0xFF, 0xFF, 0x8F, 1],
        ];
        for bytes in wrong {
            assert_eq!(read(bytes), Err(DeltaError::Number), "{bytes:x?}");
        }
    }

    #[test]
    fn copies_stay_inside_of_the_base() {
        let zigzag = |change: i32| (change << 1 ^ change >> 31) as u32;
        let place = |change, place, len| Shift::default().place(zigzag(change), place, len, 10);
        assert_eq!(place(0, 0, 10), Ok(0));
        assert_eq!(place(-5, 5, 10), Ok(0));
        assert_eq!(place(3, 5, 2), Ok(8));
        for (change, at, len) in
            [(0, 0, 11), (-1, 0, 1), (3, 5, 3), (i32::MAX, 0, 1), (i32::MIN, 9, 1)]
        {
            assert_eq!(place(change, at, len), Err(DeltaError::Outside), "{change} {at} {len}");
        }
    }
}
