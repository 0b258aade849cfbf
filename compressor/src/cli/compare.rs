//! `bitsback compare`: where two models differ.

use std::path::{Path, PathBuf};

use bitsback_runtime::{Model, OpKind};
use serde::Serialize;

use super::compare_floats;
use super::layout::LayoutOption;
use super::model_file::{self, Subject};
use super::output::Context;
use super::scaling::Scaling;
use super::source::{self, Part, Wanted};
use super::table::{self, Align};
use crate::error::{CliError, Error};
use crate::report::number::{significant, thousands};
use crate::verify::{self, VerifyError, layers_of};

/// Most examples whose layers are compared: enough to find where they part, and little memory.
const MAX_LAYER_EXAMPLES: usize = 64;

/// Compare what two models compute on the same data
///
/// A and B are .bbk files; .tflite files and quantised .onnx files, which are imported first; or
/// .onnx files of floats. Data are given to each model by its own preprocessing; floats, and files
/// of other tools, are given what the other model's inputs stand for, unless --pixels, --mean or
/// --std say how data were scaled. Where both have the same sequence of operators, each layer's
/// outputs are compared, too, and the first one that differs (from floats: by more than 2 steps on
/// average) is named.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback compare model.tflite out/model.bbk --data jobs/lenet-5.toml
  bitsback compare before.bbk after.bbk --data data/mnist --json
  bitsback compare model.onnx model.bbk --data data/mnist

With --json: count, agreeing, agreement_percent, error_percent[] (of A and B), largest, mean (output
differences in real units), floats, first_divergence, layers[] with name, differing, largest, mean.")]
pub(crate) struct Compare {
    /// A model
    a: PathBuf,
    /// Another model
    b: PathBuf,
    /// A job file, or data
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Which part of the data [default: test for a job and for MNIST's files, else all]
    #[arg(long, value_enum)]
    split: Option<Part>,
    /// How raw data were scaled for a model of floats.
    #[command(flatten)]
    scaling: Scaling,
    /// The order of the input's dimensions.
    #[command(flatten)]
    layout: LayoutOption,
}

/// How one layer differs, in steps of its output.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct LayerDifference {
    pub(super) name: String,
    pub(super) values: usize,
    /// Values that aren't equal; from floats: that are more than a step away.
    pub(super) differing: usize,
    pub(super) largest: u32,
    pub(super) mean: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) count: usize,
    pub(super) agreeing: usize,
    pub(super) agreement_percent: f64,
    /// Of A and of B against the labels.
    pub(super) error_percent: [f64; 2],
    /// Differences of outputs in real units; null where a model gives a class alone.
    pub(super) largest: Option<f64>,
    pub(super) mean: Option<f64>,
    /// The first layer that differs; null where none does, or layers can't be compared.
    pub(super) first_divergence: Option<String>,
    /// Whether one of the models computes with floats.
    pub(super) floats: bool,
    /// Empty where the models have other operators.
    pub(super) layers: Vec<LayerDifference>,
}

/// What a model gives for the examples.
pub(super) struct Given {
    pub(super) classes: Vec<u32>,
    /// Real outputs; none where the model gives a class alone.
    pub(super) outputs: Option<Vec<f64>>,
}

impl Given {
    /// By a model of integers.
    pub(super) fn by(bytes: &[u8], inputs: &[i8]) -> Result<Self, Error> {
        let (classes, outputs) = verify::answers(bytes, inputs)?;
        let model = Model::parse(bytes).map_err(VerifyError::from)?;
        let (scale, zero) = (model.meta().output_scale, model.output().zero_point);
        let real = |q: i8| f64::from(scale) * (f64::from(q) - f64::from(zero));
        let scores = model.last_kind() != OpKind::Argmax;
        Ok(Self { classes, outputs: scores.then(|| outputs.into_iter().map(real).collect()) })
    }
}

