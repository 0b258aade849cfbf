//! `bitsback evaluate`: how often a model is right.

use std::path::{Path, PathBuf};

use bitsback_runtime::Model;
use serde::Serialize;

use super::feeding;
use super::judging::{self, Given, Meaning};
use super::layout::LayoutOption;
use super::margin;
use super::model_file;
use super::output::Context;
use super::scaling::byte_range;
use super::source::{self, DataLayout, Part, Wanted};
use super::table::{self, Align};
use crate::error::Error;
use crate::import::ByteRange;
use crate::job::Job;
use crate::pipeline::JOB_FILE;
use crate::report::number::{significant, thousands};
use crate::select::Accepted;
use crate::select::margin::Leads;
use crate::summary::error_interval;
use crate::task::{Deviation, Ending, Task};
use crate::verify::{self, VerifyError};

/// Widest confusion matrix that is printed; --json has any.
const MAX_PRINTED_CLASSES: usize = 26;

/// Measure a model's error on data, on the integer runtime
///
/// DATA is a job file (its test split, unless --split says otherwise), a folder with MNIST's four files
/// or CIFAR-10's six, a folder of images (a folder a class), a .npz archive with the arrays x and y, or a
/// .csv table whose last column is the label. What is measured here is what the device computes.
///
/// A label that is a number is the index of an output; a name is looked up among the model's class
/// names, a job's, or those of --classes. A label that is neither is an error, and classes without an
/// example are noted. A single output is a class or a number (--task); of numbers, such as those of a
/// regression or of an autoencoder, the distances from the labels are told: y has as many for each
/// example as the model has outputs.
///
/// Arrays must have the model's shape, or be flat rows in its order; --data-layout channels-first
/// transposes images.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback evaluate out/lenet-5/model.bbk jobs/lenet-5.toml
  bitsback evaluate model.bbk data/mnist
  bitsback evaluate model.tflite data/mnist --pixels 0,1
  bitsback evaluate valve.tflite valves.csv --classes closed,open
  bitsback evaluate model.bbk jobs/lenet-5.toml --split validation --json

With --json: task (classes, binary, regression), count, errors, error_percent, interval_percent (95 %,
Wilson), classes[], confusion[][] (rows: the label, columns: what the model says); of numbers
mean_absolute_error, root_mean_squared_error, r_squared; decision with margin, examples, accepted,
coverage_percent, errors, error_percent, of a model that abstains; null or empty is what the task or the
model doesn't have; notes[].")]
pub(crate) struct Evaluate {
    /// The model file
    model: PathBuf,
    /// A job file, or data
    data: PathBuf,
    /// Which part of the data [default: test for a job and for MNIST's and CIFAR-10's files, else all]
    #[arg(long, value_enum)]
    split: Option<Part>,
    /// Of a .tflite or .onnx file of images: what byte 0 and byte 255 stand for, as it was trained
    /// [default: the ends of what its input can hold]
    #[arg(long, value_name = "LOW,HIGH", value_parser = byte_range, allow_hyphen_values = true)]
    pixels: Option<ByteRange>,
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

/// How well a model does: how often which label was taken for which class, or how far numbers are
/// from what they should be.
#[derive(Debug, PartialEq, Serialize)]
struct Evaluation {
    task: Task,
    count: u64,
    /// None of numbers.
    error_percent: Option<f64>,
    errors: Option<u64>,
    /// 95 % interval of the error; null without examples.
    interval_percent: Option<(f64, f64)>,
    classes: Vec<String>,
    /// Rows: the label; columns: what the model says.
    confusion: Vec<Vec<u64>>,
    mean_absolute_error: Option<f64>,
    root_mean_squared_error: Option<f64>,
    r_squared: Option<f64>,
    /// What a model with a margin is sure of; null without one.
    decision: Option<Decisions>,
    notes: Vec<String>,
}

/// What a model with a margin is sure of.
#[derive(Debug, PartialEq, Serialize)]
struct Decisions {
    margin: u8,
    #[serde(flatten)]
    accepted: Accepted,
}

impl Decisions {
    /// Counts what is accepted; nothing of a model without a margin.
    fn of(bytes: &[u8], inputs: &[i8], labels: &[u32]) -> Result<Option<Self>, Error> {
        let margin = Model::parse(bytes).map_err(VerifyError::from)?.margin();
        if margin == 0 {
            return Ok(None);
        }
        let leads = Leads::count(verify::leads(bytes, inputs, labels)?);
        Ok(Some(Self { margin, accepted: leads.at(margin) }))
    }
}

impl Evaluate {
    /// Says so where the model's own job, beside it, divides the data otherwise than the one that is given:
    /// what is its test part here may have trained the model.
    fn note_division(&self, context: &Context) {
        let own = self.model.with_file_name(JOB_FILE);
        if self.data.extension().is_none_or(|ending| ending != "toml") {
            return;
        }
        // A model without its job beside it says nothing; that the given job can be read has been seen.
        let seed = |path: &Path| Job::load(path).map(|job| job.data.split_seed.unwrap_or(job.seed));
        let (Ok(given), Ok(trained)) = (seed(&self.data), seed(&own)) else { return };
        if given != trained {
            context.note(&format!(
                "{} divides its examples by the seed {given}, but the model's job did by {trained}: \
                 examples that trained it may be among these; evaluate on {} instead",
                self.data.display(),
                own.display()
            ));
        }
    }

    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        model_file::check_order(&self.model, &self.data)?;
        let layout = self.input_layout.input_layout;
        let bytes = model_file::read_for_pixels(context, &self.model, self.pixels, layout)?;
        let model = model_file::parse(&self.model, &bytes)?;
        let source = source::read(&self.data, self.split, &Wanted::by(&model, self.layout))?;
        let names = model_file::class_names(&model);
        let judging = self.meaning.judge(context, &source, Ending::of_model(&model), &names)?;
        self.note_division(context);
        let examples = &source.examples;
        let inputs = feeding::quantized(context, (&self.model, &bytes), &source.dataset, examples)?;
        let given = Given::by(&bytes, &inputs, judging.task)?;
        let evaluation = match (judging.labels(examples), judging.targets(examples), given.outputs)
        {
            (Some(labels), ..) => {
                let pair = |(&label, &class): (&u32, &u32)| (label as usize, class as usize);
                let pairs = labels.iter().zip(&given.classes).map(pair);
                let evaluation = Evaluation::of_classes(judging.task, judging.names, pairs);
                Evaluation { decision: Decisions::of(&bytes, &inputs, &labels)?, ..evaluation }
            }
            (None, Some((width, targets)), Some(outputs)) => {
                let deviation = Deviation::of(&outputs, &targets, width);
                Evaluation::of_numbers(examples.len(), deviation)
            }
            _ => return Err(judging::unlabelled(&self.data)),
        };
        let evaluation = Evaluation { notes: context.notes(), ..evaluation };
        context.result(&text(&evaluation), &evaluation)
    }
}

