//! Files of raw int8 on the host, read through a small buffer.

use core::ffi::CStr;

use board::fs::File;
use board::io::Read;

/// Bytes fetched at a time: a host call costs little, and the smallest board has 16 KiB of RAM.
const BUFFER_BYTES: usize = 128;

/// The length of a file in bytes, or `None` if there is no such file.
pub fn length_of(path: &CStr) -> Option<u64> {
    Some(File::open(path).ok()?.metadata().ok()?.len())
}

/// A file of int8 values in order.
pub struct Stream {
    file: File,
    length: u64,
    buffer: [u8; BUFFER_BYTES],
    /// The part of the buffer that is filled and not yet given out.
    ready: core::ops::Range<usize>,
}

impl Stream {
    pub fn open(path: &CStr) -> Option<Self> {
        let length = length_of(path)?;
        let file = File::open(path).ok()?;
        Some(Self { file, length, buffer: [0; BUFFER_BYTES], ready: 0..0 })
    }

    /// How many vectors of `len` values the file holds; `None` if not a whole number.
    pub fn vectors(&self, len: usize) -> Option<u64> {
        let len = len as u64;
        (len > 0 && self.length.is_multiple_of(len)).then(|| self.length / len)
    }

    /// Fills `values`; `None` when the file ends before.
    pub fn read(&mut self, values: &mut [i8]) -> Option<()> {
        for value in values {
            *value = self.next()?;
        }
        Some(())
    }

    /// The next value.
    pub fn next(&mut self) -> Option<i8> {
        if self.ready.is_empty() {
            let filled = self.file.read(&mut self.buffer).ok()?;
            self.ready = 0..filled.min(BUFFER_BYTES);
        }
        let byte = self.buffer.get(self.ready.next()?)?;
        Some(*byte as i8)
    }
}
