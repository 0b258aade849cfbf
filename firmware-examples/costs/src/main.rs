//! Counts the instructions of an inference of many models, for `cargo xtask bench cost`.
//!
//! They lie in the board's model slot, an image as long as the host's file `model.bbk`: each file behind
//! a little-endian word with its length, and filled up to whole words. Weights of a file whose word has its
//! uppermost bit set are unpacked before. A line is printed for each, with
//! its number and its instructions; exits with 0 only if there is one for all.
#![no_std]
#![no_main]

use core::fmt;

use bitsback_runtime::{Interpreter, Model, Weights};
use board::{counter, fs::File};

board::main!(run);

/// Bytes of a word.
const WORD: usize = 4;
/// In a file's word: weights are unpacked.
const UNPACKED: u32 = 1 << 31;
/// Room for unpacked weights.
const WEIGHTS_BYTES: usize = board::ARENA_BYTES / 8;
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
    /// The arena doesn't hold a file's tensors, and its weights where they are unpacked.
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

/// Bytes that begin at a word, as arenas do in most programs.
#[repr(align(4))]
struct Words<T, const LEN: usize>([T; LEN]);

fn run() -> Result<(), Failure> {
    let file = File::open(c"model.bbk").ok().and_then(|file| file.metadata().ok());
    let bytes = file.ok_or(Failure::Image)?.len();
    let mut image = board::model_slot(bytes).map_err(|_| Failure::Image)?;
    let (mut arena, mut weights) = (Words([0; board::ARENA_BYTES]), Words([0; WEIGHTS_BYTES]));
    let mut number = 0;
    while !image.is_empty() {
        let (file, is_unpacked, rest) = split(image).ok_or(Failure::Length { number })?;
        let model: Model<'_> = Model::parse(file).map_err(|_| Failure::Model { number })?;
        let too_small = Failure::Arena { number };
        let instructions = if is_unpacked {
            let weights = weights.0.get_mut(..model.weights_len());
            let weights = weights.ok_or(Failure::Arena { number })?;
            let interpreter = Interpreter::with_weights(&model, &mut arena.0, weights);
            count(&mut interpreter.map_err(|_| too_small)?)
        } else {
            let interpreter = Interpreter::new(&model, &mut arena.0);
            count(&mut interpreter.map_err(|_| too_small)?)
        };
        let instructions = instructions.ok_or(Failure::Timer { number })?;
        board::println!("{{\"number\":{number},\"instructions\":{instructions}}}");
        number += 1;
        image = rest;
    }
    Ok(())
}

/// The first file, whether its weights are unpacked, and what follows.
fn split(image: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let (word, rest) = image.split_first_chunk::<WORD>()?;
    let word = u32::from_le_bytes(*word);
    let length = (word & !UNPACKED) as usize;
    let (_, behind) = rest.split_at_checked(length.next_multiple_of(WORD))?;
    Some((rest.get(..length)?, word & UNPACKED != 0, behind))
}

/// Instructions of one inference; of short ones the mean of some, which see other inputs where the first
/// writes over its own. Costs hardly depend on them.
fn count<const KINDS: u32>(
    interpreter: &mut Interpreter<'_, '_, KINDS, impl Weights>,
) -> Option<u64> {
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
