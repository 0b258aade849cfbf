//! `bitsback quantize`: a trained model of floats as integers, without training.

use std::path::PathBuf;

use bitsback_runtime::Model;
use serde::Serialize;

use super::amount;
use super::judging::{Judging, Meaning};
use super::layout::LayoutOption;
use super::left_out;
use super::model_file;
use super::output::{Context, keeps_inputs};
use super::scaling::{self, Scaling};
use super::source::{self, DataLayout, Source, Wanted};
use super::storing::{self, Choice, Storing};
use super::table::{self, Align};
use crate::compile::calibrate::{self, RangeMethod, calibrate, means};
use crate::compile::serialize::ModelInfo;
use crate::compile::{self, CompileOptions, InputQuantization};
use crate::data::{Dataset, Normalization, Values};
use crate::error::{CliError, Error};
use crate::files;
use crate::graph::{Affine, Graph, IntegerGraph, LeftOut, Plan, lower};
use crate::import::InputLayout;
use crate::numbers::Range;
use crate::quantize::assess::{Assessment, Truth, assess, float_outputs, outputs};
use crate::quantize::widths::{Aim, Examples, LayerWidth, layers, narrow};
use crate::quantize::{QuantizeError, write};
use crate::report::number::{significant, thousands};
use crate::task::{Ending, Task};

/// Most examples that decide about widths: errors are counted to a 50th of a percent.
const MAX_DECIDING: usize = 5000;

/// Quantise a trained model of ONNX or TensorFlow Lite to a .bbk file, without training
///
/// Ranges are watched on some of the data, weights get a scale per output. With --bits auto each
/// layer is narrowed as far as the error allows: how much that costs is measured layer by layer.
/// Of a model that is quantised already (an int8 .tflite file, pairs of QuantizeLinear and
/// DequantizeLinear) the floats are what its integers stand for, and ranges are found anew;
/// `import` keeps its own.
/// DATA is what `evaluate` takes, and is divided in three: examples on which ranges are watched,
/// examples that decide about widths, and examples on which the error is counted. These are the
/// training, validation and test parts of a job file. In MNIST's and CIFAR-10's formats the error is
/// counted on the test files; in other data on every second example. Without labels only the agreement of floats and
/// integers is told. Raw bytes are scaled as --pixels, --mean and --std say, and the device then takes
/// raw bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback quantize model.onnx --data data/mnist -o model.bbk             trained on pixels / 255
  bitsback quantize model.onnx --data data/mnist -o model.bbk --mean 0.1307 --std 0.3081
  bitsback quantize model.onnx --data data.npz -o model.bbk --bits auto --tolerance 0.3
  bitsback quantize model.tflite --data data/mnist -o model.bbk --bits auto
  bitsback quantize model.onnx --data data.npz -o model.bbk --max-error 2 --max-bytes 65536
  bitsback quantize model.onnx --data data.npz -o model.bbk --bits 4 --goal flash

With --json: task, count, float_error_percent, integer_error_percent, agreement_percent (null without
classes), float_deviation and integer_deviation (of numbers: mean_absolute_error,
root_mean_squared_error, r_squared), distance (largest, mean, signal_to_noise_db), float_bytes,
file_bytes, arena_bytes, macs, calibrated_on, decided_on, layers[] with name, weights, bits, damage;
left_out with channels, of_channels, products, of_products and layers[] (name and left_out[] with channel and reason);
storage[] with goal, taken, core, file_bytes, instructions, unpacked{} (count, weights_ram_bytes); input_layout with layout and basis (proved, given, assumed), notes[].")]
pub(crate) struct Quantize {
    /// The .onnx or .tflite file
    model: PathBuf,
    /// A job file, or data
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Where to write the model
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Width of weights: 2 to 8, or auto
    #[arg(long, default_value = "8", value_parser = Bits::parse)]
    bits: Bits,
    /// Points of error on deciding examples that --bits auto may add to that of 8 bits; without labels,
    /// of disagreement with the floats; of numbers, of their spread
    #[arg(long, default_value_t = 0.5, value_name = "POINTS", value_parser = amount::points)]
    #[arg(allow_negative_numbers = true)]
    tolerance: f64,
    /// How raw data were scaled.
    #[command(flatten)]
    scaling: Scaling,
    /// The order of the input's dimensions.
    #[command(flatten)]
    input_layout: LayoutOption,
    /// Examples that ranges are watched on
    #[arg(long, default_value_t = 300, value_name = "COUNT", value_parser = amount::at_least_one)]
    calibration: usize,
    /// Take ranges from the least to the greatest value, instead of the least squared error
    #[arg(long)]
    min_max: bool,
    /// Fail with exit code 5 if the error in percent is higher
    #[arg(long, value_name = "PERCENT", value_parser = amount::percent)]
    #[arg(allow_negative_numbers = true)]
    max_error: Option<f64>,
    /// Fail with exit code 5 if the file is larger, such as 65536 or 64K (of 1,024)
    #[arg(long, value_name = "BYTES", value_parser = amount::bytes)]
    max_bytes: Option<u64>,
    /// The model's name
    #[arg(long, default_value = "")]
    name: String,
    /// What outputs and labels mean.
    #[command(flatten)]
    meaning: Meaning,
    /// Where arrays have their channels.
    #[command(flatten)]
    layout: DataLayout,
    /// How weights are stored.
    #[command(flatten)]
    storing: Storing,
    /// Store the operators' names
    #[arg(long)]
    op_names: bool,
}

