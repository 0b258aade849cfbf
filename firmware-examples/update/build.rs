//! Links with the board's script, which the `board` crate has written for the target.
fn main() {
    println!("cargo::rustc-link-arg-bins=-Tboard.x");
}
