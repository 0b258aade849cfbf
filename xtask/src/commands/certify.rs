//! `cargo xtask certify`: flash, RAM and instructions of a model on a core, against a budget.

use std::fs;
use std::path::PathBuf;

use bitsback_runtime::Model;

use crate::boards;
use crate::certificate::{Budget, Certificate, amount};
use crate::error::XtaskError;
use crate::paths;

/// Certify what a model costs on a core: flash, RAM, instructions.
///
/// Both ways are certified: with weights as they are stored, and unpacked once into RAM.
/// Links the firmware that would be flashed (start-up, the operators of this model, the model) and
/// reads its flash and static RAM from the ELF file; runs it in QEMU and counts the instructions of
/// an inference and the deepest stack. Instructions are not cycles. `bitsback certify` is this.
///
/// Exit codes: 0 within budget, 1 failed, 2 wrong usage, 3 QEMU or a toolchain is missing,
/// 5 over budget (or the board can't hold the program at all).
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model file.
    model: PathBuf,
    /// The core.
    #[arg(long, value_name = "CORE", default_value = "cortex-m4")]
    target: String,
    /// RAM that the device gives for weights, such as 4096 or 4K (of 1,024): as many as fit are unpacked into
    /// it once, and the budget is for that. 0 leaves the other way out [default: what all of them take, and
    /// the budget is for weights as they are stored].
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    weights_ram: Option<u64>,
    /// Show the layers, too.
    #[arg(long)]
    per_layer: bool,
    /// Most bytes of flash, such as 65536 or 64K (of 1,024).
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    flash: Option<u64>,
    /// Most bytes of RAM: arena, static variables and stack.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    ram: Option<u64>,
    /// Most instructions of an inference, such as 250000 or 2M (of 1,000,000).
    #[arg(long, value_name = "COUNT", value_parser = count)]
    instructions: Option<u64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn bytes(text: &str) -> Result<u64, String> {
    amount(text, true)
}

fn count(text: &str) -> Result<u64, String> {
    amount(text, false)
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let [board] = boards::select(&args.target)?[..] else {
        return Err(XtaskError::OneCore);
    };
    let file = |source| XtaskError::File { action: "read", path: args.model.clone(), source };
    let content = fs::read(&args.model).map_err(file)?;
    Model::parse(&content).map_err(|error| XtaskError::Golden {
        path: args.model.clone(),
        problem: error.to_string(),
    })?;
    let model = std::path::absolute(&args.model).map_err(file)?;
    let budget = Budget { flash: args.flash, ram: args.ram, instructions: args.instructions };
    let certificate = Certificate::issue(&root, board, &model, args.weights_ram, budget)?;
    if args.json {
        println!("{}", serde_json::json!(certificate));
    } else {
        println!("{}", certificate.text(board, budget, args.weights_ram.is_some(), args.per_layer));
    }
    if certificate.exceeded.is_empty() {
        return Ok(());
    }
    Err(XtaskError::OverBudget { what: certificate.exceeded.join(", ") })
}
