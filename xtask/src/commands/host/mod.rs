//! `cargo xtask bench host`: inference on this machine, by our engine and by ONNX Runtime, in turn.
//!
//! Both run the same network, or ours a smaller one that was made of it: ONNX Runtime gets what
//! `bitsback export` writes, with floats and with the integers (QDQ). In every round each network is
//! timed for a moment, one after the other, so that whatever else the machine does falls on all; a
//! round's ratios are of those neighbours.

mod contests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bitsback_runtime::{Engine, KernelSet, Model};
use serde::Deserialize;

use super::{pytorch, training};
use crate::error::XtaskError;
use crate::results::{HOST_SET, HostRow};
use crate::{paths, python};
use contests::{Contest, Subject};

/// Examples at once.
const BATCHES: [usize; 2] = [1, 64];
/// Each network is timed so long in a round, or for one call, if that takes longer.
const SECONDS: f64 = 0.25;

/// Time inference on this machine, by our engine and by ONNX Runtime.
///
/// The shapes have random int8 weights, whose values cost no time. A compressed network is compared
/// with the dense one that it was made of, and so are the two shapes that the paper reports for its
/// VGG-16, with weights drawn by chance; with --compressed, that is a finished job's model. ONNX Runtime
/// is installed into a virtual environment under target/ from tests/onnx/requirements.txt, once. With
/// one thread, and with all that the machine has; one example at a time, and 64.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print a JSON array of rows.
    #[arg(long)]
    json: bool,
    /// Rounds; the medians count.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Time one network alone.
    #[arg(long, value_name = "NAME", conflicts_with = "keep")]
    network: Option<String>,
    /// The model of a finished job, whatever its network, such as out/vgg-16-quarter/model.bbk: it is
    /// compared with the dense network that the job leaves beside it, in all of ONNX Runtime's ways.
    #[arg(long, value_name = "FILE")]
    compressed: Vec<PathBuf>,
    /// Keep the rows in docs/results/host.json and make the page anew.
    #[arg(long)]
    keep: bool,
}

/// What `host.py` prints.
#[derive(Debug, Deserialize)]
struct Printed {
    version: String,
    seconds: [f64; 2],
}

/// What the rounds of a contest took: seconds an example.
#[derive(Debug, Default)]
struct Times {
    /// Of each of ours, by rounds.
    ours: Vec<Vec<f64>>,
    floats: Vec<f64>,
    qdq: Vec<f64>,
    /// ONNX Runtime's.
    version: String,
}

impl Args {
    /// What gives such rows again.
    fn command(&self) -> String {
        let compressed =
            self.compressed.iter().map(|path| format!(" --compressed {}", path.display()));
        let compressed: String = compressed.collect();
        format!("cargo xtask bench host --rounds {}{compressed}", self.rounds)
    }
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let python = python::install(&root, "onnx", "tests/onnx/requirements.txt")?;
    let folder = paths::target(&root).join("host");
    fs::create_dir_all(&folder).map_err(|source| file("create", &folder, source))?;
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if all > 1 { vec![1, all] } else { vec![1] };
    let mut rows = Vec::new();
    for contest in contests::all(&root, &folder, args)? {
        for &threads in &threads {
            for batch in BATCHES {
                let found = compare(&root, &python, &contest, [batch, threads], args)?;
                found.iter().for_each(|row| print(row, args.json));
                rows.extend(found);
            }
        }
    }
    if args.json {
        println!("{:#}", serde_json::json!(rows));
    }
    if args.keep { super::results::keep(&root, HOST_SET, &rows) } else { Ok(()) }
}

/// A row for each network of ours.
fn compare(
    root: &Path,
    python: &Path,
    contest: &Contest,
    [batch, threads]: [usize; 2],
    args: &Args,
) -> Result<Vec<HostRow>, XtaskError> {
    let models = contest.ours.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let mut command = Command::new(python);
    command.arg(root.join("tests/bench/host.py")).args(&contest.exports);
    command.args(["--batch", &batch.to_string(), "--threads", &threads.to_string()]);
    command.args(["--seconds", &SECONDS.to_string()]);
    let times = times(&models, &mut command, [batch, threads], args.rounds)?;
    let ours = contest.ours.iter().zip(&models).zip(&times.ours);
    let rows = ours.map(|((subject, model), seconds)| {
        let best = times.floats.iter().zip(&times.qdq).map(|(a, b)| a.min(*b));
        Ok(HostRow {
            network: subject.name.clone(),
            error_percent: subject.error_percent,
            note: subject.note.clone(),
            batch,
            threads,
            rounds: args.rounds,
            macs: model.macs(),
            seconds: training::median(seconds.clone()),
            float_seconds: training::median(times.floats.clone()),
            qdq_seconds: training::median(times.qdq.clone()),
            ratio: ratio(best, seconds),
            onnxruntime: times.version.clone(),
            kernels: KernelSet::best().name().to_owned(),
            command: args.command(),
            date: training::date()?,
            machine: super::results::machine(),
        })
    });
    rows.collect()
}

