//! `cargo xtask slots`: power that goes while models are replaced, and what slots take of flash.

use std::path::Path;
use std::process::Command;

use crate::boards::{self, Board};
use crate::error::XtaskError;
use crate::firmware::{self, Program};
use crate::{footprint, paths, process};

/// The most bytes of code that slots may take on the smallest core, without a gate's: a twentieth of a
/// device with 128 kB of flash.
const MAX_CODE_BYTES: u64 = 6 * 1024;
/// That core.
const SMALLEST: &str = "cortex-m0";
/// Features of the programs that are measured: slots alone, with packages' code, with Ed25519.
const ALONE: [&str; 2] = ["empty", "slots"];
const WITH_PACKAGES: [&str; 2] = ["empty", "packages"];
const WITH_SIGNATURE: [&str; 2] = ["empty", "signature"];

/// Lose power while models are replaced, millions of times.
///
/// A case is a scenario of three updates, trials or ways back, a kind of flash (pages of 256 to 4,096 bytes,
/// units of 1 to 8, models of 1 to 64 kB), and losses of power before, during and after operations of the
/// flash. A case that fails is printed with its number: `--seed NUMBER --cases 1` runs it again. The
/// exhaustive cases, small models at every operation, are tests of the crate.
///
/// Exit codes: 0 nothing was lost, 1 a case failed, 3 a toolchain is missing (--size).
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many cases.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    cases: u64,
    /// The first case's number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Losses of power in each.
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    cuts: u64,
    /// Say what slots take of flash on every core instead.
    #[arg(long)]
    size: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    if args.size {
        for board in boards::select(boards::ALL)? {
            let [slots, packages, signature] = [&ALONE[..], &WITH_PACKAGES, &WITH_SIGNATURE]
                .map(|features| code_bytes(&root, board, features));
            println!(
                "{:<16} {:>6} bytes, {:>6} with update packages, {:>6} with their signature",
                board.core, slots?, packages?, signature?
            );
        }
        return Ok(());
    }
    let mut command = Command::new("cargo");
    command
        .args(["run", "--release", "--quiet", "-p", "bitsback-slots", "--example", "power_cuts"])
        .arg("--")
        .args([args.cases, args.seed, args.cuts.max(1)].map(|number| number.to_string()))
        .current_dir(root);
    process::show_and_check(&mut command)
}

/// Fails if slots have grown beyond what the smallest core has for them.
pub(crate) fn check_size(root: &Path) -> Result<(), XtaskError> {
    let bytes = match boards::select(SMALLEST)?[..] {
        [board] => code_bytes(root, board, &ALONE)?,
        _ => return Err(XtaskError::OneCore),
    };
    println!("{SMALLEST}: slots take {bytes} bytes of code");
    if bytes <= MAX_CODE_BYTES {
        return Ok(());
    }
    Err(XtaskError::OverBudget {
        what: format!("slots take {bytes} bytes of code on a {SMALLEST}, not {MAX_CODE_BYTES}"),
    })
}

/// Bytes of code, without a gate of the program's own, a driver of the flash, and the runtime.
fn code_bytes(root: &Path, board: &Board, features: &[&str]) -> Result<u64, XtaskError> {
    let program = Program { package: "footprint", features, ..Program::default() };
    let (whole, _) = footprint::sizes(&firmware::build_program(root, board, program)?)?;
    Ok(whole.saturating_sub(footprint::start_up(root, board)?))
}
