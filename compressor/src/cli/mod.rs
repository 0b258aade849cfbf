//! The command line: one file a verb.
//!
//! What a verb promises: its result goes to standard output, as text or, with `--json`, as one
//! object on one line, the last one; progress goes where [`crate::progress`] says; an error goes
//! to standard error, as text or as `{"error":{…}}`, and its kind decides the exit code (see
//! [`crate::error`]).

mod amount;
mod certify;
mod child;
mod compare;
mod compare_floats;
mod comparison;
mod compress;
mod demo;
mod doctor;
mod evaluate;
mod export;
mod feeding;
mod front;
mod import;
mod inspect;
mod judging;
mod keygen;
mod layout;
mod left_out;
mod margin;
mod matching;
mod mcu;
mod model_file;
mod output;
mod package;
mod quantize;
mod records;
mod run;
mod scaling;
mod sentinel;
mod source;
mod storing;
mod supported_ops;
mod table;
mod telemetry;
mod verify;
mod watching;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::error::{CliError, Error, Kind, error_object};
use output::Context;

const EXAMPLES: &str = "\
Examples:
  bitsback demo                                 the whole way, on the bundled digits
  bitsback compress jobs/lenet-5.toml           train, prune, quantise, verify, report
  bitsback compress jobs/lenet-5.toml --resume  go on after Ctrl-C, a crash or a reboot
  bitsback inspect out/lenet-5/model.bbk        what is in a model
  bitsback evaluate out/lenet-5/model.bbk jobs/lenet-5.toml
  bitsback run out/lenet-5/model.bbk digit.png
  bitsback import model.tflite -o model.bbk     bring a model of TensorFlow Lite
  bitsback quantize model.onnx --data data/mnist -o model.bbk
  bitsback margin model.bbk --data data/mnist --accepted-error 0.5 -o surer.bbk
  bitsback sentinel model.bbk --data data/mnist -o watched.bbk
  bitsback certify out/lenet-5/model.bbk --flash 64K --ram 16K
  bitsback package model.bbk --key fleet.key --version 2 -o update.bbkp    for devices in the field
  bitsback telemetry model.bbk records/    what they report

Exit codes: 0 done, 2 usage or job file, 3 data, 4 model, 5 a requirement or budget isn't met, or
the network is no better than chance, 6 too few validation examples to say so, 70 a defect of
bitsback, 74 missing file, disk or called program, 130 interrupted by Ctrl-C, SIGTERM or SIGHUP
(--resume continues).";

/// Train with uncertainty, keep only what the posterior needs, run what is left as integers.
///
/// bitsback trains a Bayesian neural network, removes the neurons and filters that the data do
/// not need, stores each layer's weights in as few bits as their uncertainty allows, and writes one
/// `.bbk` file, with which a small integer runtime computes the same bytes on a PC and on a
/// microcontroller.
#[derive(Debug, Parser)]
#[command(name = "bitsback", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What every verb understands.
    #[command(flatten)]
    pub(crate) global: Global,
    /// The verb.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every verb understands.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Global {
    /// Write JSON: the result as the last line of standard output, errors as objects on standard
    /// error; `compress` and `demo` also write one object per progress event before it
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show no progress, with --json neither
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Say on standard error what is being done
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

// What help says of a verb stands at its struct; here it would replace that.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::Demo),
    Compress(compress::Compress),
    Evaluate(evaluate::Evaluate),
    Inspect(inspect::Inspect),
    Run(run::Run),
    Import(import::Import),
    Quantize(quantize::Quantize),
    Margin(margin::Margin),
    Sentinel(sentinel::Sentinel),
    Compare(compare::Compare),
    Export(export::Export),
    SupportedOps(supported_ops::SupportedOps),
    Certify(certify::Certify),
    Keygen(keygen::Keygen),
    Package(package::Package),
    Verify(verify::Verify),
    Telemetry(telemetry::Telemetry),
    Doctor(doctor::Doctor),
}

/// Whether a command line, the program's name first, has a verb, options and values that exist.
///
/// # Errors
/// What clap says of it.
pub fn check(args: &[&str]) -> Result<(), String> {
    match Cli::try_parse_from(args) {
        Err(error) if error.use_stderr() => Err(error.render().to_string()),
        _ => Ok(()),
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &args),
    };
    output::trace(cli.global.verbose);
    let context = Context::new(cli.global, &args);
    // A panic is a defect, and has the exit code of one; the hook has already said where it was.
    let outcome = catch_unwind(AssertUnwindSafe(|| run(&cli.command, &context)));
    match outcome.unwrap_or_else(|_| Err(CliError::Panicked.into())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = if cli.global.json { error.to_json() } else { error.to_text() };
            eprintln!("{text}");
            error.exit_code()
        }
    }
}

fn run(command: &Command, context: &Context) -> Result<(), Error> {
    match command {
        Command::Demo(verb) => verb.run(context),
        Command::Compress(verb) => verb.run(context),
        Command::Evaluate(verb) => verb.run(context),
        Command::Inspect(verb) => verb.run(context),
        Command::Run(verb) => verb.run(context),
        Command::Import(verb) => verb.run(context),
        Command::Quantize(verb) => verb.run(context),
        Command::Margin(verb) => verb.run(context),
        Command::Sentinel(verb) => verb.run(context),
        Command::Compare(verb) => verb.run(context),
        Command::Export(verb) => verb.run(context),
        Command::SupportedOps(verb) => verb.run(context),
        Command::Certify(verb) => verb.run(context),
        Command::Keygen(verb) => verb.run(context),
        Command::Package(verb) => verb.run(context),
        Command::Verify(verb) => verb.run(context),
        Command::Telemetry(verb) => verb.run(context),
        Command::Doctor(verb) => verb.run(context),
    }
}

/// A command line that clap refused, or a request for help.
fn usage(error: &clap::Error, args: &[OsString]) -> ExitCode {
    if !error.use_stderr() {
        // Help and version are results. A closed pipe is no reason to complain.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|arg| arg == "--json") {
        let text = error.render().to_string();
        let message = text.trim().trim_start_matches("error: ");
        let hint = "`bitsback help` lists the commands, `bitsback help COMMAND` explains one";
        eprintln!("{}", error_object(Kind::Usage, message, Some(hint)));
    } else {
        let _ = error.print();
    }
    ExitCode::from(Kind::Usage.exit_code())
}

#[cfg(test)]
mod tests;
