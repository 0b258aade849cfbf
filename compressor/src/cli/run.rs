//! `bitsback run`: a model on an input.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bitsback_runtime::{Interpreter, Model, OpKind};
use serde::Serialize;

use super::feeding;
use super::judging::Meaning;
use super::layout::LayoutOption;
use super::model_file::{self, Example};
use super::output::{Context, keeps_inputs};
use super::scaling::byte_range;
use super::source::{DataLayout, Wanted};
use crate::cost::Core;
use crate::cost::prediction::advice::Misfit;
use crate::data::{InputBatch, Numbers, npy, read_image, read_npy, shape_of};
use crate::error::{CliError, Error};
use crate::files;
use crate::import::ByteRange;
use crate::report::number::significant;
use crate::task::{Ending, Task};
use crate::verify;

/// Run a model on an image or a batch from NumPy
///
/// The input is a PNG or JPEG (scaled to the model's size, gray or colour as it needs), or a .npy
/// file of one example or a batch: uint8 is raw pixels, other types are real values. Arrays must have
/// the model's shape, or be flat rows in its order. The model runs on the same integer runtime as on
/// the device. A single output is a class, by a threshold, or a number: see --task.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback run model.bbk digit.png
  bitsback run model.tflite photo.jpg --pixels=-1,1     trained on pixels from −1 to 1
  bitsback run model.bbk batch.npy -o scores.npy        float32, examples × outputs
  bitsback run model.bbk inputs_int8.npy --raw -o outputs_int8.npy

With --json: task, count, classes[] (the predicted class of each example; empty of numbers), names[],
sure[] (whether the model is sure of each; empty of one without a margin), outputs[][], notes[].")]
pub(crate) struct Run {
    /// The model file
    model: PathBuf,
    /// An image (.png, .jpg) or NumPy file (.npy)
    input: PathBuf,
    /// Take and give the model's own int8 values, without any conversion
    #[arg(long)]
    raw: bool,
    /// Of a .tflite or .onnx file of images: what byte 0 and byte 255 stand for, as it was trained
    /// [default: the ends of what its input can hold]
    #[arg(long, value_name = "LOW,HIGH", value_parser = byte_range, allow_hyphen_values = true)]
    pixels: Option<ByteRange>,
    /// The order of the input's dimensions.
    #[command(flatten)]
    input_layout: LayoutOption,
    /// The core of the device that the model is for: says so where its weights are laid out for another
    #[arg(long, value_enum, value_name = "CORE")]
    target: Option<Core>,
    /// Write the outputs to a NumPy file
    #[arg(long, short, value_name = "FILE.npy")]
    output: Option<PathBuf>,
    /// Where arrays have their channels.
    #[command(flatten)]
    layout: DataLayout,
    /// What outputs mean.
    #[command(flatten)]
    meaning: Meaning,
}

/// What came out.
#[derive(Debug, Serialize)]
struct Results {
    task: Task,
    count: usize,
    /// Predicted class of each example.
    classes: Vec<usize>,
    /// Their names; empty when the model has none.
    names: Vec<String>,
    /// Whether a model with a margin is sure of it; empty without one.
    sure: Vec<bool>,
    /// Values of each example: reals, or the model's own with --raw.
    outputs: Outputs,
    notes: Vec<String>,
}

/// Output values, example after example.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outputs {
    Real(Vec<Vec<f32>>),
    Quantized(Vec<Vec<i8>>),
}