/// `--bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bits {
    /// The same for every layer.
    All(u8),
    /// By measured sensitivity.
    Auto,
}

impl Bits {
    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(bits @ 2..=8) => Ok(Self::All(bits)),
            _ if text == "auto" => Ok(Self::Auto),
            _ => Err("give 2 to 8, or auto".to_owned()),
        }
    }
}

#[derive(Debug, Serialize)]
struct Summary {
    #[serde(flatten)]
    assessment: Assessment,
    /// Of the parameters as floats.
    float_bytes: usize,
    file_bytes: usize,
    arena_bytes: usize,
    macs: u64,
    calibrated_on: usize,
    decided_on: usize,
    layers: Vec<LayerWidth>,
    /// Channels that never change or are never read.
    left_out: LeftOut,
    /// What weights take, stored for each goal.
    storage: Vec<Choice>,
    /// Of an .onnx file's input.
    input_layout: Option<InputLayout>,
    notes: Vec<String>,
}

/// What the examples should give; without labels, what the floats give is right.
fn known_truth(
    judging: &Judging,
    examples: &[u32],
    ending: Ending,
    floats: impl Fn() -> Result<Vec<f32>, QuantizeError>,
) -> Result<Truth, Error> {
    Ok(match judging.truth(examples) {
        Truth::Unknown if judging.task == Task::Regression => Truth::Numbers(1, floats()?),
        Truth::Unknown => Truth::Classes(ending.classes(judging.task, &floats()?)),
        truth => truth,
    })
}

/// The graph of integers, its file, and what isn't in that.
fn compiled(
    graph: &Graph<Affine>,
    plan: &Plan,
    input: &InputQuantization,
    options: &CompileOptions,
    info: &ModelInfo,
) -> Result<(IntegerGraph, Vec<u8>, LeftOut), QuantizeError> {
    let integers = lower(graph, plan)?;
    let (bytes, compiled) = compile::write(&integers, input, options, info)?;
    Ok((integers, bytes, compiled.left_out))
}

