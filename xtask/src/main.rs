//! `cargo xtask`: the developer's commands.
//!
//! One file a command in `commands/`; what they share is one file a concept: `toolchain` (which
//! compiler builds for a bare core), `sysroot` (building `core` where none is prebuilt),
//! `firmware` (building), `qemu` (running), `golden` (vectors), `synthetic` (models that use every
//! operator), `process` and `paths`.

// The archives that the fuzz targets' inputs are kept in, which the tests read, too.
#[allow(unreachable_pub)] // written for another crate, too
#[path = "../../tests/fuzz/archives.rs"]
mod archives;
mod boards;
mod budget;
mod c_header;
mod certificate;
mod commands;
mod conformance;
mod costs;
mod error;
mod exits;
mod files;
mod firmware;
mod footprint;
mod golden;
mod measure;
mod mutants;
mod no_panic;
mod packages;
mod paths;
mod peers;
mod placements;
// What predicts instructions in the compressor.
#[allow(dead_code, unreachable_pub)] // written for that crate
#[path = "../../compressor/src/cost/prediction/mod.rs"]
mod prediction;
mod process;
mod python;
mod qemu;
mod results;
mod synthetic;
mod sysroot;
mod toolchain;
mod transcript;
mod update;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{bench, data, setup, test};

const AFTER_HELP: &str = "\
A new checkout:   cargo xtask setup && cargo xtask test
One model on one core:
                  cargo xtask qemu --core cortex-m4 --model tests/golden/digits/model.bbk \\
                    --golden tests/golden/digits
Everything that CI runs, one step of it again:
                  cargo xtask test --only clippy

Exit codes: 0 done, 1 failed (or differing bits), 2 wrong usage, 3 something needed is missing,
5 over budget (certify).";

/// The developer's commands of bitsback.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// What each does stands on its arguments' type, where `--help` finds all of it.
#[derive(Subcommand)]
enum Command {
    Setup(setup::Args),
    Test(test::Args),
    Qemu(commands::qemu::Args),
    Fuzz(commands::fuzz::Args),
    Slots(commands::slots::Args),
    Update(commands::update::Args),
    Corpus(commands::corpus::Args),
    Data(data::Args),
    Golden(commands::golden::Args),
    C(commands::c::Args),
    Certify(commands::certify::Args),
    Bench(bench::Args),
    Results(commands::results::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup(args) => setup::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Qemu(args) => commands::qemu::run(&args),
        Command::Fuzz(args) => commands::fuzz::run(&args),
        Command::Slots(args) => commands::slots::run(&args),
        Command::Update(args) => commands::update::run(&args),
        Command::Corpus(args) => commands::corpus::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Golden(args) => commands::golden::run(&args),
        Command::C(args) => commands::c::run(&args),
        Command::Certify(args) => commands::certify::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Results(args) => commands::results::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_code()
        }
    }
}
