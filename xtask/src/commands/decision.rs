//! `cargo xtask bench decision`: whether promises about what a model is sure of are kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::{pytorch, training};
use crate::error::XtaskError;
use crate::golden::{self, MODEL_FILE};
use crate::results::{DECISION_SET, DecisionRow};
use crate::{files, paths};

/// The committed models that tell digits apart, of TensorFlow Lite.
const MODELS: [&str; 2] = [
    "jobs/tensorflow/lenet-5.tflite",
    "tests/fixtures/tflite/lenet300_784_300_100_10_ptfc_int8.tflite",
];
/// How their pixels were scaled.
const PIXELS: &str = "0,1";
/// Images that trained and chose none of these models.
const DATA: &str = "data/mnist";
/// Promises in percent.
const PROMISES: [f64; 2] = [0.5, 1.0];
/// How many examples choose the margin: as many as jobs of MNIST hold out. The rest is a test set that is
/// large beside them.
const CHOOSING: u64 = 2_500;
/// How often examples are dealt out, and the seed of that.
const DRAWS: u64 = 200;
const SEED: u64 = 1;

/// Count how often promises about what a model is sure of are broken.
///
/// Of each model, MNIST's 10,000 test images (`cargo xtask data mnist`), which trained and chose nothing, are
/// dealt out 200 times: 2,500 choose a margin, as `bitsback margin` does, and on the rest the promise is looked
/// at. A model that is a .tflite file is imported first. Rows of the same model are replaced.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Models of MNIST: .bbk files, output folders of jobs, .tflite files trained on pixels / 255
    /// [default: committed ones].
    #[arg(value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Print a JSON array of rows.
    #[arg(long)]
    json: bool,
    /// Keep the rows in docs/results/decision.json and make the page anew.
    #[arg(long)]
    keep: bool,
}

/// The part of what `bitsback margin --json` prints that a row takes.
#[derive(Debug, Deserialize)]
struct Found {
    accepted_error_percent: f64,
    confidence: f64,
    resampled: Resampled,
}

#[derive(Debug, Deserialize)]
struct Resampled {
    draws: u64,
    seed: u64,
    choosing: u64,
    tested: u64,
    without_margin: u64,
    violations: u64,
    coverage_percent: f64,
    least_coverage_percent: f64,
    error_percent: f64,
    greatest_error_percent: f64,
}

/// The part of what `bitsback evaluate --json` prints that a row takes.
#[derive(Debug, Deserialize)]
struct Evaluated {
    error_percent: f64,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let bitsback = pytorch::build(&root)?;
    let committed = || MODELS.iter().map(|model| root.join(model)).collect();
    let models = if args.models.is_empty() { committed() } else { args.models.clone() };
    let mut rows = Vec::new();
    for model in &models {
        let folder = files::temporary()?;
        let file = as_model(&bitsback, model, folder.path())?;
        for percent in PROMISES {
            let row = row(&bitsback, &root, (model, &file), percent)?;
            print(&row, args.json);
            rows.push(row);
        }
    }
    if args.json {
        println!("{:#}", serde_json::json!(rows));
    }
    if args.keep { keep(&root, rows) } else { Ok(()) }
}

/// The .bbk file of a model, a job's output folder, or an imported model.
pub(super) fn as_model(
    bitsback: &Path,
    model: &Path,
    folder: &Path,
) -> Result<PathBuf, XtaskError> {
    if model.is_dir() {
        return Ok(model.join(MODEL_FILE));
    }
    if model.extension().is_none_or(|ending| ending != "tflite") {
        return Ok(model.to_path_buf());
    }
    let file = folder.join(MODEL_FILE);
    let mut command = Command::new(bitsback);
    command.arg("import").arg(model).args(["--pixels", PIXELS, "--quiet", "--json", "-o"]);
    pytorch::last_json::<serde_json::Value>(command.arg(&file))?;
    Ok(file)
}

/// One promise about one model, looked at many times.
fn row(
    bitsback: &Path,
    root: &Path,
    (model, file): (&Path, &Path),
    percent: f64,
) -> Result<DecisionRow, XtaskError> {
    let verb = |verb: &str| {
        let mut command = Command::new(bitsback);
        command.current_dir(root).args([verb, "--quiet", "--json"]);
        command
    };
    let file = fs::canonicalize(file).map_err(|source| XtaskError::File {
        action: "find",
        path: file.to_path_buf(),
        source,
    })?;
    let evaluated: Evaluated =
        pytorch::last_json(verb("evaluate").arg(&file).arg(DATA).args(["--split", "test"]))?;
    let mut margin = verb("margin");
    margin.arg(&file).args(["--data", DATA, "--split", "test"]);
    for (option, value) in [
        ("--accepted-error", percent.to_string()),
        ("--resample", DRAWS.to_string()),
        ("--choosing", CHOOSING.to_string()),
        ("--seed", SEED.to_string()),
    ] {
        margin.args([option, &value]);
    }
    let Found { accepted_error_percent, confidence, resampled } = pytorch::last_json(&mut margin)?;
    Ok(DecisionRow {
        model: if model.is_dir() { golden::name(&model.join(MODEL_FILE)) } else { name(model) },
        data: DATA.to_owned(),
        all_error_percent: evaluated.error_percent,
        accepted_error_percent,
        confidence,
        draws: resampled.draws,
        seed: resampled.seed,
        choosing: resampled.choosing,
        tested: resampled.tested,
        without_margin: resampled.without_margin,
        violations: resampled.violations,
        coverage_percent: resampled.coverage_percent,
        least_coverage_percent: resampled.least_coverage_percent,
        error_percent: resampled.error_percent,
        greatest_error_percent: resampled.greatest_error_percent,
        command: command(model),
        date: training::date()?,
        machine: super::results::machine(),
    })
}

/// A file's name.
fn name(model: &Path) -> String {
    model.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The command that measures a model again, without paths of this machine: a committed one needs no
/// argument, and a job's output is in `out`.
fn command(model: &Path) -> String {
    let own = match MODELS.iter().any(|committed| model.ends_with(committed)) {
        true => String::new(),
        false => format!(" out/{}", name(model)),
    };
    format!("cargo xtask bench decision{own} --keep")
}

fn print(row: &DecisionRow, json: bool) {
    if !json {
        println!(
            "{:<42} {} % promised: {} of {} broken, {} without a margin, coverage {:.1} %",
            row.model,
            row.accepted_error_percent,
            row.violations,
            row.draws,
            row.without_margin,
            row.coverage_percent
        );
    }
}

/// Writes the rows, in place of those of the same models, and the page that shows them.
fn keep(root: &Path, rows: Vec<DecisionRow>) -> Result<(), XtaskError> {
    let mut all: Vec<DecisionRow> = super::results::kept(root, DECISION_SET)?;
    all.retain(|old| rows.iter().all(|new| new.model != old.model));
    all.extend(rows);
    super::results::keep(root, DECISION_SET, &all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_is_committed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert!(MODELS.iter().all(|model| root.join(model).is_file()));
    }

    #[test]
    fn commands_have_no_paths_of_this_machine() {
        let committed = Path::new("/elsewhere").join(MODELS[0]);
        assert_eq!(command(&committed), "cargo xtask bench decision --keep");
        let own = Path::new("/elsewhere/lenet-300-100");
        assert_eq!(command(own), "cargo xtask bench decision out/lenet-300-100 --keep");
    }
}
