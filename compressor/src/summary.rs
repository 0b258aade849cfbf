//! What a job came to: the figures before and after, for the table, the report and
//! `summary.json`.

use std::path::Path;

use bitsback_runtime::Header;
use serde::{Deserialize, Serialize};

use crate::cost::{Core, Instructions};
use crate::files;
use crate::graph::{InputPart, LeftOut};
use crate::posterior::Prior;
use crate::select::chance::Standing;
use crate::select::{DecisionSummary, FrontSummary};
use crate::sentinel::SentinelSummary;

/// File name in a job's output folder.
pub(crate) const SUMMARY_FILE: &str = "summary.json";

/// Largest summary that is read back (16 MiB): thousands of layers and points.
const MAX_SUMMARY_BYTES: u64 = 16 << 20;

/// One network's figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Error on the test split, which had no part in any decision.
    pub error_percent: f64,
    /// Size: of a float network 4 bytes a weight and bias; of a compressed one the whole file.
    pub file_bytes: u64,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    /// Working memory of the integer runtime; a float network has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arena_bytes: Option<u64>,
}

/// What an inference takes on the device, before and after.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Its core.
    pub core: Core,
    /// Of the dense network in plain 8 bits, by the same runtime; none where it has no integer form.
    pub dense: Option<Instructions>,
    /// Of the model, with its weights as they are stored and unpacked once.
    pub compressed: Instructions,
}

/// One affine layer before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerSummary {
    /// Such as `conv2d_1` (see [`crate::graph::Graph::number_nodes`]).
    pub name: String,
    /// `dense` or `conv2d`.
    pub op: String,
    /// Weights' shape in the trained dense network: outputs × (kernel height × width ×) inputs.
    pub shape_before: Vec<usize>,
    /// Weights' shape in the model.
    pub shape_after: Vec<usize>,
    /// Groups (inputs or filters) before.
    pub groups_before: usize,
    /// Groups in the model.
    pub groups_after: usize,
    /// Width of a weight in the file.
    pub bits: u8,
    /// 4 bytes a weight and bias of the dense network.
    pub float_bytes: u64,
    /// Weights, biases and scales in the file.
    pub file_bytes: u64,
    /// Multiply-accumulates before.
    pub macs_before: u64,
    /// Multiply-accumulates in the model.
    pub macs_after: u64,
}

/// A row of `docs/results/`: what the compressed model is, and how to make it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultRow {
    /// The job's network, such as `lenet-5`.
    pub network: String,
    /// Prior of the group scales.
    pub prior: Prior,
    /// Seed of everything random.
    pub seed: u64,
    /// Error of the compressed model on the test split, by the integer runtime.
    pub error_percent: f64,
    /// Size of the whole model file.
    pub file_bytes: u64,
    /// 4 bytes a weight and bias of the dense network.
    pub float_bytes: u64,
    /// `float_bytes / file_bytes`.
    pub ratio: f64,
    /// Multiply-accumulates of the compressed model.
    pub macs: u64,
    /// The command that made it.
    pub command: String,
    /// When it was done, RFC 3339.
    pub date: String,
}

/// The networks beside chance, on the validation examples that they were judged by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChanceSummary {
    /// Validation examples.
    pub examples: u64,
    /// The class that most of them have.
    pub most_frequent: String,
    /// Error of always answering that class.
    pub most_frequent_error_percent: f64,
    /// Error of the dense network.
    pub dense_error_percent: f64,
    /// How the dense network stands.
    pub dense: Standing,
    /// Error of the integer model.
    pub error_percent: f64,
    /// How the integer model stands.
    pub compressed: Standing,
    /// Classes that the dense network knows, and the model never answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_classes: Vec<String>,
}

/// What a job leaves out of the method, to be compared with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// There is no Bayesian stage: nothing is removed for being uncertain.
    NoBayesianStage,
    /// Removal is ordered by the weights' magnitude instead of the posterior.
    OrderByMagnitude,
}

