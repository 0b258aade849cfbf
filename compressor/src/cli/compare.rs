//! `bitsback compare`: where two models differ.

use std::path::{Path, PathBuf};

use bitsback_runtime::{Model, OpKind};
use serde::Serialize;

use super::compare_floats::{DRIFT_STEPS, Pair};
use super::feeding;
use super::judging::{Given, Judging, Meaning};
use super::layout::LayoutOption;
use super::model_file::{self, Subject};
use super::output::Context;
use super::scaling::Scaling;
use super::source::{self, DataLayout, Part, Source, Wanted};
use super::table::{self, Align};
use crate::data;
use crate::error::Error;
use crate::report::number::{significant, thousands};
use crate::task::{Deviation, Distance, Ending, Task};
use crate::verify::layers_of;

/// Most examples whose layers are compared: enough to find where they part, and little memory.
const MAX_LAYER_EXAMPLES: usize = 64;

/// Compare what two models compute on the same data
///
/// A and B are .bbk files; .tflite files and quantised .onnx files, which are imported first; or
/// .onnx files of floats. Data are given to each model by its own preprocessing; floats, and files
/// of other tools, are given what the other model's inputs stand for, unless --pixels, --mean or
/// --std say how data were scaled. Where both have the same sequence of operators, the outputs of each layer
/// that has as many values in both are compared, too, and the first one that differs (from floats: by more than 2 steps on
/// average) is named; channels that integers leave out, as they never change, are left out there,
/// too. Data need no labels; where they have some, these are matched as `evaluate` does, by the class
/// names of either model.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback compare model.tflite out/model.bbk --data jobs/lenet-5.toml
  bitsback compare before.bbk after.bbk --data data/mnist --json
  bitsback compare model.onnx model.bbk --data data/mnist

