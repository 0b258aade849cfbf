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
    tell(setting, &network, &format!("weights: {} ({})", path.display(), pairs.join(", ")));
    Ok(network)
}

/// Says what the validation error of a given network is.
pub(super) fn tell(setting: &Setting<'_>, network: &FloatNetwork, what: &str) {
    let error_percent = score(network, setting.validation, setting.device).error_percent;
    setting.progress.note(&format!("{what}; validation error {error_percent:.2} %"));
}
