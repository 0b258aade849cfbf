//! The host of `firmware-examples/update`, and what becomes of updates on emulated boards.

use std::path::Path;

use crate::boards::{BOARDS, Board, Chip};
use crate::error::XtaskError;
use crate::{firmware, qemu, transcript};

mod emulator;
// The firmware's own frames.
#[path = "../../../firmware-examples/update/src/frame.rs"]
#[allow(unreachable_pub)] // written for the firmware, too
mod frame;
mod host;
mod package;
mod scenes;

/// The firmware, which has the name of its folder.
pub(crate) const FIRMWARE: &str = "update";
/// The model that is updated.
const MODEL: &str = "tests/golden/digits/model.bbk";
/// The folder of the same with a sentinel.
const WATCHED: &str = "tests/golden/watched";
/// RAM that stack and variables must leave, so that neither has run into the other.
const LEAST_UNTOUCHED: usize = 256;

/// The boards whose flash and serial line the firmware drives, one for each kind.
pub(crate) fn boards() -> Vec<&'static Board> {
    [Chip::Nrf51, Chip::Mps2]
        .iter()
        .filter_map(|chip| BOARDS.iter().find(|board| board.chip == *chip))
        .collect()
}

/// Plays all scenes on a board, and compares what was said with the example's page, or writes it there.
pub(crate) fn check(root: &Path, board: &'static Board, bless: bool) -> Result<(), XtaskError> {
    if !qemu::is_installed(board) {
        return Err(XtaskError::Missing { what: board.emulator.to_owned() });
    }
    let folder = root.join("firmware-examples").join(FIRMWARE);
    let elf = firmware::build(root, board, FIRMWARE)?;
    let mut host = host::Host::new(board, &elf)?;
    scenes::play(&mut host, root, &folder)?;
    println!(
        "{}: {} starts; {} of {} bytes of RAM were never touched",
        board.title, host.starts, host.untouched, board.ram.length
    );
    if host.untouched < LEAST_UNTOUCHED {
        return Err(host.problem("the stack has come too near to the variables"));
    }
    let page = folder.join("README.md");
    transcript::compare_block(&page, &host.transcript, bless, "cargo xtask update --bless")
}
