//! The training batches of each epoch of a stage: of the training set or a distorted copy of it, with
//! the teacher's logits for just these images.

use std::borrow::Cow;
use std::collections::HashMap;

use burn::tensor::Device;

use super::augment::AugmentConfig;
use super::batch::{Batch, Examples, Teacher};
use super::evaluate::logits;
use crate::compile::InputQuantization;
use crate::graph::{Affine, Graph};

/// Whom a stage learns from besides the labels
/// (Hinton, Vinyals and Dean, 2015, arXiv:1503.02531).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distillation<'a> {
    /// The network whose predictions are imitated.
    pub teacher: &'a Graph<Affine>,
    /// Share of imitation in the loss.
    pub weight: f32,
    /// Temperature T of both softmaxes.
    pub temperature: f32,
}

/// A stage's training batches, epoch by epoch; the same for the same seed, wherever training begins.
pub(crate) struct TrainingBatches<'a> {
    clean: &'a Examples,
    augment: &'a AugmentConfig,
    seed: u64,
    epochs: u64,
    distillation: Option<Distillation<'a>>,
    smoothing: f32,
    weights: Vec<f32>,
    input: Option<&'a InputQuantization>,
    device: &'a Device,
    current: Option<Current<'a>>,
    teacher_logits: HashMap<u32, Teacher>,
}

struct Current<'a> {
    copy: u32,
    examples: Cow<'a, Examples>,
}

impl<'a> TrainingBatches<'a> {
    /// Of a stage of `epochs` epochs.
    pub(crate) fn new(
        clean: &'a Examples,
        augment: &'a AugmentConfig,
        seed: u64,
        epochs: u32,
        device: &'a Device,
    ) -> Self {
        Self {
            clean,
            augment,
            seed,
            epochs: u64::from(epochs),
            distillation: None,
            smoothing: 0.0,
            weights: Vec::new(),
            input: None,
            device,
            current: None,
            teacher_logits: HashMap::new(),
        }
    }

    /// With a teacher.
    pub(crate) fn taught(mut self, distillation: Option<Distillation<'a>>) -> Self {
        self.distillation = distillation;
        self
    }

    /// With this share of every label spread evenly over all classes
    /// (Szegedy et al., 2016, arXiv:1512.00567, §7).
    pub(crate) fn smoothed(mut self, smoothing: f32) -> Self {
        self.smoothing = smoothing;
        self
    }

    /// With rare classes counting for at least this share of an even division.
    pub(crate) fn balanced(mut self, share: f64) -> Self {
        self.weights = self.clean.class_weights(share);
        self
    }

    /// With inputs as the integers q − zero point that the device gets.
    pub(crate) fn in_integers(mut self, input: &'a InputQuantization) -> Self {
        self.input = Some(input);
        self
    }

    /// Examples in each epoch.
    pub(crate) fn len(&self) -> usize {
        self.clean.len()
    }

    /// The listed examples as an epoch shows them, and what is wanted of them.
    pub(crate) fn batch(&mut self, epoch: u64, indices: &[u32]) -> Batch {
        let (examples, teacher) = self.epoch(epoch);
        let batch = examples.gather(indices, teacher);
        batch.weighted(&self.weights).smoothed(self.smoothing)
    }

    /// An epoch's examples, and the teacher's predictions for them.
    fn epoch(&mut self, epoch: u64) -> (&Examples, Option<&Teacher>) {
        let copy = self.augment.copy(epoch, self.epochs);
        let current = match self.current.take().filter(|current| current.copy == copy) {
            Some(current) => current,
            None => self.prepare(copy),
        };
        let examples = &*self.current.insert(current).examples;
        (examples, self.teacher_logits.get(&copy))
    }

    fn prepare(&mut self, copy: u32) -> Current<'a> {
        let examples = match self.augment.apply(self.clean, self.seed, copy) {
            Some(distorted) => Cow::Owned(distorted),
            None => Cow::Borrowed(self.clean),
        };
        if let Some(distillation) = &self.distillation {
            let device = self.device;
            self.teacher_logits
                .entry(copy)
                .or_insert_with(|| distillation.teach(&examples, device));
        }
        let examples = match self.input {
            Some(input) => Cow::Owned(in_integers(&examples, input)),
            None => examples,
        };
        Current { copy, examples }
    }
}

/// Inputs as the integers q − zero point that the device gets, held in `f32`s.
pub(crate) fn in_integers(examples: &Examples, input: &InputQuantization) -> Examples {
    let zero_point = f32::from(input.quantization.zero_point);
    let q = input.quantize(&examples.inputs);
    let inputs = q.into_iter().map(|q| f32::from(q) - zero_point).collect();
    let labels = examples.labels.clone();
    Examples { shape: examples.shape, inputs, labels, classes: examples.classes }
}

impl Distillation<'_> {
    /// softmax(logits/T) of every example.
    fn teach(&self, examples: &Examples, device: &Device) -> Teacher {
        let mut targets = logits(self.teacher, examples, device);
        for row in targets.chunks_exact_mut(examples.classes.max(1)) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|x| *x = ((*x - largest) / self.temperature).exp());
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|x| *x /= sum);
        }
        Teacher { targets, weight: self.weight, temperature: self.temperature }
    }
}
