//! `cargo xtask bench pytorch`: networks trained in PyTorch, exported and compressed as a user would do it.
//!
//! Each is trained and exported by `tests/onnx/pytorch.py`, quantised as it is, and compressed by
//! the jobs in `jobs/pytorch`: once from the ONNX file, once from a file of weights. The results'
//! golden vectors run on emulated cores.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::certificate::thousands;
use crate::error::XtaskError;
use crate::golden::{Golden, MODEL_FILE};
use crate::results::{self, PYTORCH_SET, PytorchRow, Quantized};
use crate::{boards, conformance, paths, process, python};

/// The networks that are trained: name, epochs and batch in PyTorch, and the jobs that start from them.
const SUBJECTS: [(&str, u32, u32, [&str; 2]); 2] = [
    ("lenet-5", 2, 128, ["lenet-5", "lenet-5-weights"]),
    ("resnet-8", 2, 128, ["resnet-8", "resnet-8-weights"]),
];
/// Where PyTorch's files go and the jobs look for them.
const EXPORTS: &str = "out/pytorch";
/// Cores with and without SIMD, multiplication and vectors.
const CORES: [&str; 3] = ["cortex-m4", "cortex-m0-large", "cortex-m55"];
/// Training and compressing take minutes; on a busy machine an hour or two.
const STEP_SECONDS: u64 = 4 * 3_600;
/// A hundred vectors of a ResNet-8 under emulation.
const QEMU_SECONDS: u64 = 3_600;

/// Bring networks that were trained in PyTorch through the whole way: export, quantise, compress,
/// run on emulated cores.
///
/// A LeNet-5 and a ResNet-8 are trained briefly on MNIST (`cargo xtask data mnist`) and exported to
/// ONNX; `bitsback quantize` makes each one's int8 self and a narrower one, `bitsback compress` the
/// jobs in jobs/pytorch. PyTorch is installed as for `bench training`. Takes half an hour and more
/// on two cores. Fails when a byte differs on a core.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this network: lenet-5 or resnet-8.
    #[arg(long, value_parser = SUBJECTS.map(|subject| subject.0))]
    network: Option<String>,
    /// Take the files of an earlier run in out/pytorch instead of training anew.
    #[arg(long)]
    exported: bool,
    /// Seed of PyTorch's training and of the jobs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print a JSON array of rows.
    #[arg(long)]
    json: bool,
    /// Keep the rows in docs/results/pytorch.json and make the page anew.
    #[arg(long)]
    keep: bool,
}

/// What `pytorch.py` prints last, and this keeps beside the files.
#[derive(Debug, Deserialize, Serialize)]
struct Trained {
    error_percent: f64,
    seconds: f64,
    version: String,
}

/// The part of what `bitsback quantize --json` prints that a row takes.
#[derive(Debug, Deserialize)]
struct Assessed {
    float_error_percent: f64,
    integer_error_percent: f64,
    agreement_percent: f64,
    file_bytes: u64,
    macs: u64,
}

/// The part of what `bitsback compress --json` prints that a row takes.
#[derive(Debug, Deserialize)]
struct Compressed {
    error_percent: f64,
    file_bytes: u64,
    macs: u64,
    date: String,
}

/// A network from PyTorch before any compression.
struct Exported {
    network: &'static str,
    trained: Trained,
    int8: Assessed,
    narrow: Assessed,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let bitsback = build(&root)?;
    let mut rows = Vec::new();
    for (network, epochs, batch, jobs) in SUBJECTS {
        if args.network.as_ref().is_some_and(|only| only != network) {
            continue;
        }
        let trained = if args.exported {
            read(&description(&root, network))?
        } else {
            train(&root, network, [epochs, batch], args.seed)?
        };
        let quantized = |bits: &str| quantize(&root, &bitsback, network, bits);
        let (int8, narrow) = (quantized("8")?, quantized("auto")?);
        let exported = Exported { network, trained, int8, narrow };
        for job in jobs {
            let row = compress(&root, &bitsback, &exported, job, args.seed)?;
            print(&row, args.json);
            rows.push(row);
        }
    }
    if args.json {
        println!("{:#}", serde_json::json!(rows));
    }
    let mismatches = rows.iter().flat_map(|row| row.mismatches.values()).sum();
    if args.keep {
        keep(&root, rows)?;
    }
    if mismatches > 0 { Err(XtaskError::Mismatches { mismatches }) } else { Ok(()) }
}

