//! `cargo xtask golden`: write the committed golden models and vectors anew.

use std::process::Command;

use crate::error::XtaskError;
use crate::{paths, process};

/// Write tests/golden anew, by the compressor's own `golden` verb.
///
/// Each folder there holds a model.bbk, inputs.i8, outputs.i8 and golden.json. Commit the change
/// only when it is meant: these files are what every core is compared with.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<(), XtaskError> {
    let root = paths::root()?;
    let mut command = Command::new("cargo");
    command
        .args(["run", "--release", "--package", "bitsback", "--", "golden", "--output"])
        .arg(root.join("tests/golden"))
        .current_dir(&root);
    process::show_and_check(&mut command)
}