fn parse(subject: &Subject) -> Result<Model<'_>, XtaskError> {
    Model::parse(&subject.model).map_err(|error| XtaskError::Golden {
        path: PathBuf::from(&subject.name),
        problem: error.to_string(),
    })
}

/// All rounds; `command` has ONNX Runtime's part of one.
fn times(
    models: &[Model<'_>],
    command: &mut Command,
    [batch, threads]: [usize; 2],
    rounds: u16,
) -> Result<Times, XtaskError> {
    let engine = |model| (Engine::new(model).with_threads(threads), model);
    let mut engines: Vec<_> = models.iter().map(engine).collect();
    let mut times = Times { ours: vec![Vec::new(); models.len()], ..Times::default() };
    for _ in 0..rounds {
        for ((engine, model), ours) in engines.iter_mut().zip(&mut times.ours) {
            ours.push(seconds(engine, model, batch)?);
        }
        let Printed { version, seconds: [float, qdq] } = pytorch::last_json(command)?;
        times.floats.push(float);
        times.qdq.push(qdq);
        times.version = version;
    }
    Ok(times)
}

/// How many times longer they take, in the median of rounds.
fn ratio(theirs: impl Iterator<Item = f64>, ours: &[f64]) -> f64 {
    training::median(theirs.zip(ours).map(|(theirs, ours)| theirs / ours).collect())
}

/// Seconds an example takes us: the mean over calls, as in `host.py`. Other work on the machine takes the
/// same share of all, while of single calls it spares the short ones.
fn seconds(engine: &mut Engine<'_>, model: &Model<'_>, batch: usize) -> Result<f64, XtaskError> {
    let inputs: Vec<i8> = (-128..=127).cycle().take(batch * model.input().len()).collect();
    let mut outputs = vec![0; batch * model.output().len()];
    let mut run = || {
        engine.run(&inputs, &mut outputs).map_err(|error| XtaskError::Golden {
            path: PathBuf::from("a batch"),
            problem: error.to_string(),
        })
    };
    run()?;
    let (mut calls, start) = (0, Instant::now());
    while calls == 0 || start.elapsed() < Duration::from_secs_f64(SECONDS) {
        run()?;
        calls += 1;
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(calls) / batch as f64)
}

fn file(action: &'static str, path: &Path, source: std::io::Error) -> XtaskError {
    XtaskError::File { action, path: path.to_path_buf(), source }
}

fn print(row: &HostRow, json: bool) {
    if !json {
        println!(
            "{:<20} batch {:>2}, {:>2} threads: {:>8.1} µs; ONNX Runtime {:>8.1} µs ({:>5.2}×), QDQ {:>8.1} µs; \
             the better one: {:>5.2}×",
            row.title(),
            row.batch,
            row.threads,
            row.seconds * 1e6,
            row.float_seconds * 1e6,
            row.float_ratio(),
            row.qdq_seconds * 1e6,
            row.ratio
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_which_models_they_are_of() {
        let args = Args {
            json: false,
            rounds: 3,
            network: None,
            compressed: vec![PathBuf::from("out/net/model.bbk")],
            keep: false,
        };
        let command = "cargo xtask bench host --rounds 3 --compressed out/net/model.bbk";
        assert_eq!(args.command(), command);
    }

    #[test]
    fn a_ratio_is_of_neighbours() {
        // The machine was half as fast in the second round; all of the first's pairs with it would be wrong.
        assert_eq!(ratio([8.0, 16.0, 9.0].into_iter(), &[1.0, 2.0, 1.0]), 8.0);
        assert_eq!(ratio([6.0, 2.0].into_iter(), &[1.0, 1.0]), 4.0);
    }

    #[test]
    fn each_network_is_timed_in_each_round() {
        let shape = |at: usize| crate::synthetic::shapes::HOST_SHAPES[at];
        let files = [0, 3].map(|at| shape(at).model(bitsback_runtime::format::Layout::RowMajor));
        let files = files.map(Result::unwrap);
        let models = files.each_ref().map(|file| Model::parse(file).unwrap());
        let mut command = Command::new("echo");
        command.arg(r#"{"version": "1.2.3", "seconds": [0.25, 0.5]}"#);
        let times = times(&models, &mut command, [1, 1], 2).unwrap();
        assert_eq!((times.floats, times.qdq), (vec![0.25; 2], vec![0.5; 2]));
        assert_eq!(times.version, "1.2.3");
        assert_eq!(times.ours.len(), 2);
        assert!(
            times.ours.iter().all(|of| of.len() == 2 && of.iter().all(|&seconds| seconds > 0.0))
        );
    }
}
