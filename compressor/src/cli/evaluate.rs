//! `bitsback evaluate`: how often a model is right.

use std::path::PathBuf;

use bitsback_runtime::{Model, OpKind};
use serde::Serialize;

use super::layout::LayoutOption;
use super::model_file;
use super::output::Context;
use super::scaling::byte_range;
use super::source::{self, Part};
use super::table::{self, Align};
use crate::data::Dataset;
use crate::error::{CliError, Error};
use crate::import::ByteRange;
use crate::report::number::{significant, thousands};
use crate::summary::error_interval;
use crate::verify;

/// Widest confusion matrix that is printed; --json has any.
const MAX_PRINTED_CLASSES: usize = 26;

/// Measure a model's error on data, on the integer runtime
///
/// DATA is a job file (its test split, unless --split says otherwise), a folder with MNIST's four
/// files, a folder of images (a folder a class), a .npz archive with the arrays x and y, or a .csv
/// table whose last column is the label. What is measured here is what the device computes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback evaluate out/lenet-5/model.bbk jobs/lenet-5.toml
  bitsback evaluate model.bbk data/mnist
  bitsback evaluate model.tflite data/mnist --pixels 0,1
  bitsback evaluate model.bbk jobs/lenet-5.toml --split validation --json

With --json: error_percent, count, errors, interval_percent (95 %, Wilson), classes[],
confusion[][] (rows: the label, columns: what the model says).")]
pub(crate) struct Evaluate {
    /// The model file
    model: PathBuf,
    /// A job file, or data
    data: PathBuf,
    /// Which part of the data [default: test for a job and for MNIST's files, else all]
    #[arg(long, value_enum)]
    split: Option<Part>,
    /// Of a .tflite or .onnx file of images: what byte 0 and byte 255 stand for, as it was trained
    #[arg(long, value_name = "LOW,HIGH", value_parser = byte_range, allow_hyphen_values = true)]
    pixels: Option<ByteRange>,
    /// The order of the input's dimensions.
    #[command(flatten)]
    layout: LayoutOption,
}

/// How often which label was taken for which class.
#[derive(Debug, PartialEq, Serialize)]
struct Evaluation {
    error_percent: f64,
    count: u64,
    errors: u64,
    /// 95 % interval of the error; null without examples.
    interval_percent: Option<(f64, f64)>,
    classes: Vec<String>,
    /// Rows: the label; columns: what the model says.
    confusion: Vec<Vec<u64>>,
}

impl Evaluate {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        let bytes = model_file::read_for_pixels(
            context,
            &self.model,
            self.pixels,
            self.layout.input_layout,
        )?;
        let model = model_file::parse(&self.model, &bytes)?;
        let (dataset, examples) = source::read(&self.data, self.split, source::Wanted::by(&model))?;
        let classes = self.match_classes(&model, &dataset)?;
        if dataset.shape.len() != model.input().len() {
            return Err(self.wrong_shape(&model, &dataset));
        }
        let inputs = verify::quantized_inputs(&bytes, &dataset, &examples)?;
        let predicted = verify::predict(&bytes, &inputs)?.into_iter().map(|class| class as usize);
        let labels = examples.iter().map(|&example| {
            let label = dataset.labels.get(example as usize).copied().unwrap_or_default();
            classes.places.get(label as usize).copied().unwrap_or_default()
        });
        let evaluation = Evaluation::new(classes.names, labels.zip(predicted));
        context.result(&text(&evaluation), &evaluation)
    }

    /// Finds each of the data's classes among the model's: by name where the model has all of
    /// the names (a data set may lack some classes), else by number.
    fn match_classes(&self, model: &Model<'_>, dataset: &Dataset) -> Result<Classes, Error> {
        let names = model_file::class_names(model);
        let by_name: Option<Vec<usize>> =
            dataset.classes.iter().map(|c| names.iter().position(|name| name == c)).collect();
        if let Some(places) = by_name {
            return Ok(Classes { names, places });
        }
        let outputs = match model.last_kind() {
            // The model answers with a number; how many there are is in the names alone.
            OpKind::Argmax if names.is_empty() => dataset.classes.len(),
            OpKind::Argmax => names.len(),
            _ => model.output().len(),
        };
        if dataset.classes.len() > outputs {
            return Err(CliError::Classes {
                path: self.data.clone(),
                found: dataset.classes.len(),
                outputs,
            }
            .into());
        }
        let numbers = (dataset.classes.len()..outputs).map(|class| class.to_string());
        let places = (0..dataset.classes.len()).collect();
        Ok(Classes { names: dataset.classes.iter().cloned().chain(numbers).collect(), places })
    }

    fn wrong_shape(&self, model: &Model<'_>, dataset: &Dataset) -> Error {
        CliError::InputShape {
            path: self.data.clone(),
            found: format!("{} values an example", dataset.shape.len()),
            wanted: format!("{}", model.input().len()),
        }
        .into()
    }
}

