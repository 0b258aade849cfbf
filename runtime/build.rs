//! Tells the crate which kernels its target can run: `cfg(bitsback_isa = "...")`.
//!
//! Stable compilers show no `target_feature` for Arm's DSP extension, so that it is told from the
//! target's name: every Cortex-M4 and M7 has it. An M33 may have it too, but the assembler refuses
//! it in naked functions of that target even when `target-cpu` names such a core.

use std::env;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(bitsback_isa, values(\"dsp\"))");
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("TARGET").unwrap_or_default();
    if target.starts_with("thumbv7em-") {
        println!("cargo::rustc-cfg=bitsback_isa=\"dsp\"");
    }
}
