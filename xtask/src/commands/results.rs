//! `cargo xtask results`: finished jobs into `docs/results/`.

use std::path::{Path, PathBuf};
use std::{env, fs, thread};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::boards;
use crate::conformance;
use crate::error::XtaskError;
use crate::golden::{Golden, MODEL_FILE};
use crate::paths;
use crate::results::{self, FOLDER, Finished, PAGE_FILE, README_FILE, Results};

/// The core whose outputs are compared with the host's.
const CORE: &str = "cortex-m4";
/// Where a job keeps its golden vectors.
const VECTORS_FOLDER: &str = "golden";
/// A thousand vectors of a dense LeNet-5 take minutes under emulation.
const QEMU_SECONDS: u64 = 1_800;

/// Collect finished jobs into docs/results/ and make the page of all results.
///
/// A row is taken from each folder's summary.json and put into docs/results/SET.json, where SET is
/// the folder that the job's data are in (`mnist`). The network is named by the shapes of its
/// layers (lenet-300-100, lenet-5), else by the job's name without its prior; the command is
/// stripped of paths and of options that don't change the result. The same command with the same
/// seed replaces its row; a folder whose job file has changed since is refused. The job's golden vectors are run on an emulated Cortex-M4 unless --mcu
/// or --no-mcu says otherwise. Without folders, only the page and the table in README.md are made anew.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Output folders of finished jobs.
    #[arg(value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Change nothing; fail when the page or the table isn't what the JSON files give.
    #[arg(long, conflicts_with = "folders")]
    check: bool,
    /// What `cargo xtask qemu --json` printed for the one folder given, instead of running it.
    #[arg(long, value_name = "FILE.json")]
    mcu: Option<PathBuf>,
    /// Leave the emulated Cortex-M4 out.
    #[arg(long, conflicts_with = "mcu")]
    no_mcu: bool,
    /// The machine that the jobs ran on, in words; this one's processor when left out.
    #[arg(long, value_name = "TEXT")]
    machine: Option<String>,
}

/// What a row takes of the core's verdict.
#[derive(Debug, Deserialize, PartialEq)]
struct Verdict {
    core: String,
    ran: bool,
    vectors: u64,
    mismatches: u64,
    instructions: u64,
    unpacked_instructions: u64,
    weights_ram_bytes: u64,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let folder = root.join(FOLDER);
    let mut results = Results::load(&folder)?;
    if args.check {
        for (path, text) in pages(&root, &results)? {
            if results::read(&path)? != text {
                return Err(XtaskError::StalePage { path });
            }
        }
        return Ok(());
    }
    if args.mcu.is_some() && args.folders.len() != 1 {
        return Err(XtaskError::McuFolders { given: args.folders.len() });
    }
    for job in &args.folders {
        let Finished { mut row, set } = results::finished(&root, job)?;
        row.machine = Some(args.machine.clone().unwrap_or_else(machine));
        if let Some(verdict) = verdict(&root, job, args)? {
            row.mcu_vectors = Some(verdict.vectors);
            row.mcu_mismatches = Some(verdict.mismatches);
            row.mcu_instructions = Some(verdict.instructions);
            // Without a coded weight, RAM changes nothing.
            row.mcu_unpacked_instructions = Some(match verdict.weights_ram_bytes {
                0 => verdict.instructions,
                _ => verdict.unpacked_instructions,
            });
        }
        println!(
            "{set}: {} {} seed {}: error {:.2} %, {} bytes, {:.1}x",
            row.network, row.prior, row.seed, row.error_percent, row.file_bytes, row.ratio
        );
        results.add(Finished { row, set });
    }
    results.save(&folder)?;
    write_pages(&root, &results)
}

/// Makes the page and the table anew from the JSON files.
pub(super) fn refresh(root: &Path) -> Result<(), XtaskError> {
    write_pages(root, &Results::load(&root.join(FOLDER))?)
}

/// The rows of a set; none before any were kept.
///
/// # Errors
/// Names the file and the key that is no such row's.
pub(super) fn kept<T: DeserializeOwned>(root: &Path, set: &str) -> Result<Vec<T>, XtaskError> {
    let path = set_path(root, set);
    if !path.exists() {
        return Ok(Vec::new());
    }
    serde_json::from_str(&results::read(&path)?).map_err(|error| not_rows(&path, &error))
}

