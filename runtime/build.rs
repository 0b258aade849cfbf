//! Tells the crate which kernels its target can run: `cfg(bitsback_isa = "...")`.
//!
//! Stable compilers show no `target_feature` for Arm's DSP and vector (MVE) extensions, so that
//! they are told from names: every Cortex-M4 and M7 has the first; a core of the target
//! thumbv8m.main has what the core that `target-cpu` names has. An M33 may have the DSP extension,
//! but the assembler refuses it in naked functions of that target even when `target-cpu` names it.

use std::env;

/// Cores with MVE.
const MVE_CORES: [&str; 3] = ["cortex-m52", "cortex-m55", "cortex-m85"];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(bitsback_isa, values(\"dsp\", \"mve\"))");
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("TARGET").unwrap_or_default();
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    // `-Ctarget-cpu=NAME`, or `-C` and `target-cpu=NAME`; the last one counts.
    let cpu =
        flags.rsplit('\x1f').find_map(|flag| flag.split_once("target-cpu=")).map(|(_, cpu)| cpu);
    if target.starts_with("thumbv7em-") {
        println!("cargo::rustc-cfg=bitsback_isa=\"dsp\"");
    } else if target.starts_with("thumbv8m.main-")
        && cpu.is_some_and(|cpu| MVE_CORES.contains(&cpu))
    {
        println!("cargo::rustc-cfg=bitsback_isa=\"mve\"");
    }
}
