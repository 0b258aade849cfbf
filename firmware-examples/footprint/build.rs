//! Links with the board's script, tells the kinds of start-up apart, and checks the model, so that
//! the program needs no code for that.

use std::{env, fs};

use bitsback_runtime::Model;
use bitsback_runtime::sentinel::Sentinel;

fn main() {
    println!("cargo::rustc-link-arg-bins=-Tboard.x");
    println!("cargo::rerun-if-env-changed=BITSBACK_MODEL");
    println!("cargo::rerun-if-env-changed=BITSBACK_WEIGHTS_RAM");
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
    if let Ok(path) = env::var("BITSBACK_MODEL") {
        println!("cargo::rerun-if-changed={path}");
        let sound = match fs::read(&path) {
            Ok(bytes) => check(&bytes),
            Err(error) => Err(error.to_string()),
        };
        if let Err(problem) = sound {
            println!("cargo::error={path}: {problem}");
        }
    }
}

/// The model, and its sentinel if it has one.
fn check(bytes: &[u8]) -> Result<(), String> {
    let model = Model::parse(bytes).map_err(|error| error.to_string())?;
    Sentinel::new(&model).map(|_| ()).map_err(|error| error.to_string())
}
