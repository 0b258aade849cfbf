//! Widths below 8 bits by measured sensitivity.
//!
//! Each layer is narrowed alone, to each width, and the change of the model's outputs on examples is
//! measured by running the integers. Narrowings are then ordered by damage per byte saved, and the
//! longest beginning of that order is sought whose error on validation examples stays within the
//! tolerance.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{QuantizeError, write};
use crate::compile::serialize::ModelInfo;
use crate::compile::{CompileOptions, InputQuantization};
use crate::graph::lower::DEFAULT_BITS;
use crate::graph::{Affine, Graph, Plan, ValueId};
use crate::task::{Deviation, Ending, Task};
use crate::verify::{reals, run_batch};

/// Widths tried below 8 bits, widest first; one bit has no symmetric integers.
const WIDTHS: [u8; 6] = [7, 6, 5, 4, 3, 2];
/// Examples that damage is measured on: it is an average over all their outputs.
const SENSITIVITY_EXAMPLES: usize = 128;

/// A layer with weights: its value, and how many weights it has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerWidth {
    /// The layer's name.
    pub name: String,
    /// Weights.
    pub weights: usize,
    /// Width chosen.
    pub bits: u8,
    /// Mean squared change of the model's outputs, in their steps, when this layer alone is
    /// narrowed to the chosen width; none at the widest.
    pub damage: Option<f64>,
    /// The value that the layer writes.
    #[serde(skip)]
    pub value: ValueId,
}

/// What decides.
#[derive(Clone, Copy, Debug)]
pub struct Examples<'e> {
    /// Inputs of examples, one after the other, quantised.
    pub inputs: &'e [i8],
    /// What they should give.
    pub aim: Aim<'e>,
}

/// What examples should give, so that errors can be told in percent.
#[derive(Clone, Copy, Debug)]
pub enum Aim<'e> {
    /// Classes, of outputs that mean this.
    Classes(&'e [u32], Task, Ending),
    /// Numbers; the error is the root mean squared distance, in percent of how much they vary.
    Numbers(&'e [f32]),
}

impl Aim<'_> {
    /// The error of a model's outputs in percent.
    fn error_percent(&self, outputs: &[f32]) -> f64 {
        match *self {
            Self::Classes(labels, task, ending) => {
                let classes = ending.classes(task, outputs);
                let wrong = classes.iter().zip(labels).filter(|(a, b)| a != b).count();
                100.0 * wrong as f64 / labels.len().max(1) as f64
            }
            Self::Numbers(aims) => {
                let found = Deviation::of(outputs, aims, 1);
                let mean =
                    aims.iter().map(|&x| f64::from(x)).sum::<f64>() / aims.len().max(1) as f64;
                let squares = aims.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>();
                let varies = (squares / aims.len().max(1) as f64).sqrt();
                100.0 * found.root_mean_squared_error / varies.max(f64::MIN_POSITIVE)
            }
        }
    }
}

/// One more bit taken from a layer.
struct Narrowing {
    layer: usize,
    bits: u8,
    damage: f64,
}

/// Every layer with weights, at the width that the plan has for it.
pub fn layers(graph: &Graph<Affine>, plan: &Plan) -> Vec<LayerWidth> {
    let mut layers: Vec<LayerWidth> = Vec::new();
    for node in graph.layers() {
        let Some(affine) = &node.parameters else { continue };
        let kind = node.op.name();
        let same = layers.iter().filter(|layer| layer.name.starts_with(kind)).count();
        layers.push(LayerWidth {
            name: format!("{kind}_{}", same + 1),
            weights: affine.weight.len(),
            bits: plan.bits.get(&node.output).copied().unwrap_or(DEFAULT_BITS),
            damage: None,
            value: node.output,
        });
    }
    layers
}

