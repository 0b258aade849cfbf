//! A checked reader of FlatBuffers: tables, vectors and scalars of a buffer that nobody vouches for.
//!
//! A table starts with the distance back to its vtable; the vtable holds, for each field, the
//! distance from the table to the field's value, or 0 where the value is the default. Vectors and
//! tables within a table are found by distances from the places that name them. Every look-up here
//! checks that what it reads lies within the buffer, and fails with the byte where it doesn't;
//! nothing is followed that the caller didn't ask for, so that cycles can do no harm, and what is
//! allocated is never larger than the buffer.

use thiserror::Error;

/// A place that leads out of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("byte {at}: {what} lies outside of the file")]
pub struct Damaged {
    /// The byte that was read last.
    pub at: usize,
    /// What should have been there.
    pub what: &'static str,
}

/// `N` bytes at `at`.
fn fixed<const N: usize>(bytes: &[u8], at: usize, what: &'static str) -> Result<[u8; N], Damaged> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(Damaged { at, what })
}

/// Follows the unsigned distance at `at`.
fn follow(bytes: &[u8], at: usize, what: &'static str) -> Result<usize, Damaged> {
    let distance = u32::from_le_bytes(fixed(bytes, at, what)?) as usize;
    let target = at.checked_add(distance).filter(|&target| target < bytes.len());
    target.ok_or(Damaged { at, what })
}

/// A table whose vtable lies within the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
    vtable: usize,
    vtable_len: usize,
}

impl<'a> Table<'a> {
    /// The root table of a buffer.
    ///
    /// # Errors
    /// When it doesn't lie within the buffer.
    pub(super) fn root(bytes: &'a [u8]) -> Result<Self, Damaged> {
        Self::at(bytes, follow(bytes, 0, "the root table")?)
    }

    fn at(bytes: &'a [u8], at: usize) -> Result<Self, Damaged> {
        let back = i64::from(i32::from_le_bytes(fixed(bytes, at, "a table")?));
        let what = "a table's list of fields";
        let vtable = usize::try_from(at as i64 - back).map_err(|_| Damaged { at, what })?;
        let vtable_len = usize::from(u16::from_le_bytes(fixed(bytes, vtable, what)?));
        Ok(Self { bytes, at, vtable, vtable_len })
    }

    /// First byte of the table in the buffer, for messages.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Where a field's value is; `None` stands for the default.
    fn field(&self, index: usize) -> Result<Option<usize>, Damaged> {
        // Behind two half-words: the lengths of the vtable and of the table.
        let slot = 4 + 2 * index;
        if slot + 2 > self.vtable_len {
            return Ok(None);
        }
        let what = "a table's list of fields";
        let distance = u16::from_le_bytes(fixed(self.bytes, self.vtable + slot, what)?);
        Ok((distance != 0).then(|| self.at + usize::from(distance)))
    }

    fn scalar<const N: usize>(&self, index: usize) -> Result<Option<[u8; N]>, Damaged> {
        match self.field(index)? {
            Some(at) => fixed(self.bytes, at, "a field").map(Some),
            None => Ok(None),
        }
    }

    /// Whether the field is there at all.
    ///
    /// # Errors
    /// [`Damaged`], as for every look-up below.
    pub(super) fn has(&self, index: usize) -> Result<bool, Damaged> {
        Ok(self.field(index)?.is_some())
    }

    /// A byte with a sign.
    ///
    /// # Errors
    /// [`Damaged`].
    pub(super) fn i8(&self, index: usize, default: i8) -> Result<i8, Damaged> {
        Ok(self.scalar::<1>(index)?.map_or(default, i8::from_le_bytes))
    }

    /// A 32-bit number.
    ///
    /// # Errors
    /// [`Damaged`].
    pub(super) fn i32(&self, index: usize, default: i32) -> Result<i32, Damaged> {
        Ok(self.scalar(index)?.map_or(default, i32::from_le_bytes))
    }

    /// A 32-bit number without a sign.
    ///
    /// # Errors
    /// [`Damaged`].
    pub(super) fn u32(&self, index: usize, default: u32) -> Result<u32, Damaged> {
        Ok(self.scalar(index)?.map_or(default, u32::from_le_bytes))
    }

    /// A 64-bit number without a sign.
    ///
    /// # Errors
    /// [`Damaged`].
    pub(super) fn u64(&self, index: usize, default: u64) -> Result<u64, Damaged> {
        Ok(self.scalar(index)?.map_or(default, u64::from_le_bytes))
    }

    /// A real number.
    ///
    /// # Errors
    /// [`Damaged`].
    pub(super) fn f32(&self, index: usize, default: f32) -> Result<f32, Damaged> {
        Ok(self.scalar(index)?.map_or(default, f32::from_le_bytes))
    }

    /// A table within this one.
    ///
    /// # Errors
    /// [`Damaged`].
    pub(super) fn table(&self, index: usize) -> Result<Option<Self>, Damaged> {
        let Some(at) = self.field(index)? else { return Ok(None) };
        Self::at(self.bytes, follow(self.bytes, at, "a table")?).map(Some)
    }

