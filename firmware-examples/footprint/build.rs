//! Links with the board's script, tells the kinds of start-up apart, and rebuilds when another model
//! is to be measured.

use std::env;

fn main() {
    println!("cargo::rustc-link-arg-bins=-Tboard.x");
    println!("cargo::rerun-if-env-changed=BITSBACK_MODEL");
    println!(
        "cargo::rustc-check-cfg=cfg(family, values(\"cortex_m\", \"riscv\", \"arm9\", \"aarch64\"))"
    );
    let target = env::var("TARGET").unwrap_or_default();
    let family = match target.split_at_checked(5) {
        Some(("thumb", _)) => "cortex_m",
        Some(("riscv", _)) => "riscv",
        Some(("aarch", _)) => "aarch64",
        _ => "arm9",
    };
    println!("cargo::rustc-cfg=family=\"{family}\"");
}