/// The model's classes, and where the data's classes are among them.
struct Classes {
    names: Vec<String>,
    places: Vec<usize>,
}

impl Evaluation {
    /// Counts pairs of label and prediction, both indices into `classes`. A prediction beyond
    /// them, which a model without names may make, is an error without a column.
    fn new(classes: Vec<String>, pairs: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut confusion = vec![vec![0; classes.len()]; classes.len()];
        let (mut count, mut errors) = (0, 0);
        for (label, predicted) in pairs {
            count += 1;
            errors += u64::from(label != predicted);
            if let Some(cell) = confusion.get_mut(label).and_then(|row| row.get_mut(predicted)) {
                *cell += 1;
            }
        }
        let error_percent = if count == 0 { 0.0 } else { 100.0 * errors as f64 / count as f64 };
        let interval_percent = error_interval(error_percent, count);
        Self { error_percent, count, errors, interval_percent, classes, confusion }
    }
}

fn text(evaluation: &Evaluation) -> String {
    let interval = match evaluation.interval_percent {
        Some((low, high)) => {
            format!(" (95 % interval {} to {} %)", significant(low), significant(high))
        }
        None => String::new(),
    };
    let mut text = format!(
        "error {} %{interval}: {} of {} examples\n",
        significant(evaluation.error_percent),
        thousands(evaluation.errors),
        thousands(evaluation.count)
    );
    if evaluation.classes.len() <= MAX_PRINTED_CLASSES {
        text += "\nrows: the label; columns: what the model says\n\n";
        text += &matrix(evaluation);
    }
    text
}

/// The confusion matrix, zeros as dots so that the errors stand out.
fn matrix(evaluation: &Evaluation) -> String {
    let mut heads = vec!["label"];
    heads.extend(evaluation.classes.iter().map(String::as_str));
    heads.push("error %");
    let rows: Vec<Vec<String>> = evaluation
        .classes
        .iter()
        .zip(&evaluation.confusion)
        .enumerate()
        .map(|(label, (name, row))| {
            let total: u64 = row.iter().sum();
            let right = row.get(label).copied().unwrap_or_default();
            let error = 100.0 * (total - right) as f64 / total.max(1) as f64;
            let cells = row.iter().map(|&n| if n == 0 { "·".to_owned() } else { n.to_string() });
            let mut line = vec![name.clone()];
            line.extend(cells);
            line.push(significant(error));
            line
        })
        .collect();
    let mut align = vec![Align::Left];
    align.resize(heads.len(), Align::Right);
    table::layout(&heads, &align, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| i.to_string()).collect()
    }

    #[test]
    fn pairs_are_counted_by_label_and_prediction() {
        let pairs = [(0, 0), (0, 1), (1, 1), (1, 1), (2, 9)];
        let evaluation = Evaluation::new(names(3), pairs.into_iter());
        assert_eq!(evaluation.confusion, [[1, 1, 0], [0, 2, 0], [0, 0, 0]]);
        assert_eq!((evaluation.count, evaluation.errors), (5, 2));
        assert!((evaluation.error_percent - 40.0).abs() < 1e-9);
        assert!(text(&evaluation).contains("2 of 5 examples"));
    }

    #[test]
    fn keys_are_stable() {
        let value = serde_json::to_value(Evaluation::new(names(2), std::iter::empty())).unwrap();
        for key in ["error_percent", "count", "errors", "interval_percent", "classes", "confusion"]
        {
            assert!(value.get(key).is_some(), "{key}");
        }
        assert_eq!(value["error_percent"], 0.0);
    }
}
