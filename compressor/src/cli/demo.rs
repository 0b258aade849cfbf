//! `bitsback demo`: the whole way on the bundled digits.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::comparison;
use super::compress::{Overrides, run_job};
use super::mcu::Mcu;
use super::output::{Context, quoted};
use crate::cost::{Core, Instructions, Provenance};
use crate::error::{CliError, Error};
use crate::job::Job;
use crate::pipeline;
use crate::progress::Progress;
use crate::report::REPORT_FILE;
use crate::report::number::thousands;
use crate::summary::{Figures, Summary};

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
file_bytes, macs, arena_bytes), ratio, mcu{} (ran, mismatches, vectors, instructions,
unpacked_instructions, weights_bytes, reason), report, model.")]
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
    mcu: Mcu,
    model: PathBuf,
    report: PathBuf,
}

impl Demo {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        let mut job = Job::parse(Path::new(JOB_NAME), JOB)?;
        self.overrides.apply(&mut job)?;
        let progress = context.progress()?;
        let core = job.target.core;
        let emulated = RefCell::new(None);
        let count = |_: &Path| {
            let mcu = self.emulate(core, &progress);
            let counts = mcu.as_ref().ok().map(|mcu| (mcu.instructions, mcu.unpacked()));
            emulated.replace(Some(mcu));
            let (count, unpacked) = counts?;
            count.map(|count| Instructions { count, from: Provenance::Measured, unpacked })
        };
        let made =
            run_job(&job, &self.out, self.resume, &self.overrides, context, &progress, &count)?;
        let mcu = emulated.into_inner().unwrap_or_else(|| self.emulate(core, &progress))?;
        let summary = made.summary;
        let outcome = Outcome {
            dense: summary.dense,
            compressed: summary.compressed,
            ratio: summary.row.ratio,
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

    fn emulate(&self, core: Core, progress: &Progress) -> Result<Mcu, Error> {
        if self.no_mcu {
            return Ok(Mcu::not_run(core, "left out (--no-mcu)"));
        }
        let stage = progress.stage(core.name(), 0);
        let model = self.out.join(pipeline::MODEL_FILE);
        let mcu = Mcu::run(core, &model, &self.out.join(pipeline::GOLDEN_FOLDER), &stage)?;
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

/// What the emulated core said, in a line.
fn mcu_line(mcu: &Mcu) -> String {
    match (mcu.mismatches, mcu.vectors, mcu.instructions) {
        (Some(0), Some(vectors), Some(instructions)) => format!(
            "the same output bytes on all {} golden vectors under QEMU; {} instructions an \
             inference{} (counted, not cycles)",
            thousands(vectors),
            thousands(instructions),
            mcu.unpacked().map_or_else(String::new, |unpacked| format!(
                ", {} with its weights unpacked once into {} bytes of RAM",
                thousands(unpacked.count),
                thousands(unpacked.weights_bytes)
            ))
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
