//! One finished job as one row of `docs/results/SET.json`, taken from the job's output folder.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::job;
use crate::error::XtaskError;

/// What a job writes last, so that a folder with it is a finished job's.
const SUMMARY_FILE: &str = "summary.json";
/// The job with every default stated, beside it.
const JOB_FILE: &str = "job.toml";

/// Networks that are known by their weights' shapes, whatever the job calls itself:
/// outputs × (kernel height × kernel width ×) inputs of each layer before compression.
const KNOWN_NETWORKS: [(&str, &[&[u64]]); 2] = [
    ("lenet-300-100", &[&[300, 784], &[100, 300], &[10, 100]]),
    ("lenet-5", &[&[20, 5, 5, 1], &[50, 5, 5, 20], &[500, 800], &[10, 500]]),
];
/// Ends of a job's name that say how, and not what.
const PRIOR_SUFFIXES: [&str; 2] = ["-horseshoe", "-normal-jeffreys"];
/// Options that change nothing of the result; the second says whether a value follows.
const IRRELEVANT: [(&str, bool); 10] = [
    ("--force", false),
    ("--resume", false),
    ("--json", false),
    ("--quiet", false),
    ("-q", false),
    ("--verbose", false),
    ("-v", false),
    ("--no-mcu", false),
    ("--out", true),
    ("-o", true),
];

/// A measured model, and how to make it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// Such as `lenet-5`; see [`network_name`].
    pub(crate) network: String,
    /// The prior of the group scales.
    pub(crate) prior: String,
    pub(crate) seed: u64,
    /// Which control of the method it is, such as `order-by-magnitude`; none for the method itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) control: Option<String>,
    /// The error of the integer model on the whole test set, computed by the runtime.
    pub(crate) error_percent: f64,
    /// The whole `model.bbk`.
    pub(crate) file_bytes: u64,
    /// 4 bytes a weight and bias of the dense network.
    pub(crate) float_bytes: u64,
    /// Float bytes by file bytes.
    pub(crate) ratio: f64,
    /// Multiply-accumulates of one inference of the integer model.
    pub(crate) macs: u64,
    /// The command, without what changes nothing; see [`normalise`].
    pub(crate) command: String,
    /// The date, by RFC 3339.
    pub(crate) date: String,
    /// The error of the dense float network on the same test set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dense_error_percent: Option<f64>,
    /// What was done to the data before they were read, if anything was: a few words in the first line,
    /// which every table shows, and what they mean below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data_note: Option<String>,
    /// The machine that it ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) machine: Option<String>,
    /// Test examples that the emulated Cortex-M4 ran, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mcu_vectors: Option<u64>,
    /// Output bytes that differed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mcu_mismatches: Option<u64>,
    /// Mean instructions of an inference there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mcu_instructions: Option<u64>,
    /// The same with all weights that are coded unpacked into RAM once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mcu_unpacked_instructions: Option<u64>,
    /// The points that the model was chosen from, gentlest first, where the job traced a front.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) front: Vec<FrontPoint>,
}

/// A point of a front.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FrontPoint {
    /// Factor on the temperature of the KL.
    #[serde(default = "as_the_job", skip_serializing_if = "is_as_the_job")]
    pub(crate) temperature: f64,
    /// The error of the integer model on the whole test set; counted after the choice.
    pub(crate) test_error_percent: f64,
    /// The same on the validation examples that points are judged by.
    #[serde(rename = "error_percent")]
    pub(crate) validation_error_percent: f64,
    /// The whole model file.
    pub(crate) file_bytes: u64,
    /// Multiply-accumulates of one inference.
    pub(crate) macs: u64,
    /// Whether it became the job's model.
    pub(crate) chosen: bool,
}

fn as_the_job() -> f64 {
    1.0
}

/// Whether a factor says nothing.
pub(crate) fn is_as_the_job(factor: &f64) -> bool {
    *factor == as_the_job()
}

