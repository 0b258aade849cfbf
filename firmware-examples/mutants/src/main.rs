//! Loads and runs the files of an image, and compares what becomes of each with what the host says.
//!
//! The image lies in the board's model slot, as long as the host's file `model.bbk`: for each file a
//! head of four little-endian words, so many bytes of nothing, and the file. The words: the file's
//! length, those bytes, what must become of it (see `outcome`), and the input's first value. A number
//! is printed before each file, so that the host knows at which one a core stops. Exits with 0 only
//! if all became what they must.
#![no_std]
#![no_main]

mod outcome;

use core::fmt;

use board::fs::File;

board::main!(run);

/// Bytes of a file's head.
const HEAD: usize = 16;

enum Failure {
    /// There is no image, or it doesn't fit the slot.
    Image,
    /// A head says more than there is.
    Head { number: u32 },
    /// The arena doesn't hold a file's tensors.
    Arena { number: u32 },
    /// So many files became something else.
    Differences(u32),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => f.write_str("no image, or one that the slot doesn't hold"),
            Self::Head { number } => write!(f, "file {number}: more than there is"),
            Self::Arena { number } => {
                write!(f, "file {number}: needs more than {} bytes of arena", board::ARENA_BYTES)
            }
            Self::Differences(count) => write!(f, "{count} files became something else"),
        }
    }
}

fn run() -> Result<(), Failure> {
    let file = File::open(c"model.bbk").ok().and_then(|file| file.metadata().ok());
    let bytes = file.ok_or(Failure::Image)?.len();
    let mut image = board::model_slot(bytes).map_err(|_| Failure::Image)?;
    let mut arena = [0; board::ARENA_BYTES];
    let (mut number, mut differences) = (0, 0);
    while !image.is_empty() {
        board::println!("file {number}");
        let (mutant, rest) = split(image).ok_or(Failure::Head { number })?;
        let Mutant { bytes, expected, fill } = mutant;
        let found = outcome::of(bytes, &mut arena, fill).ok_or(Failure::Arena { number })?;
        if found != expected {
            board::println!("differs: {number}: expected {expected:#010x}, got {found:#010x}");
            differences += 1;
        }
        number += 1;
        image = rest;
    }
    board::println!("files: {number}");
    if differences > 0 { Err(Failure::Differences(differences)) } else { Ok(()) }
}

/// A file of the image.
struct Mutant<'a> {
    bytes: &'a [u8],
    expected: u32,
    fill: i8,
}

/// The first file, and what follows.
fn split(image: &[u8]) -> Option<(Mutant<'_>, &[u8])> {
    let (head, rest) = image.split_first_chunk::<HEAD>()?;
    let (words, _) = head.as_chunks::<4>();
    let &[len, gap, expected, fill] = words.first_chunk::<4>()?;
    let [len, gap, expected, fill] = [len, gap, expected, fill].map(u32::from_le_bytes);
    let (_, rest) = rest.split_at_checked(gap as usize)?;
    let (bytes, rest) = rest.split_at_checked(len as usize)?;
    Some((Mutant { bytes, expected, fill: fill as i8 }, rest))
}
