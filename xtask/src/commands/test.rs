//! `cargo xtask test`: everything that CI runs, step by step, with times.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::boards::{self, BOARDS, Board};
use crate::commands::{c, cost, fuzz, onnx, qemu, setup};
use crate::error::XtaskError;
use crate::firmware::Program;
use crate::packages::Need;
use crate::{firmware, footprint, no_panic, paths, process, update};

/// Run everything that CI runs, step by step, with times.
///
/// First, what the chosen steps need of the machine is looked for and, where it is missing, installed.
/// The root workspace is always built with the release profile, so that the demo and the tests share
/// one build of most of burn. All steps run, even after one has failed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run this step only (may be repeated).
    #[arg(long, value_enum, value_name = "STEP")]
    only: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Find or install what the other chosen steps need; alone, what all of them do.
    Setup,
    /// `cargo fmt --check`, every workspace.
    Fmt,
    /// Clippy on the root workspace, warnings denied.
    Clippy,
    /// Build and test the root workspace, burn's former backend included.
    Test,
    /// The runtime's unit tests, kernels of x86-64 among them, under AddressSanitizer.
    Asan,
    /// The runtime's portable kernels, as such: tests and golden vectors on this host, and on a board.
    Portable,
    /// Build the documentation, warnings denied.
    Doc,
    /// Build every firmware for every core, and lint it; the project for a real board, with its bytes.
    Firmware,
    /// Link firmware that can't be linked with a path to a panic.
    NoPanic,
    /// The library for C on every core; the example by gcc, linked without a path to a panic, run.
    C,
    /// Models read from ONNX and written to it, by ONNX Runtime.
    Onnx,
    /// Golden vectors and examples on every emulated core.
    Qemu,
    /// Models changed by chance, on an emulated core of each kind and on this host.
    Fuzz,
    /// Predicted instructions beside counted ones, of some layers on every core.
    Cost,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Test => "test",
            Self::Asan => "asan",
            Self::Portable => "portable",
            Self::Doc => "doc",
            Self::Firmware => "firmware",
            Self::NoPanic => "no-panic",
            Self::C => "c",
            Self::Onnx => "onnx",
            Self::Qemu => "qemu",
            Self::Fuzz => "fuzz",
            Self::Cost => "cost",
        }
    }

    /// What it needs of the machine beside a compiler for the host.
    fn needs(self) -> &'static [Need] {
        match self {
            Self::Setup | Self::Fmt | Self::Clippy => &[],
            Self::Asan | Self::Doc | Self::Onnx => &[],
            Self::Firmware | Self::NoPanic => &[Need::Targets],
            Self::Test | Self::Portable | Self::Qemu | Self::Fuzz | Self::Cost => {
                &[Need::Targets, Need::Emulators]
            }
            Self::C => &[Need::Targets, Need::Emulators, Need::CCompiler],
        }
    }

    fn run(self, root: &Path, needs: &[Need]) -> Result<(), XtaskError> {
        match self {
            Self::Setup => setup::ensure(needs),
            Self::Fmt => {
                cargo(&["fmt", "--all", "--check"], root)?;
                cargo(&["fmt", "--all", "--check"], &root.join("firmware-examples"))?;
                cargo(&["fmt", "--all", "--check"], &root.join("firmware-examples/peers"))?;
                cargo(&["fmt", "--all", "--check"], &root.join("firmware-examples").join(PROJECT))
            }
            Self::Clippy => {
                let denied = ["--quiet", "--", "-D", "warnings"];
                let all = ["clippy", "--release", "--workspace", "--all-targets", "--all-features"];
                cargo(&[&all[..], &denied].concat(), root)?;
                // The library for those who bring their network and don't train.
                let lean =
                    ["clippy", "--release", "-p", "bitsback", "--lib", "--no-default-features"];
                cargo(&[&lean[..], &denied].concat(), root)
            }
            Self::Test => {
                // With burn's former backend, which `--device ndarray` chooses, beside the default one.
                let all = ["--workspace", "--features", "bitsback/ndarray"];
                cargo(&[&["test", "--release", "--quiet"], &all[..]].concat(), root)?;
                // With a gate of the program's own.
                let bare = ["-p", "bitsback-slots", "--no-default-features", "--lib"];
                cargo(&[&["build", "--release", "--quiet"], &bare[..]].concat(), root)?;
                let lean =
                    ["-p", "bitsback-runtime", "--no-default-features", "--test", "features"];
                cargo(&[&["test", "--release", "--quiet"], &lean[..]].concat(), root)
            }
            Self::Asan => asan(root),
            Self::Portable => portable(root),
            Self::Doc => doc(root),
            Self::Firmware => firmware(root),
            Self::NoPanic => no_panic::check(root),
            Self::C => c::check(root),
            Self::Onnx => onnx::check(root),
            Self::Qemu => qemu::run_all(root),
            Self::Fuzz => fuzz::check(root),
            Self::Cost => cost::check(),
        }
    }
}

