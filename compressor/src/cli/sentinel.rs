//! `bitsback sentinel`: a finished model learns to notice that the field has changed.

use std::path::{Path, PathBuf};

use bitsback_runtime::Model;
use bitsback_runtime::format::MAX_FILE_LEN;
use serde::Serialize;

use super::amount;
use super::feeding;
use super::judging::Meaning;
use super::model_file;
use super::output::{Context, keeps_inputs, quoted};
use super::records;
use super::source::{self, DataLayout, Part, Source, Wanted};
use super::table::{self, Align};
use crate::error::{CliError, Error};
use crate::files;
use crate::job::{SentinelConfig, SentinelProfile};
use crate::report::number::{significant, thousands};
use crate::report::sentinel::{noticed, promise, watched};
use crate::sentinel::attach::{Examples, attach, reseeded};
use crate::sentinel::{SeedError, SentinelError, SentinelSummary};
use crate::task::{Ending, Task};
use crate::verify;

/// Put a sentinel into a finished model: its device then notices that the field has changed
///
/// A sentinel is a table of bets in the file, at most 256 bytes: each inference adds a score for how far the
/// largest output leads, how bright and how rough the input is, and the class, and where a bet has gathered
/// enough evidence, the field no longer looks like DATA. The chance of a false alarm within --inferences is
/// at most --false-alarms, as long as inferences are independent and, but for --tolerance of them, like those
/// on DATA, which is what `evaluate` takes. They must be as many as possible, at least 300, and none that
/// trained the model: of a job, of MNIST's files and of CIFAR-10's the test part is taken, unless --split
/// says otherwise. (A job that states [sentinel] profile does all of that by itself, by its validation
/// examples.)
///
/// What it notices and how soon is predicted, by changing the examples. Without -o nothing is written. A
/// sentinel that is there already is replaced; outputs stay as they are.
///
/// With --recording, frames in their order, --decimate is chosen: the least number of frames apart at which one says
/// so little about the other, statistic by statistic, that half of --tolerance covers it. That is an estimate: a
/// recording is one of many.
///
/// With --records in place of --data, bets are made anew by what devices have counted (`help telemetry`), with
/// the bins of the model's own sentinel: the field as it was then becomes the reference, and the promise is
/// about changes since. So a site that differs, and has been looked at, stops alarming; what is wrong
/// there already won't be noticed any more.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback sentinel model.bbk --data data/mnist -o watched.bbk
  bitsback sentinel model.bbk --data reference.npz --profile no-prior --tolerance 5 -o watched.bbk
  bitsback sentinel model.bbk --data job.toml --split validation --false-alarms 0.01 --inferences 1000000
  bitsback sentinel model.bbk --data data/mnist --recording frames/ -o watched.bbk
  bitsback sentinel watched.bbk --records site-7/ --tolerance 0.5 -o site-7.bbk

Exit codes: 3 no usable record, 4 no sentinel to make anew, 6 too few examples or frames, or frames that depend
on one another at any distance.

