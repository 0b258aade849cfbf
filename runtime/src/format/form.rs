//! What values take in a file: for a `const` context, which can't call [`Read`](super::Read), to pass over
//! them.

use super::reader::{Read, Reader};

/// What a value consists of.
pub(crate) enum Form {
    /// So many bytes.
    Bytes(usize),
    /// A number of seven bits a byte.
    Varint,
    /// These, one after the other.
    Fields(&'static [Self]),
    /// So many of one form.
    Each(usize, &'static Self),
    /// A number, and as many of this form.
    Many(&'static Self),
    /// A varint that says which of these follows.
    Cases(&'static [Self]),
}

impl Form {
    /// Nothing.
    pub(crate) const NOTHING: Self = Self::Bytes(0);

    /// Of what `field` gives: the type of a record's field, which a macro doesn't see.
    pub(crate) const fn of<R, T: Read>(_field: fn(&R) -> &T) -> Self {
        T::FORM
    }

    /// Passes over a value.
    pub(crate) const fn skip(&self, reader: &mut Reader<'_>) {
        let (count, part) = match self {
            Self::Bytes(len) => {
                reader.bytes(*len);
                return;
            }
            Self::Varint => {
                reader.varint(u32::BITS);
                return;
            }
            Self::Fields(parts) => {
                let mut rest = *parts;
                while let Some((part, behind)) = rest.split_first() {
                    part.skip(reader);
                    rest = behind;
                }
                return;
            }
            Self::Cases(parts) => {
                let case = reader.case(parts.len() as u32) as usize;
                match parts.split_at_checked(case) {
                    Some((_, [part, ..])) => (1, part),
                    _ => (1, &Self::NOTHING),
                }
            }
            Self::Each(count, part) => (*count, *part),
            Self::Many(part) => (reader.varint(u32::BITS) as usize, *part),
        };
        let mut left = count;
        while left > 0 && reader.is_sound() {
            part.skip(reader);
            left -= 1;
        }
    }
}