impl Quantize {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        keeps_inputs(&self.output, &[&self.model, &self.data])?;
        let options = self.storing.options()?;
        let stage = context.progress_aside().stage("quantize", 0);
        stage.set(0, "reading the model and the data");
        let model = model_file::read_floats(context, &self.model, self.input_layout.input_layout)?;
        let (inputs, input_layout) = (model.input_range(), model.input_layout);
        let model = if model.is_quantized() { model.freed() } else { model };
        let (graph, layout) = (&model.graph, self.layout);
        let parts = source::read_parts(&self.data, &Wanted::by_floats(graph, layout))?;
        let (source, [calibrating, deciding]) = parts;
        let dataset = &source.dataset;
        let normalization = self.scaling.normalization(dataset)?;
        let calibrating = spread(&calibrating, self.calibration);
        if let Some(inputs) = inputs {
            scaling::check(inputs, dataset, &normalization, &calibrating)?;
        }
        stage.set(0, "watching the ranges of all values");
        let inputs = dataset.batch(&normalization, &calibrating);
        let input = self.input(dataset, &normalization, &inputs);
        let mut plan = self.plan(graph, &inputs, &input)?;
        let ending = self.ending(graph, &plan, &input)?;
        let judging = self.meaning.judge(context, &source, ending, &[])?;
        self.check_labels(&source, &judging)?;
        let deciding = spread(&deciding, MAX_DECIDING);
        stage.set(0, "deciding about the widths, layer by layer");
        let (widths, decided_on) = if self.bits == Bits::Auto {
            let inputs = input.quantize(&dataset.batch(&normalization, &deciding));
            let floats = || float_outputs(graph, dataset, &normalization, &deciding);
            let truth = known_truth(&judging, &deciding, ending, floats)?;
            let aim = match &truth {
                Truth::Numbers(_, aims) => Aim::Numbers(aims),
                Truth::Classes(labels) => Aim::Classes(labels, judging.task, ending),
                Truth::Unknown => Aim::Numbers(&[]),
            };
            let examples = Examples { inputs: &inputs, aim };
            (narrow(graph, &mut plan, &input, examples, self.tolerance)?, deciding.len())
        } else {
            (layers(graph, &plan), 0)
        };
        let info = self.info(&judging);
        let (integers, bytes, left_out) = compiled(graph, &plan, &input, &options, &info)?;
        stage.set(0, "counting errors, in floats and in integers");
        let parsed: Model<'_> = model_file::parse(&self.output, &bytes)?;
        let ending = ending.with_integers(Ending::of_model(&parsed));
        let floats: usize = graph.parameters().map(|a| a.weight.len() + a.bias.len()).sum();
        let outputs = outputs(graph, &bytes, dataset, &normalization, &source.examples)?;
        let truth = judging.truth(&source.examples);
        let assessment = assess(&outputs, judging.task, ending, &truth);
        let choices = self.storing.choices(&integers, &input, &info, &bytes);
        let summary = Summary {
            assessment,
            float_bytes: floats * size_of::<f32>(),
            file_bytes: bytes.len(),
            arena_bytes: parsed.arena_len(),
            macs: parsed.macs(),
            calibrated_on: calibrating.len(),
            decided_on,
            layers: widths,
            left_out,
            storage: choices.map_err(QuantizeError::from)?,
            input_layout,
            notes: context.notes(),
        };
        self.storing.check(&options, &bytes)?;
        files::write_atomic(&self.output, &bytes)?;
        drop(stage);
        context.result(&self.text(&summary), &summary)?;
        self.requirements(&summary)
    }

    /// Scales and means of what `inputs` make of the graph, and the widths that were asked for.
    fn plan(
        &self,
        graph: &Graph<Affine>,
        inputs: &[f32],
        input: &InputQuantization,
    ) -> Result<Plan, Error> {
        let method = if self.min_max { RangeMethod::MinMax } else { RangeMethod::LeastSquares };
        let scales = calibrate(graph, inputs, input, method).map_err(QuantizeError::from)?;
        let mut plan = calibrate::plan(graph, scales, input);
        plan.means = means(graph, inputs).map_err(QuantizeError::from)?;
        if let Bits::All(bits) = self.bits {
            plan.bits = layers(graph, &plan).iter().map(|layer| (layer.value, bits)).collect();
        }
        Ok(plan)
    }

    /// How the model ends, by the range that calibration found: as the written file is read.
    fn ending(
        &self,
        graph: &Graph<Affine>,
        plan: &Plan,
        input: &InputQuantization,
    ) -> Result<Ending, Error> {
        let (options, info) = (CompileOptions::default(), ModelInfo::default());
        let (bytes, _) = write(graph, plan, input, &options, &info)?;
        let integers = Ending::of_model(&model_file::parse(&self.output, &bytes)?);
        Ok(Ending::of_graph(graph).with_integers(integers))
    }

    fn check_labels(&self, source: &Source, judging: &Judging) -> Result<(), Error> {
        if self.max_error.is_none() || judging.labels(&source.examples).is_some() {
            return Ok(());
        }
        let reason = "--max-error is about classes, and there are no labels for them".to_owned();
        Err(CliError::Meaning { reason }.into())
    }

    /// The input's quantisation, and the device's way to it.
    fn input(
        &self,
        dataset: &Dataset,
        normalization: &Normalization,
        inputs: &[f32],
    ) -> InputQuantization {
        if matches!(dataset.inputs, Values::Bytes(_)) {
            return InputQuantization::bytes(normalization);
        }
        let nothing = Range { low: f32::INFINITY, high: f32::NEG_INFINITY };
        let range = inputs
            .iter()
            .fold(nothing, |range, &x| Range { low: range.low.min(x), high: range.high.max(x) });
        InputQuantization::floats(range, self.scaling.is_standard().then_some(normalization))
    }

    fn info(&self, judging: &Judging) -> ModelInfo {
        let classes = judging.stored_names();
        ModelInfo { name: self.name.clone(), classes, op_names: self.op_names }
    }

    fn requirements(&self, summary: &Summary) -> Result<(), Error> {
        let error = summary.assessment.integer_error_percent.unwrap_or_default();
        if let Some(most) = self.max_error.filter(|&most| error > most) {
            let reason = format!("the error is {} %, above {most} %", significant(error));
            return Err(CliError::Unmet { reason }.into());
        }
        if let Some(most) = self.max_bytes.filter(|&most| summary.file_bytes as u64 > most) {
            let reason = format!("the file has {} bytes, above {most}", summary.file_bytes);
            return Err(CliError::Unmet { reason }.into());
        }
        Ok(())
    }

    fn text(&self, summary: &Summary) -> String {
        let mut text = format!(
            "{}: {} bytes (of {} as floats), {} bytes of arena, {} multiply-accumulates\n\
             {}\n\
             calibrated on {} examples",
            self.output.display(),
            thousands(summary.file_bytes as u64),
            thousands(summary.float_bytes as u64),
            thousands(summary.arena_bytes as u64),
            thousands(summary.macs),
            told(&summary.assessment),
            thousands(summary.calibrated_on as u64),
        );
        if summary.decided_on > 0 {
            text += &format!("; {} decided about widths", thousands(summary.decided_on as u64));
        }
        let row = |layer: &LayerWidth| {
            let damage = layer.damage.map_or_else(String::new, |damage| format!("{damage:.3}"));
            [layer.name.clone(), thousands(layer.weights as u64), layer.bits.to_string(), damage]
        };
        let rows: Vec<_> = summary.layers.iter().map(row).collect();
        let right = Align::Right;
        let heads = ["Layer", "weights", "bits", "damage alone (steps²)"];
        let layers = table::layout(&heads, &[Align::Left, right, right, right], &rows);
        let known = left_out::line(&summary.left_out);
        let known = known.map_or_else(String::new, |line| format!("{line}\n"));
        format!("{text}\n\n{layers}\n{known}{}", storing::told(&summary.storage))
    }
}

