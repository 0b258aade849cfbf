//! Where things are: the checkout, the build output, the cache.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::XtaskError;

/// The checkout's top folder: where cargo says this crate is, else the first folder above the
/// current one that holds it.
pub(crate) fn root() -> Result<PathBuf, XtaskError> {
    let here = env::current_dir().map_err(|source| XtaskError::File {
        action: "find the current folder",
        path: PathBuf::from("."),
        source,
    })?;
    let start = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| here.clone(), PathBuf::from);
    start
        .ancestors()
        .find(|folder| folder.join("xtask/Cargo.toml").is_file())
        .map(Path::to_path_buf)
        .ok_or(XtaskError::OutsideCheckout(here))
}

/// The root workspace's own output.
pub(crate) fn target(root: &Path) -> PathBuf {
    root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Where firmware is built: beside the root workspace's own output.
pub(crate) fn firmware_target(root: &Path) -> PathBuf {
    target(root).join("firmware")
}

/// Where built sysroots are kept: `BITSBACK_CACHE`, else the user's cache, so that a second
/// checkout finds them, else the checkout's own output.
pub(crate) fn cache(root: &Path) -> PathBuf {
    let user = || match env::var_os("XDG_CACHE_HOME") {
        Some(folder) => Some(PathBuf::from(folder)),
        None => env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")),
    };
    match env::var_os("BITSBACK_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => user().map_or_else(|| root.join("target/cache"), |cache| cache.join("bitsback")),
    }
}
