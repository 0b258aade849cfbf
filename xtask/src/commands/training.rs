//! `cargo xtask bench training`: variational training steps here and in PyTorch, in turn.
//!
//! Both sides train the same network with the same batch and the same number of threads
//! (`tests/bench/training.rs` and `training.py`), one after the other in every round, so that
//! whatever else the machine does falls on both. A round's ratio is of those two neighbours.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::error::XtaskError;
use crate::paths;
use crate::process;
use crate::python;
use crate::results::{TRAINING_SET, TrainingRow};

/// Examples of an epoch: MNIST's, when 5,000 of the 60,000 are kept for validation.
const EXAMPLES: usize = 55_000;
/// Training is split into two shards, whatever the machine.
const THREADS: usize = 2;
/// Steps before the clock starts: memory is touched, caches are warm.
const WARM_UP: usize = 5;
/// A round that takes longer hangs.
const ROUND_SECONDS: u64 = 600;
/// What is trained: network, batch (that of the paper's kind of job) and timed steps.
const SUBJECTS: [(&str, usize, usize); 2] = [("lenet-300-100", 128, 100), ("lenet-5", 64, 40)];

/// Time an epoch of variational training of whole networks, here and in PyTorch.
///
/// PyTorch is installed into a virtual environment under target/ from
/// tests/bench/requirements.txt, once (a gigabyte and more). Its threads sleep when they wait
/// (OMP_WAIT_POLICY=PASSIVE): on a busy machine that is many times faster than its default.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print a JSON array of rows.
    #[arg(long)]
    json: bool,
    /// Rounds of both sides; the medians count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seed of examples, weights and noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the rows in docs/results/training.json and make the page anew.
    #[arg(long)]
    keep: bool,
}

/// What either side prints.
#[derive(Deserialize)]
struct Timed {
    seconds: f64,
    #[serde(default)]
    version: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let python = python::install(&root, "pytorch", "tests/bench/requirements.txt")?;
    let ours = build(&root, "training")?;
    let mut rows = Vec::new();
    for (network, batch, steps) in SUBJECTS {
        let arguments: Vec<String> = [
            ("--network", network.to_owned()),
            ("--batch", batch.to_string()),
            ("--warm-up", WARM_UP.to_string()),
            ("--steps", steps.to_string()),
            ("--seed", args.seed.to_string()),
        ]
        .into_iter()
        .flat_map(|(key, value)| [key.to_owned(), value])
        .collect();
        let epoch = EXAMPLES.div_ceil(batch) as f64 / steps as f64;
        let (mut mine, mut theirs, mut version) = (Vec::new(), Vec::new(), None);
        for round in 0..args.rounds {
            mine.push(epoch * timed(Command::new(&ours).args(&arguments))?.seconds);
            let mut command = Command::new(&python);
            command.arg(root.join("tests/bench/training.py")).args(&arguments);
            command.args(["--threads", &THREADS.to_string()]).env("OMP_WAIT_POLICY", "PASSIVE");
            let torch = timed(&mut command)?;
            theirs.push(epoch * torch.seconds);
            version = torch.version;
            if let (Some(a), Some(b)) = (mine.last(), theirs.last()) {
                eprintln!("{network}, round {round}: {a:.2} s an epoch, PyTorch {b:.2} s");
            }
        }
        let ratios: Vec<f64> = mine.iter().zip(&theirs).map(|(a, b)| a / b).collect();
        rows.push(TrainingRow {
            network: network.to_owned(),
            batch,
            threads: THREADS,
            rounds: args.rounds,
            epoch_seconds: median(mine),
            pytorch_epoch_seconds: median(theirs),
            ratio: median(ratios),
            pytorch: version.unwrap_or_default(),
            seed: args.seed,
            command: format!(
                "cargo xtask bench training --rounds {} --seed {}",
                args.rounds, args.seed
            ),
            date: date()?,
            machine: super::results::machine(),
        });
    }
    report(&rows, args.json)?;
    if args.keep { super::results::keep(&root, TRAINING_SET, &rows) } else { Ok(()) }
}

fn report(rows: &[TrainingRow], json: bool) -> Result<(), XtaskError> {
    if json {
        println!("{}", serde_json::json!(rows));
        return Ok(());
    }
    println!(
        "{:<14} {:>6} {:>12} {:>12} {:>7}",
        "network", "batch", "epoch s", "PyTorch s", "ratio"
    );
    for row in rows {
        println!(
            "{:<14} {:>6} {:>12.2} {:>12.2} {:>7.2}",
            row.network, row.batch, row.epoch_seconds, row.pytorch_epoch_seconds, row.ratio
        );
    }
    Ok(())
}

/// Builds an example of the crate of tests.
pub(super) fn build(root: &Path, example: &str) -> Result<PathBuf, XtaskError> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    process::show_and_check(Command::new(cargo).current_dir(root).args([
        "build",
        "--release",
        "--quiet",
        "--package",
        "bitsback-tests",
        "--example",
        example,
    ]))?;
    Ok(paths::target(root).join("release/examples").join(example))
}

fn timed(command: &mut Command) -> Result<Timed, XtaskError> {
    let output = process::read(command, Duration::from_secs(ROUND_SECONDS))?;
    serde_json::from_str(output.trim()).map_err(|error| XtaskError::Command {
        command: process::show(command),
        status: format!("no seconds in its output ({error})"),
        output,
    })
}

/// The middle value, or the mean of the middle two.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
    if values.len() % 2 == 1 { at(middle) } else { 0.5 * (at(middle.wrapping_sub(1)) + at(middle)) }
}

/// Now, in UTC.
pub(super) fn date() -> Result<String, XtaskError> {
    let text = process::read(
        Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        Duration::from_secs(10),
    )?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 9.0]), 3.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn output_without_seconds_names_the_command() {
        let error = timed(Command::new("echo").arg("{}")).map(|_| ()).unwrap_err();
        assert!(matches!(&error, XtaskError::Command { command, .. } if command == "echo {}"));
    }
}
