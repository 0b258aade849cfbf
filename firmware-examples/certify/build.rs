//! Links with the board's script, and rebuilds when another model is to be measured.
fn main() {
    println!("cargo::rustc-link-arg-bins=-Tboard.x");
    println!("cargo::rerun-if-env-changed=BITSBACK_MODEL");
    println!("cargo::rerun-if-env-changed=BITSBACK_WEIGHTS_RAM");
}
