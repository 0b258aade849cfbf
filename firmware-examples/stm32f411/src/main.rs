//! The first example on a real board: a compressed model tells handwritten digits apart, and a debug
//! probe shows the results.
//!
//!     cargo run --release
//!
//! Nothing here but memory.x and the name in .cargo/config.toml knows the chip.
#![no_std]
#![no_main]

#[path = "../../classify/src/digits.rs"]
mod digits;

use bitsback_runtime::{Error, Interpreter, Model, arena_len, include_model, op_kinds};
use defmt_rtt as _;
use panic_probe as _;

/// The file that `bitsback compress` wrote, in flash.
static MODEL: &[u8] = include_model!("../../../tests/golden/digits/model.bbk");

/// The operators that this model needs: the linker leaves all others out.
const KINDS: u32 = op_kinds(MODEL);

#[cortex_m_rt::entry]
fn main() -> ! {
    match classify() {
        Ok(()) => defmt::info!("done"),
        Err(error) => defmt::error!("{}", error),
    }
    loop {
        cortex_m::asm::wfi();
    }
}

fn classify() -> Result<(), Error> {
    let model = Model::<KINDS>::parse_only(MODEL)?;
    let mut arena = [0; arena_len(MODEL)];
    defmt::info!("{} bytes of model, {} of arena", MODEL.len(), arena.len());

    let mut interpreter = Interpreter::new(&model, &mut arena)?;
    for (number, pixels) in digits::DIGITS.iter().enumerate() {
        interpreter.set_input_bytes(pixels)?;
        interpreter.invoke();
        let (class, scores) = (interpreter.class(), interpreter.output());
        defmt::info!("digit {}: {}, scores {}", number, class, scores);
    }
    Ok(())
}
