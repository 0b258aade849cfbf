//! Counts the instructions of an inference of many models, for `cargo xtask bench cost`.
//!
//! They lie in the board's model slot, an image as long as the host's file `model.bbk`: each file behind
//! a little-endian word with its length, and filled up to whole words. A line is printed for each, with
//! its number and its instructions; exits with 0 only if there is one for all.
#![no_std]
#![no_main]

use core::fmt;

use bitsback_runtime::{Interpreter, Model};
use board::{counter, fs::File};

board::main!(run);

/// Bytes of a word.
const WORD: usize = 4;
/// Inferences that are counted together: as many as a timer's step has instructions on the MPS2
/// boards, so that their mean is exact to one instruction there.
const REPEATED: u64 = 40;
/// Longer inferences are counted once: a timer's step of 31 to 63 instructions is nothing to them.
const MAX_REPEATED_INSTRUCTIONS: u64 = 30_000;

enum Failure {
    /// There is no image, or it doesn't fit the slot.
    Image,
    /// A length says more than there is.
    Length { number: u32 },
    /// A file is no model.
    Model { number: u32 },
    /// The arena doesn't hold a file's tensors.
    Arena { number: u32 },
    /// The timer ran out.
    Timer { number: u32 },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => f.write_str("no image, or one that the slot doesn't hold"),
            Self::Length { number } => write!(f, "file {number}: more than there is"),
            Self::Model { number } => write!(f, "file {number}: no model"),
            Self::Arena { number } => {
                write!(f, "file {number}: needs more than {} bytes of arena", board::ARENA_BYTES)
            }
            Self::Timer { number } => write!(f, "file {number}: the timer ran out"),
        }
    }
}

fn run() -> Result<(), Failure> {
    let file = File::open(c"model.bbk").ok().and_then(|file| file.metadata().ok());
    let bytes = file.ok_or(Failure::Image)?.len();
    let mut image = board::model_slot(bytes).map_err(|_| Failure::Image)?;
    let mut arena = [0; board::ARENA_BYTES];
    let mut number = 0;
    while !image.is_empty() {
        let (file, rest) = split(image).ok_or(Failure::Length { number })?;
        let model: Model<'_> = Model::parse(file).map_err(|_| Failure::Model { number })?;
        let interpreter = Interpreter::new(&model, &mut arena);
        let mut interpreter = interpreter.map_err(|_| Failure::Arena { number })?;
        let instructions = count(&mut interpreter).ok_or(Failure::Timer { number })?;
        board::println!("{{\"number\":{number},\"instructions\":{instructions}}}");
        number += 1;
        image = rest;
    }
    Ok(())
}

/// The first file, and what follows.
fn split(image: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = image.split_first_chunk::<WORD>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (_, behind) = rest.split_at_checked(length.next_multiple_of(WORD))?;
    Some((rest.get(..length)?, behind))
}

/// Instructions of one inference; of short ones the mean of some, which see other inputs where the first
/// writes over its own. Costs hardly depend on them.
fn count(interpreter: &mut Interpreter<'_, '_>) -> Option<u64> {
    fill(interpreter.input_mut());
    let ((), once) = counter::instructions(|| interpreter.invoke());
    if once? > MAX_REPEATED_INSTRUCTIONS {
        return once;
    }
    let ((), all) = counter::instructions(|| {
        for _ in 0..REPEATED {
            interpreter.invoke();
        }
    });
    Some(all? / REPEATED)
}

/// Values that are alike on every core, of every size, and in no order.
fn fill(values: &mut [i8]) {
    let mut state = 0x2545_F491_u32;
    for value in values {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        *value = state as i8;
    }
}
