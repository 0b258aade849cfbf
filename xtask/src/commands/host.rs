//! `cargo xtask bench host`: inference on this machine, by our engine and by ONNX Runtime, in turn.
//!
//! Both run the same network: ONNX Runtime gets what `bitsback export` writes, with floats and with
//! the integers (QDQ), and the faster of these two counts. In every round each of the three is timed
//! for a moment, one after the other, so that whatever else the machine does falls on all; a round's
//! ratio is of those neighbours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bitsback_runtime::format::Layout;
use bitsback_runtime::{Engine, KernelSet, Model};
use serde::Deserialize;

use super::{pytorch, training};
use crate::error::XtaskError;
use crate::results::{self, FOLDER, HOST_SET, HostRow};
use crate::synthetic::shapes::{HOST_SHAPES, Shape};
use crate::{paths, python};

/// Examples at once.
const BATCHES: [usize; 2] = [1, 64];
/// Each side is timed so long in a round.
const SECONDS: f64 = 0.25;
/// A compressed network, and the shape that it was made of.
const COMPRESSED: [(&str, &str, &str); 1] =
    [("lenet-5, coded", "tests/golden/coded-lenet/model.bbk", "lenet-5-20-50-500")];

/// Time inference on this machine, by our engine and by ONNX Runtime.
///
/// The shapes have random int8 weights, whose values cost no time; a compressed network is compared
/// with the dense one that it was made of. ONNX Runtime is installed into a virtual environment under
/// target/ from tests/onnx/requirements.txt, once. With one thread, and with all that the machine has;
/// one example at a time, and 64.
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
    /// Keep the rows in docs/results/host.json and make the page anew.
    #[arg(long)]
    keep: bool,
}

/// A network as both sides run it.
struct Subject {
    name: String,
    /// What our engine runs.
    model: Vec<u8>,
    /// What ONNX Runtime runs: floats, and the integers.
    exports: [PathBuf; 2],
}

/// What `host.py` prints.
#[derive(Debug, Deserialize)]
struct Timed {
    version: String,
    seconds: [f64; 2],
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let python = python::install(&root, "onnx", "tests/onnx/requirements.txt")?;
    let folder = paths::target(&root).join("host");
    fs::create_dir_all(&folder).map_err(|source| file("create", &folder, source))?;
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if all > 1 { vec![1, all] } else { vec![1] };
    let mut rows = Vec::new();
    for subject in subjects(&root, &folder)? {
        if args.network.as_ref().is_some_and(|name| *name != subject.name) {
            continue;
        }
        for &threads in &threads {
            for batch in BATCHES {
                let row = row(&root, &python, &subject, [batch, threads], args.rounds)?;
                print(&row, args.json);
                rows.push(row);
            }
        }
    }
    if args.json {
        println!("{:#}", serde_json::json!(rows));
    }
    if args.keep { keep(&root, &rows) } else { Ok(()) }
}

/// All networks, written and exported.
fn subjects(root: &Path, folder: &Path) -> Result<Vec<Subject>, XtaskError> {
    let bitsback = pytorch::build(root)?;
    let mut subjects = Vec::new();
    for shape in HOST_SHAPES {
        let model = shape.model(Layout::RowMajor)?;
        let exports = exports(&bitsback, folder, shape, &model)?;
        subjects.push(Subject { name: shape.name.to_owned(), model, exports });
    }
    for (name, model, dense) in COMPRESSED {
        let path = root.join(model);
        let model = fs::read(&path).map_err(|source| file("read", &path, source))?;
        let dense = subjects.iter().find(|subject: &&Subject| subject.name == dense);
        if let Some(exports) = dense.map(|dense| dense.exports.clone()) {
            subjects.push(Subject { name: name.to_owned(), model, exports });
        }
    }
    Ok(subjects)
}

/// What ONNX Runtime reads of a model.
fn exports(
    bitsback: &Path,
    folder: &Path,
    shape: Shape,
    model: &[u8],
) -> Result<[PathBuf; 2], XtaskError> {
    let path = folder.join(format!("{}.bbk", shape.name));
    fs::write(&path, model).map_err(|source| file("write", &path, source))?;
    let export = |form: &str| {
        let to = folder.join(format!("{}-{form}.onnx", shape.name));
        let mut command = Command::new(bitsback);
        command.arg("export").arg(&path).args(["--to", form, "--quiet", "-o"]).arg(&to);
        crate::process::show_and_check(&mut command).map(|()| to)
    };
    Ok([export("onnx")?, export("onnx-qdq")?])
}