/// The project for a real board, a workspace of its own, and a board with that core.
const PROJECT: &str = "stm32f411";
const PROJECT_CORE: &str = "cortex-m4";
/// Every program of the firmware workspace.
const FIRMWARE: [&str; 5] = ["classify", "conformance", "costs", "exits", "mutants"];

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let (steps, needs) = plan(&args.only);
    let mut results = Vec::new();
    for step in steps {
        println!("== {}", step.name());
        let start = Instant::now();
        let result = step.run(&root, &needs);
        let time = start.elapsed();
        if let Err(error) = &result {
            eprintln!("error: {error}");
            eprintln!("again alone: cargo xtask test --only {}", step.name());
        }
        results.push((step, result.is_ok(), time));
    }
    summarise(&results)
}

/// The steps to run, and what they need of the machine: a setup comes first where they need anything.
fn plan(only: &[Step]) -> (Vec<Step>, Vec<Need>) {
    let all = Step::value_variants();
    let others: Vec<Step> = only.iter().copied().filter(|&step| step != Step::Setup).collect();
    let needing = if others.is_empty() { all } else { others.as_slice() };
    let mut needs: Vec<Need> =
        needing.iter().flat_map(|step| step.needs().iter().copied()).collect();
    needs.sort_unstable();
    needs.dedup();
    let steps = match only {
        [] => all.to_vec(),
        _ if others.is_empty() => vec![Step::Setup],
        _ if needs.is_empty() => others,
        _ => [&[Step::Setup], others.as_slice()].concat(),
    };
    (steps, needs)
}

