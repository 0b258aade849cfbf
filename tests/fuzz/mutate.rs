//! Changing a file by chance, the same on every machine, and making right again what only reveals that
//! it was changed. `cargo xtask fuzz` uses these, too.

use bitsback_runtime::format::{HEADER_LEN, Header};
use bitsback_runtime::writer::{seal, set_margin};
use bitsback_runtime::{Model, ParseError};

/// The most changes that are made to a file.
pub const CHANGES: usize = 6;

/// Xorshift.
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end.max(1)
    }

    /// One change at a place: bits, bytes, more of them, fewer, or a part of another file.
    pub fn change(&mut self, file: &mut Vec<u8>, at: usize, others: &[Vec<u8>]) {
        let at = at.min(file.len().saturating_sub(1));
        match self.below(6) {
            0 => file[at] ^= 1 << self.below(8),
            1 => file[at] = self.below(256) as u8,
            2 => file[at] = [0, 1, 0x7F, 0x80, 0xFF][self.below(5)],
            3 => file.insert(at, self.below(256) as u8),
            4 if file.len() > 1 => drop(file.remove(at)),
            _ => {
                let other = &others[self.below(others.len())];
                let from = self.below(other.len());
                for (to, &byte) in file[at..].iter_mut().zip(&other[from..]).take(16) {
                    *to = byte;
                }
            }
        }
    }
}

/// Makes what a header begins with right, but for the margin, and the file length.
pub fn head(file: &mut [u8]) {
    let len = (file.len() as u32).to_le_bytes();
    if file.len() >= HEADER_LEN {
        file[..6].copy_from_slice(b"BBK\n\x01\x01");
        file[7] = 0;
        file[12..16].copy_from_slice(&len);
    }
}

/// Makes the file length and the checksum right, so that other changes come to light.
pub fn mend(file: &mut [u8]) {
    head(file);
    if file.len() >= HEADER_LEN {
        // The header's redundant numbers, if the graph can be read at all.
        if let Err(ParseError::Kinds { found, .. }) = sealed_parse(file) {
            file[32..36].copy_from_slice(&found.to_le_bytes());
        }
        if let Err(ParseError::ArenaLength { needed, .. }) = sealed_parse(file) {
            file[20..24].copy_from_slice(&(needed as u32).to_le_bytes());
        }
        if let Err(ParseError::Margin) = sealed_parse(file) {
            set_margin(file, 0);
        }
    }
    seal(file);
}

fn sealed_parse(file: &mut [u8]) -> Result<Header, ParseError> {
    seal(file);
    Model::parse(file).map(|model| *model.header())
}
