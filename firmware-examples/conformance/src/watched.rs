//! The sentinel of a model that has one, held against `evidence.u16`.

use bitsback_runtime::sentinel::{Look, Sentinel, Watch};
use bitsback_runtime::{ALL_KINDS, Interpreter};
use board::{counter, println};

use crate::failure::Failure;
use crate::vectors::Stream;

/// What a sentinel is fed with costs.
#[derive(Default)]
pub struct Feeds {
    count: u64,
    instructions: u64,
}

impl Feeds {
    /// Mean instructions of one; 0 of none.
    pub fn mean(&self) -> u64 {
        self.instructions.checked_div(self.count).unwrap_or(0)
    }
}

/// Runs vectors, `most` at the most, and feeds the sentinel of a model that has one; returns how many bets have
/// other evidence than they should.
// A frame of its own: the smallest board has no room for it beside that of the outputs' comparison.
#[inline(never)]
pub fn compare(
    interpreter: &mut Interpreter<'_, '_, ALL_KINDS>,
    most: u64,
    feeds: &mut Feeds,
) -> Result<u64, Failure> {
    let Some(sentinel) = Sentinel::new(interpreter.model())? else { return Ok(0) };
    let mut watch = Watch::new();
    let mut inputs = Stream::open(c"inputs.i8").ok_or(Failure::File("inputs.i8"))?;
    let mut evidence = Stream::open(c"evidence.u16").ok_or(Failure::File("evidence.u16"))?;
    let vectors = inputs.vectors(interpreter.input_mut().len());
    let vectors = vectors.ok_or(Failure::Length("inputs.i8"))?.min(most);
    let mut mismatches = 0;
    for vector in 0..vectors {
        inputs.read(interpreter.input_mut()).ok_or(Failure::File("inputs.i8"))?;
        let look = Look::of(interpreter.input_mut());
        interpreter.invoke();
        // An alarm is in the evidence, too.
        let feed = || watch.feed(&sentinel, look, interpreter.output()).is_some();
        let (_, instructions) = counter::instructions(feed);
        feeds.count += 1;
        feeds.instructions += instructions.unwrap_or(0);
        for (bet, &gathered) in watch.all().iter().enumerate() {
            let mut expected = [0; 2];
            evidence.read(&mut expected).ok_or(Failure::File("evidence.u16"))?;
            let expected = u16::from_le_bytes(expected.map(|byte| byte as u8));
            if gathered != expected {
                if mismatches == 0 {
                    println!(
                        "mismatch: vector {vector}, bet {bet}: evidence {gathered}, not {expected}"
                    );
                }
                mismatches += 1;
            }
        }
    }
    Ok(mismatches)
}
