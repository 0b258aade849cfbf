//! Measured results: the JSON files of `docs/results/`, and the page that is made of them.
//!
//! The JSON files are what is measured; `README.md` beside them follows from them alone, so that a
//! test can say whether it is fresh.

mod cost;
mod decision;
mod host;
mod job;
mod page;
mod pytorch;
mod row;
mod sentinel;
mod storage;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::XtaskError;
pub(crate) use cost::{CostRow, Missed};
pub(crate) use decision::DecisionRow;
pub(crate) use host::{DRAWN, HostRow};
pub(crate) use pytorch::{PytorchRow, Quantized};
pub(crate) use row::{Finished, Row, finished};
pub(crate) use sentinel::{Condition, SentinelRun, Stationary, summary as sentinel_summary};
pub(crate) use storage::StorageRow;

/// Where results are kept, in the checkout.
pub(crate) const FOLDER: &str = "docs/results";
/// The page.
pub(crate) const PAGE_FILE: &str = "README.md";
/// The file that shows the means, too.
pub(crate) const README_FILE: &str = "README.md";
/// The marks before and after the means in that file.
const BLOCK_START: &str = "<!-- results: written by `cargo xtask results` -->";
const BLOCK_END: &str = "<!-- /results -->";
/// What `cargo xtask bench mcu --json` printed; with [`TRAINING_SET`], [`PYTORCH_SET`],
/// [`STORAGE_SET`], [`HOST_SET`], [`COST_SET`] and [`DECISION_SET`], the files that don't hold rows of jobs.
const MCU_SET: &str = "mcu";

/// What one model costs on one core, as `cargo xtask bench mcu --json` prints it; the layers are for
/// other readers.
#[derive(Clone, Debug, Deserialize)]
struct McuRow {
    core: String,
    shape: String,
    /// The name of another runtime; absent for ours.
    runtime: Option<String>,
    layout: Option<String>,
    macs: u64,
    instructions: u64,
    load_instructions: Option<u64>,
    code_bytes: Option<u64>,
    checked_code_bytes: Option<u64>,
    arena_bytes: Option<u64>,
    stack_bytes: u64,
}

/// What [`TrainingRow`]s are kept as.
pub(crate) const TRAINING_SET: &str = "training";

/// What [`PytorchRow`]s are kept as.
pub(crate) const PYTORCH_SET: &str = "pytorch";

/// What [`StorageRow`]s are kept as.
pub(crate) const STORAGE_SET: &str = "storage";

/// What [`HostRow`]s are kept as.
pub(crate) const HOST_SET: &str = "host";

/// What [`CostRow`]s are kept as.
pub(crate) const COST_SET: &str = "cost";

/// What [`DecisionRow`]s are kept as.
pub(crate) const DECISION_SET: &str = "decision";

/// What a [`SentinelRun`] is kept as.
pub(crate) const SENTINEL_SET: &str = "sentinel";

/// An epoch of variational training here and in PyTorch, from `cargo xtask bench training`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainingRow {
    pub(crate) network: String,
    pub(crate) batch: usize,
    pub(crate) threads: usize,
    pub(crate) rounds: u16,
    /// The medians over the rounds.
    pub(crate) epoch_seconds: f64,
    pub(crate) pytorch_epoch_seconds: f64,
    pub(crate) ratio: f64,
    pub(crate) pytorch: String,
    pub(crate) seed: u64,
    pub(crate) command: String,
    pub(crate) date: String,
    pub(crate) machine: String,
}

/// All results.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// Rows of jobs by data set.
    sets: BTreeMap<String, Vec<Row>>,
    mcu: Vec<McuRow>,
    training: Vec<TrainingRow>,
    pytorch: Vec<PytorchRow>,
    storage: Vec<StorageRow>,
    host: Vec<HostRow>,
    cost: Vec<CostRow>,
    decision: Vec<DecisionRow>,
    sentinel: Vec<SentinelRun>,
}

