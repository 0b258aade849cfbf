//! The file system, with errors that say what was tried where.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::XtaskError;

/// The bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, XtaskError> {
    fs::read(path).map_err(failed("read", path))
}

/// The text of a file.
pub(crate) fn read_text(path: &Path) -> Result<String, XtaskError> {
    fs::read_to_string(path).map_err(failed("read", path))
}

/// What a folder holds, in no order.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, XtaskError> {
    let entries = fs::read_dir(folder).map_err(failed("read", folder))?;
    let path = |entry: std::io::Result<fs::DirEntry>| entry.map(|entry| entry.path());
    entries.map(|entry| path(entry).map_err(failed("read", folder))).collect()
}

/// Writes a file anew.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), XtaskError> {
    fs::write(path, bytes).map_err(failed("write", path))
}

/// Copies a file.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), XtaskError> {
    fs::copy(from, to).map(|_| ()).map_err(failed("copy", from))
}

/// Creates a folder and those above it.
pub(crate) fn create(folder: &Path) -> Result<(), XtaskError> {
    fs::create_dir_all(folder).map_err(failed("create", folder))
}

/// A folder that goes when the value does.
pub(crate) fn temporary() -> Result<tempfile::TempDir, XtaskError> {
    tempfile::tempdir().map_err(failed("create a folder in", &std::env::temp_dir()))
}

/// What an operating system's error becomes.
pub(crate) fn failed(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> XtaskError {
    let path = path.to_path_buf();
    move |source| XtaskError::File { action, path, source }
}
