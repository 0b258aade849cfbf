//! Tells the crate which kernels its target can run: `cfg(bitsback_isa = "...")`.
//!
//! Stable compilers show no `target_feature` for Arm's DSP and vector (MVE) extensions, so that
//! they are told from names: every Cortex-M4 and M7 has the first; a core of the target
//! thumbv8m.main has what the core that `target-cpu` names has.

use std::env;

/// Cores of thumbv8m.main with the DSP extension, as `target-cpu` knows them.
const DSP_CORES: [&str; 2] = ["cortex-m33", "cortex-m35p"];
/// Cores with MVE.
const MVE_CORES: [&str; 3] = ["cortex-m52", "cortex-m55", "cortex-m85"];

/// The environment's variable that leaves all kernels out but the portable ones, whatever the target.
const CHOICE: &str = "BITSBACK_ISA";
const PORTABLE: &str = "portable";

fn main() {
    println!(
        "cargo::rustc-check-cfg=cfg(bitsback_isa, values(\"dsp\", \"mve\", \"neon\", \"x86_64\", \
         \"thumb1\", \"thumb2\", \"armv5te\", \"rv32im\", \"portable\"))"
    );
    println!("cargo::rerun-if-env-changed={CHOICE}");
    println!("cargo::rerun-if-changed=build.rs");
    let target = env::var("TARGET").unwrap_or_default();
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    // `-Ctarget-cpu=NAME`, or `-C` and `target-cpu=NAME`; the last one counts.
    let cpu =
        flags.rsplit('\x1f').find_map(|flag| flag.split_once("target-cpu=")).map(|(_, cpu)| cpu);
    let is_one_of = |cores: &[&str]| {
        target.starts_with("thumbv8m.main-") && cpu.is_some_and(|cpu| cores.contains(&cpu))
    };
    let isa = match env::var(CHOICE) {
        Ok(isa) if isa == PORTABLE => PORTABLE,
        Ok(other) => {
            println!("cargo::error={CHOICE} is `{other}`: it can be `{PORTABLE}`, or unset");
            return;
        }
        Err(_) if is_one_of(&MVE_CORES) => "mve",
        Err(_) if target.starts_with("thumbv7em-") || is_one_of(&DSP_CORES) => "dsp",
        Err(_) if target.starts_with("aarch64-") && !target.ends_with("softfloat") => "neon",
        Err(_) if target.starts_with("x86_64-") => "x86_64",
        Err(_) => scalar(&target).unwrap_or(PORTABLE),
    };
    println!("cargo::rustc-cfg=bitsback_isa=\"{isa}\"");
    // Naked functions are assembled once more where only their symbols are looked for, without
    // what `target-cpu` says: they say it themselves.
    let directive = cpu.filter(|_| target.starts_with("thumbv8m.main-")).unwrap_or_default();
    let directive = if directive.is_empty() { String::new() } else { format!(".cpu {directive}") };
    println!("cargo::rustc-env=BITSBACK_CPU={directive}");
}

/// What small cores understand, that multiply one pair of numbers at a time.
fn scalar(target: &str) -> Option<&'static str> {
    let families = [
        ("thumbv6m-", "thumb1"),
        ("thumbv8m.base-", "thumb1"),
        ("thumbv7m-", "thumb2"),
        ("thumbv8m.main-", "thumb2"),
        ("armv5te-", "armv5te"),
        ("riscv32im", "rv32im"),
    ];
    families.iter().find(|(prefix, _)| target.starts_with(prefix)).map(|&(_, isa)| isa)
}
