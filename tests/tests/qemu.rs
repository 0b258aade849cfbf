//! Firmware on an emulated Cortex-M4: the committed golden vectors, bit for bit, the newcomer's
//! example against its transcript, and what a failing firmware does.
//!
//! Other cores run in `cargo xtask test --only qemu`. On a machine without QEMU or a bare-metal
//! target these tests say so and pass; in CI (`CI` is set) that is a failure.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

/// What `cargo xtask` exits with when something it needs is not installed.
const EXIT_MISSING: i32 = 3;

/// Runs `cargo xtask ARGUMENTS`; `None` when the machine lacks what it needs.
fn xtask(arguments: &[&str]) -> Option<Output> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(env!("CARGO"))
        .args(["run", "--release", "--quiet", "--package", "xtask", "--"])
        .args(arguments)
        .current_dir(root)
        .output()
        .expect("cargo starts");
    if output.status.code() == Some(EXIT_MISSING) {
        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(std::env::var_os("CI").is_none(), "CI must run this: {reason}");
        println!("not run: {reason}");
        return None;
    }
    Some(output)
}

fn assert_passed(output: &Output) {
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn golden_vectors_match_in_every_byte() {
    let Some(output) = xtask(&["qemu", "--core", "cortex-m4", "--json"]) else { return };
    assert_passed(&output);
    let mut models = 0;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("one object a line");
        assert_eq!(row["core"], "cortex-m4");
        assert_eq!(row["ran"], true, "{row}");
        assert_eq!(row["mismatches"], 0, "{row}");
        assert_eq!(row["places"], 8, "{row}");
        assert!(row["vectors"].as_u64().is_some_and(|vectors| vectors > 0), "{row}");
        assert!(row["instructions"].as_u64().is_some_and(|count| count > 0), "{row}");
        models += 1;
    }
    assert!(models > 0, "no golden model was run");
}

#[test]
fn the_example_prints_its_transcript() {
    let Some(output) = xtask(&["qemu", "--example", "classify"]) else { return };
    assert_passed(&output);
}

#[test]
fn errors_panics_and_faults_are_visible() {
    let Some(output) = xtask(&["qemu", "--self-test", "--core", "cortex-m4"]) else { return };
    assert_passed(&output);
}

#[test]
fn an_unknown_core_is_a_usage_error() {
    let Some(output) = xtask(&["qemu", "--core", "z80"]) else { return };
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("z80") && message.contains("cortex-m4"), "{message}");
}
