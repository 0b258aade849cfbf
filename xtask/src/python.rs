//! Programs in Python that tests and measurements are compared with, in virtual environments of
//! their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::XtaskError;
use crate::{paths, process, results};

/// Making an empty environment.
const VENV_SECONDS: u64 = 600;
/// Fetching and unpacking; PyTorch's wheel brings its libraries for graphics cards.
const INSTALL_SECONDS: u64 = 3_600;

/// The interpreter of an environment under the target folder that has what `requirements` lists;
/// it is made when it isn't there or lists something else.
pub(crate) fn install(root: &Path, name: &str, requirements: &str) -> Result<PathBuf, XtaskError> {
    let folder = paths::target(root).join(name);
    let python = folder.join("bin/python");
    let requirements = root.join(requirements);
    // Written when all is there: an interrupted installation is done again.
    let stamp = folder.join("installed.txt");
    let wanted = results::read(&requirements)?;
    if results::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    eprintln!("installing {name} into {} (once)", folder.display());
    process::read(
        Command::new("python3").args(["-m", "venv"]).arg(&folder),
        Duration::from_secs(VENV_SECONDS),
    )?;
    process::read(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--no-cache-dir", "--requirement"])
            .arg(&requirements),
        Duration::from_secs(INSTALL_SECONDS),
    )?;
    results::write(&stamp, &wanted)?;
    Ok(python)
}
