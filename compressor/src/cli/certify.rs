//! `bitsback certify`: what a model costs on a microcontroller, by way of the checkout's
//! `cargo xtask certify`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::output::Context;
use super::{amount, child, model_file};
use crate::cost::certified;
use crate::error::{CliError, Error};

/// Certify what a model costs on a core: flash, RAM, instructions
///
/// Links the firmware that would be flashed (start-up, the operators of this model and no others,
/// the model), reads flash and static RAM from the ELF file, runs it in QEMU, and counts the
/// instructions of an inference and the deepest stack. RAM is arena, static variables and stack. Where weights
/// are coded or packed, both ways are certified: weights as they are stored, and unpacked once into RAM.
/// Instructions are not cycles: QEMU has no pipeline and no wait states. Over a budget, the
/// certificate is still printed, and the exit code is 5. The firmware is in the project's checkout.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback certify out/lenet-5/model.bbk
  bitsback certify model.bbk --target cortex-m0 --per-layer
  bitsback certify model.bbk --flash 64K --ram 16K --instructions 2M    in CI
  bitsback certify model.bbk --weights-ram 4K --instructions 500K

Exit codes: 0 within budget, 2 usage, 4 no sound model, 5 over budget (or larger than the emulated
board), 74 QEMU or a toolchain is missing (`bitsback doctor`), or a build failed.

With --json: target, flash_bytes, code_bytes, model_bytes, ram_bytes, arena_bytes, weights_ram_bytes,
static_bytes, stack_bytes, instructions, load_instructions, unpack_instructions, layers[] with op, macs,
instructions; unpacked{} with the same keys (null where nothing is to be unpacked, or the board has no room);
layout_note (null where weights lie as the target takes them fastest), and exceeded[].")]
pub(crate) struct Certify {
    /// The model file
    model: PathBuf,
    /// The core: cortex-m0, -m3, -m4, -m7, -m33, -m55, riscv32imc, riscv32imac, arm926 or
    /// cortex-a53
    #[arg(long, value_name = "CORE", default_value = "cortex-m4")]
    target: String,
    /// Show the layers, too
    #[arg(long)]
    per_layer: bool,
    /// Most bytes of flash, such as 65536 or 64K (of 1,024)
    #[arg(long, value_name = "BYTES", value_parser = amount::bytes)]
    flash: Option<u64>,
    /// Most bytes of RAM: arena, static variables and stack
    #[arg(long, value_name = "BYTES", value_parser = amount::bytes)]
    ram: Option<u64>,
    /// The project's checkout, where the firmware is [default: the one that this is run in]
    #[arg(long, value_name = "DIR")]
    checkout: Option<PathBuf>,
    /// RAM that the device gives for weights, such as 4096 or 4K (of 1,024): as many as fit are unpacked into
    /// it once, and the budget is for that; 0 leaves the other way out [default: what all of them take, and
    /// the budget is for weights as they are stored]
    #[arg(long, value_name = "BYTES", value_parser = amount::bytes)]
    weights_ram: Option<u64>,
    /// Most instructions of an inference, such as 250000 or 2M (of 1,000,000)
    #[arg(long, value_name = "COUNT", value_parser = amount::instructions)]
    instructions: Option<u64>,
}

/// Exit codes of `cargo xtask certify`.
const USAGE: i32 = 2;
const MISSING: i32 = 3;
const OVER_BUDGET: i32 = 5;

impl Certify {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        let bytes = model_file::read(&self.model)?;
        model_file::parse(&self.model, &bytes)?;
        let checkout = match &self.checkout {
            Some(folder) if certified::is_checkout(folder) => folder.clone(),
            Some(folder) => return Err(CliError::NotCheckout { folder: folder.clone() }.into()),
            None => certified::checkout().ok_or(CliError::NoCheckout)?,
        };
        let model = std::path::absolute(&self.model).map_err(Error::io("find", &self.model))?;
        let mut command = Command::new("cargo");
        command.current_dir(checkout).args(["xtask", "certify"]).arg(model);
        command.args(["--target", &self.target]);
        for (name, value) in [
            ("--flash", self.flash),
            ("--ram", self.ram),
            ("--weights-ram", self.weights_ram),
            ("--instructions", self.instructions),
        ] {
            command.args(value.iter().flat_map(|value| [name.to_owned(), value.to_string()]));
        }
        command.args(self.per_layer.then_some("--per-layer"));
        command.args(context.json().then_some("--json"));
        let stage = context.progress_aside().stage("certify", 0);
        let what =
            format!("building the firmware for {}; at first that takes minutes", self.target);
        let output = child::output(&mut command, &stage, &what);
        let output = output.map_err(Error::io("run", Path::new("cargo")))?;
        drop(stage);
        let text = String::from_utf8_lossy(&output.stdout);
        if !text.trim().is_empty() {
            let value = if context.json() { certificate(&text)? } else { serde_json::Value::Null };
            context.result(&text, &value)?;
        }
        Ok(verdict(&output)?)
    }
}

/// The object that was printed.
fn certificate(text: &str) -> Result<serde_json::Value, CliError> {
    serde_json::from_str(text.trim()).map_err(|_| CliError::Answer {
        program: "cargo xtask certify".to_owned(),
        answer: text.trim().to_owned(),
    })
}

/// What the exit code and the last words of `cargo xtask certify` mean.
fn verdict(output: &Output) -> Result<(), CliError> {
    let words = String::from_utf8_lossy(&output.stderr);
    // The complaint stands last; what is before it told of the build.
    let at = words.rfind("error: ").map_or(0, |at| at + "error: ".len());
    let reason = words.get(at..).unwrap_or_default().trim().to_owned();
    match output.status.code() {
        Some(0) => Ok(()),
        Some(OVER_BUDGET) => Err(CliError::OverBudget { reason }),
        Some(USAGE) => Err(CliError::Certificate { reason }),
        Some(MISSING) => Err(CliError::Tools { reason }),
        _ => Err(CliError::Answer { program: "cargo xtask certify".to_owned(), answer: reason }),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;
    use crate::error::Kind;

    fn ended(code: i32, stderr: &str) -> Result<(), CliError> {
        let status = ExitStatus::from_raw(code << 8);
        verdict(&Output { status, stdout: Vec::new(), stderr: stderr.as_bytes().to_vec() })
    }

    #[test]
    fn codes_become_kinds_and_the_last_complaint_the_reason() {
        assert!(ended(0, "  building core").is_ok());
        let table = [
            (2, Kind::Usage),
            (3, Kind::Io),
            (5, Kind::Requirement),
            (1, Kind::Io),
            (101, Kind::Io),
        ];
        for (code, kind) in table {
            let error = ended(code, "error: first\n  building\nerror: the last\n").unwrap_err();
            assert_eq!(error.kind(), kind, "{code}");
            let text = error.to_string();
            assert!(text.contains("the last") && !text.contains("first"), "{text}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(certificate("{\"flash_bytes\": 1}\n").is_ok());
        assert!(matches!(certificate("flash 1"), Err(CliError::Answer { .. })));
    }
}
