//! Comparing with a model of floats: what `bitsback compare` does when A or B is one.

use std::collections::BTreeMap;

use bitsback_runtime::Model;
use bitsback_runtime::format::Tensor;

use super::compare::LayerDifference;
use super::judging::Given;
use super::matching::{Channels, matching};
use super::model_file::Subject;
use super::scaling::Scaling;
use super::source::Source;
use crate::error::Error;
use crate::graph::{Executor, IntegerOp, Parts, ValueId};
use crate::import::onnx::FloatModel;
use crate::quantize::{QuantizeError, expected};
use crate::task::{Ending, Task};
use crate::verify::layers_of;

/// Most examples whose layers are compared: enough to find where they part, and little memory.
const MAX_LAYER_EXAMPLES: usize = 64;
/// A layer drifts where its values are further from the floats on average: rounding alone keeps
/// within one step of what a layer is given, and a few layers of it add up to about this.
pub(super) const DRIFT_STEPS: f64 = 2.0;

/// Two models of which at least one computes with floats, and what those of integers are given.
pub(super) struct Pair<'a> {
    pub(super) subjects: &'a [Subject; 2],
    /// Quantised inputs of all examples; none for floats.
    pub(super) quantized: [Option<Vec<i8>>; 2],
    /// What floats are given for all examples.
    inputs: Vec<f32>,
}

impl<'a> Pair<'a> {
    /// Floats are given the data scaled as stated, or else what the integers of the other model's
    /// input stand for.
    pub(super) fn new(
        subjects: &'a [Subject; 2],
        quantized: [Option<Vec<i8>>; 2],
        source: &Source,
        scaling: &Scaling,
    ) -> Result<Self, Error> {
        let both = subjects.iter().zip(&quantized);
        let integers = both.into_iter().find_map(|(subject, inputs)| match subject {
            Subject::Integers(bytes) => Some((bytes, inputs.as_ref()?)),
            Subject::Floats(_) => None,
        });
        let inputs = match integers {
            Some((bytes, inputs)) if !scaling.is_given() => {
                let model = Model::parse(bytes).map_err(crate::verify::VerifyError::from)?;
                let (scale, zero) = (model.meta().input_scale, f32::from(model.input().zero_point));
                inputs.iter().map(|&q| scale * (f32::from(q) - zero)).collect()
            }
            _ => {
                let normalization = scaling.normalization(&source.dataset)?;
                source.dataset.batch(&normalization, &source.examples)
            }
        };
        Ok(Self { subjects, quantized, inputs })
    }

    /// What both give.
    pub(super) fn given(&self, task: Task, ending: Ending) -> Result<[Given; 2], Error> {
        let of = |at: usize| match (&self.subjects[at], &self.quantized[at]) {
            (Subject::Integers(bytes), inputs) => {
                let inputs = inputs.as_deref().unwrap_or_default();
                Given::with_ending(bytes, inputs, task, ending)
            }
            (Subject::Floats(model), _) => {
                let executor = Executor::new(&model.graph).map_err(QuantizeError::from)?;
                let outputs = executor.run(&self.inputs).map_err(QuantizeError::from)?;
                let own = Ending { outputs: Some(executor.output_len()), ..ending };
                let classes = own.classes(task, &outputs);
                Ok(Given { classes, outputs: Some(outputs) })
            }
        };
        Ok([of(0)?, of(1)?])
    }

    /// Where layers drift, if one of the two computes with integers.
    pub(super) fn layers(&self) -> Result<Vec<LayerDifference>, Error> {
        let (floats, bytes, quantized) = match (self.subjects, &self.quantized) {
            ([Subject::Floats(floats), Subject::Integers(bytes)], [_, Some(quantized)])
            | ([Subject::Integers(bytes), Subject::Floats(floats)], [Some(quantized), _]) => {
                (floats, bytes, quantized)
            }
            _ => return Ok(Vec::new()),
        };
        let few = floats.graph.values[floats.graph.input].len() * MAX_LAYER_EXAMPLES;
        let inputs = self.inputs.get(..few).unwrap_or(&self.inputs);
        layers_between(floats, bytes, inputs, quantized.get(..few).unwrap_or(quantized))
    }
}

