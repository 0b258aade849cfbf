//! `bitsback margin`: below which lead a finished model abstains.

use std::path::PathBuf;

use bitsback_runtime::format::MAX_FILE_LEN;
use bitsback_runtime::writer::set_margin;
use serde::Serialize;

use super::amount;
use super::feeding;
use super::judging::{self, Meaning};
use super::model_file;
use super::output::{Context, keeps_inputs, quoted};
use super::source::{self, DataLayout, Part, Wanted};
use crate::error::{CliError, Error, Unmet};
use crate::files;
use crate::report::number::{significant, thousands};
use crate::select::confidence::percent;
use crate::select::margin::{Promise, choose_margin};
use crate::select::resample::{Resampled, divide, resample};
use crate::select::{Accepted, DecisionSummary};
use crate::task::{Ending, Task};
use crate::verify;

/// Choose the margin below which a model abstains, and promise the error of the rest
///
/// The model is sure of an input where its largest output leads all others by the margin or more; the
/// device then gives the class, and else says that it isn't sure. The margin is the smallest that keeps the
/// error among what the model is sure of within --accepted-error, with --confidence, on examples like those
/// of DATA, which is what `evaluate` takes. They must not have trained the model, nor chosen it among
/// others: of a job, of MNIST's files and of CIFAR-10's the test part is taken, unless --split says otherwise. A quarter
/// of them plans where testing begins, the rest tests. (A job that states
/// [requirements] accepted_error_percent does all of that by itself.)
///
/// Without -o nothing is written. The file keeps its length: it has a byte for the margin.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback margin model.bbk --data data/mnist --accepted-error 0.5 -o surer.bbk
  bitsback margin model.bbk --data held-out.npz --accepted-error 2 --confidence 0.99
  bitsback margin model.bbk --data data/mnist --accepted-error 0.5 --resample 200 --choosing 2500

Exit codes: 5 no margin keeps the promise, 6 too few examples to say so.

With --json: margin (0: the promise is kept without one), accepted_error_percent, confidence, held_out with
examples, accepted, coverage_percent, errors, error_percent; method, notes[]; with --resample resampled with
draws, seed, choosing, tested, without_margin, violations, violation_percent, coverage_percent,
least_coverage_percent, error_percent, greatest_error_percent, margins.")]
pub(crate) struct Margin {
    /// The model file
    model: PathBuf,
    /// A job file, or data
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Most errors among what the model is sure of, in percent
    #[arg(long, value_name = "PERCENT", value_parser = amount::inner_percent)]
    #[arg(allow_negative_numbers = true)]
    accepted_error: f64,
    /// Confidence of the promise, 0.5 to 0.9999
    #[arg(long, default_value_t = 0.95, value_parser = amount::confidence)]
    #[arg(allow_negative_numbers = true)]
    confidence: f64,
    /// Which part of the data [default: test for a job, MNIST's files and CIFAR-10's, else all]
    #[arg(long, value_enum)]
    split: Option<Part>,
    /// Where to write the model with its margin
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Then deal the examples out anew so many times: choose a margin on some, look at the promise on the
    /// rest, and count how often it is broken
    #[arg(long, value_name = "DRAWS", value_parser = amount::at_least_one)]
    resample: Option<usize>,
    /// With --resample: how many examples choose the margin [default: a quarter]
    #[arg(long, value_name = "COUNT", requires = "resample", value_parser = amount::at_least_one)]
    choosing: Option<usize>,
    /// With --resample: seed of the draws
    #[arg(long, value_name = "N", requires = "resample", default_value_t = 1)]
    seed: u64,
    /// What outputs and labels mean.
    #[command(flatten)]
    meaning: Meaning,
    /// Where arrays have their channels.
    #[command(flatten)]
    layout: DataLayout,
}

/// Examples that choose a margin where nothing is said: one of so many, so that the promise is looked at
/// on a set that is much larger.
const CHOOSING: usize = 4;

#[derive(Debug, Serialize)]
struct Results {
    #[serde(flatten)]
    decision: DecisionSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    resampled: Option<Resampled>,
    notes: Vec<String>,
}

