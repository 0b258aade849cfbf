//! Rebuilds when another set of operators is asked for.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BITSBACK_OP_KINDS");
}