impl Row {
    /// Whether `other` is the same run, done again.
    pub(crate) fn is_same_run(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    /// What rows are sorted and told apart by.
    pub(crate) fn key(&self) -> (&str, &str, &str, &str, u64) {
        (&self.network, &self.prior, &self.command, self.data_label(), self.seed)
    }

    /// What was done to the data, in a few words; empty for data as they are published.
    pub(crate) fn data_label(&self) -> &str {
        self.data_note.as_deref().and_then(|note| note.lines().next()).unwrap_or_default()
    }

    /// Whether it is there to be compared with: a control of the method, or a job that stands among them.
    pub(crate) fn is_control(&self) -> bool {
        self.control.is_some() || self.command.contains("jobs/controls/")
    }

    /// What chose the groups: the prior, or the control that stands in its place.
    pub(crate) fn method(&self) -> String {
        match &self.control {
            None => self.prior.clone(),
            Some(control) => format!("{} ({control})", self.prior),
        }
    }

    /// The command without its seed: what runs of several seeds have in common.
    pub(crate) fn recipe(&self) -> String {
        let mut words = self.command.split_whitespace();
        let mut kept = Vec::new();
        while let Some(word) = words.next() {
            match word {
                "--seed" | "--out" => _ = words.next(),
                word if word.starts_with("--seed=") || word.starts_with("--out=") => {}
                word => kept.push(word),
            }
        }
        kept.join(" ")
    }
}

/// A finished job: its row and the name of its data set.
pub(crate) struct Finished {
    pub(crate) row: Row,
    pub(crate) set: String,
}

/// The part of `summary.json` that a row takes.
#[derive(Deserialize)]
struct Summary {
    network: String,
    prior: String,
    seed: u64,
    control: Option<String>,
    error_percent: f64,
    file_bytes: u64,
    float_bytes: u64,
    ratio: f64,
    macs: u64,
    command: String,
    date: String,
    data_note: Option<String>,
    dense: Dense,
    layers: Vec<Layer>,
    front: Option<Front>,
}

#[derive(Deserialize)]
struct Front {
    points: Vec<FrontPoint>,
}

#[derive(Deserialize)]
struct Dense {
    error_percent: f64,
}

#[derive(Deserialize)]
struct Layer {
    shape_before: Vec<u64>,
}

/// The part of `job.toml` that names the data.
#[derive(Deserialize)]
struct Job {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    kind: String,
    inputs: Option<String>,
}

/// Reads the output folder of a finished job, whose file is looked for in the checkout at `root`.
///
/// # Errors
/// When it isn't one (a file is missing, or lacks a key), and when the job file has other settings
/// now than it was run with.
pub(crate) fn finished(root: &Path, folder: &Path) -> Result<Finished, XtaskError> {
    let path = folder.join(SUMMARY_FILE);
    let summary: Summary = serde_json::from_str(&super::read(&path)?)
        .map_err(|error| XtaskError::Results { path, problem: error.to_string() })?;
    let path = folder.join(JOB_FILE);
    let resolved = super::read(&path)?;
    let wrong = |error: toml::de::Error| XtaskError::Results {
        path: path.clone(),
        problem: error.to_string(),
    };
    let job: Job = toml::from_str(&resolved).map_err(wrong)?;
    let command = normalise(&summary.command);
    compare_with_shipped(root, folder, &command, &resolved.parse().map_err(wrong)?)?;
    let shapes: Vec<&[u64]> =
        summary.layers.iter().map(|layer| layer.shape_before.as_slice()).collect();
    let row = Row {
        network: network_name(&shapes, &summary.network),
        prior: summary.prior,
        seed: summary.seed,
        control: summary.control,
        error_percent: summary.error_percent,
        file_bytes: summary.file_bytes,
        float_bytes: summary.float_bytes,
        ratio: summary.ratio,
        macs: summary.macs,
        command,
        date: summary.date,
        dense_error_percent: Some(summary.dense.error_percent),
        data_note: summary.data_note,
        machine: None,
        mcu_vectors: None,
        mcu_mismatches: None,
        mcu_instructions: None,
        mcu_unpacked_instructions: None,
        front: summary.front.map_or_else(Vec::new, |front| front.points),
    };
    Ok(Finished { row, set: data_set(&job.data) })
}

/// Refuses a job whose file in the checkout, if it is from there, says something else by now.
fn compare_with_shipped(
    root: &Path,
    folder: &Path,
    command: &str,
    resolved: &toml::Table,
) -> Result<(), XtaskError> {
    let shipped = command.split_whitespace().find(|word| word.ends_with(".toml"));
    let Some(path) = shipped.map(|job| root.join(job)).filter(|path| path.is_file()) else {
        return Ok(());
    };
    let wrong = |error: toml::de::Error| XtaskError::Results {
        path: path.clone(),
        problem: error.to_string(),
    };
    let shipped: toml::Table = super::read(&path)?.parse().map_err(wrong)?;
    match job::difference(&shipped, resolved, command) {
        None => Ok(()),
        Some(problem) => Err(XtaskError::JobChanged { job: path, folder: folder.into(), problem }),
    }
}

/// The network's name: by the shapes of its layers where those are known ones, else the job's name
/// without a prior at its end.
fn network_name(shapes: &[&[u64]], job: &str) -> String {
    match KNOWN_NETWORKS.iter().find(|(_, known)| *known == shapes) {
        Some((name, _)) => (*name).to_owned(),
        None => PRIOR_SUFFIXES
            .iter()
            .find_map(|suffix| job.strip_suffix(suffix))
            .unwrap_or(job)
            .to_owned(),
    }
}

/// The data set's name: the folder that its inputs are in (`mnist`), else the kind (`digits`), which is a
/// name where it is that of a set.
fn data_set(data: &Data) -> String {
    let folder = data.inputs.as_deref().and_then(|inputs| Path::new(inputs).parent());
    match folder.and_then(Path::file_name) {
        Some(name) if data.kind != "cifar-10" => name.to_string_lossy().into_owned(),
        _ => data.kind.clone(),
    }
}

/// The command as one would type it in a fresh checkout: the program by its name, the job file
/// relative to the checkout, and nothing that doesn't change the result.
fn normalise(command: &str) -> String {
    let mut words = command.split_whitespace();
    let mut kept = Vec::new();
    if words.next().is_some() {
        kept.push("bitsback".to_owned());
    }
    while let Some(word) = words.next() {
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        match IRRELEVANT.iter().find(|(option, _)| *option == name) {
            Some((_, true)) if name == word => _ = words.next(),
            Some(_) => {}
            None => kept.push(relative(word)),
        }
    }
    kept.join(" ")
}

/// A path from `jobs/` on, where there is such a folder in it.
fn relative(word: &str) -> String {
    match word.rfind("/jobs/") {
        Some(at) => word[at + 1..].to_owned(),
        None => word.strip_prefix("./").unwrap_or(word).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn commands_lose_the_place_and_what_changes_nothing() {
        for (given, wanted) in [
            ("bitsback demo", "bitsback demo"),
            (
                "/opt/copy/bitsback1 compress jobs/lenet-5.toml --out out/lenet-5 --force",
                "bitsback compress jobs/lenet-5.toml",
            ),
            (
                "target/release/bitsback compress /a/b/jobs/x.toml --seed 2 --out=out/2 --json",
                "bitsback compress jobs/x.toml --seed 2",
            ),
            ("bitsback compress ./mine.toml --resume", "bitsback compress mine.toml"),
            ("bitsback compress mine.toml -o out/2 -q", "bitsback compress mine.toml"),
        ] {
            assert_eq!(normalise(given), wanted);
        }
    }

    #[test]
    fn networks_are_known_by_their_shapes() {
        let lenet: [&[u64]; 3] = [&[300, 784], &[100, 300], &[10, 100]];
        assert_eq!(network_name(&lenet, "lenet-300-100-horseshoe"), "lenet-300-100");
        assert_eq!(network_name(&lenet, "anything"), "lenet-300-100");
        assert_eq!(network_name(&[&[10, 4]], "valve-horseshoe"), "valve");
        assert_eq!(network_name(&[&[10, 4]], "valve"), "valve");
    }

    #[test]
    fn data_sets_are_named_by_their_folder() {
        let data =
            |inputs: Option<&str>| Data { kind: "idx".into(), inputs: inputs.map(str::to_owned) };
        assert_eq!(data_set(&data(Some("/x/jobs/../data/mnist/train-images"))), "mnist");
        assert_eq!(data_set(&data(None)), "idx");
        let cifar = Data { kind: "cifar-10".into(), inputs: Some("/x/data/mine".into()) };
        assert_eq!(data_set(&cifar), "cifar-10");
    }

    #[test]
    fn a_folder_gives_a_row_and_a_damaged_one_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let error = finished(path, path).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(SUMMARY_FILE), "{error}");
        let summary = r#"{"network": "a", "prior": "horseshoe", "seed": 3, "error_percent": 1.5,
            "file_bytes": 10, "float_bytes": 100, "ratio": 10.0, "macs": 7, "command": "b compress jobs/a.toml --seed 3",
            "date": "2026-01-02T03:04:05Z", "dense": {"error_percent": 1.0},
            "layers": [{"shape_before": [2, 3]}], "front": {"points": [{"point": 1, "chosen": true,
            "test_error_percent": 1.5, "error_percent": 1.25, "file_bytes": 10, "macs": 7}]}}"#;
        fs::write(path.join(SUMMARY_FILE), summary).unwrap();
        fs::write(path.join(JOB_FILE), "[data]\nkind = \"digits\"\n").unwrap();
        let Finished { row, set } = finished(path, path).unwrap();
        assert_eq!((set.as_str(), row.network.as_str(), row.seed), ("digits", "a", 3));
        assert_eq!(row.command, "bitsback compress jobs/a.toml --seed 3");
        assert_eq!(row.recipe(), "bitsback compress jobs/a.toml");
        assert_eq!((row.front.len(), row.front[0].validation_error_percent), (1, 1.25));
        let json = serde_json::to_string(&row.front).unwrap();
        assert!(row.front[0].temperature == 1.0 && !json.contains("temperature"), "{json}");
        fs::create_dir(path.join("jobs")).unwrap();
        fs::write(path.join("jobs/a.toml"), "[data]\nkind = \"csv\"\n").unwrap();
        let error = finished(path, path).map(|_| ()).unwrap_err();
        assert!(matches!(error, XtaskError::JobChanged { .. }), "{error}");
        fs::write(path.join(SUMMARY_FILE), summary.replace("macs", "mac")).unwrap();
        let error = finished(path, path).map(|_| ()).unwrap_err();
        assert!(matches!(&error, XtaskError::Results { problem, .. } if problem.contains("macs")));
    }
}