/// Writes the rows of a set and the pages that show them.
pub(super) fn keep<T: Serialize>(root: &Path, set: &str, rows: &[T]) -> Result<(), XtaskError> {
    let path = set_path(root, set);
    let text = serde_json::to_string_pretty(rows).map_err(|error| not_rows(&path, &error))?;
    results::write(&path, &(text + "\n"))?;
    refresh(root)
}

fn set_path(root: &Path, set: &str) -> PathBuf {
    root.join(FOLDER).join(format!("{set}.json"))
}

fn not_rows(path: &Path, error: &serde_json::Error) -> XtaskError {
    XtaskError::Results { path: path.to_owned(), problem: error.to_string() }
}

fn write_pages(root: &Path, results: &Results) -> Result<(), XtaskError> {
    for (path, text) in pages(root, results)? {
        results::write(&path, &text)?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

/// The files that follow from the results, and what they must hold.
fn pages(root: &Path, results: &Results) -> Result<[(PathBuf, String); 2], XtaskError> {
    let readme = root.join(README_FILE);
    let embedded = results.embed(&results::read(&readme)?).ok_or_else(|| XtaskError::Results {
        path: readme.clone(),
        problem: "the marks of the table of results are gone".to_owned(),
    })?;
    Ok([(root.join(FOLDER).join(PAGE_FILE), results.page()), (readme, embedded)])
}

/// What the core said, or says now; `None` where it is left out.
fn verdict(root: &Path, job: &Path, args: &Args) -> Result<Option<Verdict>, XtaskError> {
    if let Some(path) = &args.mcu {
        return read_verdict(path).map(Some);
    }
    if args.no_mcu {
        return Ok(None);
    }
    let golden = Golden::read(&job.join(MODEL_FILE), &job.join(VECTORS_FOLDER))?;
    let Some(board) = boards::select(CORE)?.first().copied() else { return Ok(None) };
    let elf = conformance::build(root, board, conformance::Build::Whole)?;
    let outcome = conformance::run(&elf, board, &golden, None, QEMU_SECONDS)?;
    if let Some(reason) = outcome.reason {
        println!("{} did not run on {CORE}: {reason}", job.display());
        return Ok(None);
    }
    Ok(Some(Verdict {
        core: CORE.to_owned(),
        ran: true,
        vectors: outcome.vectors,
        mismatches: outcome.mismatches,
        instructions: outcome.instructions,
        unpacked_instructions: outcome.unpacked_instructions,
        weights_ram_bytes: outcome.weights_ram_bytes,
    }))
}

/// The Cortex-M4's line of what `cargo xtask qemu --json` printed.
fn read_verdict(path: &Path) -> Result<Verdict, XtaskError> {
    let text = results::read(path)?;
    let found = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Verdict>(line).ok())
        .find(|verdict| verdict.ran && verdict.core == CORE);
    found.ok_or_else(|| XtaskError::Results {
        path: path.to_path_buf(),
        problem: format!("no line of `cargo xtask qemu --json` that ran on {CORE}"),
    })
}

/// This machine, in words.
pub(super) fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == "model name")
        .map_or(env::consts::ARCH, |(_, name)| name.trim());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {threads} threads, {}", env::consts::OS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_the_line_of_the_core() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcu.json");
        let line = |core: &str, ran: bool| {
            format!(
                r#"{{"core":"{core}","model":"m","ran":{ran},"vectors":9,"mismatches":0,"instructions":7,"arena_bytes":1,"unpacked_instructions":5,"weights_ram_bytes":3}}"#
            )
        };
        fs::write(&path, line("cortex-m0", true) + "\n" + &line(CORE, true) + "\n").unwrap();
        let verdict = read_verdict(&path).unwrap();
        assert_eq!((verdict.core.as_str(), verdict.vectors, verdict.mismatches), (CORE, 9, 0));
        fs::write(&path, line(CORE, false)).unwrap();
        let error = read_verdict(&path).unwrap_err().to_string();
        assert!(error.contains(CORE) && error.contains("mcu.json"), "{error}");
    }

    #[test]
    fn this_machine_has_a_name() {
        assert!(machine().contains("threads"));
    }
}
