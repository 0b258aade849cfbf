//! `bitsback compress`: a job from data to model.

use std::fs;
use std::path::{Path, PathBuf};

use super::output::{Context, quoted};
use super::{amount, comparison, front, left_out, margin, sentinel};
use crate::cost::Core;
use crate::device::DeviceName;
use crate::error::{CliError, Error};
use crate::job::Job;
use crate::pipeline::{self, Outcome, RunOptions};
use crate::posterior::Prior;
use crate::progress::Progress;
use crate::report::REPORT_FILE;
use crate::summary::Summary;

/// Where jobs write unless told otherwise: `out/NAME`.
const OUTPUT_ROOT: &str = "out";

/// Run a compression job: train, prune, choose bits, quantise, verify, report
///
/// A job file names the data, the network and what must hold; every key has a default, and
/// docs/JOB.md explains each. The output folder receives model.bbk, golden vectors for the device,
/// report.html, summary.json, the ledger of every decision, metrics.jsonl, the job with every
/// default filled in, and checkpoints.
///
/// Ctrl-C stops after the current step and saves the state; a second one stops at once. Either
/// way, and after a crash, --resume goes on and ends with the very same model file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback compress jobs/lenet-300-100.toml
  bitsback compress jobs/lenet-5.toml --prior horseshoe --seed 2 --out out/lenet-5-ghs-2
  bitsback compress jobs/lenet-5.toml --target cortex-m55
  bitsback compress jobs/lenet-5.toml --resume       start, or go on where it stopped

With [requirements] beyond error_rise_points and accepted_error_percent, a front of [front] points is
traced, and the most compressed point that meets everything becomes the model; all stay in DIR/front.

Exit codes: 0 done, 2 usage or job file, 3 data, 4 the network has no integer form, 5 no model meets
the job's requirements, or the network is no better than chance (the nearest model is there), 6 too
few validation examples to say so, or to promise what is demanded, 70 a defect of bitsback, 74 disk or
called program, 130 interrupted (--resume goes on).

With --json, the last line of standard output: network, prior, seed, error_percent, file_bytes,
float_bytes, ratio, macs, command, date, dense{}, compressed{}, instructions{} (core, dense{} and
compressed{} with count, from, and unpacked{} with count and weights_ram_bytes), layers[], chance{}, left_out{}
(channels, of_channels, products, of_products, layers[]) where some are known beforehand, input_part{} (rows,
columns, of) where it reads a part of its image, decision{} (margin,
accepted_error_percent, confidence, held_out{}, test{}, method) where something is promised of what the
model is sure of, sentinel{} (as of `bitsback sentinel`) where there is one, and with a front
front{}: points[], chosen, met, why, confidence, confidence_of_each, test.")]
pub(crate) struct Compress {
    /// The job file
    job: PathBuf,
    /// The output folder [default: out/NAME, where NAME is the job's]
    #[arg(long, short, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on from the last checkpoint in the output folder; without one, start
    #[arg(long)]
    resume: bool,
    /// Start over although the output folder holds a job's output
    #[arg(long, conflicts_with = "resume")]
    force: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// What the command line says in place of the job file.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Overrides {
    /// What trains
    #[arg(long, value_enum, default_value_t)]
    device: DeviceName,
    /// Seed of everything random, in place of the job's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Prior of the group scales, in place of the job's
    #[arg(long, value_parser = prior, value_name = "normal-jeffreys|horseshoe")]
    prior: Option<Prior>,
    /// Core of the device, in place of the job's: weights are stored as it is fastest with, and
    /// instructions are of it
    #[arg(long, value_enum, value_name = "CORE")]
    target: Option<Core>,
    /// RAM that the device's program gives for weights, such as 4096 or 4K (of 1,024), in place of the job's
    #[arg(long, value_name = "BYTES", value_parser = amount::bytes)]
    weights_ram: Option<u64>,
}

impl Compress {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        let mut job = Job::load(&self.job)?;
        self.overrides.apply(&mut job)?;
        let out = self.out.clone().unwrap_or_else(|| Path::new(OUTPUT_ROOT).join(&job.name));
        if !self.resume && !self.force && is_occupied(&out)? {
            return Err(CliError::OutputExists { path: out }.into());
        }
        let progress = context.progress()?;
        let outcome =
            run_job(&job, &out, self.resume, &self.overrides, context, &progress, &|_, _| None)?;
        context.result(&text(&outcome.summary, &out), &outcome.summary)?;
        Ok(outcome.verdict?)
    }
}