/// Trains a network in PyTorch and exports it.
fn train(
    root: &Path,
    network: &str,
    [epochs, batch]: [u32; 2],
    seed: u64,
) -> Result<Trained, XtaskError> {
    let python = python::install(root, "pytorch", "tests/bench/requirements.txt")?;
    let folder = root.join(EXPORTS);
    std::fs::create_dir_all(&folder).map_err(|source| XtaskError::File {
        action: "create",
        path: folder.clone(),
        source,
    })?;
    eprintln!("  {network}: training in PyTorch");
    let mut command = Command::new(python);
    command
        .arg(root.join("tests/onnx/pytorch.py"))
        .args([network, "--data", "data/mnist", "--epochs", &epochs.to_string()])
        .args(["--batch", &batch.to_string(), "--seed", &seed.to_string(), "-o"])
        .arg(folder.join(format!("{network}.onnx")))
        // Waiting threads sleep: on a busy machine that is many times faster.
        .env("OMP_WAIT_POLICY", "PASSIVE")
        .current_dir(root);
    let trained: Trained = last_json(&mut command)?;
    let text = format!("{:#}\n", serde_json::json!(trained));
    results::write(&description(root, network), &text)?;
    Ok(trained)
}

/// The file that describes an exported network.
fn description(root: &Path, network: &str) -> PathBuf {
    root.join(EXPORTS).join(format!("{network}.json"))
}

fn read(path: &Path) -> Result<Trained, XtaskError> {
    serde_json::from_str(&results::read(path)?)
        .map_err(|error| XtaskError::Results { path: path.into(), problem: error.to_string() })
}

/// Quantises an exported network without training.
fn quantize(
    root: &Path,
    bitsback: &Path,
    network: &str,
    bits: &str,
) -> Result<Assessed, XtaskError> {
    eprintln!("  {network}: quantising, {bits} bits");
    let mut command = Command::new(bitsback);
    command
        .args(["quantize", &format!("{EXPORTS}/{network}.onnx"), "--data", "data/mnist"])
        .args(["--bits", bits, "-o", &format!("{EXPORTS}/{network}-{bits}.bbk"), "--json"])
        .current_dir(root);
    last_json(&mut command)
}

/// Runs one job, and its model on the cores.
fn compress(
    root: &Path,
    bitsback: &Path,
    exported: &Exported,
    job: &str,
    seed: u64,
) -> Result<PytorchRow, XtaskError> {
    eprintln!("  {job}: compressing");
    let out = format!("{EXPORTS}/{job}");
    let start = Instant::now();
    let mut command = Command::new(bitsback);
    command
        .args(["compress", &format!("jobs/pytorch/{job}.toml"), "--out", &out])
        .args(["--seed", &seed.to_string(), "--force", "--json"])
        .current_dir(root);
    let compressed: Compressed = last_json(&mut command)?;
    let seconds = start.elapsed().as_secs_f64();
    let folder = root.join(out);
    let golden = Golden::read(&folder.join(MODEL_FILE), &folder.join("golden"))?;
    let (mut vectors, mut mismatches) = (0, BTreeMap::new());
    for core in CORES {
        eprintln!("  {job} on {core}");
        for board in boards::select(core)? {
            let elf = conformance::build(root, board, conformance::Build::Whole)?;
            let outcome = conformance::run(&elf, board, &golden, None, QEMU_SECONDS)?;
            if let Some(reason) = outcome.reason {
                let path = folder.join(MODEL_FILE);
                return Err(XtaskError::Golden { path, problem: format!("on {core}: {reason}") });
            }
            vectors = outcome.vectors;
            mismatches.insert(core.to_owned(), outcome.mismatches);
        }
    }
    let figures = |assessed: &Assessed| Quantized {
        error_percent: assessed.integer_error_percent,
        agreement_percent: Some(assessed.agreement_percent),
        file_bytes: assessed.file_bytes,
        macs: assessed.macs,
    };
    Ok(PytorchRow {
        network: exported.network.to_owned(),
        job: job.to_owned(),
        float_error_percent: exported.int8.float_error_percent,
        pytorch_error_percent: exported.trained.error_percent,
        int8: figures(&exported.int8),
        narrow: figures(&exported.narrow),
        compressed: Quantized {
            error_percent: compressed.error_percent,
            agreement_percent: None,
            file_bytes: compressed.file_bytes,
            macs: compressed.macs,
        },
        vectors,
        mismatches,
        pytorch_seconds: exported.trained.seconds,
        seconds,
        pytorch: exported.trained.version.clone(),
        seed,
        command: format!("cargo xtask bench pytorch --seed {seed}"),
        date: compressed.date,
        machine: super::results::machine(),
    })
}

