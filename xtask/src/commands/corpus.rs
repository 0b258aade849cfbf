//! `cargo xtask corpus`: the fuzz targets' corpora, between archives and folders.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::archives::{self, ENDING, FOLDER, Inputs};
use crate::error::XtaskError;
use crate::{files, paths};

/// Unpack the fuzz targets' corpora, or pack them again.
///
/// tests/fuzz/corpus/TARGET.zip is what is kept; tests/fuzz/corpus/TARGET is where cargo-fuzz looks, and
/// isn't kept. `unpack` adds what the archive has and that folder lacks; `pack` writes the archive anew, the
/// same bytes for the same files.
#[derive(clap::Args)]
pub(crate) struct Args {
    action: Action,
    /// Targets; all that there are when left out.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Action {
    /// From archives to folders.
    Unpack,
    /// From folders to archives.
    Pack,
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let folder = paths::root()?.join(FOLDER);
    let targets = match args.targets.as_slice() {
        [] => there(&folder, args.action)?,
        named => named.to_vec(),
    };
    for target in &targets {
        let count = match args.action {
            Action::Unpack => unpack(&folder, target)?,
            Action::Pack => pack(&folder, target)?,
        };
        println!("{target}: {count} inputs");
    }
    Ok(())
}

/// The targets that have an archive, or a folder.
fn there(folder: &Path, action: Action) -> Result<Vec<String>, XtaskError> {
    let is_there = |path: &PathBuf| match action {
        Action::Unpack => path.extension().is_some_and(|ending| ending == ENDING),
        Action::Pack => path.is_dir(),
    };
    let mut found = files::entries(folder)?;
    found.retain(is_there);
    found.sort();
    Ok(found
        .iter()
        .filter_map(|path| path.file_stem())
        .map(|name| name.to_string_lossy().into_owned())
        .collect())
}

fn archive(folder: &Path, target: &str) -> PathBuf {
    folder.join(format!("{target}.{ENDING}"))
}

fn unpack(folder: &Path, target: &str) -> Result<usize, XtaskError> {
    let inputs = read(&archive(folder, target))?;
    let place = folder.join(target);
    files::create(&place)?;
    for (name, bytes) in &inputs {
        files::write(&place.join(name), bytes)?;
    }
    Ok(inputs.len())
}

fn pack(folder: &Path, target: &str) -> Result<usize, XtaskError> {
    let mut inputs = Inputs::new();
    for path in files::entries(&folder.join(target))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        inputs.insert(name, files::read(&path)?);
    }
    let path = archive(folder, target);
    let bytes = archives::write(&inputs)
        .map_err(|source| XtaskError::Corpus { path: path.clone(), source })?;
    files::write(&path, &bytes)?;
    Ok(inputs.len())
}

/// The inputs of every target, by name.
pub(crate) fn all(root: &Path) -> Result<Vec<(String, Inputs)>, XtaskError> {
    let folder = root.join(FOLDER);
    let targets = there(&folder, Action::Unpack)?;
    let with_inputs = |target: String| Ok((target.clone(), read(&archive(&folder, &target))?));
    targets.into_iter().map(with_inputs).collect()
}

/// The inputs of one archive.
fn read(path: &Path) -> Result<Inputs, XtaskError> {
    let bytes = files::read(path)?;
    archives::read(&bytes).map_err(|source| XtaskError::Corpus { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn packing_what_was_unpacked_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        files::create(&target).unwrap();
        files::write(&target.join("named.bbk"), b"abc").unwrap();
        files::write(&target.join("00ff"), b"").unwrap();
        assert_eq!(pack(folder.path(), "target").unwrap(), 2);
        let packed = files::read(&archive(folder.path(), "target")).unwrap();
        fs::remove_dir_all(&target).unwrap();
        assert_eq!(there(folder.path(), Action::Unpack).unwrap(), ["target"]);
        assert_eq!(unpack(folder.path(), "target").unwrap(), 2);
        assert_eq!(there(folder.path(), Action::Pack).unwrap(), ["target"]);
        assert_eq!(files::read(&target.join("named.bbk")).unwrap(), b"abc");
        pack(folder.path(), "target").unwrap();
        assert!(files::read(&archive(folder.path(), "target")).unwrap() == packed);
    }

    #[test]
    fn a_damaged_archive_is_named() {
        let folder = tempfile::tempdir().unwrap();
        files::write(&archive(folder.path(), "bad"), b"PK").unwrap();
        let error = unpack(folder.path(), "bad").unwrap_err();
        assert!(matches!(&error, XtaskError::Corpus { path, .. } if path.ends_with("bad.zip")));
        assert!(unpack(folder.path(), "none").is_err());
    }
}
