//! The ledger: every group and every layer's bits, with the numbers behind each decision.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};

/// Why a group was kept or removed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Its prune score is below the threshold.
    BelowThreshold,
    /// Its prune score reached the threshold.
    AboveThreshold,
    /// Removed during training: the loss on a held-out slice of the training set rose by less than
    /// the budget when it and everything less important were ablated.
    AblationHarmless,
    /// Removed during training in the same way, with all inputs that come from the outer row or column of
    /// an image: the layers before no longer compute it.
    EdgeHarmless,
    /// Nothing reads it any more.
    NoConsumer,
    /// Its value no longer depends on the input; the constant went into the next bias.
    Constant,
    /// It would have been removed, but a layer may not become empty.
    LastOfLayer,
    /// It would have been removed, but something else needs its channel, or it isn't zero without it.
    CannotLeave,
    /// Kept: the job has no Bayesian stage that could tell.
    NotJudged,
}

/// One group's fate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Layer name, such as `conv2d_1` (see [`crate::graph::Graph::number_nodes`]).
    pub layer: String,
    /// `input` or `filter`.
    pub kind: GroupKind,
    /// Index in the network before any pruning.
    pub group: usize,
    /// The prune score, log α or v − m, when it was decided.
    #[serde(rename = "unimportance")]
    pub prune_score: f32,
    /// What it was compared with.
    pub threshold: f32,
    /// Whether it is in the model.
    pub kept: bool,
    /// Why.
    pub reason: Reason,
    /// `training`, `pruning`, `folding`, `integers` or `front`.
    pub stage: String,
    /// Training step at which it was decided (0 after training).
    pub step: u64,
    /// Rise of the loss in nats by the removal that it was part of: of its whole layer's part on
    /// training examples in `training` and `front`, of all layers' on validation in `pruning`, and 0
    /// where removal is exact. None where it stays, or nothing was measured.
    pub effect: Option<f32>,
    /// What it saved when it left in `training`, with the groups that go together with it: bytes of the
    /// file or predicted instructions, as `[variational] cost` says. None without such a cost, and where it
    /// left or stayed otherwise.
    pub saved: Option<f32>,
}

/// What a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupKind {
    /// An input of a dense layer.
    Input,
    /// A filter of a convolution.
    Filter,
}

/// One layer's bit width.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BitRecord {
    /// Layer name.
    pub layer: String,
    /// Weights kept.
    pub weights: usize,
    /// Mean posterior variance of the kept weights.
    pub mean_variance: f64,
    /// Variance of the noise that rounding to the grid adds, which is held against the posterior's:
    /// a twelfth of the step's square.
    #[serde(default)]
    pub rounding_noise: f64,
    /// Largest |w|.
    pub largest: f32,
    /// The coarsest step that training in integers began with; none for weights that are only rounded.
    #[serde(default)]
    pub start_step: Option<f32>,
    /// The coarsest step at the end.
    #[serde(default)]
    pub step: f32,
    /// Fractional bits: the grid's step is 2^−fraction, rounded down to a power of two where training
    /// learned it.
    pub fraction: i32,
    /// Width of a weight in the file.
    pub bits: u8,
    /// What chose it, in words.
    pub rule: String,
    /// Rise of the loss on validation, in nats, by rounding this layer's weights alone. None for
    /// weights that were trained in integers: there is nothing that they were rounded from.
    #[serde(default)]
    pub effect: Option<f64>,
    /// Description length of the layer: the KL divergence of its posterior from the prior when
    /// training ended, in bits. None where training tempered it, or there was none.
    pub description_bits: Option<f64>,
}

/// Everything that was decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// One record a group of the network before any pruning, in the order of layers and groups.
    pub groups: Vec<GroupRecord>,
    /// One record an affine layer.
    pub bits: Vec<BitRecord>,
}

/// File of [`Ledger::groups`]; columns as the fields of [`GroupRecord`].
pub(crate) const GROUPS_FILE: &str = "ledger.csv";
/// File of [`Ledger::bits`]; columns as the fields of [`BitRecord`].
pub(crate) const BITS_FILE: &str = "ledger-bits.csv";

/// Largest [`BITS_FILE`] that is read back (1 MiB): thousands of layers.
pub(crate) const MAX_BITS_BYTES: u64 = 1 << 20;

impl Ledger {
    /// Writes [`GROUPS_FILE`] and [`BITS_FILE`] into `folder`, which exists. Two files because
    /// their columns differ, and a table program wants one table a file.
    ///
    /// # Errors
    /// [`FileError::Write`] names the file.
    pub(crate) fn write_csv(&self, folder: &Path) -> Result<(), FileError> {
        write_rows(&folder.join(GROUPS_FILE), GROUP_COLUMNS, &self.groups)?;
        write_rows(&folder.join(BITS_FILE), BIT_COLUMNS, &self.bits)
    }
}

