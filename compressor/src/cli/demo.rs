//! `bitsback demo`: the whole way on the bundled digits.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::compress::{Overrides, run_job};
use super::mcu::Mcu;
use super::output::{Context, quoted};
use super::{comparison, model_file, storing};
use crate::cost::{Core, Instructions, Provenance, Unpacked, certified};
use crate::error::{CliError, Error};
use crate::job::{Job, TargetConfig};
use crate::pipeline::{self, Counted};
use crate::progress::Progress;
use crate::report::REPORT_FILE;
use crate::report::number::thousands;
use crate::summary::{Figures, Speed, Summary};

/// The demo's job file.
const JOB: &str = include_str!("../../../jobs/digits.toml");
/// What messages call it.
const JOB_NAME: &str = "jobs/digits.toml";

/// Show the whole way on the bundled 8×8 digits, in a minute or two
///
/// Trains a Bayesian network, prunes it, chooses its bits, writes model.bbk, runs it in the
/// integer runtime, and, in a checkout where QEMU is installed, on an emulated core (Cortex-M4) with
/// every output byte compared. Prints the figures before and after, and where the report is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback demo
  bitsback demo --prior horseshoe --out out/demo-ghs
  bitsback demo --json | tail -n 1 | jq .compressed

Exit codes: those of `compress`, and 4 if the core computed something else than the host.

With --json, the last line of standard output: dense{} and compressed{} (error_percent,
file_bytes, macs, arena_bytes), ratio, instructions{} (core, dense{} and compressed{} with count, from, and
unpacked{} with count and weights_ram_bytes), mcu{} (ran, mismatches, vectors, instructions,
unpacked_instructions, weights_ram_bytes, reason), report, model.")]
pub(crate) struct Demo {
    /// The output folder; what is in it from an earlier demo is written over
    #[arg(long, short, value_name = "DIR", default_value = "out/demo")]
    out: PathBuf,
    /// Go on from the last checkpoint in the output folder; without one, start
    #[arg(long)]
    resume: bool,
    /// Leave out the emulated core
    #[arg(long)]
    no_mcu: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// The last line of `--json`.
#[derive(Debug, Serialize)]
struct Outcome {
    dense: Figures,
    compressed: Figures,
    /// Bytes before by bytes after.
    ratio: f64,
    /// Of an inference, of both.
    instructions: Option<Speed>,
    mcu: Mcu,
    model: PathBuf,
    report: PathBuf,
}

impl Demo {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        let mut job = Job::parse(Path::new(JOB_NAME), JOB)?;
        self.overrides.apply(&mut job)?;
        let progress = context.progress()?;
        let target = job.target;
        let core = target.core;
        let emulated = RefCell::new(None);
        let count = |what: Counted, folder: &Path| {
            let mcu = self.emulate(core, folder, &progress);
            let counts = mcu.as_ref().ok().and_then(|mcu| counted(mcu, target, folder));
            if what == Counted::Model {
                emulated.replace(Some(mcu));
            }
            counts
        };
        let made =
            run_job(&job, &self.out, self.resume, &self.overrides, context, &progress, &count)?;
        let mcu =
            emulated.into_inner().unwrap_or_else(|| self.emulate(core, &self.out, &progress))?;
        let summary = made.summary;
        let outcome = Outcome {
            dense: summary.dense,
            compressed: summary.compressed,
            ratio: summary.row.ratio,
            instructions: summary.instructions,
            model: self.out.join(pipeline::MODEL_FILE),
            report: self.out.join(REPORT_FILE),
            mcu,
        };
        context.result(&text(core, &summary, &outcome), &outcome)?;
        match (outcome.mcu.mismatches, outcome.mcu.vectors) {
            (Some(mismatches), Some(vectors)) if mismatches > 0 => {
                Err(CliError::Mismatches { core: outcome.mcu.core, mismatches, vectors }.into())
            }
            _ => Ok(made.verdict?),
        }
    }

    /// Runs the network in a folder, with the golden vectors beside it.
    fn emulate(&self, core: Core, folder: &Path, progress: &Progress) -> Result<Mcu, Error> {
        if self.no_mcu {
            return Ok(Mcu::not_run(core, "left out (--no-mcu)"));
        }
        let stage = progress.stage(core.name(), 0);
        let model = folder.join(pipeline::MODEL_FILE);
        let mcu = Mcu::run(core, &model, &folder.join(pipeline::GOLDEN_FOLDER), &stage)?;
        stage.finish(&mcu_line(&mcu));
        Ok(mcu)
    }
}

fn text(core: Core, summary: &Summary, outcome: &Outcome) -> String {
    let core = core.title();
    format!(
        "{}\n{core:<10} {}\nmodel      {}\nreport     {}",
        comparison::table(summary),
        mcu_line(&outcome.mcu),
        quoted(&outcome.model.display().to_string()),
        quoted(&outcome.report.display().to_string())
    )
}

/// Instructions that the emulated core counted, with the RAM for weights that the job gives: where that is
/// less than all weights take, a firmware with so much is certified.
fn counted(mcu: &Mcu, target: TargetConfig, folder: &Path) -> Option<Instructions> {
    let TargetConfig { core, weights_ram_bytes: given } = target;
    let model = folder.join(pipeline::MODEL_FILE);
    let bytes = model_file::read(&model).ok()?;
    let whole = model_file::parse(&model, &bytes).ok()?.weights_len() as u64;
    let (count, wanted) = (mcu.instructions?, Unpacked::ram(given, whole));
    let found = mcu.unpacked();
    let unpacked = match found.map(|unpacked| unpacked.weights_ram_bytes) {
        ram if ram == wanted => found,
        _ => certified::instructions(core, given, &model)?.unpacked,
    };
    Some(Instructions { count, from: Provenance::Measured, unpacked, is_given: given > 0 })
}

/// What the emulated core said, in a line.
fn mcu_line(mcu: &Mcu) -> String {
    match (mcu.mismatches, mcu.vectors, mcu.instructions) {
        (Some(0), Some(vectors), Some(instructions)) => format!(
            "the same output bytes on all {} golden vectors under QEMU; {} instructions an \
             inference{} (counted, not cycles)",
            thousands(vectors),
            thousands(instructions),
            storing::unpacked(mcu.unpacked()),
        ),
        (Some(mismatches), Some(vectors), _) => format!(
            "{} mismatches on {} golden vectors under QEMU",
            thousands(mismatches),
            thousands(vectors)
        ),
        _ => format!("not run: {}", mcu.reason.as_deref().unwrap_or("no reason given")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_job_is_valid() {
        assert_eq!(Job::parse(Path::new(JOB_NAME), JOB).unwrap().name, "digits");
    }

    #[test]
    fn the_cores_line_says_what_happened() {
        let mut mcu = Mcu::not_run(Core::CortexM4, "QEMU is missing");
        assert_eq!(mcu_line(&mcu), "not run: QEMU is missing");
        (mcu.ran, mcu.vectors, mcu.mismatches) = (true, Some(32), Some(0));
        mcu.instructions = Some(12_345);
        assert!(mcu_line(&mcu).contains("all 32 golden vectors"));
        assert!(mcu_line(&mcu).contains("12,345 instructions"));
        mcu.mismatches = Some(3);
        assert!(mcu_line(&mcu).starts_with("3 mismatches"));
    }
}
