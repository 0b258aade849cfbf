//! hi
#![no_std]
#![no_main]
board::main!(run);
fn run() -> Result<(), &'static str> {
    Ok(())
}
