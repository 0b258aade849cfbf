//! Runs every golden vector of a model and compares every output byte, with no tolerance.
//!
//! One build serves any model: the model lies in the board's model slot, and the vectors are
//! files that the host lends (semihosting): `inputs.i8` and `outputs.i8`, raw int8, vector after
//! vector, beside `model.bbk`, whose length says how much of the slot it fills. One vector is in
//! memory at a time, so their number has no limit.
//!
//! More files may follow in the slot, with zeros between them: the same model in other places of a
//! word. A few vectors are compared with each, on an arena that begins elsewhere, too.
//!
//! What a model with a margin decides is compared with `decisions.u16`: for each vector the class, or
//! 65,535 where it isn't sure. What the bets of a model with a sentinel have gathered after each vector is
//! compared with `evidence.u16`.
//!
//! A few are compared with weights unpacked, too: all of them, or as many as the board has room for, half
//! of that, and none.
//!
//! The last line printed is JSON: vectors, files in the slot, mismatches (differing bytes), the mean
//! instructions of an inference, of a decision and of what a sentinel is fed, bytes of arena and of stack (the deepest of loading and inference), the
//! mean instructions with weights unpacked, and the bytes that these have.
//! Exits with 0 only if every byte was equal.
#![no_std]
#![no_main]

mod failure;
mod vectors;
mod watched;

use core::hint::black_box;

use bitsback_runtime::{Decision, Header, ISA, Interpreter, Model, Weights};
use board::{counter, println, stack};

use failure::Failure;
use vectors::Stream;

/// Vectors that are timed. More would add nothing: the count is the same for each but for the
/// timer's last tick, and 40 ticks of 40 instructions average that out.
const TIMED_VECTORS: u64 = 40;

/// Vectors that are compared with each file but the first, and with each length of unpacked weights.
const PLACED_VECTORS: u64 = 4;

/// Room for unpacked weights; on a small board, beside the arena and the painted stack.
const WEIGHTS_BYTES: usize =
    if board::ARENA_BYTES < 32 * 1024 { 256 } else { board::ARENA_BYTES / 8 };

board::main!(run);

fn run() -> Result<(), Failure> {
    let slot_bytes = vectors::length_of(c"model.bbk").ok_or(Failure::File("model.bbk"))?;
    let mut slot = board::model_slot(slot_bytes)?;
    let mut arena = [0; board::ARENA_BYTES];
    let mut costs = Costs::default();
    let (mut vectors, mut files, mut mismatches, mut arena_bytes) = (0, 0, 0, 0);
    while !slot.is_empty() {
        let (file, rest) = split(slot);
        let most = if files == 0 { u64::MAX } else { PLACED_VECTORS };
        let (parsed, load_stack) = stack::bytes_used(|| Model::parse(file));
        let model = parsed?;
        if files == 0 {
            costs.used(load_stack);
            arena_bytes = model.arena_len();
        }
        // As far behind the arena's beginning as there is room, in turn.
        let room = board::ARENA_BYTES.saturating_sub(model.arena_len());
        let arena = arena.get_mut((files % 4).min(room)..).unwrap_or_default();
        let mut interpreter = Interpreter::new(&model, arena)?;
        let measured = (files == 0).then_some(&mut costs);
        let (compared, differing) = compare(&mut interpreter, most, measured)?;
        if files == 0 {
            vectors = compared;
        }
        if mismatches == 0 && differing > 0 {
            println!("in file {files} of the slot, at {:p}", file.as_ptr());
        }
        mismatches += differing;
        mismatches += watched::compare(&mut interpreter, most, &mut costs.feed)?;
        if files == 0 {
            mismatches += compare_unpacked(&model, arena, &mut costs)?;
        }
        files += 1;
        slot = rest;
    }
    costs.print(vectors, files, mismatches, arena_bytes);
    if mismatches > 0 { Err(Failure::Mismatches(mismatches)) } else { Ok(()) }
}

/// Runs some vectors with weights unpacked into buffers of several lengths; returns how many bytes differ.
fn compare_unpacked(
    model: &Model<'_>,
    arena: &mut [i8],
    costs: &mut Costs,
) -> Result<u64, Failure> {
    let mut weights = [0; WEIGHTS_BYTES];
    let whole = model.weights_len().min(WEIGHTS_BYTES);
    let mut mismatches = 0;
    for len in [whole, whole / 2, 0] {
        let room = weights.get_mut(..len).unwrap_or_default();
        let mut interpreter = Interpreter::with_weights(model, arena, room)?;
        let mut own = Costs::default();
        let (_, differing) = compare(&mut interpreter, PLACED_VECTORS, Some(&mut own))?;
        if mismatches == 0 && differing > 0 {
            println!("with {len} bytes of unpacked weights");
        }
        mismatches += differing;
        if len == whole {
            costs.unpacked = own.mean();
            costs.weights_ram_bytes = len;
        }
    }
    Ok(mismatches)
}

/// The first file, as long as its header says, and what lies behind it and the zeros that follow.
/// Bytes that aren't a file's are one for [`Model::parse`] to refuse.
fn split(slot: &[u8]) -> (&[u8], &[u8]) {
    let len = Header::read(slot).map_or(slot.len(), |header| header.file_len as usize);
    let (file, mut rest) = slot.split_at_checked(len).unwrap_or((slot, &[]));
    while let [0, behind @ ..] = rest {
        rest = behind;
    }
    (file, rest)
}

