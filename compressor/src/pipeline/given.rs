//! A job that starts from weights that somebody else trained.

use std::path::Path;

use super::stages::Setting;
use crate::error::Error;
use crate::network::FloatNetwork;
use crate::train::evaluate::score;
use crate::weights::{self, Assigned, WeightsError};

/// The job's network with the weights of the file at `path`. Says which layer got which weights,
/// and what the network's error is.
pub(super) fn network(setting: &Setting<'_>, path: &Path) -> Result<FloatNetwork, Error> {
    let tensors = weights::load(path)?;
    let names = &setting.job.network.names;
    let assigned = weights::assign(setting.topology, &tensors, names);
    let Assigned { network, sources } =
        assigned.map_err(|source| WeightsError::Assign { path: path.to_owned(), source })?;
    let pairs = sources.iter().filter(|(_, module)| !module.is_empty());
    let pairs: Vec<String> = pairs.map(|(layer, module)| format!("{layer} = {module}")).collect();
    let score = score(&network, setting.validation, setting.device);
    setting.progress.note(&format!(
        "weights: {} ({}); validation error {:.2} %",
        path.display(),
        pairs.join(", "),
        score.error_percent
    ));
    Ok(network)
}