/// Narrows layers as long as the error on `examples` is at most `tolerance` points above that of
/// the plan as it is given. The plan is changed, and each layer's width told.
///
/// # Errors
/// As [`write()`], and when examples don't fit the model.
pub fn narrow(
    graph: &Graph<Affine>,
    plan: &mut Plan,
    input: &InputQuantization,
    examples: Examples<'_>,
    tolerance: f64,
) -> Result<Vec<LayerWidth>, QuantizeError> {
    let mut layers = layers(graph, plan);
    let model = |plan: &Plan| {
        Ok::<_, QuantizeError>(
            write(graph, plan, input, &CompileOptions::default(), &ModelInfo::default())?.0,
        )
    };
    let errors = |plan: &Plan| -> Result<f64, QuantizeError> {
        Ok(examples.aim.error_percent(&reals(&model(plan)?, examples.inputs)?))
    };
    // Percentages of counts must not fail by their last bit.
    let allowed = errors(plan)? + tolerance + 1e-9;
    let damages = damages(graph, plan, &layers, examples, &model)?;
    let order = order(&layers, &damages);
    let narrowed = |steps: usize| {
        let mut narrowed = plan.clone();
        for step in order.iter().take(steps) {
            narrowed.bits.insert(layers[step.layer].value, step.bits);
        }
        narrowed
    };
    // The most steps that are allowed; with few examples errors needn't rise with every step.
    let (mut fine, mut wrong) = (0, order.len() + 1);
    while wrong - fine > 1 {
        let middle = usize::midpoint(fine, wrong);
        if errors(&narrowed(middle))? <= allowed { fine = middle } else { wrong = middle }
    }
    let chosen = narrowed(fine);
    for (layer, damages) in layers.iter_mut().zip(&damages) {
        layer.bits = chosen.bits.get(&layer.value).copied().unwrap_or(layer.bits);
        layer.damage = damages.get(&layer.bits).copied();
    }
    *plan = chosen;
    Ok(layers)
}

/// For each layer, the damage of each width below its own.
fn damages(
    graph: &Graph<Affine>,
    plan: &Plan,
    layers: &[LayerWidth],
    examples: Examples<'_>,
    model: &dyn Fn(&Plan) -> Result<Vec<u8>, QuantizeError>,
) -> Result<Vec<BTreeMap<u8, f64>>, QuantizeError> {
    let width = graph.values[graph.input].len();
    let few = examples.inputs.get(..SENSITIVITY_EXAMPLES * width).unwrap_or(examples.inputs);
    let whole = run_batch(&model(plan)?, few)?;
    let mut damages = Vec::with_capacity(layers.len());
    for layer in layers {
        let mut of_layer = BTreeMap::new();
        for bits in WIDTHS.into_iter().filter(|&bits| bits < layer.bits) {
            let mut narrowed = plan.clone();
            narrowed.bits.insert(layer.value, bits);
            let outputs = run_batch(&model(&narrowed)?, few)?;
            let change = |(a, b): (&i8, &i8)| f64::from(a.abs_diff(*b)).powi(2);
            let sum: f64 = whole.iter().zip(&outputs).map(change).sum();
            of_layer.insert(bits, sum / whole.len().max(1) as f64);
        }
        damages.push(of_layer);
    }
    Ok(damages)
}

/// All narrowings, bit by bit for each layer, those first that do the least damage for the bytes
/// that they save.
fn order(layers: &[LayerWidth], damages: &[BTreeMap<u8, f64>]) -> Vec<Narrowing> {
    let mut left: Vec<Vec<Narrowing>> = Vec::with_capacity(layers.len());
    for (layer, damages) in damages.iter().enumerate() {
        // From the narrowest up, so that the widest is taken from the end.
        let steps = damages.iter().map(|(&bits, &damage)| Narrowing { layer, bits, damage });
        left.push(steps.collect());
    }
    let mut before = vec![0.0; layers.len()];
    let mut order = Vec::new();
    let cost = |step: &Narrowing, before: &[f64]| {
        // One bit a weight is saved, whichever the width.
        (step.damage - before[step.layer]).max(0.0) / layers[step.layer].weights.max(1) as f64
    };
    loop {
        let next = left.iter().filter_map(|steps| steps.last());
        let next = next.min_by(|a, b| cost(a, &before).total_cmp(&cost(b, &before)));
        let Some(layer) = next.map(|step| step.layer) else { return order };
        if let Some(step) = left[layer].pop() {
            before[layer] = step.damage;
            order.push(step);
        }
    }
}