/// Runs vectors, `most` at the most; returns how many, and how many bytes differ.
fn compare<W: Weights>(
    interpreter: &mut Interpreter<'_, '_, { bitsback_runtime::ALL_KINDS }, W>,
    most: u64,
    mut costs: Option<&mut Costs>,
) -> Result<(u64, u64), Failure> {
    let input_len = interpreter.input_mut().len();
    let output_len = interpreter.output().len();
    let mut inputs = Stream::open(c"inputs.i8").ok_or(Failure::File("inputs.i8"))?;
    let mut outputs = Stream::open(c"outputs.i8").ok_or(Failure::File("outputs.i8"))?;
    let vectors = inputs.vectors(input_len).ok_or(Failure::Length("inputs.i8"))?;
    if outputs.vectors(output_len) != Some(vectors) {
        return Err(Failure::Length("outputs.i8"));
    }

    let mut decisions = match interpreter.model().margin() {
        0 => None,
        _ => Some(Stream::open(c"decisions.u16").ok_or(Failure::File("decisions.u16"))?),
    };
    let vectors = vectors.min(most);
    let mut mismatches = 0;
    for vector in 0..vectors {
        inputs.read(interpreter.input_mut()).ok_or(Failure::File("inputs.i8"))?;
        match &mut costs {
            Some(costs) if vector < TIMED_VECTORS => costs.measure(|| interpreter.invoke()),
            _ => interpreter.invoke(),
        }
        for (place, &got) in interpreter.output().iter().enumerate() {
            let expected = outputs.next().ok_or(Failure::File("outputs.i8"))?;
            if got != expected {
                if mismatches == 0 {
                    println!(
                        "mismatch: vector {vector}, output {place}: expected {expected}, got {got}"
                    );
                }
                mismatches += 1;
            }
        }
        if let Some(decisions) = &mut decisions {
            let mut expected = [0; 2];
            decisions.read(&mut expected).ok_or(Failure::File("decisions.u16"))?;
            let decide = || black_box(interpreter.decision());
            let got = match &mut costs {
                Some(costs) if vector < TIMED_VECTORS => costs.decide(decide),
                _ => decide(),
            };
            if got != decision(expected) {
                println!("mismatch: vector {vector}: {:?}, not {:?}", got, decision(expected));
                mismatches += 1;
            }
        }
    }
    Ok((vectors, mismatches))
}

/// A decision as the file has it, the low byte first.
fn decision(bytes: [i8; 2]) -> Decision {
    match u16::from_le_bytes(bytes.map(|byte| byte as u8)) {
        u16::MAX => Decision::Unsure,
        class => Decision::Class(class.into()),
    }
}

/// What loading and inference cost, the latter over the timed vectors.
#[derive(Default)]
struct Costs {
    timed: u64,
    instructions: u64,
    /// Of decisions, as many as were timed.
    decision_instructions: u64,
    /// Of what a sentinel is fed.
    feed: watched::Feeds,
    stack_bytes: usize,
    /// Of an inference with weights unpacked.
    unpacked: u64,
    weights_ram_bytes: usize,
    /// Whether a timer ran out or the stack went below its paint: then the sums are too small.
    incomplete: bool,
}

impl Costs {
    fn measure(&mut self, inference: impl FnOnce()) {
        let (((), instructions), stack) = stack::bytes_used(|| counter::instructions(inference));
        self.incomplete |= instructions.is_none();
        self.timed += 1;
        self.instructions += instructions.unwrap_or(0);
        self.used(stack);
    }

    fn decide(&mut self, decide: impl FnOnce() -> Decision) -> Decision {
        let (decision, instructions) = counter::instructions(decide);
        self.incomplete |= instructions.is_none();
        self.decision_instructions += instructions.unwrap_or(0);
        decision
    }

    /// So many bytes of stack, or more than were painted.
    fn used(&mut self, stack: Option<usize>) {
        self.incomplete |= stack.is_none();
        self.stack_bytes = self.stack_bytes.max(stack.unwrap_or(0));
    }

    /// Of an inference; 0 if it isn't known.
    fn mean(&self) -> u64 {
        self.mean_of(self.instructions)
    }

    /// A sum over the timed vectors for each of them; 0 if it isn't known.
    fn mean_of(&self, sum: u64) -> u64 {
        let mean = sum.checked_div(self.timed).unwrap_or(0);
        if self.incomplete { 0 } else { mean }
    }

    fn print(&self, vectors: u64, files: usize, mismatches: u64, arena_bytes: usize) {
        let instructions = self.mean();
        let decision = self.mean_of(self.decision_instructions);
        let feed = self.feed.mean();
        let stack_bytes = if self.incomplete { 0 } else { self.stack_bytes };
        let Self { unpacked, weights_ram_bytes, .. } = self;
        println!(
            "{{\"isa\":\"{ISA}\",\"vectors\":{vectors},\"files\":{files},\
             \"mismatches\":{mismatches},\"instructions\":{instructions},\
             \"decision_instructions\":{decision},\"feed_instructions\":{feed},\"arena_bytes\":{arena_bytes},\
             \"stack_bytes\":{stack_bytes},\"unpacked_instructions\":{unpacked},\
             \"weights_ram_bytes\":{weights_ram_bytes}}}"
        );
    }
}
