//! Examples in memory, shuffled batches of them, and the two shards that a step is made of.

use burn::tensor::{Device, Tensor, activation::log_softmax};
use rand::seq::SliceRandom;

use crate::bayes::{Noise, Parameters};
use crate::graph::tensor::{Value, constant, values};
use crate::numbers::Shape;

/// Every step is split into this many shards, each with its own noise and, where there are cores,
/// its own thread. A constant, so that a job's result does not depend on the machine's cores.
pub(crate) const SHARDS: usize = 2;

/// Normalised examples.
#[derive(Clone, Debug)]
pub struct Examples {
    /// Shape of one input.
    pub shape: Shape,
    /// Inputs, row-major, images as height × width × channels.
    pub inputs: Vec<f32>,
    /// Class of each example.
    pub labels: Vec<u32>,
    /// Number of classes.
    pub classes: usize,
}

impl Examples {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// How many examples each class has.
    pub fn per_class(&self) -> Vec<u64> {
        let mut counts = vec![0; self.classes];
        for label in &self.labels {
            if let Some(count) = counts.get_mut(*label as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// How much an example of each class counts in training, where each class counts for at least
    /// `share` of an even division; empty where all count alike.
    pub fn class_weights(&self, share: f64) -> Vec<f32> {
        let counts = self.per_class();
        let least = share * self.len() as f64 / self.classes.max(1) as f64;
        let weight = |&count: &u64| (least / count.max(1) as f64).max(1.0) as f32;
        if counts.iter().any(|count| weight(count) > 1.0) {
            return counts.iter().map(weight).collect();
        }
        Vec::new()
    }

    /// Inputs of examples `from..to`.
    pub fn range(&self, from: usize, to: usize) -> &[f32] {
        let n = self.shape.len();
        self.inputs.get(from * n..to * n).unwrap_or(&[])
    }

    /// Gathers the listed examples.
    pub fn gather(&self, indices: &[u32], teacher: Option<&Teacher>) -> Batch {
        let n = self.shape.len();
        let mut inputs = Vec::with_capacity(indices.len() * n);
        let mut targets = vec![0.0; indices.len() * self.classes];
        let mut soft = Vec::new();
        for (row, index) in indices.iter().enumerate() {
            let i = *index as usize;
            inputs.extend_from_slice(&self.inputs[i * n..(i + 1) * n]);
            targets[row * self.classes + self.labels[i] as usize] = 1.0;
            if let Some(t) = teacher {
                soft.extend_from_slice(&t.targets[i * self.classes..(i + 1) * self.classes]);
            }
        }
        let teacher = teacher.map(|t| (soft, t.weight, t.temperature));
        Batch { shape: self.shape, inputs, targets, classes: self.classes, teacher }
    }

    /// The first `n` examples of a seeded shuffle.
    pub fn sample(&self, n: usize, seed: u64) -> Self {
        let order = shuffled(self.len(), seed, u64::MAX);
        let batch = order.get(..n.min(order.len())).unwrap_or(&[]);
        let labels = batch.iter().map(|i| self.labels[*i as usize]).collect();
        let inputs = self.gather(batch, None).inputs;
        Self { shape: self.shape, inputs, labels, classes: self.classes }
    }
}

/// Training examples, and how much one of each class counts.
#[derive(Clone, Debug)]
pub struct Material<'a> {
    /// The examples.
    pub examples: &'a Examples,
    /// By class; empty where all count alike.
    pub class_weights: Vec<f32>,
}

impl<'a> Material<'a> {
    /// With each class counting for at least `share` of an even division.
    pub fn new(examples: &'a Examples, share: f64) -> Self {
        Self { examples, class_weights: examples.class_weights(share) }
    }

    /// Gathers the listed examples.
    pub fn gather(&self, indices: &[u32]) -> Batch {
        self.examples.gather(indices, None).weighted(&self.class_weights)
    }
}

/// A teacher's softened predictions for every training example
/// (Hinton, Vinyals and Dean, 2015, arXiv:1503.02531).
#[derive(Clone, Debug)]
pub struct Teacher {
    /// softmax(logits/T), examples × classes.
    pub targets: Vec<f32>,
    /// Share of the distillation term in the loss.
    pub weight: f32,
    /// T.
    pub temperature: f32,
}

/// Some examples and what is wanted of them.
#[derive(Clone, Debug)]
pub struct Batch {
    shape: Shape,
    inputs: Vec<f32>,
    targets: Vec<f32>,
    classes: usize,
    teacher: Option<(Vec<f32>, f32, f32)>,
}

impl Batch {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.targets.len() / self.classes.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// With the share `smoothing` of every label spread evenly over all classes.
    pub fn smoothed(mut self, smoothing: f32) -> Self {
        let even = smoothing / self.classes.max(1) as f32;
        if smoothing > 0.0 {
            self.targets.iter_mut().for_each(|t| *t = *t * (1.0 - smoothing) + even);
        }
        self
    }

    /// With labels that count as much as their classes; all alike, if there are no weights.
    pub fn weighted(mut self, weights: &[f32]) -> Self {
        if !weights.is_empty() {
            for row in self.targets.chunks_exact_mut(self.classes.max(1)) {
                row.iter_mut().zip(weights).for_each(|(target, weight)| *target *= weight);
            }
        }
        self
    }

    /// The inputs as a tensor.
    pub fn value(&self, device: &Device) -> Value {
        Value::from_examples(self.inputs.clone(), self.shape, device)
    }

    /// Cross-entropy (and the distillation term) of `logits`, summed over this batch and divided
    /// by `total`, the size of the whole step's batch.
    pub fn loss(&self, logits: Tensor<2>, total: usize) -> Tensor<1> {
        let shape = logits.dims();
        let device = logits.device();
        let cross_entropy = |logits: Tensor<2>, targets: &Vec<f32>| {
            (log_softmax(logits, 1) * constant(targets.clone(), shape, &device)).sum().neg()
        };
        let hard = cross_entropy(logits.clone(), &self.targets);
        let loss = match &self.teacher {
            Some((soft, weight, temperature)) => {
                let soft = cross_entropy(logits / *temperature, soft);
                hard * (1.0 - weight) + soft * (weight * temperature * temperature)
            }
            None => hard,
        };
        loss / total as f32
    }

    fn split(&self, parts: usize) -> Vec<Self> {
        let size = self.len().div_ceil(parts).max(1);
        let shards = self.targets.chunks(size * self.classes).enumerate().map(|(i, targets)| {
            let n = self.shape.len();
            let (from, to) = (i * size, i * size + targets.len() / self.classes);
            Self {
                shape: self.shape,
                inputs: self.inputs[from * n..to * n].to_vec(),
                targets: targets.to_vec(),
                classes: self.classes,
                teacher: self.teacher.as_ref().map(|(soft, w, t)| {
                    (soft[from * self.classes..to * self.classes].to_vec(), *w, *t)
                }),
            }
        });
        shards.collect()
    }
}

/// A permutation of `0..n`, reproducible from (seed, stream).
pub(crate) fn shuffled(n: usize, seed: u64, stream: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..u32::try_from(n).unwrap_or(u32::MAX)).collect();
    order.shuffle(Noise::new(seed, stream).rng());
    order
}

/// Runs `shard` on each part of `batch` and sums losses and gradients in a fixed order.
///
/// Shard `i` of step `step` draws its noise from stream `step·SHARDS + i`, so a step gives the
/// same bits on any number of cores.
pub(crate) fn sharded<P: Parameters + Send>(
    batch: &Batch,
    seed: u64,
    step: u64,
    shard: impl Fn(&Batch, Noise) -> (f64, P) + Sync,
) -> Option<(f64, P)> {
    let shards = batch.split(SHARDS);
    let stream = |i: usize| Noise::new(seed, step.wrapping_mul(SHARDS as u64) + i as u64);
    let results: Vec<Option<(f64, P)>> = std::thread::scope(|scope| {
        let shard = &shard;
        let handles: Vec<_> = shards
            .iter()
            .enumerate()
            .map(|(i, part)| scope.spawn(move || shard(part, stream(i))))
            .collect();
        handles.into_iter().map(|h| h.join().ok()).collect()
    });
    let mut sum: Option<(f64, P)> = None;
    for result in results {
        let (loss, gradient) = result?;
        sum = Some(match sum {
            Some((l, mut g)) => {
                g.add(&gradient);
                (l + loss, g)
            }
            None => (loss, gradient),
        });
    }
    sum
}

/// The loss as a number.
pub(crate) fn scalar(loss: &Tensor<1>) -> f64 {
    values(loss.clone().inner()).first().map_or(f64::NAN, |v| f64::from(*v))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_classes_count_as_if_they_were_less_rare() {
        let labels = [0; 12].into_iter().chain([1; 7]).chain([2]).collect();
        let examples =
            Examples { shape: Shape::Flat(1), inputs: vec![0.0; 20], labels, classes: 3 };
        // A tenth of an even division is less than one example.
        assert!(examples.class_weights(0.0).is_empty() && examples.class_weights(0.1).is_empty());
        let weights = examples.class_weights(0.3);
        assert!((weights[2] - 2.0).abs() < 1e-6 && weights[..2] == [1.0; 2], "{weights:?}");
        let targets = examples.gather(&[19, 0], None).weighted(&weights).targets;
        assert_eq!(targets, [0.0, 0.0, weights[2], 1.0, 0.0, 0.0]);
        assert_eq!(examples.gather(&[19], None).weighted(&[]).targets, [0.0, 0.0, 1.0]);
    }

    #[test]
    fn smoothing_takes_from_the_label_and_gives_to_all() {
        let examples = Examples {
            shape: Shape::Flat(1),
            inputs: vec![0.5, 0.25],
            labels: vec![2, 0],
            classes: 4,
        };
        let batch = examples.gather(&[0, 1], None).smoothed(0.2);
        let (most, rest) = (0.85, 0.05);
        let expected = [rest, rest, most, rest, most, rest, rest, rest];
        assert!(batch.targets.iter().zip(expected).all(|(t, e)| (t - e).abs() < 1e-6));
        assert_eq!(examples.gather(&[0], None).smoothed(0.0).targets, [0.0, 0.0, 1.0, 0.0]);
    }
}