fn summarise(results: &[(Step, bool, Duration)]) -> Result<(), XtaskError> {
    println!("== summary");
    for (step, passed, time) in results {
        let verdict = if *passed { "ok" } else { "FAILED" };
        println!("{:<10} {:<7} {:>7.1} s", step.name(), verdict, time.as_secs_f64());
    }
    let failed: Vec<&str> =
        results.iter().filter(|(_, passed, _)| !passed).map(|(step, ..)| step.name()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(XtaskError::Steps { steps: failed.join(", ") })
}

/// The host whose kernels AddressSanitizer watches: its compiler ships the library for that.
const SANITIZED_HOST: &str = "x86_64-unknown-linux-gnu";

/// In a target folder of its own: what build scripts find out of a compiler that is told to take
/// unstable options must not reach the other steps' dependencies.
fn asan(root: &Path) -> Result<(), XtaskError> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        println!("not run: this host is no {SANITIZED_HOST}");
        return Ok(());
    }
    let mut command = Command::new("cargo");
    command
        .args(["test", "--release", "--quiet", "--target", SANITIZED_HOST])
        .args(["-p", "bitsback-runtime", "--lib"])
        .env("CARGO_TARGET_DIR", paths::target(root).join("asan"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .current_dir(root);
    process::show_and_check(&mut command)
}

/// In a target folder of its own, so that what depends on the runtime isn't built anew.
fn portable(root: &Path) -> Result<(), XtaskError> {
    let mut command = Command::new("cargo");
    command
        .args(["test", "--release", "--quiet", "-p", "bitsback-runtime", "--lib", "--tests"])
        .env("CARGO_TARGET_DIR", paths::target(root).join("portable"))
        .env(firmware::PORTABLE.0, firmware::PORTABLE.1)
        .current_dir(root);
    process::show_and_check(&mut command)?;
    qemu::run_portable(root)
}

fn doc(root: &Path) -> Result<(), XtaskError> {
    let mut command = Command::new("cargo");
    command
        .args(["doc", "--release", "--workspace", "--all-features", "--no-deps", "--quiet"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .current_dir(root);
    process::show_and_check(&mut command)
}

/// Each target is built once; boards that share it share the program.
fn firmware(root: &Path) -> Result<(), XtaskError> {
    for board in BOARDS {
        for package in FIRMWARE {
            println!("{package} for {}", board.title);
            firmware::build(root, board, package)?;
        }
    }
    let elf = project(root)?;
    let (flash, ram) = footprint::sizes(&elf)?;
    println!("{PROJECT}: {flash} bytes of flash, {ram} of RAM without the stack");
    // The sources are the same for all; one target a family of start-up code is enough.
    for board in select_each_family() {
        let linted = firmware::lint(root, board, None)?;
        println!("clippy for {}: {}", board.target, if linted { "ok" } else { "not installed" });
    }
    // It is for some boards alone, and each has code of its own; the step `qemu` builds it.
    for board in update::boards() {
        firmware::lint(root, board, Some(update::FIRMWARE))?;
    }
    Ok(())
}

/// Links the project for a real board.
fn project(root: &Path) -> Result<PathBuf, XtaskError> {
    let board = boards::select(PROJECT_CORE)?[0];
    let program = Program { package: PROJECT, workspace: PROJECT, ..Program::default() };
    firmware::build_program(root, board, program)
}

/// The first board of each kind of start-up code.
fn select_each_family() -> Vec<&'static Board> {
    let mut chosen: Vec<&'static Board> = Vec::new();
    for board in BOARDS {
        let kind = std::mem::discriminant(&board.counter);
        if !chosen.iter().any(|other| std::mem::discriminant(&other.counter) == kind) {
            chosen.push(board);
        }
    }
    chosen
}

fn cargo(arguments: &[&str], folder: &Path) -> Result<(), XtaskError> {
    process::show_and_check(Command::new("cargo").args(arguments).current_dir(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setup_installs_what_the_chosen_steps_need() {
        let everything = vec![Need::Targets, Need::Emulators, Need::CCompiler];
        let (steps, needs) = plan(&[]);
        assert_eq!(
            (steps.first(), steps.len()),
            (Some(&Step::Setup), Step::value_variants().len())
        );
        assert_eq!(needs, everything);
        assert_eq!(plan(&[Step::Setup]), (vec![Step::Setup], everything));
        assert_eq!(plan(&[Step::Fmt, Step::Setup]), (vec![Step::Fmt], vec![]));
        let firmware = (vec![Step::Setup, Step::Firmware], vec![Need::Targets]);
        assert_eq!(plan(&[Step::Firmware]), firmware);
        assert_eq!(plan(&[Step::Setup, Step::Firmware]), firmware);
    }

    #[test]
    fn the_summary_names_what_failed() {
        let time = Duration::from_secs(1);
        assert!(summarise(&[(Step::Fmt, true, time)]).is_ok());
        let error = summarise(&[(Step::Fmt, true, time), (Step::Doc, false, time)]).unwrap_err();
        assert!(error.to_string().contains("failed: doc"), "{error}");
    }
}
