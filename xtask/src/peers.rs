//! Other runtimes on the shapes that runtimes are compared by: the firmware `peers`.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::boards::Board;
use crate::error::XtaskError;
use crate::firmware::{self, Program};
use crate::{measure, qemu};

const PACKAGE: &str = "peers";
/// What is measured, with the versions that the firmware's Cargo.toml pins.
const RUNTIMES: [&str; 2] = ["embedded-nn 0.2.3", "microflow 0.1.3"];
/// Its LeNet-5 takes seconds under emulation.
const LIMIT: Duration = Duration::from_secs(300);

/// What the firmware prints of a shape.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The crate; its version as well, once it has been read.
    pub(crate) runtime: String,
    pub(crate) shape: String,
    pub(crate) instructions: u64,
    pub(crate) stack_bytes: u64,
}

/// Builds and runs the firmware.
///
/// # Errors
/// [`XtaskError::DoesNotFit`] on boards without the flash for all shapes at once.
pub(crate) fn run(root: &Path, board: &Board) -> Result<Vec<Peer>, XtaskError> {
    let program = Program { package: PACKAGE, workspace: PACKAGE, ..Program::default() };
    let name = Path::new(PACKAGE);
    let elf = measure::fits(firmware::build_program(root, board, program), board, name)?;
    let run = qemu::Run { elf: &elf, folder: root, model: None, limit: LIMIT };
    let finished = qemu::run(board, &run)?;
    let rows = read(&finished.stdout);
    if !finished.status.success() || rows.is_empty() {
        return Err(XtaskError::NoReport {
            core: board.core,
            status: finished.status.to_string(),
            output: finished.output(),
        });
    }
    Ok(rows)
}

fn read(stdout: &str) -> Vec<Peer> {
    let peers = stdout.lines().filter_map(|line| serde_json::from_str::<Peer>(line).ok());
    let named = peers.filter_map(|peer| {
        let is_it = |runtime: &&&str| runtime.split(' ').next() == Some(&peer.runtime);
        let runtime = (*RUNTIMES.iter().find(is_it)?).to_owned();
        Some(Peer { runtime, ..peer })
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shape_is_a_line() {
        let peers = read(
            "x\n{\"runtime\":\"microflow\",\"shape\":\"a\",\"instructions\":9,\"stack_bytes\":96}\n",
        );
        let runtime = "microflow 0.1.3".into();
        assert_eq!(peers, [Peer { runtime, shape: "a".into(), instructions: 9, stack_bytes: 96 }]);
    }

    #[test]
    fn versions_are_the_pinned_ones() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-examples/peers");
        let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
        for runtime in RUNTIMES {
            let (name, version) = runtime.split_once(' ').unwrap();
            let is_pinned =
                |line: &str| line.starts_with(name) && line.contains(&format!("\"={version}\""));
            assert!(manifest.lines().any(is_pinned), "{runtime}");
        }
    }
}
