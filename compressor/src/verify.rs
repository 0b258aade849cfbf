//! The integer model against data and against the float network, always by the runtime itself: what
//! is measured here is what a device computes, by the runtime's engine for hosts, on all cores.

use std::collections::BTreeMap;
use std::num::NonZero;

use bitsback_runtime::format::ParseError;
use bitsback_runtime::{
    ArenaTooSmall, BatchError, Engine, InputError, Interpreter, Model, Profiler, Running,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::compile::Compiled;
use crate::data::{Dataset, MAX_CLASSES, Values};
use crate::graph::{Affine, Executor, Graph, GraphError, ValueId};

/// Examples of which every layer's activations are compared: enough for a ratio, cheap in memory.
const SQNR_EXAMPLES: usize = 64;
/// Values of the inputs, or of the outputs, that the engine is given at once.
const BATCH_VALUES: usize = 1 << 24;

/// Why a model can't be evaluated.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The bytes are no model.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The arena was too small (it is sized by the model, so never).
    #[error(transparent)]
    Arena(#[from] ArenaTooSmall),
    /// Raw data don't fit the model.
    #[error("the data don't fit the model: {0}")]
    Input(#[from] InputError),
    /// A batch had another length than the model says (it is made by the model's lengths, so never).
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The float network can't run.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Inputs or labels are of the wrong number.
    #[error("{what}: {found} values, but {expected} are needed")]
    Length {
        /// Of what.
        what: &'static str,
        /// Values needed.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// An example's class is none that the model can give.
    #[error("example {example} has class {class}, but the model knows {classes} classes")]
    Label {
        /// Which example, from 0.
        example: usize,
        /// Its class.
        class: u32,
        /// Number of classes.
        classes: usize,
    },
}

/// What an evaluation counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Examples.
    pub count: usize,
    /// Examples whose predicted class is wrong.
    pub errors: usize,
    /// `confusion[actual][predicted]`: examples.
    pub confusion: Vec<Vec<u32>>,
}

impl Evaluation {
    /// Errors in percent; 0 of no examples.
    pub fn error_percent(&self) -> f64 {
        100.0 * self.errors as f64 / self.count.max(1) as f64
    }
}

/// Quantised inputs of the listed examples by the model's own preprocessing, one after the other.
///
/// # Errors
/// When the bytes are no model or the data don't fit it.
pub fn quantized_inputs(
    model_bytes: &[u8],
    dataset: &Dataset,
    examples: &[u32],
) -> Result<Vec<i8>, VerifyError> {
    let model = Model::parse(model_bytes)?;
    let mut arena = vec![0; model.arena_len()];
    let mut interpreter = Interpreter::new(&model, &mut arena)?;
    let width = dataset.shape.len();
    let mut inputs = Vec::with_capacity(examples.len() * model.input().len());
    for &example in examples {
        let start = example as usize * width;
        match &dataset.inputs {
            Values::Bytes(raw) => {
                let raw = raw.get(start..start + width).unwrap_or_default();
                match interpreter.set_input_bytes(raw) {
                    // A model of real features takes bytes as numbers.
                    Err(InputError::NotBytes) => {
                        let raw: Vec<f32> = raw.iter().map(|&x| f32::from(x)).collect();
                        interpreter.set_input_features(&raw)?;
                    }
                    other => other?,
                }
            }
            Values::Floats(raw) => {
                let raw = raw.get(start..start + width).unwrap_or_default();
                interpreter.set_input_features(raw)?;
            }
        }
        inputs.extend_from_slice(interpreter.input_mut());
    }
    Ok(inputs)
}

/// Raw outputs of a batch of quantised inputs, on all cores: vector after vector.
///
/// # Errors
/// When the bytes are no model or `inputs` isn't a whole number of vectors.
pub fn run_batch(model_bytes: &[u8], inputs: &[i8]) -> Result<Vec<i8>, VerifyError> {
    run_model(&Model::parse(model_bytes)?, inputs)
}

/// As [`run_batch`], of a model that is parsed.
pub(crate) fn run_model(model: &Model, inputs: &[i8]) -> Result<Vec<i8>, VerifyError> {
    let examples = inputs.len() / model.input().len().max(1);
    let mut outputs = Vec::with_capacity(examples * model.output().len());
    for_each(model, inputs, |output| outputs.extend_from_slice(output))?;
    Ok(outputs)
}

/// Predicted classes of a batch of quantised inputs, on all cores.
///
/// # Errors
/// As [`run_batch`].
pub fn predict(model_bytes: &[u8], inputs: &[i8]) -> Result<Vec<u32>, VerifyError> {
    let model = Model::parse(model_bytes)?;
    let mut classes = Vec::new();
    for_each(&model, inputs, |output| classes.push(model.class_of(output) as u32))?;
    Ok(classes)
}

/// What [`predict`] and [`run_batch`] give, of one run.
///
/// # Errors
/// As [`run_batch`].
pub fn answers(model_bytes: &[u8], inputs: &[i8]) -> Result<(Vec<u32>, Vec<i8>), VerifyError> {
    let model = Model::parse(model_bytes)?;
    let (mut classes, mut outputs) = (Vec::new(), Vec::new());
    for_each(&model, inputs, |output| {
        classes.push(model.class_of(output) as u32);
        outputs.extend_from_slice(output);
    })?;
    Ok((classes, outputs))
}

/// By how many steps the largest output of each of a batch of quantised inputs leads all others, and whether its
/// class is another than the label; on all cores.
///
/// # Errors
/// As [`run_batch`], and when labels are missing.
pub fn leads(
    model_bytes: &[u8],
    inputs: &[i8],
    labels: &[u32],
) -> Result<Vec<(u8, bool)>, VerifyError> {
    let model = Model::parse(model_bytes)?;
    let mut answers = Vec::with_capacity(labels.len());
    for_each(&model, inputs, |output| answers.push(bitsback_runtime::lead(output)))?;
    let (expected, found) = (answers.len(), labels.len());
    if expected != found {
        return Err(VerifyError::Length { what: "labels", expected, found });
    }
    let judged = answers.into_iter().zip(labels);
    Ok(judged.map(|((class, lead), &label)| (lead, class as u32 != label)).collect())
}

/// Outputs of a batch of quantised inputs in real units, on all cores.
///
/// # Errors
/// As [`run_batch`].
pub fn reals(model_bytes: &[u8], inputs: &[i8]) -> Result<Vec<f32>, VerifyError> {
    let outputs = run_batch(model_bytes, inputs)?;
    let model = Model::parse(model_bytes)?;
    let (scale, zero) = (model.meta().output_scale, f32::from(model.output().zero_point));
    Ok(outputs.into_iter().map(|q| scale * (f32::from(q) - zero)).collect())
}

/// Error and confusion of a model on quantised inputs and their classes, on all cores.
///
/// # Errors
/// As [`run_batch`], and when labels are missing or no class of the model.
pub fn evaluate(
    model_bytes: &[u8],
    inputs: &[i8],
    labels: &[u32],
) -> Result<Evaluation, VerifyError> {
    let predicted = predict(model_bytes, inputs)?;
    let model = Model::parse(model_bytes)?;
    // An argmax model doesn't say how many classes it knows.
    let given = predicted.iter().chain(labels).max().map_or(0, |&class| class as usize + 1);
    let classes = match model.last_kind() {
        bitsback_runtime::OpKind::Argmax => given.min(MAX_CLASSES),
        _ => model.output().len(),
    };
    count(&predicted, labels, classes)
}

/// Counts errors and the confusion.
///
/// # Errors
/// When labels are missing or there is no such class.
pub fn count(predicted: &[u32], labels: &[u32], classes: usize) -> Result<Evaluation, VerifyError> {
    let (expected, found) = (predicted.len(), labels.len());
    if expected != found {
        return Err(VerifyError::Length { what: "labels", expected, found });
    }
    let mut confusion = vec![vec![0; classes]; classes];
    let mut errors = 0;
    for (example, (&predicted, &class)) in predicted.iter().zip(labels).enumerate() {
        let cell =
            confusion.get_mut(class as usize).and_then(|row| row.get_mut(predicted as usize));
        *cell.ok_or(VerifyError::Label { example, class, classes })? += 1;
        errors += usize::from(predicted != class);
    }
    Ok(Evaluation { count: found, errors, confusion })
}

/// The class with the largest logit, the first of equals, of each example.
pub fn classes_of(logits: &[f32], classes: usize) -> Vec<u32> {
    let largest = |logits: &[f32]| {
        let best = logits.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (class, &x)| {
            if x > best.1 { (class, x) } else { best }
        });
        best.0 as u32
    };
    logits.chunks_exact(classes.max(1)).map(largest).collect()
}

/// Runs all inputs, on all cores, and hands each output over in order.
fn for_each(model: &Model, inputs: &[i8], mut take: impl FnMut(&[i8])) -> Result<(), VerifyError> {
    let each = check_inputs(model, inputs)?;
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let output = model.output().len().max(1);
    let batch = (BATCH_VALUES / output.max(each)).max(threads);
    let mut engine = Engine::new(model).with_threads(threads.min(inputs.len() / each));
    let mut outputs = vec![0; output * batch.min(inputs.len() / each)];
    for inputs in inputs.chunks(each * batch) {
        let outputs = outputs.get_mut(..inputs.len() / each * output).unwrap_or_default();
        engine.run(inputs, outputs)?;
        outputs.chunks_exact(output).for_each(&mut take);
    }
    Ok(())
}

/// Values of an input, of which there must be a whole number.
fn check_inputs(model: &Model, inputs: &[i8]) -> Result<usize, VerifyError> {
    let each = model.input().len().max(1);
    if inputs.len().is_multiple_of(each) {
        return Ok(each);
    }
    let expected = inputs.len().next_multiple_of(each);
    Err(VerifyError::Length { what: "inputs", expected, found: inputs.len() })
}

/// How well the integer model follows the float network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// Examples compared.
    pub count: usize,
    /// Examples on which both give the same class.
    pub agreeing: usize,
    /// Error of the float network in percent.
    pub float_error_percent: f64,
    /// Error of the integer model in percent.
    pub integer_error_percent: f64,
    /// Largest difference between a logit and its integer (0 for an argmax model).
    pub largest_difference: f32,
    /// Signal to quantisation noise, per operator that corresponds to a place in the network.
    pub layers: Vec<LayerNoise>,
}