impl Results {
    /// Reads every JSON file of `folder`; one that holds anything else is an error, so that no
    /// result is left out in silence.
    ///
    /// # Errors
    /// Names the file and the key.
    pub(crate) fn load(folder: &Path) -> Result<Self, XtaskError> {
        let mut results = Self::default();
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = read(&path)?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let wrong = |error: serde_json::Error| XtaskError::Results {
                path: path.clone(),
                problem: error.to_string(),
            };
            if name == MCU_SET {
                results.mcu = serde_json::from_str(&text).map_err(wrong)?;
            } else if name == TRAINING_SET {
                results.training = serde_json::from_str(&text).map_err(wrong)?;
            } else if name == PYTORCH_SET {
                results.pytorch = serde_json::from_str(&text).map_err(wrong)?;
            } else if name == STORAGE_SET {
                results.storage = serde_json::from_str(&text).map_err(wrong)?;
            } else if name == HOST_SET {
                results.host = serde_json::from_str(&text).map_err(wrong)?;
            } else if name == COST_SET {
                results.cost = serde_json::from_str(&text).map_err(wrong)?;
            } else if name == DECISION_SET {
                results.decision = serde_json::from_str(&text).map_err(wrong)?;
            } else if name == SENTINEL_SET {
                results.sentinel = serde_json::from_str(&text).map_err(wrong)?;
            } else {
                let mut rows: Vec<Row> = serde_json::from_str(&text).map_err(wrong)?;
                sort(&mut rows);
                results.sets.insert(name, rows);
            }
        }
        Ok(results)
    }

    /// Adds a row, in place of the one of the same run.
    pub(crate) fn add(&mut self, Finished { row, set }: Finished) {
        let rows = self.sets.entry(set).or_default();
        rows.retain(|old| !old.is_same_run(&row));
        rows.push(row);
        sort(rows);
    }

    /// Writes the rows of every data set.
    ///
    /// # Errors
    /// Names the file.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), XtaskError> {
        fs::create_dir_all(folder).map_err(|source| XtaskError::File {
            action: "create",
            path: folder.to_path_buf(),
            source,
        })?;
        for (set, rows) in &self.sets {
            let path = folder.join(format!("{set}.json"));
            let text = serde_json::to_string_pretty(rows).map_err(|error| XtaskError::Results {
                path: path.clone(),
                problem: error.to_string(),
            })?;
            write(&path, &(text + "\n"))?;
        }
        Ok(())
    }

    /// The page.
    pub(crate) fn page(&self) -> String {
        page::render(self)
    }

    /// `text` with the table of means between its marks; `None` without marks.
    pub(crate) fn embed(&self, text: &str) -> Option<String> {
        let start = text.find(BLOCK_START)? + BLOCK_START.len();
        let end = start + text.get(start..)?.find(BLOCK_END)?;
        Some(format!("{}\n\n{}\n{}", &text[..start], page::overview(self), &text[end..]))
    }
}

/// The order that the page relies on, and that keeps changes of the files small.
fn sort(rows: &mut [Row]) {
    rows.sort_by(|a, b| a.key().cmp(&b.key()));
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, XtaskError> {
    fs::read_to_string(path).map_err(|source| failed("read", path, source))
}

/// Writes a text file.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), XtaskError> {
    fs::write(path, text).map_err(|source| failed("write", path, source))
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> XtaskError {
    XtaskError::File { action, path: PathBuf::from(path), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row for tests.
    pub(super) fn row(seed: u64, error_percent: f64) -> Row {
        Row {
            network: "lenet-5".into(),
            prior: "horseshoe".into(),
            control: None,
            seed,
            error_percent,
            file_bytes: 1000,
            float_bytes: 20_000,
            ratio: 20.0,
            macs: 12_345,
            command: format!("bitsback compress jobs/lenet-5.toml --seed {seed}"),
            date: "2026-01-02T03:04:05Z".into(),
            dense_error_percent: Some(0.9),
            data_note: None,
            machine: Some("a machine".into()),
            mcu_vectors: None,
            mcu_mismatches: None,
            mcu_instructions: None,
            mcu_unpacked_instructions: None,
            front: Vec::new(),
        }
    }

    fn finished(row: Row) -> Finished {
        Finished { row, set: "mnist".into() }
    }

    #[test]
    fn a_run_done_again_replaces_its_row() {
        let mut results = Results::default();
        for (seed, error) in [(2, 1.0), (1, 1.2), (2, 1.1)] {
            results.add(finished(row(seed, error)));
        }
        let rows = &results.sets["mnist"];
        assert_eq!(rows.iter().map(|r| r.error_percent).collect::<Vec<_>>(), [1.2, 1.1]);
    }

    #[test]
    fn what_is_saved_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut results = Results::default();
        results.add(finished(row(1, 1.0)));
        results.save(folder.path()).unwrap();
        let back = Results::load(folder.path()).unwrap();
        assert_eq!(back.sets, results.sets);
        assert_eq!(back.page(), results.page());
    }

    #[test]
    fn the_means_are_put_between_the_marks() {
        let mut results = Results::default();
        let text = format!("before\n{BLOCK_START}\nold\n{BLOCK_END}\nafter\n");
        results.add(finished(row(1, 1.25)));
        let embedded = results.embed(&text).unwrap();
        assert!(embedded.starts_with("before\n") && embedded.ends_with("\nafter\n"), "{embedded}");
        assert!(embedded.contains("1.25") && !embedded.contains("old"), "{embedded}");
        assert_eq!(results.embed(&embedded).unwrap(), embedded);
        assert_eq!(results.embed("no marks"), None);
        let control = Some("order-by-magnitude".to_owned());
        results.add(finished(Row { prior: "other".into(), control, ..row(1, 7.25) }));
        let command = "bitsback compress jobs/controls/lenet-5-3-bits.toml".to_owned();
        results.add(finished(Row { command, ..row(1, 7.5) }));
        assert_eq!(results.embed(&text).unwrap(), embedded, "controls are on the page alone");
        assert!(results.page().contains("7.25"));
    }

    #[test]
    fn a_file_that_holds_something_else_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mnist.json");
        write(&path, r#"[{"network": "x", "eror_percent": 1}]"#).unwrap();
        let error = Results::load(folder.path()).unwrap_err();
        assert!(matches!(&error, XtaskError::Results { problem, .. } if problem.contains("eror")));
    }
}