impl Run {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        model_file::check_order(&self.model, &self.input)?;
        if let Some(output) = &self.output {
            keeps_inputs(output, &[&self.model, &self.input])?;
        }
        let layout = self.input_layout.input_layout;
        let bytes = model_file::read_for_pixels(context, &self.model, self.pixels, layout)?;
        let model = model_file::parse(&self.model, &bytes)?;
        if let Some(misfit) = self.target.and_then(|core| Misfit::find(core, &model)) {
            context.note(&format!("{}: {}", self.model.display(), misfit.advice()));
        }
        let batch = self.read_input(&model)?;
        let stored = model_file::class_names(&model);
        let (task, names) = self.meaning.of_outputs(context, Ending::of_model(&model), &stored)?;
        let results = self.compute(context, &model, &batch, task)?;
        let named = |&class: &usize| names.get(class).cloned();
        let results = Results {
            names: results.classes.iter().filter_map(named).collect(),
            notes: context.notes(),
            ..results
        };
        if let Some(path) = &self.output {
            write_npy(path, &results.outputs)?;
        }
        context.result(&text(&results, self.output.as_deref()), &results)
    }

    fn read_input(&self, model: &Model<'_>) -> Result<InputBatch, Error> {
        let dims = model_file::input_dims(model);
        let batch = match ending(&self.input).as_str() {
            "png" | "jpg" | "jpeg" => {
                Wanted::by(model, self.layout)
                    .layout_is_not_for("images have their channels last")?;
                read_image(&self.input, shape_of(&dims))?
            }
            "npy" => read_npy(&self.input, &dims, self.layout.layout)?,
            _ => {
                let known = ".png, .jpg, .jpeg, .npy";
                return Err(CliError::UnknownInput { path: self.input.clone(), known }.into());
            }
        };
        if self.raw && !matches!(batch.numbers, Numbers::Signed(_)) {
            return Err(CliError::NotInt8 { path: self.input.clone() }.into());
        }
        Ok(batch)
    }

    fn compute(
        &self,
        context: &Context,
        model: &Model<'_>,
        batch: &InputBatch,
        task: Task,
    ) -> Result<Results, Error> {
        let width = model.input().len();
        let mut arena = model_file::arena(model);
        let mut interpreter = Interpreter::new(model, &mut arena).map_err(CliError::Arena)?;
        let mut inputs = Vec::with_capacity(batch.count * width);
        let floats = reals(&batch.numbers);
        let pixels = self.pixels_as_values(context, model, batch, &floats);
        for i in 0..batch.count {
            let range = i * width..(i + 1) * width;
            let example = match (&batch.numbers, &pixels) {
                (_, Some(values)) => values.get(range).map(Example::Quantized),
                (Numbers::Bytes(bytes), None) => bytes.get(range).map(Example::Bytes),
                (Numbers::Signed(values), None) if self.raw => {
                    values.get(range).map(Example::Quantized)
                }
                _ => floats.get(range).map(Example::Features),
            };
            if !example.is_some_and(|e| model_file::set_input(&mut interpreter, e)) {
                return Err(self.wrong_shape(batch, width));
            }
            inputs.extend_from_slice(interpreter.input_mut());
        }
        let found = verify::run_model(model, &inputs)?;
        let each = || found.chunks_exact(model.output().len().max(1));
        let classes = each().filter_map(|output| class(model, output, task)).collect();
        let outputs = if self.raw {
            Outputs::Quantized(each().map(<[i8]>::to_vec).collect())
        } else {
            Outputs::Real(each().map(|output| real_output(model, output)).collect())
        };
        let is_sure = |output| model.decision_of(output).class().is_some();
        let sure = if model.margin() > 0 { each().map(is_sure).collect() } else { Vec::new() };
        let (names, notes) = (Vec::new(), Vec::new());
        Ok(Results { task, count: batch.count, classes, names, sure, outputs, notes })
    }

    /// Bytes as the model's own values, where they are pixels and it doesn't say how they are scaled;
    /// of other numbers it is noted if they lie outside of what it takes.
    fn pixels_as_values(
        &self,
        context: &Context,
        model: &Model<'_>,
        batch: &InputBatch,
        floats: &[f32],
    ) -> Option<Vec<i8>> {
        if self.raw {
            return None;
        }
        let Numbers::Bytes(bytes) = &batch.numbers else {
            feeding::check_floats(context, &self.input, model, floats.iter().copied());
            return None;
        };
        match feeding::bytes_for(context, &self.model, model, bytes.iter().copied()) {
            feeding::Bytes::AsTheyAre => None,
            feeding::Bytes::Pixels => {
                Some(bytes.iter().map(|&byte| feeding::of_pixel(byte)).collect())
            }
        }
    }

    fn wrong_shape(&self, batch: &InputBatch, width: usize) -> Error {
        CliError::InputShape {
            path: self.input.clone(),
            found: format!("{} values in {} examples", batch.numbers.len(), batch.count),
            wanted: format!("{width} values an example"),
        }
        .into()
    }
}

/// The class that an output gives, unless it gives numbers.
fn class(model: &Model<'_>, output: &[i8], task: Task) -> Option<usize> {
    if task == Task::Classes {
        return Some(model.class_of(output));
    }
    let outputs: Vec<f32> = model.reals_of(output).collect();
    let classes = Ending::of_model(model).classes(task, &outputs);
    classes.first().map(|&class| class as usize)
}

/// Real outputs; of a model that ends with an argmax, the class.
fn real_output(model: &Model<'_>, output: &[i8]) -> Vec<f32> {
    match model.last_kind() {
        OpKind::Argmax => vec![model.class_of(output) as f32],
        _ => model.reals_of(output).collect(),
    }
}

/// Whatever isn't bytes as real values; bytes stay where they are.
fn reals(numbers: &Numbers) -> Vec<f32> {
    match numbers {
        Numbers::Bytes(_) => Vec::new(),
        Numbers::Signed(v) => v.iter().map(|&x| f32::from(x)).collect(),
        Numbers::Integers(v) => v.iter().map(|&x| x as f32).collect(),
        Numbers::Floats(v) => v.clone(),
    }
}

/// A file's ending in lower case.
fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// Writes examples × outputs.
fn write_npy(path: &Path, outputs: &Outputs) -> Result<(), Error> {
    files::write_atomic_with(path, |file| match outputs {
        Outputs::Real(rows) => write_rows(file, rows),
        Outputs::Quantized(rows) => write_rows(file, rows),
    })?;
    Ok(())
}

fn write_rows<T: npy::Element>(file: &mut dyn Write, rows: &[Vec<T>]) -> io::Result<()> {
    let width = rows.first().map_or(0, Vec::len);
    npy::write(file, &[rows.len(), width], rows.iter().flatten().copied())
}

fn text(results: &Results, written: Option<&Path>) -> String {
    let mut text = String::new();
    for i in 0..results.count {
        let Some(&class) = results.classes.get(i) else {
            text += &format!("{i}: {}\n", scores(&results.outputs, i));
            continue;
        };
        let name = match results.names.get(i) {
            Some(name) if *name != class.to_string() => format!(" ({name})"),
            _ => String::new(),
        };
        let doubt = if results.sure.get(i) == Some(&false) { ", not sure" } else { "" };
        text += &format!("{i}: class {class}{name}{doubt}  {}\n", scores(&results.outputs, i));
    }
    if let Some(path) = written {
        text += &format!("outputs written to {}\n", path.display());
    }
    text
}

/// An example's outputs in brackets.
fn scores(outputs: &Outputs, example: usize) -> String {
    let words: Vec<String> = match outputs {
        Outputs::Real(rows) => {
            rows.get(example).into_iter().flatten().map(|&x| significant(x.into())).collect()
        }
        Outputs::Quantized(rows) => {
            rows.get(example).into_iter().flatten().map(i8::to_string).collect()
        }
    };
    format!("[{}]", words.join(", "))
}
