//! What a model costs on a core, for `cargo xtask certify` and `cargo xtask bench mcu`.
//!
//! The model is a part of the program, with the operators that it uses and no others: the code is
//! that of a firmware that would be flashed. `BITSBACK_MODEL` is its absolute path at build time.
//! With the feature `slot` one program with every operator measures whatever lies in the board's
//! model slot, whose length it asks the host for (`model.bbk`). With the feature `unpacked` weights are
//! unpacked once, before the first inference, into all the memory that they take, or into as many bytes as
//! `BITSBACK_WEIGHTS_RAM` says at build time.
//!
//! Prints a line of JSON for each layer, and a last one for the whole.
#![no_std]
#![no_main]

mod model;

use bitsback_runtime::{Interpreter, Model, Profiler, Running, Weights};
use board::{counter, println, stack};

use model::{ARENA_LEN, KINDS};

/// Inferences that are counted together: as many as a timer's step has instructions on the MPS2
/// boards, so that their mean is exact to one instruction there.
const REPEATED: u64 = 40;
/// Longer inferences are counted once: a timer of 24 bits would run out, and its step of 31 to 63
/// instructions is nothing to them.
const MAX_REPEATED_INSTRUCTIONS: u64 = 4_000_000;

board::main!(run);

fn run() -> Result<(), board::Failure> {
    let bytes = model::bytes()?;
    let ((parsed, load_instructions), load_stack) =
        stack::bytes_used(|| counter::instructions(|| Model::<KINDS>::parse_only(bytes)));
    let model = parsed?;
    let mut arena = [0; ARENA_LEN];
    #[cfg(feature = "unpacked")]
    let mut weights = [0; model::WEIGHTS_LEN];
    #[cfg(feature = "unpacked")]
    let (weights_ram_bytes, (made, unpack_instructions)) = (
        model::WEIGHTS_LEN,
        counter::instructions(|| Interpreter::with_weights(&model, &mut arena, &mut weights)),
    );
    #[cfg(not(feature = "unpacked"))]
    let (weights_ram_bytes, (made, unpack_instructions)) =
        (0, (Interpreter::new(&model, &mut arena), Some(0)));
    let mut interpreter = made?;

    fill(&mut interpreter);
    interpreter.invoke_with(&mut Layers::default());
    fill(&mut interpreter);
    let (once, stack) = stack::bytes_used(|| counter::instructions(|| interpreter.invoke()).1);
    let instructions = match once {
        Some(count) if count <= MAX_REPEATED_INSTRUCTIONS => repeated(&mut interpreter),
        long => long,
    };
    println!(
        "{{\"instructions\":{},\"load_instructions\":{},\"unpack_instructions\":{},\
         \"weights_ram_bytes\":{weights_ram_bytes},\"arena_bytes\":{},\"stack_bytes\":{},\
         \"load_stack_bytes\":{}}}",
        Json(instructions),
        Json(load_instructions),
        Json(unpack_instructions),
        model.arena_len(),
        Json(stack.map(|bytes| bytes as u64)),
        Json(load_stack.map(|bytes| bytes as u64)),
    );
    Ok(())
}

/// The mean of some inferences. The input's place may be reused by the first, so that the others
/// see other inputs: costs hardly depend on them.
fn repeated<W: Weights>(interpreter: &mut Interpreter<'_, '_, KINDS, W>) -> Option<u64> {
    let (_, all) = counter::instructions(|| {
        for _ in 0..REPEATED {
            interpreter.invoke();
        }
    });
    Some(all? / REPEATED)
}

/// Inputs that are alike on every core, of every size, and in no order.
fn fill<W: Weights>(interpreter: &mut Interpreter<'_, '_, KINDS, W>) {
    let mut state = 0x2545_F491_u32;
    for value in interpreter.input_mut() {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        *value = state as i8;
    }
}

/// Counts each layer and prints it, between the layers, when nothing is counted.
#[derive(Default)]
struct Layers {
    before: Option<counter::Start>,
}

impl Profiler for Layers {
    fn sees_outputs(&self) -> bool {
        false
    }

    fn before(&mut self, _: &Running<'_>) {
        self.before = Some(counter::Start::now());
    }

    fn after(&mut self, running: &Running<'_>, _: &[i8]) {
        let instructions = self.before.take().and_then(|before| before.instructions());
        println!(
            "{{\"layer\":{},\"op\":\"{}\",\"macs\":{},\"instructions\":{}}}",
            running.index,
            running.kind().name(),
            running.parameters().macs,
            Json(instructions)
        );
    }
}

/// A number, or `null` when it couldn't be measured.
struct Json(Option<u64>);

impl core::fmt::Display for Json {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("null"),
        }
    }
}
