//! The board support's own test: each way that a firmware can end is seen by the host.

use std::path::Path;
use std::time::Duration;

use crate::boards::Board;
use crate::error::XtaskError;
use crate::process::Finished;
use crate::{files, firmware, qemu};

const FIRMWARE: &str = "exits";
/// A firmware that hangs instead of ending is what this test must find soon.
const LIMIT: Duration = Duration::from_secs(60);

/// What the firmware is asked for, and what must come of it.
struct Way {
    name: &'static str,
    code: i32,
    message: &'static str,
}

const WAYS: [Way; 4] = [
    Way { name: "ok", code: 0, message: "all is well" },
    Way { name: "error", code: 1, message: "error: an error as asked for" },
    Way { name: "panic", code: 101, message: "index out of bounds" },
    Way { name: "fault", code: 102, message: "error: " },
];

/// Runs every way on `board`.
pub(crate) fn check(root: &Path, board: &Board) -> Result<(), XtaskError> {
    if !qemu::is_installed(board) {
        return Err(XtaskError::Missing { what: board.emulator.to_owned() });
    }
    let elf = firmware::build(root, board, FIRMWARE)?;
    let folder = files::temporary()?;
    for way in &WAYS {
        let request = folder.path().join("way");
        files::write(&request, way.name.as_bytes())?;
        let run = qemu::Run { elf: &elf, folder: folder.path(), model: None, limit: LIMIT };
        let finished = qemu::run(board, &run)?;
        if let Some(problem) = judge(way, &finished) {
            return Err(XtaskError::Exit { core: board.core, way: way.name, problem });
        }
    }
    println!("{:<12} ok, error, panic and fault end as they should", board.core);
    Ok(())
}

fn judge(way: &Way, finished: &Finished) -> Option<String> {
    let output = finished.output();
    if finished.status.code() != Some(way.code) {
        return Some(format!("{}, expected code {}: {output}", finished.status, way.code));
    }
    (!output.contains(way.message)).then(|| format!("no `{}` in: {output}", way.message))
}
