//! One model's golden vectors on one board: build the firmware, run it, read its verdict.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::boards::Board;
use crate::error::XtaskError;
use crate::files;
use crate::firmware::{self, Program};
use crate::golden::{Golden, MODEL_FILE};
use crate::placements::Image;
use crate::qemu;

const FIRMWARE: &str = "conformance";

/// The last line that the firmware prints, as JSON.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The kernels that the runtime was built with.
    pub(crate) isa: String,
    pub(crate) vectors: u64,
    /// Files in the model slot: the model, and the same in other places.
    pub(crate) files: u64,
    pub(crate) mismatches: u64,
    /// Mean instructions of an inference over the vectors that were timed.
    pub(crate) instructions: u64,
    /// Mean instructions of what follows on a model with a margin: the decision; 0 without one.
    pub(crate) decision_instructions: u64,
    /// Mean instructions of what a sentinel is fed; 0 without one.
    pub(crate) feed_instructions: u64,
    pub(crate) arena_bytes: u64,
    pub(crate) stack_bytes: u64,
    /// Mean instructions with weights unpacked, into so many bytes.
    pub(crate) unpacked_instructions: u64,
    pub(crate) weights_ram_bytes: u64,
}

/// The outcome of a model on a core; printed as one JSON object.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) core: &'static str,
    /// The kernels that ran.
    pub(crate) isa: String,
    pub(crate) model: String,
    /// Whether it could be run at all; `reason` says why not.
    pub(crate) ran: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) vectors: u64,
    /// Places in memory that it was run from.
    pub(crate) places: u64,
    pub(crate) mismatches: u64,
    pub(crate) instructions: u64,
    /// Mean instructions of a decision, of a model with a margin.
    pub(crate) decision_instructions: u64,
    /// Mean instructions of what a sentinel is fed, of a model with one.
    pub(crate) feed_instructions: u64,
    pub(crate) arena_bytes: u64,
    pub(crate) stack_bytes: u64,
    /// Mean instructions with weights unpacked, into so many bytes: as many as they take, or the board has.
    pub(crate) unpacked_instructions: u64,
    pub(crate) weights_ram_bytes: u64,
    /// The first difference, as the firmware tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_mismatch: Option<String>,
}

impl Outcome {
    /// An outcome for readers of JSON when this machine lacks what `error` names.
    pub(crate) fn missing(board: &Board, golden: &Golden, error: &XtaskError) -> Self {
        Self::not_run(board, golden, error.to_string())
    }

    fn not_run(board: &Board, golden: &Golden, reason: String) -> Self {
        Self {
            core: board.core,
            isa: String::new(),
            model: golden.name.clone(),
            ran: false,
            reason: Some(reason),
            vectors: 0,
            places: 0,
            mismatches: 0,
            instructions: 0,
            decision_instructions: 0,
            feed_instructions: 0,
            arena_bytes: 0,
            stack_bytes: 0,
            unpacked_instructions: 0,
            weights_ram_bytes: 0,
            first_mismatch: None,
        }
    }
}

/// How the firmware is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// With all that the runtime has: it serves every model.
    Whole,
    /// For models that need no feature of the runtime.
    Lean,
    /// With the portable kernels.
    Portable,
}

/// Builds the firmware for `board`.
pub(crate) fn build(root: &Path, board: &Board, build: Build) -> Result<PathBuf, XtaskError> {
    if !qemu::is_installed(board) {
        return Err(XtaskError::Missing { what: board.emulator.to_owned() });
    }
    let (is_lean, is_portable) = (build == Build::Lean, build == Build::Portable);
    let program = Program { package: FIRMWARE, is_lean, is_portable, ..Program::default() };
    firmware::build_program(root, board, program)
}

/// Runs `golden` on `board`, from every place of a word that the slot has room for. What a board cannot hold is an outcome that did not run, not an
/// error.
pub(crate) fn run(
    elf: &Path,
    board: &Board,
    golden: &Golden,
    limit: Option<usize>,
    seconds: u64,
) -> Result<Outcome, XtaskError> {
    let slot = board.model_slot.length as usize;
    if golden.model_bytes() > slot {
        let reason = format!("{} bytes of model, the slot has {slot}", golden.model_bytes());
        return Ok(Outcome::not_run(board, golden, reason));
    }
    let folder = files::temporary()?;
    golden.write(folder.path(), limit)?;
    let image = Image::of(&golden.name, &golden.model, slot)?;
    files::write(&folder.path().join(MODEL_FILE), &image.bytes)?;
    let finished = qemu::run(
        board,
        &qemu::Run {
            elf,
            folder: folder.path(),
            model: Some(MODEL_FILE),
            limit: Duration::from_secs(seconds),
        },
    )?;
    if let Some(reason) = too_large(&finished.stderr) {
        return Ok(Outcome::not_run(board, golden, reason));
    }
    let verdict = verdict(&finished.stdout).ok_or_else(|| XtaskError::NoReport {
        core: board.core,
        status: finished.status.to_string(),
        output: finished.output(),
    })?;
    if verdict.files != image.files {
        let (core, model) = (board.core, golden.name.clone());
        let (found, wanted) = (verdict.files, image.files);
        return Err(XtaskError::Placements { core, model, found, wanted });
    }
    Ok(Outcome {
        core: board.core,
        isa: verdict.isa,
        model: golden.name.clone(),
        ran: true,
        reason: None,
        vectors: verdict.vectors,
        places: verdict.files,
        mismatches: verdict.mismatches,
        instructions: verdict.instructions,
        decision_instructions: verdict.decision_instructions,
        feed_instructions: verdict.feed_instructions,
        arena_bytes: verdict.arena_bytes,
        stack_bytes: verdict.stack_bytes,
        unpacked_instructions: verdict.unpacked_instructions,
        weights_ram_bytes: verdict.weights_ram_bytes,
        first_mismatch: finished
            .stdout
            .lines()
            .find(|line| line.starts_with("mismatch:"))
            .map(str::to_owned),
    })
}

/// The word that the firmware prints for a model that needs more RAM than its board has.
fn too_large(stderr: &str) -> Option<String> {
    stderr.lines().find_map(|line| line.strip_prefix("error: too large: ")).map(str::to_owned)
}

fn verdict(stdout: &str) -> Option<Verdict> {
    stdout.lines().rev().find_map(|line| serde_json::from_str(line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"isa":"dsp","vectors":3,"files":8,"mismatches":1,"instructions":40,"decision_instructions":0,"feed_instructions":0,"arena_bytes":8,"stack_bytes":96,"unpacked_instructions":30,"weights_ram_bytes":9}"#;

    #[test]
    fn the_verdict_is_the_last_json_line() {
        let verdict = verdict(&format!("mismatch: vector 1\n{LINE}\n")).unwrap();
        assert_eq!(verdict.isa, "dsp");
        assert_eq!((verdict.vectors, verdict.files), (3, 8));
        assert_eq!((verdict.mismatches, verdict.instructions), (1, 40));
    }

    #[test]
    fn no_json_is_no_verdict() {
        assert_eq!(verdict("panicked\n"), None);
        assert_eq!(verdict(&LINE[..20]), None);
    }

    #[test]
    fn a_model_that_does_not_fit_is_told_from_other_errors() {
        assert_eq!(too_large("error: too large: arena\n").as_deref(), Some("arena"));
        assert_eq!(too_large("error: bad model\n"), None);
    }
}