With --json: profile, bytes (of the section), examples, confidence, tolerance_percent, false_alarms,
inferences, decimate, threshold_bits, bets, delays[] with change, inferences (on average at most, until the
alarm; null where it isn't noticed), bet, error_points (no delays with --records); notes[].")]
pub(crate) struct Sentinel {
    /// The model file
    model: PathBuf,
    /// A job file, or data
    #[arg(long, value_name = "DATA", required_unless_present = "records")]
    data: Option<PathBuf>,
    /// Files and folders of devices' records, in place of data; `-` is standard input
    #[arg(long, value_name = "RECORDS", num_args = 1.., conflicts_with_all = ["data", "split"])]
    records: Vec<PathBuf>,
    /// What it watches
    #[arg(long, value_enum, default_value_t)]
    profile: Watched,
    /// Share of the inferences that may be anything without an alarm, in percent, 0 to 20
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0, value_parser = amount::tolerance)]
    #[arg(allow_negative_numbers = true)]
    tolerance: f64,
    /// Confidence that DATA are counted well enough, 0.5 to 0.9999
    #[arg(long, default_value_t = 0.99, value_parser = amount::confidence)]
    #[arg(allow_negative_numbers = true)]
    confidence: f64,
    /// Most chance of a false alarm within --inferences, above 0 and at most 1
    #[arg(long, value_name = "CHANCE", default_value_t = 0.001, value_parser = amount::chance)]
    #[arg(allow_negative_numbers = true)]
    false_alarms: f64,
    /// Inferences in which that is the chance
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = amount::at_least_one)]
    inferences: usize,
    /// Every how many inferences one is looked at, 1 to 255: more than 1 where frames follow closely
    /// [default: 1, or as the model's own sentinel has it with --records]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=255))]
    decimate: Option<u32>,
    /// Frames in the order in which they came, by which that is chosen: data as DATA
    #[arg(long, value_name = "DATA", conflicts_with_all = ["decimate", "records"])]
    recording: Option<PathBuf>,
    /// Which part of the data [default: test for a job, MNIST's files and CIFAR-10's, else all]
    #[arg(long, value_enum)]
    split: Option<Part>,
    /// Where to write the model with its sentinel
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What outputs and labels mean.
    #[command(flatten)]
    meaning: Meaning,
    /// Where arrays have their channels.
    #[command(flatten)]
    layout: DataLayout,
}

/// `--profile`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Watched {
    /// Answers, inputs and classes
    #[default]
    All,
    /// Answers alone: where looks may change without harm
    Quiet,
    /// Answers and inputs: where each site has its own mixture of classes
    NoPrior,
}

impl From<Watched> for SentinelProfile {
    fn from(watched: Watched) -> Self {
        match watched {
            Watched::All => Self::All,
            Watched::Quiet => Self::Quiet,
            Watched::NoPrior => Self::NoPrior,
        }
    }
}

#[derive(Debug, Serialize)]
struct Results {
    #[serde(flatten)]
    sentinel: SentinelSummary,
    notes: Vec<String>,
}

impl Sentinel {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        if let Some(data) = &self.data {
            model_file::check_order(&self.model, data)?;
        }
        if let Some(output) = &self.output {
            let others = self.data.iter().chain(&self.recording).chain(&self.records);
            keeps_inputs(output, &std::iter::once(&self.model).chain(others).collect::<Vec<_>>())?;
        }
        let bytes = files::read(&self.model, u64::from(MAX_FILE_LEN))?;
        let model = model_file::parse(&self.model, &bytes)?;
        let (watched, sentinel) = match &self.data {
            Some(data) => self.by_examples(context, &model, &bytes, data)?,
            None => self.by_records(context, &model, &bytes)?,
        };
        let results = Results { sentinel, notes: context.notes() };
        if let Some(output) = &self.output {
            files::write_atomic(output, &watched)?;
        }
        context.result(&text(&results.sentinel, self), &results)
    }

    /// The model with a sentinel by examples.
    fn by_examples(
        &self,
        context: &Context,
        model: &Model<'_>,
        bytes: &[u8],
        data: &Path,
    ) -> Result<(Vec<u8>, SentinelSummary), Error> {
        let wanted = Wanted::by(model, self.layout);
        let source = source::read(data, self.split, &wanted)?;
        let quantized = |source: &Source| {
            let (dataset, examples) = (&source.dataset, &source.examples);
            feeding::quantized(context, (&self.model, bytes), dataset, examples)
        };
        let judging = self.meaning.judge(
            context,
            &source,
            Ending::of_model(model),
            &model_file::class_names(model),
        )?;
        let labels = match judging.task {
            Task::Classes => judging.labels(&source.examples).unwrap_or_default(),
            _ => Vec::new(),
        };
        let recording = match &self.recording {
            Some(path) => Some(quantized(&source::read(path, Some(Part::All), &wanted)?)?),
            None => None,
        };
        let reference = Examples {
            inputs: &quantized(&source)?,
            labels: &labels,
            classes: judging.names.len(),
            values: judging.task != Task::Classes,
            recording: recording.as_deref(),
        };
        let mut watched = bytes.to_vec();
        let config = self.config(self.decimate.unwrap_or(1));
        let summary = attach::<Error>(&mut watched, &reference, &config, |model, inputs| {
            Ok(verify::run_model(model, inputs)?)
        });
        let summary = summary.map_err(|error| match error {
            Error::Sentinel(source) => {
                let of_frames = matches!(
                    *source,
                    SentinelError::Seed(SeedError::FewFrames { .. } | SeedError::Dependent)
                );
                let path = self.recording.as_deref().filter(|_| of_frames).unwrap_or(data);
                refused(path, *source)
            }
            other => other,
        })?;
        Ok((watched, summary))
    }

    /// The model with its sentinel made anew by what devices have counted.
    fn by_records(
        &self,
        context: &Context,
        model: &Model<'_>,
        bytes: &[u8],
    ) -> Result<(Vec<u8>, SentinelSummary), Error> {
        let sentinel = records::sentinel(&self.model, model)?;
        let readings = records::read(context, &self.records, model, &sentinel)?;
        let config = self.config(self.decimate.unwrap_or(sentinel.decimate().into()));
        let anew = reseeded(bytes, &sentinel, &readings.counts(), &config);
        let path = self.records.first().unwrap_or(&self.model);
        anew.map_err(|source| refused(path, source))
    }

    fn config(&self, decimate: u32) -> SentinelConfig {
        SentinelConfig {
            profile: self.profile.into(),
            tolerance_percent: self.tolerance,
            confidence: self.confidence,
            false_alarms: self.false_alarms,
            inferences: self.inferences as u64,
            decimate,
        }
    }
}