impl Margin {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        model_file::check_order(&self.model, &self.data)?;
        if let Some(output) = &self.output {
            keeps_inputs(output, &[&self.model, &self.data])?;
        }
        let mut bytes = files::read(&self.model, u64::from(MAX_FILE_LEN))?;
        let examples = self.examples(context, &bytes)?;
        let promise = Promise { percent: self.accepted_error, confidence: self.confidence };
        let choosing = self.choosing.unwrap_or(examples.len() / CHOOSING);
        if choosing > examples.len() / 2 {
            return Err(CliError::Choosing { choosing, examples: examples.len() }.into());
        }
        let [planning, held_out] = divide(&examples);
        let chosen = choose_margin(&planning, &held_out, promise);
        let resampled = self
            .resample
            .map(|draws| resample(&examples, choosing, draws as u64, self.seed, promise));
        let decision = DecisionSummary::new(&chosen, promise, None);
        let results = Results { decision, resampled, notes: context.notes() };
        if let (Some(margin), Some(output)) = (chosen.margin, &self.output) {
            set_margin(&mut bytes, margin);
            model_file::parse(&self.model, &bytes)?;
            files::write_atomic(output, &bytes)?;
        }
        context.result(&text(&results, self), &results)?;
        Ok(Unmet::check_margin(&chosen, promise)?)
    }

    /// By how much the model's answers lead, and whether they are wrong.
    fn examples(&self, context: &Context, bytes: &[u8]) -> Result<Vec<(u8, bool)>, Error> {
        let model = model_file::parse(&self.model, bytes)?;
        let ending = Ending::of_model(&model);
        if ending.outputs.is_none_or(|outputs| outputs < 2) {
            let reason =
                "a margin compares the scores of classes, and the model has none: its output is \
                          one number, or a class alone"
                    .to_owned();
            return Err(CliError::Meaning { reason }.into());
        }
        let source = source::read(&self.data, self.split, &Wanted::by(&model, self.layout))?;
        let names = model_file::class_names(&model);
        let judging = self.meaning.judge(context, &source, ending, &names)?;
        let labels = match judging.task {
            Task::Classes => judging.labels(&source.examples),
            _ => None,
        };
        let labels = labels.ok_or_else(|| judging::unlabelled(&self.data))?;
        let (dataset, examples) = (&source.dataset, &source.examples);
        let inputs = feeding::quantized(context, (&self.model, bytes), dataset, examples)?;
        Ok(verify::leads(bytes, &inputs, &labels)?)
    }
}

/// What is promised of a model's decisions.
pub(super) fn promise(decision: &DecisionSummary) -> String {
    format!(
        "at most {} % of that wrong with {} % confidence",
        significant(decision.accepted_error_percent),
        percent(decision.confidence)
    )
}

/// A model's decisions in a sentence.
pub(super) fn sentence(decision: &DecisionSummary) -> String {
    let promise = promise(decision);
    match decision.margin {
        None => format!("no margin keeps {promise}"),
        Some(0) => format!("sure of everything, and {promise}"),
        Some(margin) => format!("sure where the largest output leads by {margin}, and {promise}"),
    }
}

/// What is accepted, in words.
pub(super) fn accepted(accepted: &Accepted, of: &str) -> String {
    format!(
        "{} % of {} {of} accepted, {} % of these wrong ({} of {})",
        significant(accepted.coverage_percent),
        thousands(accepted.examples),
        significant(accepted.error_percent),
        thousands(accepted.errors),
        thousands(accepted.accepted)
    )
}

fn text(results: &Results, margin: &Margin) -> String {
    let decision = &results.decision;
    let mut text = format!(
        "decision  {}\nheld out  {}\n",
        sentence(decision),
        accepted(&decision.held_out, "examples")
    );
    if let Some(found) = &results.resampled {
        text += &format!(
            "\n{} draws: {} examples choose a margin, {} look at the promise\n\
             broken    {} times ({} %); no margin {} times\n\
             coverage  {} % on average, {} % at the least\n\
             error     {} % of what is accepted on average, {} % at the most\n",
            thousands(found.draws),
            thousands(found.choosing),
            thousands(found.tested),
            found.violations,
            significant(found.violation_percent),
            found.without_margin,
            significant(found.coverage_percent),
            significant(found.least_coverage_percent),
            significant(found.error_percent),
            significant(found.greatest_error_percent)
        );
    }
    if let (Some(output), Some(_)) = (&margin.output, decision.margin) {
        text += &format!("\nmodel     {}\n", quoted(&output.display().to_string()));
    }
    text
}