fn row(
    root: &Path,
    python: &Path,
    subject: &Subject,
    [batch, threads]: [usize; 2],
    rounds: u16,
) -> Result<HostRow, XtaskError> {
    let model = Model::parse(&subject.model).map_err(|error| XtaskError::Golden {
        path: PathBuf::from(&subject.name),
        problem: error.to_string(),
    })?;
    let mut engine = Engine::new(&model).with_threads(threads);
    let (mut ours, mut floats, mut qdq) = (Vec::new(), Vec::new(), Vec::new());
    let mut version = String::new();
    for _ in 0..rounds {
        ours.push(seconds(&mut engine, &model, batch)?);
        let mut command = Command::new(python);
        command.arg(root.join("tests/bench/host.py")).args(&subject.exports);
        command.args(["--batch", &batch.to_string(), "--threads", &threads.to_string()]);
        let timed: Timed = pytorch::last_json(command.args(["--seconds", &SECONDS.to_string()]))?;
        let [float, integers] = timed.seconds;
        floats.push(float);
        qdq.push(integers);
        version = timed.version;
    }
    let best = floats.iter().zip(&qdq).map(|(a, b): (&f64, &f64)| a.min(*b));
    let ratios = best.zip(&ours).map(|(theirs, ours)| theirs / ours).collect();
    Ok(HostRow {
        network: subject.name.clone(),
        batch,
        threads,
        rounds,
        macs: model.macs(),
        seconds: training::median(ours),
        float_seconds: training::median(floats),
        qdq_seconds: training::median(qdq),
        ratio: training::median(ratios),
        onnxruntime: version,
        kernels: KernelSet::best().name().to_owned(),
        command: format!("cargo xtask bench host --rounds {rounds}"),
        date: training::date()?,
        machine: super::results::machine(),
    })
}

/// Seconds an example takes us: the median over calls.
fn seconds(engine: &mut Engine<'_>, model: &Model<'_>, batch: usize) -> Result<f64, XtaskError> {
    let inputs: Vec<i8> = (-128..=127).cycle().take(batch * model.input().len()).collect();
    let mut outputs = vec![0; batch * model.output().len()];
    let (mut times, begin) = (Vec::new(), Instant::now());
    while times.is_empty() || begin.elapsed() < Duration::from_secs_f64(SECONDS) {
        let start = Instant::now();
        engine.run(&inputs, &mut outputs).map_err(|error| XtaskError::Golden {
            path: PathBuf::from("a batch"),
            problem: error.to_string(),
        })?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(training::median(times) / batch as f64)
}

fn file(action: &'static str, path: &Path, source: std::io::Error) -> XtaskError {
    XtaskError::File { action, path: path.to_path_buf(), source }
}

fn print(row: &HostRow, json: bool) {
    if !json {
        println!(
            "{:<20} batch {:>2}, {:>2} threads: {:>8.1} µs; ONNX Runtime {:>8.1} µs, QDQ {:>8.1} µs: {:>5.2}×",
            row.network,
            row.batch,
            row.threads,
            row.seconds * 1e6,
            row.float_seconds * 1e6,
            row.qdq_seconds * 1e6,
            row.ratio
        );
    }
}

/// Writes the rows and the page that shows them.
fn keep(root: &Path, rows: &[HostRow]) -> Result<(), XtaskError> {
    let path = root.join(FOLDER).join(format!("{HOST_SET}.json"));
    let text = serde_json::to_string_pretty(rows)
        .map_err(|error| XtaskError::Results { path: path.clone(), problem: error.to_string() })?;
    results::write(&path, &(text + "\n"))?;
    super::results::refresh(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_networks_are_committed_and_have_a_dense_one() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (_, model, dense) in COMPRESSED {
            assert!(root.join(model).is_file());
            assert!(HOST_SHAPES.iter().any(|shape| shape.name == dense));
        }
    }
}
