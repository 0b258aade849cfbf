//! `cargo xtask bench storage`: imported models by how their weights are stored.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::{pytorch, training};
use crate::certificate::thousands;
use crate::error::XtaskError;
use crate::golden::MODEL_FILE;
use crate::results::{STORAGE_SET, StorageRow};
use crate::{boards, files, measure, paths};

/// The committed models that have enough weights for coding them to matter.
const MODELS: [&str; 2] = [
    "jobs/tensorflow/lenet-5.tflite",
    "tests/fixtures/tflite/lenet300_784_300_100_10_ptfc_int8.tflite",
];
/// What is told `bitsback import` about storage.
const OPTIONS: [&str; 4] =
    ["", "--goal instructions", "--goal flash --instructions 20000000", "--goal flash"];
/// The core that instructions are counted on.
const CORE: &str = "cortex-m4";

/// Measure file bytes and instructions of imported models, by the storage of their weights.
///
/// Each model is imported as `bitsback import` does by itself, for the fewest instructions, for the fewest
/// bytes, and for the fewest bytes within a limit of instructions. One inference of each result is
/// counted on an emulated Cortex-M4.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Models to import [default: committed ones].
    #[arg(value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Print a JSON array of rows.
    #[arg(long)]
    json: bool,
    /// Keep the rows in docs/results/storage.json and make the page anew.
    #[arg(long, conflicts_with = "models")]
    keep: bool,
}

/// The part of what `bitsback import --json` prints that a row takes.
#[derive(Debug, Deserialize)]
struct Imported {
    input_bytes: u64,
    file_bytes: u64,
    arena_bytes: u64,
    macs: u64,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let bitsback = pytorch::build(&root)?;
    let committed = || MODELS.iter().map(|model| root.join(model)).collect();
    let models = if args.models.is_empty() { committed() } else { args.models.clone() };
    let mut rows = Vec::new();
    for board in boards::select(CORE)? {
        let elf = measure::build_slot(&root, board)?;
        for model in &models {
            for options in OPTIONS {
                eprintln!("  {} {options}", model.display());
                let row = row(&bitsback, board, &elf, model, options)?;
                print(&row, args.json);
                rows.push(row);
            }
        }
    }
    if args.json {
        println!("{:#}", serde_json::json!(rows));
    }
    if args.keep { super::results::keep(&root, STORAGE_SET, &rows) } else { Ok(()) }
}

/// One import, and one inference of what came of it.
fn row(
    bitsback: &Path,
    board: &boards::Board,
    elf: &Path,
    model: &Path,
    options: &str,
) -> Result<StorageRow, XtaskError> {
    let folder = files::temporary()?;
    let mut command = Command::new(bitsback);
    command.arg("import").arg(model).args(options.split_whitespace());
    command.arg("-o").arg(folder.path().join(MODEL_FILE)).args(["--quiet", "--json"]);
    let imported: Imported = pytorch::last_json(&mut command)?;
    let measured = measure::in_slot(elf, board, folder.path())?
        .ok_or_else(|| XtaskError::DoesNotFit { model: model.to_path_buf(), board: board.title })?;
    Ok(StorageRow {
        model: model.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        options: options.to_owned(),
        input_bytes: imported.input_bytes,
        file_bytes: imported.file_bytes,
        macs: imported.macs,
        arena_bytes: imported.arena_bytes,
        core: board.core.to_owned(),
        instructions: measured.instructions,
        stack_bytes: measured.stack_bytes,
        command: "cargo xtask bench storage --keep".to_owned(),
        date: training::date()?,
        machine: super::results::machine(),
    })
}

fn print(row: &StorageRow, json: bool) {
    if !json {
        println!(
            "{:<42} {:<32} {:>9} bytes {:>12} instructions",
            row.model,
            row.options,
            thousands(row.file_bytes),
            thousands(row.instructions)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_is_committed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert!(MODELS.iter().all(|model| root.join(model).is_file()));
    }
}