impl Overrides {
    /// Puts them into the job and checks it again.
    pub(super) fn apply(&self, job: &mut Job) -> Result<(), Error> {
        job.seed = self.seed.unwrap_or(job.seed);
        job.variational.prior = self.prior.unwrap_or(job.variational.prior);
        job.target.core = self.target.unwrap_or(job.target.core);
        let weights_ram = self.weights_ram.unwrap_or(job.target.weights_ram_bytes);
        job.target.weights_ram_bytes = weights_ram;
        Ok(job.check()?)
    }
}

/// Runs a job; an interruption says how to go on. What `count` says of the model's instructions, the
/// report's times are made of.
pub(super) fn run_job(
    job: &Job,
    out: &Path,
    resume: bool,
    overrides: &Overrides,
    context: &Context,
    progress: &Progress,
    count: pipeline::Counter<'_>,
) -> Result<Outcome, Error> {
    let command = from_the_start(&context.command_line);
    let options = RunOptions { resume, device: overrides.device, command: command.clone() };
    match pipeline::run_counting(job, out, &options, progress, count) {
        Err(Error::Interrupted { .. }) => {
            Err(Error::Interrupted { resume: format!("{command} --resume") })
        }
        other => other,
    }
}

/// The same command on an empty folder: what makes the result again, however often it was
/// interrupted here.
fn from_the_start(command: &str) -> String {
    let words = command.split(' ').filter(|word| !matches!(*word, "--force" | "--resume"));
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a folder has anything in it.
fn is_occupied(folder: &Path) -> Result<bool, Error> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("read", folder)(error)),
    }
}

/// The names that job files use.
fn prior(name: &str) -> Result<Prior, String> {
    match name {
        "normal-jeffreys" => Ok(Prior::NormalJeffreys),
        "horseshoe" => Ok(Prior::Horseshoe),
        _ => Err("the priors are `normal-jeffreys` and `horseshoe`".to_owned()),
    }
}

fn text(summary: &Summary, out: &Path) -> String {
    let front = match &summary.front {
        Some(front) => format!("\n{}", front::table(front)),
        None => String::new(),
    };
    let decision = summary.decision.as_ref().map(|decision| {
        let test = decision.test.as_ref().map(|test| margin::accepted(test, "test examples"));
        let test = test.map_or_else(String::new, |test| format!("\n          {test}"));
        format!("\ndecision  {}{test}\n", margin::sentence(decision))
    });
    let decision = decision.unwrap_or_default();
    let watched = summary.sentinel.as_ref().map_or_else(String::new, |watched| {
        let (sentence, expected) = (sentinel::sentence(watched), sentinel::expected(watched));
        format!("\nsentinel  {sentence}\n          {expected}\n")
    });
    let known = summary.left_out.as_ref().and_then(left_out::line);
    let known = known.map_or_else(String::new, |line| format!("\n{line}"));
    let part = summary.input_part.map(|part| format!("\nIt reads {part} of its input."));
    let part = part.unwrap_or_default();
    format!(
        "{}{part}{known}{decision}{watched}{front}\nmodel   {}\nreport  {}",
        comparison::table(summary),
        quoted(&out.join(pipeline::MODEL_FILE).display().to_string()),
        quoted(&out.join(REPORT_FILE).display().to_string())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_of_an_uninterrupted_run() {
        let command = "bitsback compress a.toml --force --seed 2";
        assert_eq!(from_the_start(command), "bitsback compress a.toml --seed 2");
        assert_eq!(from_the_start("bitsback demo --resume"), "bitsback demo");
    }

    #[test]
    fn a_folder_is_occupied_by_anything_in_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_occupied(folder.path()).unwrap());
        assert!(!is_occupied(&folder.path().join("none")).unwrap());
        let file = folder.path().join("x");
        fs::write(&file, "").unwrap();
        assert!(is_occupied(folder.path()).unwrap());
        assert!(is_occupied(&file).is_err(), "a file is no folder");
    }

    #[test]
    fn priors_have_the_names_of_job_files() {
        for name in ["normal-jeffreys", "horseshoe"] {
            let parsed = prior(name).unwrap();
            assert_eq!(serde_json::to_value(parsed).unwrap(), name);
        }
        assert!(prior("gaussian").is_err());
    }
}
