//! `bitsback quantize`: a trained model of floats as integers, without training.

use std::path::PathBuf;

use bitsback_runtime::Model;
use serde::Serialize;

use super::layout::LayoutOption;
use super::model_file;
use super::output::Context;
use super::scaling::{self, Scaling};
use super::source::{self, Wanted};
use super::table::{self, Align};
use crate::calibrate::{InputQuantization, Range, RangeMethod};
use crate::data::{Dataset, Normalization, Values};
use crate::error::{CliError, Error};
use crate::files;
use crate::import::InputLayout;
use crate::import::onnx::FloatModel;
use crate::quantize::assess::{Assessment, assess};
use crate::quantize::widths::{Examples, LayerWidth, layers, narrow};
use crate::quantize::{Plan, means, ranges, write};
use crate::report::number::{significant, thousands};
use crate::serialize::ModelInfo;

/// Most examples that decide about widths: errors are counted to a 50th of a percent.
const MAX_DECIDING: usize = 5000;

/// Quantise a trained model of ONNX or TensorFlow Lite to a .bbk file, without training
///
/// Ranges are watched on some of the data, weights get a scale per output. With --bits auto each
/// layer is narrowed as far as the error allows: how much that costs is measured layer by layer.
/// Of a model that is quantised already (an int8 .tflite file, pairs of QuantizeLinear and
/// DequantizeLinear) the floats are what its integers stand for, and ranges are found anew;
/// `import` keeps its own.
/// DATA is what `evaluate` takes. A job file's training part calibrates, its validation part
/// decides, its test part tells the result; MNIST's test files tell it, too; of anything else every
/// second example does. Raw bytes are scaled as --pixels, --mean and --std say, and the device
/// then takes raw bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback quantize model.onnx --data data/mnist -o model.bbk             trained on pixels / 255
  bitsback quantize model.onnx --data data/mnist -o model.bbk --mean 0.1307 --std 0.3081
  bitsback quantize model.onnx --data data.npz -o model.bbk --bits auto --tolerance 0.3
  bitsback quantize model.tflite --data data/mnist -o model.bbk --bits auto
  bitsback quantize model.onnx --data data.npz -o model.bbk --max-error 2 --max-bytes 65536

With --json: count, float_error_percent, integer_error_percent, agreement_percent, float_bytes,
file_bytes, arena_bytes, macs, calibrated_on, decided_on, layers[] with name, weights, bits, damage, input_layout with layout and basis (proved,
given, assumed), notes[].")]
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
    /// Points of error on deciding examples that --bits auto may add to that of 8 bits
    #[arg(long, default_value_t = 0.5, value_name = "POINTS")]
    tolerance: f64,
    /// How raw data were scaled.
    #[command(flatten)]
    scaling: Scaling,
    /// The order of the input's dimensions.
    #[command(flatten)]
    layout: LayoutOption,
    /// Examples that ranges are watched on
    #[arg(long, default_value_t = 300, value_name = "COUNT")]
    calibration: usize,
    /// Take ranges from the least to the greatest value, instead of the least squared error
    #[arg(long)]
    min_max: bool,
    /// Fail with exit code 5 if the error in percent is higher
    #[arg(long, value_name = "PERCENT")]
    max_error: Option<f64>,
    /// Fail with exit code 5 if the file is larger
    #[arg(long, value_name = "BYTES")]
    max_bytes: Option<usize>,
    /// The model's name
    #[arg(long, default_value = "")]
    name: String,
    /// Names of the classes [default: those of the data, unless they are numbers]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    classes: Vec<String>,
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
    /// Of an .onnx file's input.
    input_layout: Option<InputLayout>,
    notes: Vec<String>,
}

