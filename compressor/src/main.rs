//! The `bitsback` command.

fn main() {}