/// One operator's signal-to-noise ratio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerNoise {
    /// Name of the operator.
    pub name: String,
    /// 10·log₁₀(Σ float² / Σ (float − integer)²).
    pub sqnr_db: f64,
}

/// Compares the model with the float network on normalised inputs and their quantised selves.
///
/// `compiled` is what the model was written from, `network` what that was made of; with a softmax head
/// only classes are compared.
///
/// # Errors
/// When any of them don't belong together.
pub fn verify(
    model_bytes: &[u8],
    compiled: &Compiled,
    network: &Graph<Affine>,
    normalised: &[f32],
    labels: &[u32],
) -> Result<Verification, VerifyError> {
    let executor = Executor::new(network)?;
    let logits = executor.run(normalised)?;
    let classes = executor.output_len();
    let float_classes = classes_of(&logits, classes);
    let float = count(&float_classes, labels, classes)?;

    let inputs = compiled.input_quantization.quantize(normalised);
    let integer_classes = predict(model_bytes, &inputs)?;
    let integer = count(&integer_classes, labels, classes)?;
    let agreeing = float_classes.iter().zip(&integer_classes).filter(|(a, b)| a == b).count();

    let model = Model::parse(model_bytes)?;
    let largest_difference = match model.last_kind() {
        bitsback_runtime::OpKind::Argmax | bitsback_runtime::OpKind::Softmax => 0.0,
        _ => {
            let zero_point = f32::from(model.output().zero_point);
            let outputs = run_batch(model_bytes, &inputs)?;
            let reals =
                outputs.iter().map(|&q| compiled.output_scale * (f32::from(q) - zero_point));
            logits.iter().zip(reals).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        }
    };
    let few = SQNR_EXAMPLES.min(labels.len());
    let layers = layer_noise(
        &model,
        compiled,
        &executor,
        normalised.get(..few * executor.input_len()).unwrap_or_default(),
    )?;
    Ok(Verification {
        count: labels.len(),
        agreeing,
        float_error_percent: float.error_percent(),
        integer_error_percent: integer.error_percent(),
        largest_difference,
        layers,
    })
}

