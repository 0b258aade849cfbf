//! `cargo xtask bench`: what a model costs on a core, and what training costs here.

use std::path::PathBuf;

use serde::Serialize;

use super::training;
use crate::boards;
use crate::conformance;
use crate::error::XtaskError;
use crate::footprint;
use crate::golden::{self, Golden};
use crate::paths;

/// Vectors that are run to time an inference: the count varies by a timer tick at most.
const TIMED_VECTORS: usize = 40;

/// Measure inference on microcontrollers, or training on this machine.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure.
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Mcu(McuArgs),
    Training(training::Args),
}

/// Count instructions, code, arena and stack of a model on a core.
///
/// Instructions are counted by QEMU (`-icount shift=0`): the same on every run, and not cycles.
#[derive(clap::Args)]
struct McuArgs {
    /// The model file; all committed models (tests/golden) when left out.
    #[arg(long, value_name = "FILE", requires = "golden")]
    model: Option<PathBuf>,
    /// The folder with its golden vectors.
    #[arg(long, value_name = "DIR", requires = "model")]
    golden: Option<PathBuf>,
    /// The core, or `all`.
    #[arg(long, default_value = "cortex-m4")]
    core: String,
    /// Print a JSON array of rows.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    core: &'static str,
    shape: String,
    instructions: u64,
    /// Flash without the model; `null` where it is not measured (see `footprint`).
    code_bytes: Option<u64>,
    arena_bytes: u64,
    stack_bytes: u64,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    match &args.what {
        What::Mcu(args) => mcu(args),
        What::Training(args) => training::run(args),
    }
}

fn mcu(args: &McuArgs) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let models = match (&args.model, &args.golden) {
        (Some(model), Some(folder)) => vec![Golden::read(model, folder)?],
        _ => golden::committed(&root.join("tests/golden"))?,
    };
    let mut rows = Vec::new();
    for board in boards::select(&args.core)? {
        let elf = conformance::build(&root, board)?;
        for model in &models {
            let outcome = conformance::run(&elf, board, model, Some(TIMED_VECTORS), 900)?;
            if let Some(reason) = outcome.reason {
                eprintln!("{} on {}: did not run: {reason}", model.name, board.core);
                continue;
            }
            rows.push(Row {
                core: outcome.core,
                shape: outcome.model,
                instructions: outcome.instructions,
                code_bytes: footprint::code_bytes(&root, board, model)?,
                arena_bytes: outcome.arena_bytes,
                stack_bytes: outcome.stack_bytes,
            });
        }
    }
    if args.json {
        println!("{}", serde_json::json!(rows));
        return Ok(());
    }
    println!("instructions per inference, counted by QEMU (not cycles)");
    println!(
        "{:<12} {:<24} {:>12} {:>8} {:>8} {:>6}",
        "core", "shape", "instructions", "code", "arena", "stack"
    );
    for row in rows {
        println!(
            "{:<12} {:<24} {:>12} {:>8} {:>8} {:>6}",
            row.core,
            row.shape,
            row.instructions,
            row.code_bytes.map_or("-".to_owned(), |bytes| bytes.to_string()),
            row.arena_bytes,
            row.stack_bytes
        );
    }
    Ok(())
}
