//! The division into training, validation and test sets.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{DataConfig, DataError, Dataset};

/// Which examples do what; each list ascends, and every example is in exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Gradients come from these.
    pub train: Vec<u32>,
    /// These decide: thresholds, widths, early stopping.
    pub validation: Vec<u32>,
    /// These decide nothing and are looked at once, at the end.
    pub test: Vec<u32>,
}

impl Split {
    /// Divides a dataset, by seed and stratified: each set has each class in its share of all. The
    /// data's own test files, if any, are the test set; validation is then taken from the rest.
    ///
    /// # Errors
    /// When a set would be empty, or training would miss a class.
    pub fn new(dataset: &Dataset, config: &DataConfig, seed: u64) -> Result<Self, DataError> {
        let end = dataset.test_start.unwrap_or(dataset.len());
        let examples: Vec<u32> = (0..end).filter_map(|i| u32::try_from(i).ok()).collect();
        let mut order = stratified(dataset, examples, seed);
        let test = match dataset.test_start {
            Some(start) => (start..dataset.len()).filter_map(|i| u32::try_from(i).ok()).collect(),
            None => {
                let count = held_out("test", config.test_count, config.test_fraction, order.len())?;
                take(&mut order, count)
            }
        };
        // The share is of what is left outside the test set.
        let fraction = config.validation_share(order.len());
        let count = config.validation_count;
        let count = held_out("validation", count, fraction, order.len())?;
        let validation = take(&mut order, count);
        order.sort_unstable();
        let split = Self { train: order, validation, test };
        split.check(dataset)?;
        Ok(split)
    }

    fn check(&self, dataset: &Dataset) -> Result<(), DataError> {
        let parts =
            [("training", &self.train), ("validation", &self.validation), ("test", &self.test)];
        for (part, examples) in parts {
            if examples.is_empty() {
                return Err(DataError::EmptyPart { part, examples: dataset.len() });
            }
        }
        let mut trained = vec![false; dataset.classes.len()];
        for &example in &self.train {
            let class = dataset.labels.get(example as usize).copied().unwrap_or(u32::MAX);
            if let Some(seen) = trained.get_mut(class as usize) {
                *seen = true;
            }
        }
        if let Some(class) = trained.iter().position(|seen| !seen) {
            let count = dataset.labels.iter().filter(|&&l| l as usize == class).count();
            let class = dataset.classes.get(class).cloned().unwrap_or_default();
            return Err(DataError::ClassNotTrained { class, count });
        }
        Ok(())
    }
}

/// How many examples a set gets.
fn held_out(
    part: &'static str,
    count: Option<usize>,
    fraction: f64,
    examples: usize,
) -> Result<usize, DataError> {
    let count = count.unwrap_or((fraction * examples as f64).round() as usize);
    if count > examples {
        return Err(DataError::HeldOut { part, count, examples });
    }
    Ok(count)
}

/// Removes the first `count` and sorts them.
fn take(order: &mut Vec<u32>, count: usize) -> Vec<u32> {
    let rest = order.split_off(count.min(order.len()));
    let mut taken = std::mem::replace(order, rest);
    taken.sort_unstable();
    taken
}

/// A random order of which every stretch has each class in its share.
///
/// The k-th of a class's n examples (in random order) stands at (k + ½)/n of the whole; places are
/// compared as fractions, so no rounding depends on the machine.
fn stratified(dataset: &Dataset, mut examples: Vec<u32>, seed: u64) -> Vec<u32> {
    examples.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut sizes = vec![0u64; dataset.classes.len()];
    let mut placed = Vec::with_capacity(examples.len());
    for example in examples {
        let class = dataset.labels.get(example as usize).copied().unwrap_or(0) as usize;
        if let Some(size) = sizes.get_mut(class) {
            placed.push((2 * *size + 1, class, example));
            *size += 1;
        }
    }
    let size = |class: usize| sizes.get(class).copied().unwrap_or(1);
    // k/2n < k'/2n'  ⇔  k·n' < k'·n. The sort is stable: ties keep their random order.
    placed.sort_by(|&(k, a, _), &(l, b, _)| (k * size(b)).cmp(&(l * size(a))));
    placed.into_iter().map(|(_, _, example)| example).collect()
}