impl Evaluation {
    /// Counts pairs of label and prediction, both indices into `classes`. A prediction beyond
    /// them, which a model without names may make, is an error without a column.
    fn of_classes(
        task: Task,
        classes: Vec<String>,
        pairs: impl Iterator<Item = (usize, usize)>,
    ) -> Self {
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
        Self {
            task,
            count,
            error_percent: Some(error_percent),
            errors: Some(errors),
            interval_percent: error_interval(error_percent, count),
            classes,
            confusion,
            mean_absolute_error: None,
            root_mean_squared_error: None,
            r_squared: None,
            decision: None,
            notes: Vec::new(),
        }
    }

    /// Of numbers.
    fn of_numbers(count: usize, deviation: Deviation) -> Self {
        Self {
            task: Task::Regression,
            count: count as u64,
            error_percent: None,
            errors: None,
            interval_percent: None,
            classes: Vec::new(),
            confusion: Vec::new(),
            mean_absolute_error: Some(deviation.mean_absolute_error),
            root_mean_squared_error: Some(deviation.root_mean_squared_error),
            r_squared: deviation.r_squared,
            decision: None,
            notes: Vec::new(),
        }
    }
}

fn text(evaluation: &Evaluation) -> String {
    let (Some(error_percent), Some(errors)) = (evaluation.error_percent, evaluation.errors) else {
        return text_of_numbers(evaluation);
    };
    let interval = match evaluation.interval_percent {
        Some((low, high)) => {
            format!(" (95 % interval {} to {} %)", significant(low), significant(high))
        }
        None => String::new(),
    };
    let mut text = format!(
        "error {} %{interval}: {} of {} examples\n",
        significant(error_percent),
        thousands(errors),
        thousands(evaluation.count)
    );
    if let Some(Decisions { margin, accepted }) = &evaluation.decision {
        let found = margin::accepted(accepted, "examples");
        text += &format!("with its margin of {margin}: {found}\n");
    }
    if evaluation.classes.len() <= MAX_PRINTED_CLASSES {
        text += "\nrows: the label; columns: what the model says\n\n";
        text += &matrix(evaluation);
    }
    text
}

/// How far numbers are from what they should be.
fn text_of_numbers(evaluation: &Evaluation) -> String {
    let number = |of: Option<f64>| of.map_or_else(|| "–".to_owned(), significant);
    format!(
        "mean absolute error {}, root mean squared error {}, R² {} on {} examples\n",
        number(evaluation.mean_absolute_error),
        number(evaluation.root_mean_squared_error),
        number(evaluation.r_squared),
        thousands(evaluation.count)
    )
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
        let evaluation = Evaluation::of_classes(Task::Classes, names(3), pairs.into_iter());
        assert_eq!(evaluation.confusion, [[1, 1, 0], [0, 2, 0], [0, 0, 0]]);
        assert_eq!((evaluation.count, evaluation.errors), (5, Some(2)));
        assert!((evaluation.error_percent.unwrap() - 40.0).abs() < 1e-9);
        assert!(text(&evaluation).contains("2 of 5 examples"));
    }

    #[test]
    fn keys_are_stable() {
        let classes = Evaluation::of_classes(Task::Classes, names(2), std::iter::empty());
        let numbers = Evaluation::of_numbers(3, Deviation::of(&[1.0], &[3.0], 1));
        let [classes, numbers] = [classes, numbers].map(|all| serde_json::to_value(all).unwrap());
        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys(&classes), keys(&numbers));
        for key in ["error_percent", "count", "errors", "interval_percent", "classes", "confusion"]
        {
            assert!(classes.get(key).is_some(), "{key}");
        }
        assert_eq!((&classes["error_percent"], &classes["task"]), (&0.0.into(), &"classes".into()));
        assert_eq!(numbers["mean_absolute_error"], 2.0);
    }
}