/// All of a job's figures. As JSON, [`ResultRow`]'s keys stand at the top.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The row.
    #[serde(flatten)]
    pub row: ResultRow,
    /// Which control of the method the job is; none for the method itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    /// Version of bitsback.
    pub version: String,
    /// What was done to the data before they were read, if anything was: a few words, and below them
    /// what they mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_note: Option<String>,
    /// Examples in the test split.
    pub test_examples: u64,
    /// The trained float network before compression.
    pub dense: Figures,
    /// The model file, run by the integer runtime.
    pub compressed: Figures,
    /// Instructions of an inference of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<Speed>,
    /// Affine layers, in order.
    pub layers: Vec<LayerSummary>,
    /// Whether the networks are better than chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<ChanceSummary>,
    /// What the model is sure of, if the job promises something of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionSummary>,
    /// By what the device notices that the field has changed, if the job asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<SentinelSummary>,
    /// Channels that never change or are never read, and so aren't in the model, if there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
    /// The part of its input image that it reads, if that isn't all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_part: Option<InputPart>,
    /// The front that the model was chosen from, if the job traced one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub front: Option<FrontSummary>,
}

/// What [`Summary::new`] can't compute.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The job's network.
    pub network: String,
    /// Prior of the group scales.
    pub prior: Prior,
    /// Which control of the method the job is.
    pub control: Option<Control>,
    /// Seed of everything random.
    pub seed: u64,
    /// The command that was given.
    pub command: String,
    /// When the job ended, RFC 3339.
    pub date: String,
}

impl Summary {
    /// Puts the figures together.
    pub(crate) fn new(
        origin: Origin,
        test_examples: u64,
        dense: Figures,
        compressed: Figures,
        layers: Vec<LayerSummary>,
    ) -> Self {
        let Origin { network, prior, control, seed, command, date } = origin;
        let row = ResultRow {
            network,
            prior,
            seed,
            error_percent: compressed.error_percent,
            file_bytes: compressed.file_bytes,
            float_bytes: dense.file_bytes,
            ratio: ratio(dense.file_bytes, compressed.file_bytes),
            macs: compressed.macs,
            command,
            date,
        };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            row,
            control,
            version,
            data_note: None,
            test_examples,
            dense,
            compressed,
            instructions: None,
            layers,
            chance: None,
            decision: None,
            sentinel: None,
            left_out: None,
            input_part: None,
            front: None,
        }
    }

    /// How many times fewer multiply-accumulates.
    pub fn macs_ratio(&self) -> f64 {
        ratio(self.dense.macs, self.compressed.macs)
    }

    /// Points of error added (negative: removed).
    pub fn error_change(&self) -> f64 {
        self.compressed.error_percent - self.dense.error_percent
    }
}

/// What the summary of a folder says of the decisions of a model with these bytes; `None` where there is
/// none, it is of another version, or of a model with another margin or length.
pub(crate) fn read_decision(folder: &Path, model: &[u8]) -> Option<DecisionSummary> {
    let margin = Header::read(model)?.margin;
    let summary = read_of(folder, model)?;
    summary.decision.filter(|decision| decision.margin == Some(margin))
}

/// What the summary of a folder says of the sentinel of a model with these bytes, whose threshold is so many
/// bits; `None` as of [`read_decision`].
pub(crate) fn read_sentinel(
    folder: &Path,
    model: &[u8],
    threshold_bits: f64,
) -> Option<SentinelSummary> {
    let summary = read_of(folder, model)?;
    summary.sentinel.filter(|sentinel| sentinel.threshold_bits == threshold_bits)
}

/// The summary of a folder, if it is of a model with as many bytes.
fn read_of(folder: &Path, model: &[u8]) -> Option<Summary> {
    let bytes = files::read(&folder.join(SUMMARY_FILE), MAX_SUMMARY_BYTES).ok()?;
    let summary: Summary = serde_json::from_slice(&bytes).ok()?;
    (summary.compressed.file_bytes == model.len() as u64).then_some(summary)
}

/// `before / after`, 0 where there is nothing after.
pub(crate) fn ratio(before: u64, after: u64) -> f64 {
    if after == 0 { 0.0 } else { before as f64 / after as f64 }
}