/// The header is written even when there is no row; a test keeps it equal to the fields.
const GROUP_COLUMNS: &[&str] = &[
    "layer",
    "kind",
    "group",
    "unimportance",
    "threshold",
    "kept",
    "reason",
    "stage",
    "step",
    "effect",
    "saved",
];
/// As [`GROUP_COLUMNS`].
const BIT_COLUMNS: &[&str] = &[
    "layer",
    "weights",
    "mean_variance",
    "rounding_noise",
    "largest",
    "start_step",
    "step",
    "fraction",
    "bits",
    "rule",
    "effect",
    "description_bits",
];

/// Reads [`BITS_FILE`] of a folder; `None` where there is none, or it is of another version.
pub(crate) fn read_bits(folder: &Path) -> Option<Vec<BitRecord>> {
    let bytes = files::read(&folder.join(BITS_FILE), MAX_BITS_BYTES).ok()?;
    csv::Reader::from_reader(bytes.as_slice()).deserialize().collect::<Result<_, _>>().ok()
}

/// Writes a table: its header, and its rows.
///
/// # Errors
/// [`FileError::Write`] names the file.
pub(crate) fn write_rows<R: Serialize>(
    path: &Path,
    columns: &[&str],
    rows: &[R],
) -> Result<(), FileError> {
    files::write_atomic_with(path, |file| {
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(file);
        writer.write_record(columns)?;
        for row in rows {
            writer.serialize(row)?;
        }
        writer.flush()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let group = GroupRecord {
            layer: "dense_1".into(),
            kind: GroupKind::Input,
            group: 3,
            prune_score: -4.5,
            threshold: -3.0,
            kept: true,
            reason: Reason::BelowThreshold,
            stage: "pruning".into(),
            step: 0,
            effect: None,
            saved: None,
        };
        let bits = BitRecord {
            layer: "dense_1".into(),
            weights: 100,
            mean_variance: 1e-4,
            rounding_noise: 0.25,
            largest: 0.5,
            start_step: Some(0.02),
            step: 0.015625,
            fraction: 6,
            bits: 6,
            rule: "2·variance < 2^−t, mean over weights, rounded up".into(),
            effect: Some(0.001),
            description_bits: Some(812.5),
        };
        Ledger { groups: vec![group], bits: vec![bits] }
    }

    #[test]
    fn both_files_have_a_header_of_the_fields_and_a_row_each() {
        let folder = tempfile::tempdir().unwrap();
        ledger().write_csv(folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join(GROUPS_FILE)).unwrap();
        assert_eq!(
            text,
            "layer,kind,group,unimportance,threshold,kept,reason,stage,step,effect,saved\n\
             dense_1,input,3,-4.5,-3.0,true,below-threshold,pruning,0,,\n"
        );
        let text = std::fs::read_to_string(folder.path().join(BITS_FILE)).unwrap();
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some(
                "layer,weights,mean_variance,rounding_noise,largest,start_step,step,fraction,bits,rule,effect,description_bits"
            )
        );
        assert!(
            lines.next().unwrap().starts_with("dense_1,100,0.0001,0.25,0.5,0.02,0.015625,6,6,")
        );
    }

    #[test]
    fn rows_read_back() {
        let folder = tempfile::tempdir().unwrap();
        ledger().write_csv(folder.path()).unwrap();
        let mut reader = csv::Reader::from_path(folder.path().join(GROUPS_FILE)).unwrap();
        let groups: Vec<GroupRecord> = reader.deserialize().map(Result::unwrap).collect();
        let mut reader = csv::Reader::from_path(folder.path().join(BITS_FILE)).unwrap();
        let bits: Vec<BitRecord> = reader.deserialize().map(Result::unwrap).collect();
        assert_eq!(read_bits(folder.path()).as_ref(), Some(&bits));
        assert_eq!(read_bits(Path::new("no/such/folder")), None);
        assert_eq!(Ledger { groups, bits }, ledger());
    }

    #[test]
    fn a_file_without_the_newer_columns_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let old = "layer,weights,mean_variance,largest,fraction,bits,rule,description_bits\n\
                   dense_1,100,0.0001,0.5,6,6,given,812.5\n";
        std::fs::write(folder.path().join(BITS_FILE), old).unwrap();
        let bits = read_bits(folder.path()).unwrap();
        assert_eq!((bits[0].effect, bits[0].description_bits), (None, Some(812.5)));
    }

    #[test]
    fn an_error_names_the_file() {
        let error = ledger().write_csv(Path::new("no/such/folder")).unwrap_err();
        assert!(error.to_string().contains("ledger.csv"), "{error}");
    }
}