impl Quantize {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        let model = model_file::read_floats(context, &self.model, self.layout.input_layout)?;
        let (inputs, input_layout) = (model.input_range(), model.input_layout);
        let model = if model.is_quantized() { model.freed() } else { model };
        let graph = &model.graph;
        let wanted = Wanted { shape: model_file::float_shape(&model), bytes: false };
        let (dataset, [calibrating, deciding, telling]) = source::read_parts(&self.data, wanted)?;
        self.check(&model, &dataset)?;
        let normalization = self.scaling.normalization(&dataset)?;
        let calibrating = spread(&calibrating, self.calibration);
        if let Some(inputs) = inputs {
            scaling::check(inputs, &dataset, &normalization, &calibrating)?;
        }
        let inputs = dataset.batch(&normalization, &calibrating);
        let input = self.input(&dataset, &normalization, &inputs);
        let method = if self.min_max { RangeMethod::MinMax } else { RangeMethod::LeastSquares };
        let scales = ranges::watch(graph, &inputs, &input, method)?;
        let mut plan = Plan::calibrated(graph, scales, &input);
        plan.means = means(graph, &inputs)?;
        if let Bits::All(bits) = self.bits {
            plan.bits = layers(graph, &plan).iter().map(|layer| (layer.value, bits)).collect();
        }
        let deciding = spread(&deciding, MAX_DECIDING);
        let (widths, decided_on) = if self.bits == Bits::Auto {
            let inputs = input.quantize(&dataset.batch(&normalization, &deciding));
            let label = |&example: &u32| dataset.labels.get(example as usize).copied();
            let labels: Vec<u32> = deciding.iter().filter_map(label).collect();
            let examples = Examples { inputs: &inputs, labels: &labels };
            (narrow(graph, &mut plan, &input, examples, self.tolerance)?, deciding.len())
        } else {
            (layers(graph, &plan), 0)
        };
        let (bytes, _) = write(graph, &plan, &input, &self.info(&dataset))?;
        let parsed: Model<'_> = model_file::parse(&self.output, &bytes)?;
        let parameters = graph.nodes.iter().filter_map(|node| node.kind.affine());
        let floats: usize = parameters.map(|a| a.weight.len() + a.bias.len()).sum();
        let summary = Summary {
            assessment: assess(graph, &bytes, &dataset, &normalization, &telling)?,
            float_bytes: floats * size_of::<f32>(),
            file_bytes: bytes.len(),
            arena_bytes: parsed.arena_len(),
            macs: parsed.macs(),
            calibrated_on: calibrating.len(),
            decided_on,
            layers: widths,
            input_layout,
            notes: context.notes(),
        };
        files::write_atomic(&self.output, &bytes)?;
        context.result(&self.text(&summary), &summary)?;
        self.requirements(&summary)
    }

    fn check(&self, model: &FloatModel, dataset: &Dataset) -> Result<(), Error> {
        let len = |id: usize| model.graph.values[id].len();
        let (found, wanted) = (dataset.shape.len(), len(model.graph.input));
        if found != wanted {
            return Err(CliError::InputShape {
                path: self.data.clone(),
                found: format!("{found} values an example"),
                wanted: wanted.to_string(),
            }
            .into());
        }
        let (found, outputs) = (dataset.classes.len(), len(model.graph.output));
        if found > outputs {
            let path = self.data.clone();
            return Err(CliError::Classes { path, found, outputs }.into());
        }
        Ok(())
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

    fn info(&self, dataset: &Dataset) -> ModelInfo {
        let numbers = (0..dataset.classes.len()).map(|class| class.to_string());
        let named = !dataset.classes.iter().cloned().eq(numbers);
        let classes = match (self.classes.is_empty(), named) {
            (true, true) => dataset.classes.clone(),
            (true, false) => Vec::new(),
            (false, _) => self.classes.clone(),
        };
        ModelInfo { name: self.name.clone(), classes, op_names: self.op_names }
    }

    fn requirements(&self, summary: &Summary) -> Result<(), Error> {
        let error = summary.assessment.integer_error_percent;
        if let Some(most) = self.max_error.filter(|&most| error > most) {
            let reason = format!("the error is {} %, above {most} %", significant(error));
            return Err(CliError::Unmet { reason }.into());
        }
        if let Some(most) = self.max_bytes.filter(|&most| summary.file_bytes > most) {
            let reason = format!("the file has {} bytes, above {most}", summary.file_bytes);
            return Err(CliError::Unmet { reason }.into());
        }
        Ok(())
    }

    fn text(&self, summary: &Summary) -> String {
        let Assessment { count, float_error_percent, integer_error_percent, agreement_percent } =
            summary.assessment;
        let mut text = format!(
            "{}: {} bytes (of {} as floats), {} bytes of arena, {} multiply-accumulates\n\
             error on {} examples: floats {} %, integers {} %; the same class on {} %\n\
             calibrated on {} examples",
            self.output.display(),
            thousands(summary.file_bytes as u64),
            thousands(summary.float_bytes as u64),
            thousands(summary.arena_bytes as u64),
            thousands(summary.macs),
            thousands(count as u64),
            significant(float_error_percent),
            significant(integer_error_percent),
            significant(agreement_percent),
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
        text + "\n\n" + &table::layout(&heads, &[Align::Left, right, right, right], &rows)
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