    /// The bytes of a vector whose elements take `size` bytes, and where they start.
    fn vector(&self, index: usize, size: usize) -> Result<(usize, &'a [u8]), Damaged> {
        let Some(at) = self.field(index)? else { return Ok((0, &[])) };
        let what = "a vector";
        let start = follow(self.bytes, at, what)?;
        let count = u32::from_le_bytes(fixed(self.bytes, start, what)?) as usize;
        let begin = start + 4;
        let end = count.checked_mul(size).and_then(|len| begin.checked_add(len));
        let range = end.and_then(|end| self.bytes.get(begin..end));
        range.map(|range| (begin, range)).ok_or(Damaged { at: start, what })
    }

    fn numbers<const N: usize, T>(
        &self,
        index: usize,
        read: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, Damaged> {
        let (_, bytes) = self.vector(index, N)?;
        Ok(bytes.as_chunks::<N>().0.iter().map(|&chunk| read(chunk)).collect())
    }

    /// A vector of bytes; empty where there is none.
    ///
    /// # Errors
    /// [`Damaged`].
    pub(super) fn bytes(&self, index: usize) -> Result<&'a [u8], Damaged> {
        Ok(self.vector(index, 1)?.1)
    }

    /// A string; what isn't UTF-8 in it is replaced.
    ///
    /// # Errors
    /// [`Damaged`].
    pub(super) fn text(&self, index: usize) -> Result<String, Damaged> {
        Ok(String::from_utf8_lossy(self.bytes(index)?).into_owned())
    }

    /// A vector of 32-bit numbers.
    ///
    /// # Errors
    /// [`Damaged`].
    pub(super) fn i32s(&self, index: usize) -> Result<Vec<i32>, Damaged> {
        self.numbers(index, i32::from_le_bytes)
    }

    /// A vector of 64-bit numbers.
    ///
    /// # Errors
    /// [`Damaged`].
    pub(super) fn i64s(&self, index: usize) -> Result<Vec<i64>, Damaged> {
        self.numbers(index, i64::from_le_bytes)
    }

    /// A vector of real numbers.
    ///
    /// # Errors
    /// [`Damaged`].
    pub(super) fn f32s(&self, index: usize) -> Result<Vec<f32>, Damaged> {
        self.numbers(index, f32::from_le_bytes)
    }

    /// A vector of tables.
    ///
    /// # Errors
    /// [`Damaged`].
    pub(super) fn tables(&self, index: usize) -> Result<Vec<Self>, Damaged> {
        let (start, bytes) = self.vector(index, 4)?;
        let places = (0..bytes.len() / 4).map(|i| start + 4 * i);
        places.map(|at| Self::at(self.bytes, follow(self.bytes, at, "a table")?)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A table with the fields i32 = 7, (absent), vector of bytes [1, 2, 3].
    fn sample() -> Vec<u8> {
        let mut bytes = vec![16, 0, 0, 0]; // root at 16
        bytes.extend([10u16, 12, 4, 0, 8].iter().flat_map(|x| x.to_le_bytes())); // vtable at 4
        bytes.extend([0, 0]); // to 16
        bytes.extend(12i32.to_le_bytes()); // 16: back to 4
        bytes.extend(7i32.to_le_bytes()); // 20: field 0
        bytes.extend(4u32.to_le_bytes()); // 24: field 2, the vector is 4 further
        bytes.extend(3u32.to_le_bytes()); // 28: its length
        bytes.extend([1, 2, 3]);
        bytes
    }

    #[test]
    fn fields_defaults_and_vectors() {
        let bytes = sample();
        let table = Table::root(&bytes).unwrap();
        assert_eq!((table.position(), table.i32(0, 0)), (16, Ok(7)));
        assert_eq!((table.i32(1, 5), table.has(1), table.has(2)), (Ok(5), Ok(false), Ok(true)));
        assert_eq!(table.bytes(2), Ok(&[1u8, 2, 3][..]));
        assert_eq!(table.i32s(9), Ok(vec![]));
        assert_eq!(table.i8(0, 0), Ok(7));
    }

    #[test]
    fn what_leads_outside_is_named_with_its_place() {
        let mut bytes = sample();
        bytes[28] = 4;
        let table = Table::root(&bytes).unwrap();
        assert_eq!(table.bytes(2), Err(Damaged { at: 28, what: "a vector" }));
        assert_eq!(table.tables(2).unwrap_err().at, 28);
        bytes[24] = 200;
        assert_eq!(Table::root(&bytes).unwrap().bytes(2).unwrap_err().at, 24);
        bytes[0] = 255;
        assert_eq!(Table::root(&bytes).unwrap_err(), Damaged { at: 0, what: "the root table" });
        assert!(Table::root(&[]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..80),
            start in 0u8..80,
        ) {
            if let Some(first) = bytes.first_chunk_mut::<4>() {
                *first = u32::from(start).to_le_bytes();
            }
            if let Ok(table) = Table::root(&bytes) {
                for index in 0..4 {
                    let _ = table.f32(index, 0.0);
                    let _ = table.u64(index, 0);
                    let _ = table.text(index);
                    let _ = table.i64s(index);
                    let _ = table.f32s(index);
                    let _ = table.table(index).map(|inner| inner.map(|inner| inner.u32(0, 0)));
                    let _ = table.tables(index);
                }
            }
        }
    }
}
