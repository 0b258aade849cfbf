//! Comparing with a model of floats: what `bitsback compare` does when A or B is one.

use bitsback_runtime::Model;

use super::compare::{Comparison, Given, LayerDifference};
use super::model_file::Subject;
use super::scaling::Scaling;
use crate::data::Dataset;
use crate::error::Error;
use crate::float_graph::{Executor, ValueId};
use crate::import::onnx::FloatModel;
use crate::quantize::{QuantizeError, operators};
use crate::verify::{classes_of, layers_of, quantized_inputs};

/// Most examples whose layers are compared: enough to find where they part, and little memory.
const MAX_LAYER_EXAMPLES: usize = 64;
/// A layer drifts where its values are further from the floats on average: rounding alone keeps
/// within one step of what a layer is given, and a few layers of it add up to about this.
const DRIFT_STEPS: f64 = 2.0;

/// Compares two models of which at least one computes with floats.
pub(super) fn compare(
    subjects: [&Subject; 2],
    dataset: &Dataset,
    examples: &[u32],
    scaling: &Scaling,
) -> Result<Comparison, Error> {
    let inputs = float_inputs(subjects, dataset, examples, scaling)?;
    let given = [
        given(subjects[0], dataset, examples, &inputs)?,
        given(subjects[1], dataset, examples, &inputs)?,
    ];
    let label = |&example: &u32| dataset.labels.get(example as usize).copied();
    let labels: Vec<u32> = examples.iter().filter_map(label).collect();
    let layers = match subjects {
        [Subject::Floats(floats), Subject::Integers(bytes)]
        | [Subject::Integers(bytes), Subject::Floats(floats)] => {
            let few = examples.get(..MAX_LAYER_EXAMPLES).unwrap_or(examples);
            let width = dataset.shape.len();
            let inputs = inputs.get(..few.len() * width).unwrap_or(&inputs);
            layers(floats, bytes, inputs, &quantized_inputs(bytes, dataset, few)?)?
        }
        _ => Vec::new(),
    };
    let drifting = layers.iter().find(|layer| layer.mean > DRIFT_STEPS);
    let first = drifting.map(|layer| layer.name.clone());
    let all = Comparison::of(&given, &labels);
    Ok(Comparison { first_divergence: first, floats: true, layers, ..all })
}

/// What a model of floats is given: the data scaled as stated, or else what the integers of the
/// other model's input stand for.
fn float_inputs(
    subjects: [&Subject; 2],
    dataset: &Dataset,
    examples: &[u32],
    scaling: &Scaling,
) -> Result<Vec<f32>, Error> {
    let integers = subjects.iter().find_map(|subject| match subject {
        Subject::Integers(bytes) => Some(bytes),
        Subject::Floats(_) => None,
    });
    let bytes = match integers {
        Some(bytes) if !scaling.is_given() => bytes,
        _ => return Ok(dataset.batch(&scaling.normalization(dataset)?, examples)),
    };
    let model = Model::parse(bytes).map_err(crate::verify::VerifyError::from)?;
    let (scale, zero) = (model.meta().input_scale, f32::from(model.input().zero_point));
    let quantized = quantized_inputs(bytes, dataset, examples)?;
    Ok(quantized.into_iter().map(|q| scale * (f32::from(q) - zero)).collect())
}

fn given(
    subject: &Subject,
    dataset: &Dataset,
    examples: &[u32],
    inputs: &[f32],
) -> Result<Given, Error> {
    match subject {
        Subject::Floats(model) => {
            let executor = Executor::new(&model.graph).map_err(QuantizeError::from)?;
            let outputs = executor.run(inputs).map_err(QuantizeError::from)?;
            let classes = classes_of(&outputs, executor.output_len());
            Ok(Given { classes, outputs: Some(outputs.into_iter().map(f64::from).collect()) })
        }
        Subject::Integers(bytes) => Given::by(bytes, &quantized_inputs(bytes, dataset, examples)?),
    }
}

/// Each layer's differences in steps of the integers, where the operators are those that
/// quantising the floats gives. Scales of inner values aren't stored: the one that fits best is
/// taken.
fn layers(
    floats: &FloatModel,
    bytes: &[u8],
    inputs: &[f32],
    quantized: &[i8],
) -> Result<Vec<LayerDifference>, Error> {
    let model = Model::parse(bytes).map_err(crate::verify::VerifyError::from)?;
    let expected = operators(&floats.graph);
    let same = model.op_count() == expected.len()
        && model.ops().zip(&expected).all(|(step, (kind, value))| {
            step.kind().name().trim_start_matches("coded_") == *kind
                && step.output().len() == floats.graph.values[*value].len()
        });
    if !same {
        return Ok(Vec::new());
    }
    let mut seen: Vec<Vec<f32>> = vec![Vec::new(); floats.graph.values.len()];
    let executor = Executor::new(&floats.graph).map_err(QuantizeError::from)?;
    let keep = &mut |id: ValueId, values: &[f32]| seen[id].extend_from_slice(values);
    executor.visit(inputs, keep).map_err(QuantizeError::from)?;
    let integers = layers_of(bytes, quantized)?;
    let zeros = model.ops().map(|step| step.output().zero_point);
    let all = expected.iter().zip(&integers).zip(zeros).enumerate();
    Ok(all
        .map(|(index, (((kind, value), integers), zero))| {
            let number = expected[..=index].iter().filter(|(other, _)| other == kind).count();
            let name =
                model.op_name(index).map_or_else(|| format!("{kind}_{number}"), str::to_owned);
            difference(name, &seen[*value], integers, zero)
        })
        .collect())
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
