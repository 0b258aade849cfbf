//! The first example: a compressed model tells handwritten digits apart on a microcontroller.
//!
//!     cargo run --release -p classify
//!
//! The model is part of the program, its arena is sized at compile time, and there is no heap,
//! no float and no way to fail but those that `?` shows.
#![no_std]
#![no_main]

mod digits;

use bitsback_runtime::{Interpreter, Model, arena_len, include_model, op_kinds};
use board::println;

/// The file that `bitsback compress` wrote, in flash.
static MODEL: &[u8] = include_model!("../../../tests/golden/digits/model.bbk");

/// The operators that this model needs: the linker leaves all others out.
const KINDS: u32 = op_kinds(MODEL);

board::main!(run);

fn run() -> Result<(), board::Failure> {
    // Every byte of the model is checked here; nothing can go wrong with it afterwards.
    let model = Model::<KINDS>::parse_only(MODEL)?;
    let mut arena = [0; arena_len(MODEL)];
    println!("{} bytes of model, {} of arena", MODEL.len(), arena.len());

    let mut interpreter = Interpreter::new(&model, &mut arena)?;
    for (number, pixels) in digits::DIGITS.iter().enumerate() {
        interpreter.set_input_bytes(pixels)?;
        interpreter.invoke();
        let class = interpreter.class();
        // Classes that are mere numbers take no bytes for names.
        match model.class_name(class) {
            Some(name) => println!("digit {number}: {name}, scores {:?}", interpreter.output()),
            None => println!("digit {number}: {class}, scores {:?}", interpreter.output()),
        }
    }
    Ok(())
}
