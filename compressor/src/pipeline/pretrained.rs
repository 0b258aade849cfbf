//! A job that starts from weights that somebody else trained.

use std::path::Path;

use super::stages::TrainingContext;
use crate::error::Error;
use crate::graph::{Affine, Graph};
use crate::train::evaluate::score;
use crate::weights::{self, Assigned, WeightsError};

/// The job's network with the weights of the file at `path`. Says which layer got which weights,
/// and what the network's error is.
pub(super) fn network(context: &TrainingContext<'_>, path: &Path) -> Result<Graph<Affine>, Error> {
    let tensors = weights::load(path)?;
    let names = &context.job.network.names;
    let assigned = weights::assign(context.structure, &tensors, names);
    let Assigned { network, sources } = assigned.map_err(|source| WeightsError::Assign {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    let pairs = sources.iter().filter(|(_, module)| !module.is_empty());
    let pairs: Vec<String> = pairs.map(|(layer, module)| format!("{layer} = {module}")).collect();
    tell(context, &network, &format!("weights: {} ({})", path.display(), pairs.join(", ")));
    Ok(network)
}

/// Says what the validation error of a given network is.
pub(super) fn tell(context: &TrainingContext<'_>, network: &Graph<Affine>, what: &str) {
    let error_percent = score(network, context.validation, context.device).error_percent;
    context.progress.note(&format!("{what}; validation error {error_percent:.2} %"));
}
