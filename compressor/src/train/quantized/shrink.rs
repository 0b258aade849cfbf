//! Rows and columns of zeros leave the tensors while training goes on.

use super::State;
use super::learned::Learned;
use crate::graph::{Affine, Graph};
use crate::prune::{PruneError, Shrinkage, fold_constants};
use crate::train::TrainError;

impl State {
    /// Removes from the latent network, its moments and its average whatever the average's integers
    /// hold only zeros for, and moves the constants that this leaves into the biases behind them.
    pub(super) fn shrink(&mut self) -> Result<(), TrainError> {
        let zeroed = self.average.dequantized();
        let biases: Vec<Vec<f32>> = zeroed.parameters().map(|a| a.bias.clone()).collect();
        let folded = fold_constants(zeroed)?;
        if folded.steps.is_empty() {
            return Ok(());
        }
        let mut before = biases;
        for step in &folded.steps {
            self.removed.extend(step.records(&self.lineage));
            self.lineage.shrink(&step.shrinkage)?;
            let tensors = [
                &mut self.learned.network,
                &mut self.average.network,
                &mut self.adam.first.network,
                &mut self.adam.second.network,
            ];
            for network in tensors {
                *network = step.shrinkage.apply(network)?;
            }
            let steps = [
                &mut self.learned.log_steps,
                &mut self.average.log_steps,
                &mut self.adam.first.log_steps,
                &mut self.adam.second.log_steps,
            ];
            for log_steps in steps {
                slice_steps(&step.shrinkage, log_steps)?;
            }
            before = slices(&step.shrinkage, &before)?;
        }
        for learned in [&mut self.learned, &mut self.average] {
            move_biases(learned, &before, &folded.graph);
        }
        Ok(())
    }
}

fn slices(step: &Shrinkage, biases: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, PruneError> {
    biases.iter().enumerate().map(|(layer, bias)| step.slice_bias(layer, bias)).collect()
}

/// Leaves the steps of rows that stay; a step of all rows stays with any of them.
fn slice_steps(step: &Shrinkage, log_steps: &mut [Vec<f32>]) -> Result<(), PruneError> {
    for (layer, steps) in log_steps.iter_mut().enumerate().filter(|(_, steps)| steps.len() > 1) {
        *steps = step.slice_bias(layer, steps)?;
    }
    Ok(())
}

/// Adds what folding added to the biases.
fn move_biases(learned: &mut Learned, before: &[Vec<f32>], after: &Graph<Affine>) {
    let layers = learned.network.parameters_mut().zip(before).zip(after.parameters());
    for ((affine, before), after) in layers {
        for ((bias, before), after) in affine.bias.iter_mut().zip(before).zip(&after.bias) {
            *bias += after - before;
        }
    }
}
