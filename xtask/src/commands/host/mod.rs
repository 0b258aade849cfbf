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
use crate::results::{self, HOST_SET, HostRow};
use crate::synthetic::shapes::HOST_SHAPES;
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
/// with the dense one that it was made of. With --compressed, that is a finished job's model. ONNX Runtime is installed into a virtual environment under
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
    /// The model of a finished job, such as out/lenet-5-instructions/model.bbk: it is compared with the dense
    /// network that the job leaves beside it, in all of ONNX Runtime's ways.
    #[arg(long, value_name = "FILE")]
    compressed: Vec<PathBuf>,
    /// Keep the rows in docs/results/host.json and make the page anew.
    #[arg(long)]
    keep: bool,
}

/// A network as both sides run it.
struct Subject {
    name: String,
    /// Of a job's model.
    error_percent: Option<f64>,
    /// What our engine runs.
    model: Vec<u8>,
    /// What ONNX Runtime runs: floats, and the integers.
    exports: [PathBuf; 2],
}

/// Of a job's `summary.json`.
#[derive(Debug, Deserialize)]
struct Finished {
    network: String,
    error_percent: f64,
}

/// What `host.py` prints.
#[derive(Debug, Deserialize)]
struct Timed {
    version: String,
    seconds: [f64; 2],
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
    for subject in subjects(&root, &folder, args)? {
        for &threads in &threads {
            for batch in BATCHES {
                let row = row(&root, &python, &subject, [batch, threads], args)?;
                print(&row, args.json);
                rows.push(row);
            }
        }
    }
    if args.json {
        println!("{:#}", serde_json::json!(rows));
    }
    if args.keep { super::results::keep(&root, HOST_SET, &rows) } else { Ok(()) }
}

/// All networks, written and exported, or the one that is asked for.
fn subjects(root: &Path, folder: &Path, args: &Args) -> Result<Vec<Subject>, XtaskError> {
    let bitsback = pytorch::build(root)?;
    let mut subjects = Vec::new();
    let is_wanted = |name: &str| args.network.as_deref().is_none_or(|network| network == name);
    let is_dense_of =
        |(name, _, dense): &(&str, &str, &str), shape| is_wanted(name) && *dense == shape;
    for shape in HOST_SHAPES {
        if !is_wanted(shape.name) && !COMPRESSED.iter().any(|of| is_dense_of(of, shape.name)) {
            continue;
        }
        let model = shape.model(Layout::RowMajor)?;
        let path = folder.join(format!("{}.bbk", shape.name));
        fs::write(&path, &model).map_err(|source| file("write", &path, source))?;
        let exports = exports(&bitsback, folder, shape.name, &path)?;
        let name = shape.name.to_owned();
        subjects.push(Subject { name, error_percent: None, model, exports });
    }
    for (name, model, dense) in COMPRESSED {
        let path = root.join(model);
        let model = fs::read(&path).map_err(|source| file("read", &path, source))?;
        let dense = subjects.iter().find(|subject: &&Subject| subject.name == dense);
        if let Some(exports) = dense.map(|dense| dense.exports.clone()) {
            let name = name.to_owned();
            subjects.push(Subject { name, error_percent: None, model, exports });
        }
    }
    for path in &args.compressed {
        subjects.push(finished(&bitsback, folder, path)?);
    }
    subjects.retain(|subject| is_wanted(&subject.name));
    Ok(subjects)
}

/// A finished job's model, and its dense network as ONNX Runtime reads it.
fn finished(bitsback: &Path, folder: &Path, path: &Path) -> Result<Subject, XtaskError> {
    let beside = path.parent().unwrap_or(Path::new(""));
    let summary = beside.join("summary.json");
    let text = results::read(&summary)?;
    let Finished { network, error_percent } = serde_json::from_str(&text)
        .map_err(|error| XtaskError::Results { path: summary, problem: error.to_string() })?;
    let dense = beside.join("dense/model.bbk");
    if !dense.is_file() {
        return Err(XtaskError::Golden {
            path: dense,
            problem: "the job's dense network isn't there; run the job again with --resume".into(),
        });
    }
    let model = fs::read(path).map_err(|source| file("read", path, source))?;
    let exports = exports(bitsback, folder, &format!("{network}-dense"), &dense)?;
    Ok(Subject { name: network, error_percent: Some(error_percent), model, exports })
}

/// What ONNX Runtime reads of a model.
fn exports(
    bitsback: &Path,
    folder: &Path,
    name: &str,
    model: &Path,
) -> Result<[PathBuf; 2], XtaskError> {
    let export = |form: &str| {
        let to = folder.join(format!("{name}-{form}.onnx"));
        let mut command = Command::new(bitsback);
        command.arg("export").arg(model).args(["--to", form, "--quiet", "-o"]).arg(&to);
        crate::process::show_and_check(&mut command).map(|()| to)
    };
    Ok([export("onnx")?, export("onnx-qdq")?])
}

fn row(
    root: &Path,
    python: &Path,
    subject: &Subject,
    [batch, threads]: [usize; 2],
    args: &Args,
) -> Result<HostRow, XtaskError> {
    let model = Model::parse(&subject.model).map_err(|error| XtaskError::Golden {
        path: PathBuf::from(&subject.name),
        problem: error.to_string(),
    })?;
    let mut engine = Engine::new(&model).with_threads(threads);
    let (mut ours, mut floats, mut qdq) = (Vec::new(), Vec::new(), Vec::new());
    let mut version = String::new();
    for _ in 0..args.rounds {
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
        error_percent: subject.error_percent,
        batch,
        threads,
        rounds: args.rounds,
        macs: model.macs(),
        seconds: training::median(ours),
        float_seconds: training::median(floats),
        qdq_seconds: training::median(qdq),
        ratio: training::median(ratios),
        onnxruntime: version,
        kernels: KernelSet::best().name().to_owned(),
        command: args.command(),
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
            row.title(),
            row.batch,
            row.threads,
            row.seconds * 1e6,
            row.float_seconds * 1e6,
            row.qdq_seconds * 1e6,
            row.ratio
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_without_its_dense_network_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.bbk");
        let error = |of: &Path| finished(Path::new("none"), of, &model).err().unwrap().to_string();
        assert!(error(folder.path()).contains("summary.json"));
        let summary = r#"{"network":"net","error_percent":0.9,"seed":1}"#;
        fs::write(folder.path().join("summary.json"), summary).unwrap();
        let said = error(folder.path());
        assert!(said.contains("dense/model.bbk") && said.contains("--resume"), "{said}");
    }

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
    fn compressed_networks_are_committed_and_have_a_dense_one() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (_, model, dense) in COMPRESSED {
            assert!(root.join(model).is_file());
            assert!(HOST_SHAPES.iter().any(|shape| shape.name == dense));
        }
    }
}