fn print(row: &PytorchRow, json: bool) {
    if json {
        return;
    }
    let Quantized { error_percent, file_bytes, macs, .. } = row.compressed;
    println!(
        "{}: floats {:.2} %; int8 {:.2} %, {} bytes, {} MACs; compressed {error_percent:.2} %, {} \
         bytes ({:.1}x fewer), {} MACs ({:.1}x fewer); {} vectors, mismatches {:?}",
        row.job,
        row.float_error_percent,
        row.int8.error_percent,
        thousands(row.int8.file_bytes),
        thousands(row.int8.macs),
        thousands(file_bytes),
        row.bytes_ratio(),
        thousands(macs),
        row.macs_ratio(),
        row.vectors,
        row.mismatches
    );
}

/// Writes the rows, in place of those of the same jobs and seeds, and the page that shows them.
fn keep(root: &Path, rows: Vec<PytorchRow>) -> Result<(), XtaskError> {
    let mut all: Vec<PytorchRow> = super::results::kept(root, PYTORCH_SET)?;
    all.retain(|old| !rows.iter().any(|new| (&old.job, old.seed) == (&new.job, new.seed)));
    all.extend(rows);
    all.sort_by(|a, b| (&a.job, a.seed).cmp(&(&b.job, b.seed)));
    super::results::keep(root, PYTORCH_SET, &all)
}

/// Builds the command-line program.
pub(super) fn build(root: &Path) -> Result<PathBuf, XtaskError> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let options = ["build", "--release", "--quiet", "--package", "bitsback"];
    process::show_and_check(
        Command::new(cargo).current_dir(root).args(options).args(["--bin", "bitsback"]),
    )?;
    Ok(paths::target(root).join("release/bitsback"))
}

/// The JSON that stands at the end of a program's output: in its last line, or all of it.
pub(super) fn last_json<T: DeserializeOwned>(command: &mut Command) -> Result<T, XtaskError> {
    let output = process::read(command, Duration::from_secs(STEP_SECONDS))?;
    let last = output.lines().last().unwrap_or_default();
    serde_json::from_str(last).or_else(|_| serde_json::from_str(&output)).map_err(|error| {
        XtaskError::Command {
            command: process::show(command),
            status: format!("no figures in its output ({error})"),
            output,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_in_the_last_line() {
        let script = r#"echo epoch; echo '{"error_percent":1.5,"seconds":2,"version":"x"}'"#;
        let trained: Trained = last_json(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!((trained.error_percent, trained.version.as_str()), (1.5, "x"));
        let error = last_json::<Trained>(Command::new("echo").arg("{}")).unwrap_err();
        assert!(matches!(&error, XtaskError::Command { command, .. } if command == "echo {}"));
    }

    #[test]
    fn every_job_is_there() {
        let jobs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../jobs/pytorch");
        for (.., names) in SUBJECTS {
            assert!(names.iter().all(|name| jobs.join(format!("{name}.toml")).is_file()));
        }
    }
}
