//! Reads postcard: what serde would generate for each record anew is here once.
//!
//! Files are written by serde from the very structs that are read here (`writer`); a test compares
//! the two ways on bytes of all kinds.

use heapless::{LenType, Vec};

use super::form::Form;

/// Bytes of which values are taken. One that isn't there, or isn't sound, is read as zero, and
/// makes all of them void: see [`Reader::is_sound`].
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    sound: bool,
}

/// What can be read.
pub(crate) trait Read: Sized {
    /// What it takes.
    const FORM: Form;

    /// Takes a value.
    fn read(reader: &mut Reader<'_>) -> Self;
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, sound: true }
    }

    /// What wasn't taken yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all values were sound.
    pub(crate) const fn is_sound(&self) -> bool {
        self.sound
    }

    /// Makes everything void.
    pub(crate) fn refuse(&mut self) {
        self.sound = false;
    }

    /// A value.
    pub(crate) fn take<T: Read>(&mut self) -> T {
        T::read(self)
    }

    /// So many bytes.
    #[inline(never)]
    pub(crate) const fn bytes(&mut self, len: usize) -> &'a [u8] {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                taken
            }
            None => {
                self.sound = false;
                &[]
            }
        }
    }

    #[inline(never)]
    pub(crate) const fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((&byte, rest)) => {
                self.rest = rest;
                byte
            }
            None => {
                self.sound = false;
                0
            }
        }
    }

    /// A number of at most `bits` bits, seven a byte, the least significant first; the last byte's
    /// highest bit isn't set.
    #[inline(never)]
    pub(crate) const fn varint(&mut self, bits: u32) -> u32 {
        let (mut value, mut held) = (0u32, 0u32);
        let mut rest = self.rest;
        while held < bits
            && let Some((&byte, behind)) = rest.split_first()
        {
            rest = behind;
            let byte = byte as u32;
            let room = bits.wrapping_sub(held);
            value |= (byte & 0x7F).wrapping_shl(held);
            if byte < 0x80 {
                if room < 7 && byte.wrapping_shr(room) != 0 {
                    self.sound = false;
                }
                self.rest = rest;
                return value;
            }
            held = held.wrapping_add(7);
        }
        self.rest = rest;
        self.sound = false;
        0
    }

    /// One of `count` cases.
    pub(crate) const fn case(&mut self, count: u32) -> u32 {
        let case = self.varint(u32::BITS);
        if case >= count {
            self.sound = false;
        }
        case
    }

    /// The bytes of a text.
    #[inline(never)]
    pub(crate) const fn text(&mut self) -> &'a [u8] {
        let len = self.varint(u32::BITS) as usize;
        self.bytes(len)
    }
}

/// As `str::from_utf8`, in less code.
pub(super) fn is_utf8(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(&lead) = bytes.next() {
        // Bytes that follow, and the least number that needs so many.
        let (following, least) = match lead {
            ..0x80 => continue,
            0xC0..0xE0 => (1, 0x80),
            0xE0..0xF0 => (2, 0x800),
            0xF0..0xF8 => (3, 0x1_0000),
            _ => return false,
        };
        let mut number = u32::from(lead) & (0x3F >> following);
        for _ in 0..following {
            match bytes.next() {
                Some(&byte) if byte & 0xC0 == 0x80 => {
                    number = number << 6 | u32::from(byte & 0x3F);
                }
                _ => return false,
            }
        }
        if number < least || char::from_u32(number).is_none() {
            return false;
        }
    }
    true
}

impl Read for u8 {
    const FORM: Form = Form::Bytes(1);

    fn read(reader: &mut Reader<'_>) -> Self {
        reader.byte()
    }
}

impl Read for i8 {
    const FORM: Form = Form::Bytes(1);

    fn read(reader: &mut Reader<'_>) -> Self {
        reader.byte() as i8
    }
}

impl Read for u16 {
    const FORM: Form = Form::Varint;

    fn read(reader: &mut Reader<'_>) -> Self {
        reader.varint(Self::BITS) as Self
    }
}

impl Read for u32 {
    const FORM: Form = Form::Varint;

    fn read(reader: &mut Reader<'_>) -> Self {
        reader.varint(Self::BITS)
    }
}

impl Read for i32 {
    const FORM: Form = Form::Varint;

    /// The sign is the lowest bit.
    fn read(reader: &mut Reader<'_>) -> Self {
        let zigzag = reader.varint(Self::BITS);
        (zigzag >> 1) as Self ^ ((zigzag & 1) as Self).wrapping_neg()
    }
}

impl Read for bool {
    const FORM: Form = Form::Bytes(1);

    fn read(reader: &mut Reader<'_>) -> Self {
        let byte = reader.byte();
        if byte > 1 {
            reader.refuse();
        }
        byte == 1
    }
}

impl Read for f32 {
    const FORM: Form = Form::Bytes(4);

    fn read(reader: &mut Reader<'_>) -> Self {
        Self::from_bits(u32::from_le_bytes(core::array::from_fn(|_| reader.byte())))
    }
}

impl<T: Read> Read for Option<T> {
    const FORM: Form = Form::Cases(&[Form::NOTHING, T::FORM]);

    fn read(reader: &mut Reader<'_>) -> Self {
        match reader.byte() {
            0 => None,
            1 => Some(reader.take()),
            _ => {
                reader.refuse();
                None
            }
        }
    }
}

