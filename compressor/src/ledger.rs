//! The ledger: every group and every layer's bits, with the numbers behind each decision.

use serde::{Deserialize, Serialize};

/// Why a group was kept or removed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Its unimportance is below the threshold.
    BelowThreshold,
    /// Its unimportance reached the threshold.
    AboveThreshold,
    /// Removed during training: the loss on a held-out slice of the training set rose by less than
    /// the budget when it and everything less important were ablated.
    AblationHarmless,
    /// Nothing reads it any more.
    NoConsumer,
    /// Its value no longer depends on the input; the constant went into the next bias.
    Constant,
    /// It would have been removed, but a layer may not become empty.
    LastOfLayer,
}

/// One group's fate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Layer name, such as `conv2d_1` (see [`crate::network::Topology::affine_name`]).
    pub layer: String,
    /// `input` or `filter`.
    pub kind: GroupKind,
    /// Index in the network before any pruning.
    pub group: usize,
    /// log α or v − m when it was decided.
    pub unimportance: f32,
    /// What it was compared with.
    pub threshold: f32,
    /// Whether it is in the model.
    pub kept: bool,
    /// Why.
    pub reason: Reason,
    /// `training`, `pruning` or `folding`.
    pub stage: String,
    /// Training step at which it was decided (0 after training).
    pub step: u64,
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
    /// Largest |w|.
    pub largest: f32,
    /// Fractional bits: the grid's step is 2^−fraction.
    pub fraction: i32,
    /// Width of a weight in the file.
    pub bits: u8,
    /// What chose it, in words.
    pub rule: String,
}