/// The 95 % interval of an error rate of which `error_percent` was seen on `count` examples
/// (Wilson, 1927), in percent. `None` without examples.
pub(crate) fn error_interval(error_percent: f64, count: u64) -> Option<(f64, f64)> {
    const Z: f64 = 1.959_963_985;
    if count == 0 || !error_percent.is_finite() {
        return None;
    }
    let (p, n) = (error_percent / 100.0, count as f64);
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).max(0.0).sqrt();
    let scale = 1.0 + Z * Z / n;
    let percent = |x: f64| (100.0 * x / scale).clamp(0.0, 100.0);
    Some((percent(centre - spread), percent(centre + spread)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cost::{Provenance, Unpacked};

    /// A summary with every field filled, for other modules' tests, too.
    pub(crate) fn example() -> Summary {
        let origin = Origin {
            network: "digits".into(),
            prior: Prior::NormalJeffreys,
            control: None,
            seed: 1,
            command: "bitsback demo".into(),
            date: "2026-01-02T03:04:05Z".into(),
        };
        let dense =
            Figures { error_percent: 2.0, file_bytes: 40_000, macs: 10_000, arena_bytes: None };
        let compressed =
            Figures { error_percent: 2.5, file_bytes: 2_000, macs: 1_000, arena_bytes: Some(128) };
        let layer = LayerSummary {
            name: "dense_1".into(),
            op: "dense".into(),
            shape_before: vec![300, 64],
            shape_after: vec![40, 30],
            groups_before: 64,
            groups_after: 30,
            bits: 4,
            float_bytes: 78_000,
            file_bytes: 800,
            macs_before: 19_200,
            macs_after: 1_200,
        };
        Summary::new(origin, 400, dense, compressed, vec![layer])
    }

    /// Both networks' instructions, so known.
    pub(crate) fn speed(dense: Provenance, compressed: Provenance) -> Speed {
        let unpacked = Some(Unpacked { count: 16_000, weights_ram_bytes: 1_427 });
        let compressed = Instructions { unpacked, ..Instructions::stored(64_000, compressed) };
        let dense = Some(Instructions::stored(48_000, dense));
        Speed { core: Core::CortexM4, dense, compressed }
    }

    #[test]
    fn json_tells_both_ways() {
        let mut summary = example();
        summary.instructions = Some(speed(Provenance::Estimated, Provenance::Estimated));
        let value = serde_json::to_value(&summary).unwrap();
        let instructions = &value["instructions"];
        assert_eq!(instructions["core"], "cortex-m4");
        assert_eq!(instructions["dense"]["count"], 48_000);
        assert_eq!(instructions["compressed"]["count"], 64_000);
        assert_eq!(instructions["compressed"]["unpacked"]["weights_ram_bytes"], 1_427);
        assert_eq!(serde_json::from_value::<Summary>(value).unwrap(), summary);
    }

    #[test]
    fn json_has_the_rows_keys_at_the_top() {
        let value = serde_json::to_value(example()).unwrap();
        for key in [
            "network",
            "prior",
            "seed",
            "error_percent",
            "file_bytes",
            "float_bytes",
            "ratio",
            "macs",
            "command",
            "date",
            "dense",
            "compressed",
            "layers",
        ] {
            assert!(value.get(key).is_some(), "{key}");
        }
        assert_eq!(value["prior"], "normal-jeffreys");
        assert_eq!(value["ratio"], 20.0);
        assert_eq!(value["compressed"]["arena_bytes"], 128);
        assert!(value["dense"].get("arena_bytes").is_none());
        assert_eq!(serde_json::from_value::<Summary>(value).unwrap(), example());
    }

    #[test]
    fn ratios_survive_nothing() {
        assert_eq!(ratio(1, 0), 0.0);
        assert_eq!(example().macs_ratio(), 10.0);
        assert_eq!(example().error_change(), 0.5);
    }

    #[test]
    fn the_interval_is_wilsons() {
        let (low, high) = error_interval(10.0, 100).unwrap();
        assert!((low - 5.522).abs() < 1e-3 && (high - 17.437).abs() < 1e-3, "{low} {high}");
        assert_eq!(error_interval(0.0, 10).unwrap().0, 0.0);
        assert!(error_interval(f64::NAN, 10).is_none() && error_interval(1.0, 0).is_none());
    }
}
