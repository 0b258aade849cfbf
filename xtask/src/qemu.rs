//! Running firmware on an emulated board.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::boards::Board;
use crate::error::XtaskError;
use crate::process::{self, Finished};

/// What a run needs beside the board.
pub(crate) struct Run<'a> {
    /// The firmware.
    pub(crate) elf: &'a Path,
    /// The folder that the firmware's files are in (semihosting opens them by name).
    pub(crate) folder: &'a Path,
    /// A model file in that folder, to be flashed to the board's model slot.
    pub(crate) model: Option<&'a str>,
    /// How long it may take.
    pub(crate) limit: Duration,
}

/// Whether the board's emulator is installed.
pub(crate) fn is_installed(board: &Board) -> bool {
    process::find_program(board.emulator).is_some()
}

/// Starts the board, waits for the firmware to exit, and returns what it printed and its code.
///
/// One instruction is one nanosecond of the board's time, so runs repeat exactly and the board's
/// timer counts instructions.
pub(crate) fn run(board: &Board, run: &Run<'_>) -> Result<Finished, XtaskError> {
    let mut command = Command::new(board.emulator);
    command
        .args(board.machine)
        .args(["-nographic", "-icount", "shift=0"])
        .args(["-semihosting-config", "enable=on,target=native"])
        // versatilepb has a sound chip; the host's sound is no business of a test.
        .env("QEMU_AUDIO_DRV", "none")
        .current_dir(run.folder);
    if let Some(model) = run.model {
        command
            .arg("-device")
            .arg(format!("loader,file={model},addr={:#x},force-raw=on", board.model_slot.origin));
    }
    command.arg("-kernel").arg(run.elf);
    process::capture(&mut command, run.limit)
}
