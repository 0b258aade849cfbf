//! Hello.
#![no_std]
#![no_main]
board::main!(run);
fn run() -> Result<(), &'static str> {
    board::println!("hello from {}", board::CORE);
    let (x, n) = board::counter::instructions(|| {
        core::hint::black_box((0..1000u32).map(core::hint::black_box).sum::<u32>())
    });
    board::println!("{x} {n:?}");
    let (x, n) = board::stack::bytes_used(|| {
        let a = core::hint::black_box([1u8; 300]);
        a[7]
    });
    board::println!("{x} {n:?}");
    Err("bad")
}
