//! `cargo xtask update`: a device in the field gets other models, good and bad ones.

use crate::error::XtaskError;
use crate::{boards, paths, update};

/// Update the model of an emulated device over its serial line, and go back from bad ones.
///
/// Builds firmware-examples/update for a micro:bit, whose flash controller QEMU emulates, and a Cortex-M4, whose
/// flash is simulated; makes packages, sends them, cuts the power, and compares all that both sides say with
/// firmware-examples/update/README.md.
///
/// Exit codes: 0 as in the page, 1 otherwise, 3 QEMU or a toolchain is missing.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The core: `cortex-m0`, `cortex-m4`, or `all` for both.
    #[arg(long, default_value = boards::ALL)]
    core: String,
    /// Write the transcript anew.
    #[arg(long)]
    bless: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let chosen = update::boards();
    let chosen: Vec<_> = chosen
        .into_iter()
        .filter(|board| [board.core, boards::ALL].contains(&&*args.core))
        .collect();
    if chosen.is_empty() {
        let known = update::boards().iter().map(|board| board.core).collect::<Vec<_>>().join(", ");
        return Err(XtaskError::UnknownCore { core: args.core.clone(), known });
    }
    let mut bless = args.bless;
    for board in chosen {
        update::check(&root, board, bless)?;
        // The page has one transcript: what the first board says, the others have to say, too.
        bless = false;
    }
    Ok(())
}
