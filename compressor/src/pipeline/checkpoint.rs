//! The checkpoint: where a job is, exactly enough to go on and end with the same bytes.
//!
//! One file, `checkpoint.bin`: an 8-byte magic, a CRC-32 of the rest, and a postcard record. It is
//! replaced atomically, so a kill leaves the one before. A checkpoint belongs to one resolved job
//! on one device; any other is refused.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::CheckpointError;
use crate::files;
use crate::graph::{Affine, Graph};
use crate::ledger::GroupRecord;
use crate::posterior::Posterior;
use crate::prune::{Lineage, Thresholds};
use crate::train::quantized::{self, Quantized};
use crate::train::{deterministic, variational};

/// File name in a job's output folder.
pub(crate) const CHECKPOINT_FILE: &str = "checkpoint.bin";

/// First bytes of the file; the digit is the layout's version.
const MAGIC: &[u8; 8] = b"BBKCKPT9";

/// Longest file that is read back: parameters, two moments and two copies of the largest network
/// that a job may describe.
pub(crate) const MAX_CHECKPOINT_BYTES: u64 = 4 << 30;

/// A job's position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// The fully resolved job, as TOML.
    pub job: String,
    /// burn's device.
    pub device: String,
    /// Seconds of work so far.
    pub seconds: f64,
    /// What is done.
    pub state: JobState,
}

/// How far a job has come, with what the rest needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "a job has one of them")]
pub(crate) enum JobState {
    /// The deterministic network is training.
    Pretrain(deterministic::State),
    /// The posterior is training.
    Variational {
        /// The pre-trained network.
        dense: Graph<Affine>,
        /// The posterior.
        state: variational::State,
    },
    /// What is left is being fine-tuned.
    Finetune {
        /// The pre-trained network.
        dense: Graph<Affine>,
        /// What pruning decided.
        pruned: Pruned,
        /// The fine-tuning.
        state: deterministic::State,
    },
    /// What is left is fine-tuned: the base of every point of a front.
    Finetuned {
        /// The pre-trained network.
        dense: Graph<Affine>,
        /// What pruning decided.
        pruned: Pruned,
        /// The fine-tuned network.
        network: Graph<Affine>,
    },
    /// The survivors are being trained in integers.
    Quantize {
        /// The pre-trained network.
        dense: Graph<Affine>,
        /// What pruning decided.
        pruned: Pruned,
        /// The training.
        state: quantized::State,
    },
    /// Training is over; the rest is deterministic and quick.
    Trained {
        /// The pre-trained network.
        dense: Graph<Affine>,
        /// What pruning decided.
        pruned: Pruned,
        /// The network to lower.
        network: Graph<Affine>,
        /// Its integers, if it was trained in integers.
        quantized: Option<Quantized>,
    },
}

impl JobState {
    /// Name of the stage and steps done in it.
    pub(crate) fn position(&self) -> (&'static str, u64) {
        match self {
            Self::Pretrain(state) => ("pretrain", state.step),
            Self::Variational { state, .. } => ("variational", state.step),
            Self::Finetune { state, .. } => ("finetune", state.step),
            Self::Quantize { state, .. } => ("quantize", state.step),
            Self::Finetuned { .. } | Self::Trained { quantized: None, .. } => {
                ("finetune", u64::MAX)
            }
            Self::Trained { quantized: Some(_), .. } => ("quantize", u64::MAX),
        }
    }
}

/// What pruning decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pruned {
    /// The posterior of what is left.
    pub posterior: Posterior,
    /// Which groups of the first network the present ones are.
    pub lineage: Lineage,
    /// The fate of every group.
    pub groups: Vec<GroupRecord>,
    /// Histograms, thresholds and the way to them.
    pub thresholds: Thresholds,
    /// KL of the whole posterior before pruning, in nats.
    pub description_length_nats: f64,
}

impl Checkpoint {
    /// Replaces the file.
    ///
    /// # Errors
    /// [`CheckpointError::File`] or [`CheckpointError::Encode`].
    pub(crate) fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let body = postcard::to_stdvec(self).map_err(CheckpointError::Encode)?;
        let crc = crc32fast::hash(&body).to_le_bytes();
        Ok(files::write_atomic_with(path, |file| {
            file.write_all(MAGIC)?;
            file.write_all(&crc)?;
            file.write_all(&body)
        })?)
    }

    /// Reads the file, which must be of `job` on `device`.
    ///
    /// # Errors
    /// [`CheckpointError`] says which file and why.
    pub(crate) fn load(path: &Path, job: &str, device: &str) -> Result<Self, CheckpointError> {
        let bytes = files::read(path, MAX_CHECKPOINT_BYTES)?;
        let damaged = |why| CheckpointError::Damaged { path: path.to_owned(), why };
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("its first bytes differ"))?;
        let (crc, body) = rest.split_first_chunk::<4>().ok_or_else(|| damaged("it is cut off"))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(damaged("its checksum differs"));
        }
        let found: Self =
            postcard::from_bytes(body).map_err(|_| damaged("its record can't be decoded"))?;
        let other = |what| CheckpointError::Other { path: path.to_owned(), what };
        if found.job != job {
            return Err(other("job"));
        }
        if found.device != device {
            return Err(other("device"));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ops::Dense;

    fn checkpoint() -> Checkpoint {
        let mut network = Graph::of_input(vec![1]);
        network.push("dense_1", Dense {}, vec![0], vec![1], Some(Affine::default()));
        Checkpoint {
            job: "seed = 1".into(),
            device: "flex".into(),
            seconds: 1.5,
            state: JobState::Pretrain(deterministic::State::new(network)),
        }
    }

    #[test]
    fn comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CHECKPOINT_FILE);
        checkpoint().save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path, "seed = 1", "flex").unwrap(), checkpoint());
    }

    #[test]
    fn another_job_or_device_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CHECKPOINT_FILE);
        checkpoint().save(&path).unwrap();
        for (job, device) in [("seed = 2", "flex"), ("seed = 1", "ndarray")] {
            let error = Checkpoint::load(&path, job, device).unwrap_err();
            assert!(matches!(error, CheckpointError::Other { .. }), "{error}");
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CHECKPOINT_FILE);
        checkpoint().save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let error = Checkpoint::load(&path, "seed = 1", "flex").unwrap_err();
            assert!(matches!(error, CheckpointError::Damaged { .. }), "{error}");
        };
        for length in 0..whole.len() {
            refused(&whole[..length]);
        }
        for byte in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[byte] ^= 1 << (byte % 8);
            refused(&bytes);
        }
    }
}