/// That these data, or the model, make no sentinel.
fn refused(path: &Path, source: SentinelError) -> Error {
    CliError::Sentinel { path: path.to_owned(), source: Box::new(source) }.into()
}

/// A sentinel in a sentence.
pub(super) fn sentence(sentinel: &SentinelSummary) -> String {
    format!(
        "{} bytes, {} bets on {}, alarm at {} bits",
        sentinel.bytes,
        sentinel.bets,
        watched(sentinel.profile),
        significant(sentinel.threshold_bits)
    )
}

/// What is noticed and what isn't, in a line.
pub(super) fn expected(sentinel: &SentinelSummary) -> String {
    let changes = sentinel.delays.len().saturating_sub(1);
    let unnoticed: Vec<&str> = sentinel.unnoticed().map(|delay| delay.change.as_str()).collect();
    let noticed = format!("notices {} of {changes} changes", changes - unnoticed.len());
    match unnoticed.as_slice() {
        [] => noticed,
        few => format!("{noticed}, but not: {}", few.join(", ")),
    }
}

fn text(sentinel: &SentinelSummary, asked: &Sentinel) -> String {
    let rows = sentinel.delays.iter().map(|delay| {
        let points = delay.error_points.map_or_else(String::new, |x| format!("{x:+.1}"));
        let bet = delay.bet.clone().unwrap_or_default();
        vec![delay.change.clone(), noticed(delay), bet, points]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let of = if asked.data.is_some() { "examples" } else { "inferences that devices counted" };
    let mut text = format!(
        "sentinel  {}\nreference {} {of}\npromise   {}\n",
        sentence(sentinel),
        thousands(sentinel.examples),
        promise(sentinel),
    );
    if asked.recording.is_some() {
        text += &format!("recording feed one inference in {}\n", sentinel.decimate);
    }
    if !rows.is_empty() {
        text += &format!("\n{}", delays(&rows));
    }
    if let Some(output) = &asked.output {
        text += &format!("\nmodel     {}\n", quoted(&output.display().to_string()));
    }
    text
}

fn delays(rows: &[Vec<String>]) -> String {
    let heads = ["change", "noticed after", "by", "error, points"];
    table::layout(&heads, &[Align::Left, Align::Right, Align::Left, Align::Right], rows)
}
