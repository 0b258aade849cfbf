//! Ends in the way that the host asks for: the test of what `board` promises about exits.
//!
//! `cargo xtask qemu --self-test` writes the way into the file `way` and checks the exit code and
//! the message on every core.
#![no_std]
#![no_main]

use board::fs::File;
use board::io::Read;

board::main!(run);

fn run() -> Result<(), &'static str> {
    let mut way = [0; 1];
    let mut file = File::open(c"way").map_err(|_| "no file `way`")?;
    file.read_exact(&mut way).map_err(|_| "`way` is empty")?;
    match way {
        [b'o'] => board::println!("all is well on {}", board::CORE),
        [b'e'] => return Err("an error as asked for"),
        [b'p'] => read_beyond_the_end(usize::from(way[0])),
        [b'f'] => board::fault(),
        _ => return Err("`way` holds none of o, e, p, f"),
    }
    Ok(())
}

/// Panics: the optimiser doesn't know the index, and the array is shorter.
fn read_beyond_the_end(index: usize) {
    let table = [1_u8, 2, 3];
    board::println!("{}", table[core::hint::black_box(index)]);
}
