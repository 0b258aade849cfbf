//! Limits on what small files may become in memory.
//!
//! A few bytes can be made to unpack to gigabytes, and a line can be a million times longer than any
//! example. Memory grows with what is really read, and reading stops where it passes what a file of
//! that size can honestly hold.

use std::cell::Cell;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use super::{DataError, MAX_DATA_BYTES, MAX_EXAMPLE_VALUES};

/// How many times a file's size its contents may have: images of digits compress to a tenth, tables
/// of zeros to a fiftieth, and only what is made for it further.
pub(super) const MAX_EXPANSION: u64 = 64;

/// What may be unpacked whatever the file's size, since a few kilobytes may be many zeros (64 MiB).
pub(super) const MIN_UNPACKED_LIMIT: u64 = 64 << 20;

/// Longest line of a table: sixteen characters for each of the most values of an example.
pub(super) const MAX_LINE_BYTES: u64 = 16 * MAX_EXAMPLE_VALUES as u64;

/// The most bytes that so many bytes may unpack to.
pub(super) fn unpacked_limit(packed: usize) -> u64 {
    (packed as u64).saturating_mul(MAX_EXPANSION).clamp(MIN_UNPACKED_LIMIT, MAX_DATA_BYTES)
}

/// Everything that comes out of a decoder which is fed `packed` bytes; the inner error is the
/// decoder's.
pub(super) fn unpack(
    path: &Path,
    decoder: impl Read,
    packed: usize,
) -> Result<io::Result<Vec<u8>>, DataError> {
    let limit = unpacked_limit(packed);
    let mut out = Vec::new();
    if let Err(error) = decoder.take(limit + 1).read_to_end(&mut out) {
        return Ok(Err(error));
    }
    let found = out.len() as u64;
    if found > limit {
        let what = "decompressed bytes";
        return Err(DataError::TooMany { path: path.to_owned(), what, found, limit });
    }
    Ok(Ok(out))
}

/// Bytes for a reader of lines that keeps a line until it is whole: they end in an error where one is
/// longer than [`MAX_LINE_BYTES`].
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    /// Bytes that were taken since the last line was whole.
    taken: Rc<Cell<u64>>,
}

impl<'a> Lines<'a> {
    /// The bytes, and the count that the caller sets to 0 after each line.
    pub(super) fn new(bytes: &'a [u8]) -> (Self, Rc<Cell<u64>>) {
        let taken = Rc::new(Cell::new(0));
        (Self { bytes, taken: Rc::clone(&taken) }, taken)
    }
}

impl Read for Lines<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.taken.get() > MAX_LINE_BYTES {
            let reason = format!("a line has more than {MAX_LINE_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let count = self.bytes.read(to)?;
        self.taken.set(self.taken.get() + count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unpacks_to_more_than_it_may_is_refused_before_it_is_whole() {
        // Endless zeros: reading them all would never end.
        let error = unpack(Path::new("bomb"), io::repeat(0), 1000).unwrap_err();
        assert!(matches!(error, DataError::TooMany { limit: MIN_UNPACKED_LIMIT, .. }), "{error}");
        let fine = unpack(Path::new("a"), &[1, 2, 3][..], 1).unwrap().unwrap();
        assert_eq!(fine, [1, 2, 3]);
        assert_eq!(unpacked_limit(10 << 20), 640 << 20);
        assert_eq!(unpacked_limit(usize::MAX), MAX_DATA_BYTES);
    }
}
