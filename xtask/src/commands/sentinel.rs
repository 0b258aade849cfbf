//! `cargo xtask bench sentinel`: how often sentinels are wrong, and how soon they are right.

use std::process::Command;

use serde::Deserialize;

use super::{decision, pytorch, training};
use crate::error::XtaskError;
use crate::results::{Condition, SENTINEL_SET, SentinelRun, Stationary, sentinel_summary};
use crate::{files, paths};

/// The sets, and models of them: a committed one, and the output of a job.
const SETS: [(&str, &str); 2] =
    [("mnist", "jobs/tensorflow/lenet-5.tflite"), ("fashion-mnist", "out/lenet-5-fashion")];

/// Count sentinels' false alarms and delays, beside Page–Hinkley's test and ADWIN.
///
/// The model of each set sees its 10,000 test images, which trained and chose nothing. Streams are drawn from
/// what it made of them, and fed to the device's own code: 10⁸ inferences that don't change, by 400 references of
/// 500 to 5,000 examples, and streams that change once, in some fifty ways. The rivals' thresholds are tuned to an
/// alarm in a million inferences of the very stream, which a sentinel never sees.
///
/// MNIST, Fashion-MNIST (`cargo xtask data`) and the output of `bitsback compress jobs/lenet-5-fashion.toml` must
/// be there. Takes some minutes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// References of each of four sizes, of each kind and set.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..))]
    references: u16,
    /// Inferences that don't change, for each reference.
    #[arg(long, default_value_t = 250_000, value_parser = clap::value_parser!(u32).range(1..))]
    stream: u32,
    /// Streams for each change.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Seed of references and streams.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the run as JSON.
    #[arg(long)]
    json: bool,
    /// Keep the run in docs/results/sentinel.json and make the page anew.
    #[arg(long)]
    keep: bool,
}

/// What the program prints.
#[derive(Deserialize)]
struct Found {
    stationary: Vec<Stationary>,
    delays: Vec<Condition>,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let bitsback = pytorch::build(&root)?;
    let program = training::build(&root, "sentinel")?;
    // Imported models lie there until all is measured.
    let folders = [files::temporary()?, files::temporary()?];
    let mut command = Command::new(&program);
    command.current_dir(&root);
    for ((set, model), folder) in SETS.into_iter().zip(&folders) {
        let file = decision::as_model(&bitsback, &root.join(model), folder.path())?;
        command.arg(format!("{set}={}", file.display()));
    }
    for (option, value) in [
        ("--references", args.references.to_string()),
        ("--stream", args.stream.to_string()),
        ("--runs", args.runs.to_string()),
        ("--seed", args.seed.to_string()),
    ] {
        command.args([option, &value]);
    }
    let Found { stationary, delays } = pytorch::last_json(&mut command)?;
    let run = SentinelRun {
        stationary,
        delays,
        runs: args.runs,
        seed: args.seed,
        command: format!(
            "cargo xtask bench sentinel --references {} --stream {} --runs {} --seed {} --keep",
            args.references, args.stream, args.runs, args.seed
        ),
        date: training::date()?,
        machine: super::results::machine(),
    };
    if args.json {
        println!("{:#}", serde_json::json!(run));
    } else {
        println!("{}", sentinel_summary(&run));
    }
    if args.keep { super::results::keep(&root, SENTINEL_SET, &[run]) } else { Ok(()) }
}
