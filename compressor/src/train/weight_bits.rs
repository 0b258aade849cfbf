//! Where the widths of weights that are trained in integers come from.

use serde::{Deserialize, Serialize};

/// `[quantize] bits`: where the widths of the weights come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"posterior\", or a list of widths of 2 to 8 bits such as [4]"
)]
pub enum WeightBits {
    /// From the posterior's variances: each layer's width, and the steps to start with.
    FromPosterior(FromPosterior),
    /// Given: one for all layers, or one per layer; the last one holds for all that follow.
    Given(Vec<u8>),
}

/// The word that stands for widths from the posterior.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromPosterior {
    /// `"posterior"`.
    Posterior,
}

impl WeightBits {
    /// From the posterior.
    pub(crate) const POSTERIOR: Self = Self::FromPosterior(FromPosterior::Posterior);

    /// Those of a job that states none: only a posterior that has a prior knows how certain weights are.
    pub(crate) fn of_a_job(has_kl: bool) -> Self {
        if has_kl { Self::POSTERIOR } else { Self::Given(vec![4]) }
    }

    /// The given width of each of `layers` layers; none where the posterior says.
    pub(crate) fn given(&self, layers: usize) -> Option<Vec<u8>> {
        let Self::Given(bits) = self else { return None };
        let last = bits.last().copied().unwrap_or(8);
        Some((0..layers).map(|layer| bits.get(layer).copied().unwrap_or(last)).collect())
    }
}