/// Each layer's differences in steps of the integers, where the operators are those that
/// quantising the floats gives. Scales of inner values aren't stored: the one that fits best is
/// taken.
fn layers_between(
    floats: &FloatModel,
    bytes: &[u8],
    inputs: &[f32],
    quantized: &[i8],
) -> Result<Vec<LayerDifference>, Error> {
    let model = Model::parse(bytes).map_err(crate::verify::VerifyError::from)?;
    let Some(written) = written(&model, floats) else { return Ok(Vec::new()) };
    let mut seen: Vec<Vec<f32>> = vec![Vec::new(); floats.graph.values.len()];
    let executor = Executor::new(&floats.graph).map_err(QuantizeError::from)?;
    let keep = &mut |id: ValueId, values: &[f32]| seen[id].extend_from_slice(values);
    executor.visit(inputs, keep).map_err(QuantizeError::from)?;
    let integers = layers_of(bytes, quantized)?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut layers = Vec::with_capacity(written.len());
    for (index, (((label, value), integers), step)) in
        written.iter().zip(&integers).zip(model.ops()).enumerate()
    {
        let number = counts.entry(label).or_default();
        *number += 1;
        let name = model.op_name(index).map_or_else(|| format!("{label}_{number}"), str::to_owned);
        let count = floats.graph.values[*value].channels();
        let all = Channels { values: &seen[*value], count };
        let Some(floats) = computed(all, integers, step.output()) else { return Ok(Vec::new()) };
        layers.push(difference(name, &floats, integers, step.output().zero_point));
    }
    Ok(layers)
}

/// The values of the channels that the integers have; none where none fit these.
fn computed(all: Channels<'_>, integers: &[i8], written: &Tensor) -> Option<Vec<f32>> {
    if all.values.len() == integers.len() {
        return Some(all.values.to_vec());
    }
    let zero = f32::from(written.zero_point);
    let steps: Vec<f32> = integers.iter().map(|&q| f32::from(q) - zero).collect();
    let few = Channels { values: &steps, count: written.shape.channels() };
    Some(all.some(&matching(all, few)?))
}

/// What each operator of a model is called, and the value of the floats that it writes; none where the
/// operators aren't those that quantising the floats gives, of which one may do the work of two.
fn written(model: &Model<'_>, floats: &FloatModel) -> Option<Vec<(&'static str, ValueId)>> {
    let mut expected = expected(&floats.graph).into_iter();
    let mut next = |op: &IntegerOp| expected.next().filter(|(label, _)| *label == op.label());
    let mut all = Vec::with_capacity(model.op_count());
    for step in model.ops() {
        let op = IntegerOp::of(&step, model.section())?;
        let (_, value) = match op.parts() {
            Some(Parts { first, second, .. }) => next(&first).and_then(|_| next(&second))?,
            None => next(&op)?,
        };
        // Channels that never change aren't computed.
        let (written, value_of) = (step.output(), &floats.graph.values[value]);
        let [few, whole] =
            [written.shape.channels(), value_of.channels()].map(|count| count.max(1));
        let same = written.len() == value_of.len();
        if !same && (few >= whole || written.len() / few != value_of.len() / whole) {
            return None;
        }
        all.push((op.label(), value));
    }
    expected.next().is_none().then_some(all)
}

/// The differences of a layer, in steps.
fn difference(name: String, floats: &[f32], integers: &[i8], zero: i8) -> LayerDifference {
    let steps: Vec<f64> = integers.iter().map(|&q| f64::from(q) - f64::from(zero)).collect();
    let product: f64 = floats.iter().zip(&steps).map(|(&x, step)| f64::from(x) * step).sum();
    let square: f64 = steps.iter().map(|step| step * step).sum();
    let scale = if product > 0.0 { product / square } else { 1.0 };
    let distances: Vec<f64> =
        floats.iter().zip(&steps).map(|(&x, step)| (f64::from(x) / scale - step).abs()).collect();
    LayerDifference {
        name,
        values: distances.len(),
        differing: distances.iter().filter(|&&distance| distance > 1.0).count(),
        largest: distances.iter().fold(0.0, |most: f64, &d| most.max(d)).round() as u32,
        mean: distances.iter().sum::<f64>() / distances.len().max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_that_fits_best_is_taken() {
        let layer = difference("x".into(), &[0.0, 0.5, 1.0, -0.25], &[3, 23, 43, -7], 3);
        assert_eq!((layer.differing, layer.largest), (0, 0));
        assert!(layer.mean < 1e-6, "{layer:?}");
        let broken = difference("x".into(), &[0.0, 0.5, 1.0, 1.0], &[3, 23, 43, 3], 3);
        assert_eq!(broken.differing, 1);
    }
}