impl Comparison {
    /// Of what two models of integers give, apart from their layers.
    pub(super) fn of(given: &[Given; 2], labels: &[u32]) -> Self {
        let [a, b] = given;
        let count = a.classes.len();
        let percent = |part: usize| 100.0 * part as f64 / count.max(1) as f64;
        let equal = |a: &[u32], b: &[u32]| a.iter().zip(b).filter(|(a, b)| a == b).count();
        let agreeing = equal(&a.classes, &b.classes);
        let wrong = |given: &Given| percent(count - equal(&given.classes, labels));
        let outputs = a.outputs.as_ref().zip(b.outputs.as_ref());
        let differences: Option<Vec<f64>> = outputs
            .filter(|(a, b)| a.len() == b.len())
            .map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a - b).abs()).collect());
        let largest = |all: &Vec<f64>| all.iter().fold(0.0, |most: f64, &d| most.max(d));
        Self {
            count,
            agreeing,
            agreement_percent: percent(agreeing),
            error_percent: [wrong(a), wrong(b)],
            largest: differences.as_ref().map(largest),
            mean: differences.map(|all| all.iter().sum::<f64>() / all.len().max(1) as f64),
            first_divergence: None,
            floats: false,
            layers: Vec::new(),
        }
    }
}

impl Compare {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        let range = self.scaling.pixels();
        let layout = self.layout.input_layout;
        let read = |path| Subject::read(context, path, range, layout);
        let subjects = [read(&self.a)?, read(&self.b)?];
        let files = match subjects {
            [Subject::Integers(a), Subject::Integers(b)] => [a, b],
            subjects => return self.run_with_floats(context, &subjects),
        };
        let [a, b] = [parse(&self.a, &files[0])?, parse(&self.b, &files[1])?];
        let wanted = if model_file::takes_bytes(&b) { Wanted::by(&b) } else { Wanted::by(&a) };
        let (dataset, examples) = source::read(&self.data, self.split, wanted)?;
        for model in [&a, &b] {
            if dataset.shape.len() != model.input().len() {
                return Err(self.wrong_shape(dataset.shape.len(), model.input().len()));
            }
        }
        let mut inputs = [
            verify::quantized_inputs(&files[0], &dataset, &examples)?,
            verify::quantized_inputs(&files[1], &dataset, &examples)?,
        ];
        // Another tool's file doesn't say how pixels become its values; the other model does.
        match [&a, &b].map(model_file::takes_bytes) {
            [false, true] if same_input(&a, &b) => inputs[0] = inputs[1].clone(),
            [true, false] if same_input(&a, &b) => inputs[1] = inputs[0].clone(),
            _ => {}
        }
        let label = |&example: &u32| dataset.labels.get(example as usize).copied();
        let labels: Vec<u32> = examples.iter().filter_map(label).collect();
        let comparison = compare(&files, [&a, &b], &inputs, &labels)?;
        context.result(&text(&comparison), &comparison)
    }

    /// Where at least one model computes with floats.
    fn run_with_floats(&self, context: &Context, subjects: &[Subject; 2]) -> Result<(), Error> {
        let mut wanted = Vec::with_capacity(2);
        for (subject, path) in subjects.iter().zip([&self.a, &self.b]) {
            wanted.push(match subject {
                Subject::Integers(bytes) => Wanted::by(&parse(path, bytes)?),
                Subject::Floats(model) => {
                    Wanted { shape: model_file::float_shape(model), bytes: false }
                }
            });
        }
        // A model of integers knows whether it takes bytes.
        let first = wanted.iter().find(|wanted| wanted.bytes).or(wanted.first()).copied();
        let Some(first) = first else { return Ok(()) };
        let (dataset, examples) = source::read(&self.data, self.split, first)?;
        if let Some(other) = wanted.iter().find(|w| w.shape.len() != dataset.shape.len()) {
            return Err(self.wrong_shape(dataset.shape.len(), other.shape.len()));
        }
        let [a, b] = subjects;
        let comparison = compare_floats::compare([a, b], &dataset, &examples, &self.scaling)?;
        context.result(&text(&comparison), &comparison)
    }

    fn wrong_shape(&self, found: usize, wanted: usize) -> Error {
        CliError::InputShape {
            path: self.data.clone(),
            found: format!("{found} values an example"),
            wanted: wanted.to_string(),
        }
        .into()
    }
}

/// Whether an input means the same to both.
fn same_input(a: &Model<'_>, b: &Model<'_>) -> bool {
    let meaning = |model: &Model<'_>| (model.meta().input_scale, model.input().zero_point);
    meaning(a) == meaning(b)
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Model<'a>, Error> {
    model_file::parse(path, bytes)
}