/// Keeps what every operator wrote.
struct Tap<'t> {
    outputs: &'t mut [Vec<i8>],
}

impl Profiler for Tap<'_> {
    fn after(&mut self, running: &Running<'_>, output: &[i8]) {
        if let Some(to) = self.outputs.get_mut(usize::from(running.index)) {
            to.extend_from_slice(output);
        }
    }
}

/// What every operator writes for a batch of quantised inputs: per operator, vector after vector.
///
/// # Errors
/// When the bytes are no model or `inputs` isn't a whole number of vectors.
pub fn layers_of(model_bytes: &[u8], inputs: &[i8]) -> Result<Vec<Vec<i8>>, VerifyError> {
    let model = Model::parse(model_bytes)?;
    let examples = inputs.len() / check_inputs(&model, inputs)?;
    let mut outputs = vec![Vec::new(); model.op_count()];
    let mut last = vec![0; examples * model.output().len()];
    Engine::new(&model).run_with(inputs, &mut last, &mut Tap { outputs: &mut outputs })?;
    Ok(outputs)
}

fn layer_noise(
    model: &Model,
    compiled: &Compiled,
    executor: &Executor<'_>,
    normalised: &[f32],
) -> Result<Vec<LayerNoise>, VerifyError> {
    let mut outputs = vec![Vec::new(); compiled.ops.len()];
    let inputs = compiled.input_quantization.quantize(normalised);
    let examples = inputs.len() / check_inputs(model, &inputs)?;
    let mut last = vec![0; examples * model.output().len()];
    Engine::new(model).run_with(&inputs, &mut last, &mut Tap { outputs: &mut outputs })?;
    let mut floats: BTreeMap<ValueId, Vec<f32>> = BTreeMap::new();
    executor.visit(normalised, &mut |id: ValueId, values: &[f32]| {
        floats.entry(id).or_default().extend_from_slice(values);
    })?;
    let mut layers = Vec::new();
    for ((op, note), integers) in compiled.ops.iter().zip(&compiled.notes).zip(&outputs) {
        let Some(floats) = note.value.and_then(|value| floats.get(&value)) else {
            continue;
        };
        let zero_point = f32::from(op.output().zero_point);
        let floats = match note.value {
            Some(value) => &compiled.left_out.computed(value, floats),
            None => floats,
        };
        let steps: Vec<f32> = integers.iter().map(|&q| f32::from(q) - zero_point).collect();
        layers.push(LayerNoise {
            name: note.name.clone(),
            sqnr_db: sqnr(floats, &steps, note.scale),
        });
    }
    Ok(layers)
}

/// Signal to noise in decibels; 120 (about an `f32`'s own) where there is no noise at all.
fn sqnr(floats: &[f32], steps: &[f32], scale: f32) -> f64 {
    let (mut signal, mut noise) = (0.0, 0.0);
    for (&x, &step) in floats.iter().zip(steps) {
        signal += f64::from(x).powi(2);
        noise += (f64::from(x) - f64::from(step * scale)).powi(2);
    }
    if noise > 0.0 { (10.0 * (signal / noise).log10()).clamp(-120.0, 120.0) } else { 120.0 }
}

#[cfg(test)]
mod tests;