/// How well integers do, in a line.
fn told(assessment: &Assessment) -> String {
    let count = thousands(assessment.count as u64);
    let agreement = assessment.agreement_percent.map(significant);
    let errors = assessment.float_error_percent.zip(assessment.integer_error_percent);
    if let (Some((floats, integers)), Some(agreement)) = (errors, &agreement) {
        let [floats, integers] = [floats, integers].map(significant);
        return format!(
            "error on {count} examples: floats {floats} %, integers {integers} %; the same class on \
             {agreement} %"
        );
    }
    let apart = assessment.distance;
    let noise = apart.signal_to_noise_db.map_or_else(|| "–".to_owned(), significant);
    let apart = format!(
        "outputs differ by at most {}, by {} on average; signal to noise {noise} dB",
        significant(apart.largest),
        significant(apart.mean)
    );
    if let Some((floats, integers)) = assessment.float_deviation.zip(assessment.integer_deviation) {
        let [floats, integers] =
            [floats, integers].map(|deviation| significant(deviation.mean_absolute_error));
        return format!(
            "mean absolute error on {count} examples: floats {floats}, integers {integers}; {apart}"
        );
    }
    match agreement {
        Some(agreement) => format!("the same class on {agreement} % of {count} examples; {apart}"),
        None => format!("on {count} examples, {apart}"),
    }
}

/// At most `count` of the examples, evenly spread.
fn spread(examples: &[u32], count: usize) -> Vec<u32> {
    let count = count.min(examples.len());
    (0..count).map(|at| examples[at * examples.len() / count]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_numbers_or_auto() {
        assert_eq!(Bits::parse("auto"), Ok(Bits::Auto));
        assert_eq!(Bits::parse("4"), Ok(Bits::All(4)));
        for text in ["1", "9", "four", ""] {
            assert!(Bits::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn examples_are_spread_evenly() {
        let all: Vec<u32> = (0..10).collect();
        assert_eq!(spread(&all, 5), [0, 2, 4, 6, 8]);
        assert_eq!(spread(&all, 50), all);
        assert_eq!(spread(&all, 0), [0u32; 0]);
    }
}
