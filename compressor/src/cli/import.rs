//! `bitsback import`: a model of another tool as a `.bbk` file.

use std::path::{Path, PathBuf};

use bitsback_runtime::Model;
use serde::Serialize;

use super::feeding;
use super::judging::check_names;
use super::layout::{self, LayoutOption};
use super::left_out;
use super::model_file;
use super::output::{Context, keeps_inputs};
use super::scaling::byte_range;
use super::storing::{self, Choice, Storing};
use crate::compile::serialize::ModelInfo;
use crate::error::{CliError, Error};
use crate::files;
use crate::graph::LeftOut;
use crate::import::{ByteRange, ImportOptions, Imported, InputLayout, MAX_IMPORT_BYTES, import};
use crate::quantize::QuantizeError;
use crate::report::number::thousands;
use crate::task::Ending;

/// Turn an int8 model of TensorFlow Lite, or a quantised one of ONNX, into a .bbk file
///
/// A .tflite file gives bit for bit what TensorFlow Lite Micro's kernels compute; an .onnx file with
/// QuantizeLinear and DequantizeLinear keeps its scales and integers. Conversions between
/// float or uint8 and int8 at the model's ends are left out: the model takes and gives int8, and
/// the file says which real numbers these stand for. `bitsback supported-ops` lists what is
/// supported.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback import model.tflite -o model.bbk
  bitsback import model.tflite -o model.bbk --pixels 0,1     trained on pixels / 255
  bitsback import model.tflite -o model.bbk --pixels=-1,1 --classes cat,dog
  bitsback import quantized.onnx -o model.bbk
  bitsback import model.tflite -o model.bbk --goal flash      weights coded where that is shorter
  bitsback import model.tflite -o model.bbk --target cortex-m55     weights as that core takes them fastest
  bitsback import model.tflite -o model.bbk --goal flash --instructions 2M --weights-ram 16K

With --json: input_bytes, file_bytes, arena_bytes, macs, ops, left_out with channels, of_channels, products,
of_products and layers[] (name and left_out[] with channel and reason), storage[] with goal, taken, core,
file_bytes, instructions and unpacked{} (count, weights_ram_bytes), input_layout with layout and basis (proved, given, assumed), notes[].")]
pub(crate) struct Import {
    /// The .tflite or .onnx file
    model: PathBuf,
    /// Where to write the model
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The model takes images: what byte 0 and byte 255 stand for, as it was trained
    #[arg(long, value_name = "LOW,HIGH", value_parser = byte_range, allow_hyphen_values = true)]
    pixels: Option<ByteRange>,
    /// The order of the input's dimensions.
    #[command(flatten)]
    input_layout: LayoutOption,
    /// The model's name
    #[arg(long, default_value = "")]
    name: String,
    /// Names of the classes, in the order of the outputs; of a single output, of what is below and
    /// above its threshold
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    classes: Vec<String>,
    /// How weights are stored.
    #[command(flatten)]
    storing: Storing,
    /// Store the operators' names
    #[arg(long)]
    op_names: bool,
}

#[derive(Debug, Serialize)]
struct Summary {
    input_bytes: usize,
    file_bytes: usize,
    arena_bytes: usize,
    macs: u64,
    ops: usize,
    /// Channels that never change or are never read.
    left_out: LeftOut,
    /// What weights take, stored for each goal.
    storage: Vec<Choice>,
    /// Of an .onnx file's input.
    input_layout: Option<InputLayout>,
    notes: Vec<String>,
}

impl Import {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        keeps_inputs(&self.output, &[&self.model])?;
        let bytes = files::read(&self.model, MAX_IMPORT_BYTES)?;
        let info = ModelInfo {
            name: self.name.clone(),
            classes: self.classes.clone(),
            op_names: self.op_names,
        };
        let folder = self.model.parent().map(Path::to_owned);
        let compile = self.storing.options()?;
        let layout = self.input_layout.input_layout;
        let options = ImportOptions { info, bytes: self.pixels, folder, compile, layout };
        let imported = import(&bytes, &options).map_err(|source| CliError::Import {
            path: self.model.clone(),
            source: Box::new(source),
        })?;
        layout::note(context, &self.model, imported.input_layout);
        let model: Model<'_> = model_file::parse(&self.output, &imported.bytes)?;
        check_names(&self.classes, Ending::of_model(&model))?;
        feeding::check_pixels(context, &self.model, &model, self.pixels);
        let summary = Summary {
            input_bytes: bytes.len(),
            file_bytes: imported.bytes.len(),
            arena_bytes: model.arena_len(),
            macs: model.macs(),
            ops: model.op_count(),
            left_out: imported.compiled.left_out.clone(),
            storage: self.storage(&imported, &options)?,
            input_layout: imported.input_layout,
            notes: context.notes(),
        };
        self.storing.check(&options.compile, &imported.bytes)?;
        files::write_atomic(&self.output, &imported.bytes)?;
        let known = left_out::line(&summary.left_out);
        let known = known.map_or_else(String::new, |line| format!("{line}\n"));
        let text = format!(
            "{}: {} bytes (of {}), {} operators, {} bytes of arena, {} multiply-accumulates\n\
             {known}{}",
            self.output.display(),
            thousands(summary.file_bytes as u64),
            thousands(summary.input_bytes as u64),
            summary.ops,
            thousands(summary.arena_bytes as u64),
            thousands(summary.macs),
            storing::told(&summary.storage),
        );
        context.result(&text, &summary)
    }

    /// What weights take, stored for each goal.
    fn storage(&self, imported: &Imported, options: &ImportOptions) -> Result<Vec<Choice>, Error> {
        let Imported { bytes, integers, compiled, .. } = imported;
        let input = &compiled.input_quantization;
        let choices = self.storing.choices(integers, input, &options.info, bytes);
        Ok(choices.map_err(QuantizeError::from)?)
    }
}