With --json: task, count, agreeing and agreement_percent (null of numbers), error_percent[] (of A and B
against the labels, if there are any), mean_absolute_error[], root_mean_squared_error[], r_squared[]
(of numbers), largest, mean, signal_to_noise_db (of the outputs' differences, in real units), floats,
first_divergence, layers[] with name, differing, largest, mean; other_channels[] (names of layers that
aren't compared, as they have other sizes); notes[].")]
pub(crate) struct Compare {
    /// A model
    a: PathBuf,
    /// Another model
    b: PathBuf,
    /// A job file, or data
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Which part of the data [default: test for a job and for MNIST's and CIFAR-10's files, else all]
    #[arg(long, value_enum)]
    split: Option<Part>,
    /// How raw data were scaled for a model of floats.
    #[command(flatten)]
    scaling: Scaling,
    /// Where arrays have their channels.
    #[command(flatten)]
    layout: DataLayout,
    /// What outputs and labels mean.
    #[command(flatten)]
    meaning: Meaning,
    /// The order of the input's dimensions.
    #[command(flatten)]
    input_layout: LayoutOption,
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
    pub(super) task: Task,
    pub(super) count: usize,
    /// None where outputs are numbers.
    pub(super) agreeing: Option<usize>,
    pub(super) agreement_percent: Option<f64>,
    /// Of A and of B against the labels; null where there are none.
    pub(super) error_percent: [Option<f64>; 2],
    pub(super) mean_absolute_error: [Option<f64>; 2],
    pub(super) root_mean_squared_error: [Option<f64>; 2],
    pub(super) r_squared: [Option<f64>; 2],
    /// Differences of outputs in real units; null where a model gives a class alone.
    pub(super) largest: Option<f64>,
    pub(super) mean: Option<f64>,
    pub(super) signal_to_noise_db: Option<f64>,
    /// The first layer that differs; null where none does, or layers can't be compared.
    pub(super) first_divergence: Option<String>,
    /// Whether one of the models computes with floats.
    pub(super) floats: bool,
    /// Empty where the models have other operators.
    pub(super) layers: Vec<LayerDifference>,
    /// Layers of two models of integers that have other channels, by name: they aren't compared.
    pub(super) other_channels: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl Comparison {
    /// Of what two models give, apart from their layers.
    fn of(given: &[Given; 2], judging: &Judging, examples: &[u32]) -> Self {
        let [a, b] = given;
        let count = examples.len();
        let percent = |part: usize| 100.0 * part as f64 / count.max(1) as f64;
        let equal = |a: &[u32], b: &[u32]| a.iter().zip(b).filter(|(a, b)| a == b).count();
        let agreeing = (judging.task != Task::Regression).then(|| equal(&a.classes, &b.classes));
        let labels = judging.labels(examples);
        let wrong = |given: &Given| {
            labels.as_ref().map(|labels| percent(count - equal(&given.classes, labels)))
        };
        let targets = judging.targets(examples);
        let deviation = |given: &Given| {
            let (width, targets) = targets.as_ref()?;
            Some(Deviation::of(given.outputs.as_ref()?, targets, *width))
        };
        let deviations = [deviation(a), deviation(b)];
        let outputs = a.outputs.as_ref().zip(b.outputs.as_ref());
        let distance =
            outputs.filter(|(a, b)| a.len() == b.len()).map(|(a, b)| Distance::between(a, b));
        Self {
            task: judging.task,
            count,
            agreeing,
            agreement_percent: agreeing.map(percent),
            error_percent: [wrong(a), wrong(b)],
            mean_absolute_error: deviations.map(|d| d.map(|d| d.mean_absolute_error)),
            root_mean_squared_error: deviations.map(|d| d.map(|d| d.root_mean_squared_error)),
            r_squared: deviations.map(|d| d.and_then(|d| d.r_squared)),
            largest: distance.map(|distance| distance.largest),
            mean: distance.map(|distance| distance.mean),
            signal_to_noise_db: distance.and_then(|distance| distance.signal_to_noise_db),
            first_divergence: None,
            floats: false,
            layers: Vec::new(),
            other_channels: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// What is known of a model before it runs.
struct Known {
    wanted: Wanted,
    ending: Ending,
    names: Vec<String>,
}

impl Compare {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        let range = self.scaling.pixels();
        let layout = self.input_layout.input_layout;
        let read = |path| Subject::read(context, path, range, layout);
        let subjects = [read(&self.a)?, read(&self.b)?];
        let known = [self.known(&self.a, &subjects[0])?, self.known(&self.b, &subjects[1])?];
        let [a, b] = &known;
        // A model of integers knows whether it takes bytes.
        let (first, other) = if !a.wanted.bytes && b.wanted.bytes { (b, a) } else { (a, b) };
        let source = source::read(&self.data, self.split, &first.wanted)?;
        data::check_fit(&self.data, &first.wanted.fit.dims, &other.wanted.fit)?;
        let ending = match &subjects {
            [Subject::Floats(_), Subject::Integers(_)] => a.ending.with_integers(b.ending),
            [Subject::Integers(_), Subject::Floats(_)] => b.ending.with_integers(a.ending),
            _ => a.ending.of_both(b.ending),
        };
        let names = if a.names.is_empty() { &b.names } else { &a.names };
        let judging = self.meaning.judge(context, &source, ending, names)?;
        let paths = [self.a.as_path(), self.b.as_path()];
        let (mut given, (layers, other_channels), floats) = match &subjects {
            [Subject::Integers(a), Subject::Integers(b)] => {
                let meaning = (judging.task, ending);
                let (given, layers) = integers(context, paths, [a, b], &source, meaning)?;
                (given, layers, false)
            }
            _ => {
                let inputs = |at: usize| match &subjects[at] {
                    Subject::Integers(bytes) => {
                        let (dataset, examples) = (&source.dataset, &source.examples);
                        feeding::quantized(context, (paths[at], bytes), dataset, examples).map(Some)
                    }
                    Subject::Floats(_) => Ok(None),
                };
                let quantized = [inputs(0)?, inputs(1)?];
                let pair = Pair::new(&subjects, quantized, &source, &self.scaling)?;
                (pair.given(judging.task, ending)?, (pair.layers()?, Vec::new()), true)
            }
        };
        self.same_order(context, &known, &mut given[1]);
        let most = if floats { DRIFT_STEPS } else { 0.0 };
        let first = layers.iter().find(|layer| layer.mean > most).map(|layer| layer.name.clone());
        let comparison = Comparison {
            first_divergence: first,
            floats,
            layers,
            other_channels,
            ..Comparison::of(&given, &judging, &source.examples)
        };
        let comparison = Comparison { notes: context.notes(), ..comparison };
        context.result(&text(&comparison), &comparison)
    }

    fn known(&self, path: &Path, subject: &Subject) -> Result<Known, Error> {
        match subject {
            Subject::Integers(bytes) => {
                let model = parse(path, bytes)?;
                let wanted = Wanted::by(&model, self.layout);
                let names = model_file::class_names(&model);
                Ok(Known { wanted, ending: Ending::of_model(&model), names })
            }
            Subject::Floats(model) => {
                let wanted = Wanted::by_floats(&model.graph, self.layout);
                Ok(Known { wanted, ending: Ending::of_graph(&model.graph), names: Vec::new() })
            }
        }
    }

    /// Brings what B gives into the order of A's classes, where both have names for them.
    fn same_order(&self, context: &Context, [a, b]: &[Known; 2], given: &mut Given) {
        if a.names.is_empty() || b.names.is_empty() || a.names == b.names {
            return;
        }
        let place = |name: &String| a.names.iter().position(|known| known == name);
        let places: Option<Vec<usize>> = b.names.iter().map(place).collect();
        let Some(places) = places.filter(|places| places.len() == a.names.len()) else {
            context.note("the models' class names differ; those of A are taken for both");
            return;
        };
        for class in &mut given.classes {
            *class = places.get(*class as usize).map_or(*class, |&place| place as u32);
        }
        for row in given.outputs.iter_mut().flat_map(|all| all.chunks_exact_mut(places.len())) {
            let before = row.to_vec();
            for (&place, output) in places.iter().zip(before) {
                if let Some(slot) = row.get_mut(place) {
                    *slot = output;
                }
            }
        }
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

/// What two models of integers give, and where their layers differ.
fn integers(
    context: &Context,
    paths: [&Path; 2],
    files: [&Vec<u8>; 2],
    source: &Source,
    (task, ending): (Task, Ending),
) -> Result<([Given; 2], Layers), Error> {
    let models = [parse(paths[0], files[0])?, parse(paths[1], files[1])?];
    let inputs = |model: usize| {
        let (dataset, examples) = (&source.dataset, &source.examples);
        feeding::quantized(context, (paths[model], files[model]), dataset, examples)
    };
    // Another tool's file doesn't say how pixels become its values; the other model does.
    let inputs = match [&models[0], &models[1]].map(model_file::takes_bytes) {
        [false, true] if same_input(&models[0], &models[1]) => {
            let known = inputs(1)?;
            [known.clone(), known]
        }
        [true, false] if same_input(&models[0], &models[1]) => {
            let known = inputs(0)?;
            [known.clone(), known]
        }
        _ => [inputs(0)?, inputs(1)?],
    };
    let given = |at: usize| Given::with_ending(files[at], &inputs[at], task, ending);
    let given = [given(0)?, given(1)?];
    let layers = layers(files, [&models[0], &models[1]], &inputs)?;
    Ok((given, layers))
}

/// Layers' differences, and the names of layers that have other sizes.
type Layers = (Vec<LayerDifference>, Vec<String>);

/// Each layer's differences, where both models have the same operators, and outputs of the same size.
fn layers(
    files: [&Vec<u8>; 2],
    models: [&Model<'_>; 2],
    inputs: &[Vec<i8>; 2],
) -> Result<Layers, Error> {
    let shape = |model: &Model<'_>| -> Vec<(OpKind, usize)> {
        model.ops().map(|step| (step.kind(), step.output().len())).collect()
    };
    let [kinds, other] = models.map(shape);
    if !kinds.iter().map(|(kind, _)| kind).eq(other.iter().map(|(kind, _)| kind)) {
        return Ok(Layers::default());
    }
    let few = |model: usize| {
        let most = models[model].input().len().saturating_mul(MAX_LAYER_EXAMPLES);
        inputs[model].get(..most).unwrap_or(&inputs[model])
    };
    let (a, b) = (layers_of(files[0], few(0))?, layers_of(files[1], few(1))?);
    let name = |index: usize| {
        let stored = models[0].op_name(index).map(str::to_owned);
        let kind = kinds[index].0;
        let number = kinds[..=index].iter().filter(|(other, _)| *other == kind).count();
        stored.unwrap_or_else(|| format!("{}_{number}", kind.name()))
    };
    let (mut layers, mut other_channels) = Layers::default();
    for (index, (a, b)) in a.iter().zip(&b).enumerate() {
        match kinds[index] == other[index] {
            true => layers.push(difference(name(index), a, b)),
            false => other_channels.push(name(index)),
        }
    }
    Ok((layers, other_channels))
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
    let mut text = match comparison.agreeing.zip(comparison.agreement_percent) {
        Some((agreeing, percent)) => format!(
            "the same class on {} of {} examples ({} %)\n",
            thousands(agreeing as u64),
            thousands(comparison.count as u64),
            significant(percent)
        ),
        None => format!("{} examples\n", thousands(comparison.count as u64)),
    };
    if let [Some(a), Some(b)] = comparison.error_percent {
        text += &format!("error: A {} %, B {} %\n", significant(a), significant(b));
    }
    if let [Some(a), Some(b)] = comparison.mean_absolute_error {
        text += &format!("mean absolute error: A {}, B {}\n", significant(a), significant(b));
    }
    if let Some((largest, mean)) = comparison.largest.zip(comparison.mean) {
        text += &format!("outputs differ by at most {largest:.4}, by {mean:.5} on average\n");
    }
    if comparison.layers.is_empty() {
        return text + "the models have other operators: layers can't be compared\n";
    }
    if !comparison.other_channels.is_empty() {
        let names = comparison.other_channels.join(", ");
        text += &format!("not compared, as they have other channels: {names}\n");
    }
    text += &match &comparison.first_divergence {
        Some(name) if comparison.floats => format!("the first layer that drifts: {name}\n\n"),
        Some(name) => format!("the first layer that differs: {name}\n\n"),
        None if comparison.floats => "no layer drifts from the floats\n\n".to_owned(),
        None if !comparison.other_channels.is_empty() => {
            "every layer of as many channels gives the same bytes\n\n".to_owned()
        }
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
    use crate::compile::{CompileOptions, InputQuantization, ModelInfo, write};
    use crate::graph::ops::{Clip, Dense};
    use crate::graph::{Affine, Graph, Plan, lower};
    use crate::numbers::{Quantization, Range};

    /// Four inputs, some units in between, and two outputs.
    fn model(units: usize) -> Vec<u8> {
        let mut graph = Graph::of_input(vec![4]);
        let affine = |outputs: usize, inputs: usize| Affine {
            weight: (0..outputs * inputs).map(|i| (i as f32 * 0.7).sin()).collect(),
            bias: vec![0.1; outputs],
        };
        graph.push("dense_1", Dense {}, vec![0], vec![units], Some(affine(units, 4)));
        graph.push("relu_1", Clip::RELU, vec![1], vec![units], None);
        graph.push("dense_2", Dense {}, vec![2], vec![2], Some(affine(2, units)));
        let range = Range { low: -4.0, high: 4.0 };
        let activations = (0..4).map(|value| (value, Quantization::of_range(range))).collect();
        let input = InputQuantization::floats(range, None);
        let plan = Plan { activations, ..Plan::default() };
        let integers = lower(&graph, &plan).unwrap();
        write(&integers, &input, &CompileOptions::default(), &ModelInfo::default()).unwrap().0
    }

    #[test]
    fn layers_of_as_many_channels_are_compared() {
        let files = [&model(5), &model(6)];
        let models = files.map(|file| Model::parse(file).unwrap());
        let inputs = [vec![3; 8], vec![3; 8]];
        let (same, other) = layers(files, [&models[0], &models[1]], &inputs).unwrap();
        assert_eq!(same.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>(), ["dense_2"]);
        assert_eq!((same[0].values, other), (4, vec!["dense_1".to_owned()]));
    }

    #[test]
    fn differences_are_counted_in_steps() {
        let layer = difference("x".into(), &[1, -128, 5, 0], &[1, 127, 4, 0]);
        assert_eq!((layer.values, layer.differing, layer.largest), (4, 2, 255));
        assert!((layer.mean - 64.0).abs() < 1e-9);
    }
}