fn compare(
    files: &[Vec<u8>; 2],
    models: [&Model<'_>; 2],
    inputs: &[Vec<i8>; 2],
    labels: &[u32],
) -> Result<Comparison, Error> {
    let given = [Given::by(&files[0], &inputs[0])?, Given::by(&files[1], &inputs[1])?];
    let layers = layers(files, models, inputs)?;
    let first = layers.iter().find(|layer| layer.differing > 0).map(|layer| layer.name.clone());
    Ok(Comparison { first_divergence: first, layers, ..Comparison::of(&given, labels) })
}

/// Each layer's differences, where both models have the same operators with outputs of the same
/// sizes.
fn layers(
    files: &[Vec<u8>; 2],
    models: [&Model<'_>; 2],
    inputs: &[Vec<i8>; 2],
) -> Result<Vec<LayerDifference>, Error> {
    let shape = |model: &Model<'_>| -> Vec<(OpKind, usize)> {
        model.ops().map(|step| (step.kind(), step.output().len())).collect()
    };
    let kinds = shape(models[0]);
    if kinds != shape(models[1]) {
        return Ok(Vec::new());
    }
    let few = |model: usize| {
        let most = models[model].input().len().saturating_mul(MAX_LAYER_EXAMPLES);
        inputs[model].get(..most).unwrap_or(&inputs[model])
    };
    let (a, b) = (layers_of(&files[0], few(0))?, layers_of(&files[1], few(1))?);
    let names = (0..kinds.len()).map(|index| {
        let stored = models[0].op_name(index).map(str::to_owned);
        let kind = kinds[index].0;
        let number = kinds[..=index].iter().filter(|(other, _)| *other == kind).count();
        stored.unwrap_or_else(|| format!("{}_{number}", kind.name()))
    });
    Ok(names.zip(a.iter().zip(&b)).map(|(name, (a, b))| difference(name, a, b)).collect())
}

fn difference(name: String, a: &[i8], b: &[i8]) -> LayerDifference {
    let steps: Vec<u32> = a.iter().zip(b).map(|(&a, &b)| u32::from(a.abs_diff(b))).collect();
    LayerDifference {
        name,
        values: steps.len(),
        differing: steps.iter().filter(|&&step| step > 0).count(),
        largest: steps.iter().copied().max().unwrap_or_default(),
        mean: steps.iter().map(|&step| f64::from(step)).sum::<f64>() / steps.len().max(1) as f64,
    }
}

fn text(comparison: &Comparison) -> String {
    let [a, b] = comparison.error_percent;
    let mut text = format!(
        "the same class on {} of {} examples ({} %)\nerror: A {} %, B {} %\n",
        thousands(comparison.agreeing as u64),
        thousands(comparison.count as u64),
        significant(comparison.agreement_percent),
        significant(a),
        significant(b)
    );
    if let Some((largest, mean)) = comparison.largest.zip(comparison.mean) {
        text += &format!("outputs differ by at most {largest:.4}, by {mean:.5} on average\n");
    }
    if comparison.layers.is_empty() {
        return text + "the models have other operators: layers can't be compared\n";
    }
    text += &match &comparison.first_divergence {
        Some(name) if comparison.floats => format!("the first layer that drifts: {name}\n\n"),
        Some(name) => format!("the first layer that differs: {name}\n\n"),
        None if comparison.floats => "no layer drifts from the floats\n\n".to_owned(),
        None => "every layer gives the same bytes\n\n".to_owned(),
    };
    let row = |layer: &LayerDifference| {
        [
            layer.name.clone(),
            thousands(layer.differing as u64),
            thousands(layer.values as u64),
            layer.largest.to_string(),
            format!("{:.4}", layer.mean),
        ]
    };
    let rows: Vec<_> = comparison.layers.iter().map(row).collect();
    let differing = if comparison.floats { "off by a step" } else { "differing" };
    let heads = ["Layer", differing, "of", "largest (steps)", "mean"];
    let right = Align::Right;
    text + &table::layout(&heads, &[Align::Left, right, right, right, right], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_counted_in_steps() {
        let layer = difference("x".into(), &[1, -128, 5, 0], &[1, 127, 4, 0]);
        assert_eq!((layer.values, layer.differing, layer.largest), (4, 2, 255));
        assert!((layer.mean - 64.0).abs() < 1e-9);
    }
}