impl<T: Read, const N: usize> Read for [T; N] {
    const FORM: Form = Form::Each(N, &T::FORM);

    fn read(reader: &mut Reader<'_>) -> Self {
        core::array::from_fn(|_| reader.take())
    }
}

impl<T: Read, L: LenType, const N: usize> Read for Vec<T, N, L> {
    const FORM: Form = Form::Many(&T::FORM);

    fn read(reader: &mut Reader<'_>) -> Self {
        let mut values = Self::new();
        for _ in 0..reader.varint(u32::BITS) {
            if values.push(reader.take()).is_err() {
                reader.refuse();
            }
            if !reader.is_sound() {
                break;
            }
        }
        values
    }
}

/// Reads a struct field by field, in this order, which is the file's.
macro_rules! read_fields {
    ($record:ident<$part:ident> { $($field:ident),* $(,)? }) => {
        impl<$part: $crate::format::Read> $crate::format::Read for $record<$part> {
            const FORM: $crate::format::Form = $crate::format::Form::Fields(&[
                $($crate::format::Form::of(|record: &Self| &record.$field)),*
            ]);

            fn read(reader: &mut $crate::format::Reader<'_>) -> Self {
                Self { $($field: reader.take()),* }
            }
        }
    };
    ($record:ident { $($field:ident),* $(,)? }) => {
        impl $crate::format::Read for $record {
            const FORM: $crate::format::Form = $crate::format::Form::Fields(&[
                $($crate::format::Form::of(|record: &Self| &record.$field)),*
            ]);

            fn read(reader: &mut $crate::format::Reader<'_>) -> Self {
                Self { $($field: reader.take()),* }
            }
        }
    };
}
pub(crate) use read_fields;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Affine, Meta, Preprocess, Tensor};
    use crate::ops::{ALL_KINDS, Op, OpKind};
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Small bytes, so that much of it can be read, and some of any size.
    fn record() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![5 => 0u8..4, 2 => 0u8..32, 1 => any::<u8>()];
        prop::collection::vec(byte, 0..80)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn operators_are_read_as_serde_reads_them(tag in 0..OpKind::ALL.len(), record in record()) {
            let mut bytes = std::vec![tag as u8];
            bytes.extend(record);
            let expected = postcard::take_from_bytes::<Op>(&bytes).ok();
            let mut rest = &bytes[..];
            let found = Op::take::<ALL_KINDS>(&mut rest);
            prop_assert_eq!(found.map(|op| (op, rest)), expected);
        }

        #[test]
        fn all_about_a_model_is_read_as_serde_reads_it(bytes in record()) {
            let mut reader = Reader::new(&bytes);
            let found = Meta::read(&mut reader);
            let found = reader.is_sound().then_some((found, reader.rest()));
            // Not-a-number isn't equal to itself.
            let as_text = |value| std::format!("{value:?}");
            let expected = postcard::take_from_bytes::<Meta<'_>>(&bytes).ok();
            prop_assert_eq!(as_text(found), as_text(expected));
        }

        #[test]
        fn texts_are_utf8(bytes in prop::collection::vec(any::<u8>(), 0..5), text: std::string::String) {
            prop_assert_eq!(is_utf8(&bytes), core::str::from_utf8(&bytes).is_ok());
            prop_assert!(is_utf8(text.as_bytes()));
        }
    }

    #[test]
    fn texts_at_the_limits_of_utf8() {
        for (bytes, sound) in [
            (&[0xC1, 0xBF][..], false),
            (&[0xC2, 0x80], true),
            (&[0xE0, 0x9F, 0xBF], false),
            (&[0xED, 0x9F, 0xBF], true),
            (&[0xED, 0xA0, 0x80], false),
            (&[0xF0, 0x8F, 0xBF, 0xBF], false),
            (&[0xF4, 0x8F, 0xBF, 0xBF], true),
            (&[0xF4, 0x90, 0x80, 0x80], false),
            (&[0xF8, 0x80, 0x80, 0x80], false),
            (&[0xC2], false),
            (&[0x80], false),
        ] {
            assert_eq!(is_utf8(bytes), sound, "{bytes:x?}");
            assert_eq!(core::str::from_utf8(bytes).is_ok(), sound);
        }
    }

    #[test]
    fn numbers_end_in_time() {
        let number = |bytes: &[u8], bits| {
            let mut reader = Reader::new(bytes);
            let value = reader.varint(bits);
            reader.is_sound().then_some(value)
        };
        assert_eq!(number(&[0xFF, 0xFF, 0x03], 16), Some(0xFFFF));
        assert_eq!(number(&[0xFF, 0xFF, 0x04], 16), None);
        assert_eq!(number(&[0x80, 0x80, 0x80, 0], 16), None);
        assert_eq!(number(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F], 32), Some(u32::MAX));
        assert_eq!(number(&[0xFF, 0xFF, 0xFF, 0xFF, 0x10], 32), None);
        assert_eq!(number(&[0x80], 32), None);
    }

    #[test]
    fn parts_of_records() {
        let mut reader = Reader::new(&[]);
        assert_eq!(reader.take::<Tensor>(), Tensor::default());
        assert!(!reader.is_sound());
        let mut reader = Reader::new(&[0, 8, 2]);
        let _: Affine = reader.take();
        assert!(!reader.is_sound());
        assert_eq!(Reader::new(&[0]).take::<Preprocess>(), Preprocess::None);
    }
}
