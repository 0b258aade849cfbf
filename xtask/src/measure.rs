//! What a model costs on a board, as the firmware `certify` counts it under QEMU.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::boards::Board;
use crate::error::XtaskError;
use crate::firmware::{self, Program};
use crate::footprint::{self, Weights};
use crate::golden::MODEL_FILE;
use crate::qemu;

const PACKAGE: &str = "certify";
/// The largest shapes take seconds under emulation; a hundred times that is a hang.
const RUN_LIMIT: Duration = Duration::from_secs(600);

/// One layer.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Layer {
    pub(crate) layer: u64,
    pub(crate) op: String,
    pub(crate) macs: u64,
    /// Instructions, to the step of the board's timer; absent when the timer ran out.
    pub(crate) instructions: Option<u64>,
}

/// A whole inference.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
struct Total {
    instructions: Option<u64>,
    load_instructions: Option<u64>,
    unpack_instructions: Option<u64>,
    weights_ram_bytes: u64,
    arena_bytes: u64,
    stack_bytes: Option<u64>,
    load_stack_bytes: Option<u64>,
}

/// The figures that were measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) instructions: u64,
    /// Instructions of `Model::parse`, which runs once.
    pub(crate) load_instructions: u64,
    /// Instructions of unpacking weights, once as well, and the bytes that they take then.
    pub(crate) unpack_instructions: u64,
    pub(crate) weights_ram_bytes: u64,
    pub(crate) arena_bytes: u64,
    /// The deepest stack of loading and inference.
    pub(crate) stack_bytes: u64,
    pub(crate) layers: Vec<Layer>,
}

/// Builds the firmware with every operator, for [`in_slot`]; one build serves every model.
pub(crate) fn build_slot(root: &Path, board: &Board) -> Result<PathBuf, XtaskError> {
    installed(board)?;
    let program =
        Program { package: PACKAGE, features: &["slot"], model: None, ..Program::default() };
    firmware::build_program(root, board, program)
}

/// Measures the model in `folder` from the board's model slot. `None` when the slot or the RAM is
/// too small.
pub(crate) fn in_slot(
    elf: &Path,
    board: &Board,
    folder: &Path,
) -> Result<Option<Measured>, XtaskError> {
    let bytes = fs::metadata(folder.join(MODEL_FILE)).map_or(0, |about| about.len());
    if bytes > u64::from(board.model_slot.length) {
        return Ok(None);
    }
    run(elf, board, folder, Some(MODEL_FILE))
}

/// Measures a model as a part of the program, with its operators alone.
///
/// # Errors
/// [`XtaskError::DoesNotFit`] when the board can't hold the program.
pub(crate) fn embedded(
    root: &Path,
    board: &Board,
    model: &Path,
    weights: Weights,
) -> Result<Measured, XtaskError> {
    installed(board)?;
    let mut features: Vec<&str> = footprint::features(model)?.names().collect();
    features.extend(weights.features(board));
    let program = Program {
        package: PACKAGE,
        features: &features,
        is_lean: true,
        model: Some(model),
        weights_ram: weights.ram(),
        ..Program::default()
    };
    let elf = fits(firmware::build_program(root, board, program), board, model)?;
    run(&elf, board, root, None)?.ok_or_else(|| too_large(board, model))
}

/// Tells a program that the board can't hold from other failures of the linker.
pub(crate) fn fits<T>(
    built: Result<T, XtaskError>,
    board: &Board,
    model: &Path,
) -> Result<T, XtaskError> {
    match built {
        Err(XtaskError::Command { output, .. })
            if output.contains("will not fit in region") || output.contains("overflowed by") =>
        {
            Err(too_large(board, model))
        }
        other => other,
    }
}

fn too_large(board: &Board, model: &Path) -> XtaskError {
    XtaskError::DoesNotFit { model: model.to_path_buf(), board: board.title }
}

fn installed(board: &Board) -> Result<(), XtaskError> {
    if qemu::is_installed(board) {
        return Ok(());
    }
    Err(XtaskError::Missing { what: board.emulator.to_owned() })
}

fn run(
    elf: &Path,
    board: &Board,
    folder: &Path,
    model: Option<&str>,
) -> Result<Option<Measured>, XtaskError> {
    let finished = qemu::run(board, &qemu::Run { elf, folder, model, limit: RUN_LIMIT })?;
    if finished.stderr.contains("the model needs an arena of") {
        return Ok(None);
    }
    let missing = || XtaskError::NoReport {
        core: board.core,
        status: finished.status.to_string(),
        output: finished.output(),
    };
    if !finished.status.success() {
        return Err(missing());
    }
    let total = total(&finished.stdout).ok_or_else(missing)?;
    if total.instructions.is_none() {
        return Err(XtaskError::Uncounted { core: board.core });
    }
    measured(&finished.stdout, total).map(Some).ok_or_else(missing)
}

fn total(stdout: &str) -> Option<Total> {
    stdout.lines().rev().find_map(|line| serde_json::from_str(line).ok())
}

/// The layers and the total of what the firmware printed; `None` when a number is missing.
fn measured(stdout: &str, total: Total) -> Option<Measured> {
    let layers = stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Some(Measured {
        instructions: total.instructions?,
        load_instructions: total.load_instructions?,
        unpack_instructions: total.unpack_instructions?,
        weights_ram_bytes: total.weights_ram_bytes,
        arena_bytes: total.arena_bytes,
        stack_bytes: total.stack_bytes?.max(total.load_stack_bytes?),
        layers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = r#"{"layer":0,"op":"dense","macs":12,"instructions":40}
{"layer":1,"op":"softmax","macs":0,"instructions":null}
{"instructions":99,"load_instructions":7,"unpack_instructions":5,"weights_ram_bytes":64,"arena_bytes":8,"stack_bytes":96,"load_stack_bytes":200}
"#;

    #[test]
    fn layers_and_total_are_read() {
        let measured = measured(PRINTED, total(PRINTED).unwrap()).unwrap();
        assert_eq!((measured.instructions, measured.stack_bytes), (99, 200));
        assert_eq!((measured.layers.len(), measured.layers[1].instructions), (2, None));
    }

    #[test]
    fn what_could_not_be_measured_is_no_result() {
        let unpainted = PRINTED.replace("96", "null");
        assert_eq!(measured(&unpainted, total(&unpainted).unwrap()), None);
        assert_eq!(total(&PRINTED.replace("99", "null")).unwrap().instructions, None);
        assert!(total("panicked").is_none());
    }
}
