//! Files that are either whole or not there.
//!
//! After [`write_atomic`] returned, the new contents are on disk under the final name; before it
//! returned, whatever was there is still there, whole, even if the machine loses power.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// How temporary files begin, so that [`remove_leftovers`] finds what a killed process left.
const TEMPORARY_PREFIX: &str = ".bitsback-";

/// A file that could not be read or written.
#[derive(Debug, Error)]
pub enum FileError {
    /// Reading failed.
    #[error("{}: can't be read: {source}; check the path and its permissions", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else than a file: reading it could wait, or never end.
    #[error("{}: is {what}, and no file; give the path of a file", path.display())]
    NoFile {
        /// Which path.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The file is larger than its reader takes.
    #[error(
        "{}: has more than the {limit} bytes that are read here; is it the right file?",
        path.display()
    )]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Most bytes.
        limit: u64,
    },
    /// Something is there already, and isn't to be replaced.
    #[error("{}: is there already", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// There is no folder to write into.
    #[error(
        "{}: can't be written: there is no folder {}; create it, or give another path",
        path.display(),
        folder.display()
    )]
    NoFolder {
        /// Which file.
        path: PathBuf,
        /// The folder that is missing.
        folder: PathBuf,
    },
    /// Writing failed; the file is as it was.
    #[error(
        "{}: can't be written: {source}; check the folder's permissions and free space",
        path.display()
    )]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// [`FileError::Read`] and [`FileError::NoFile`], or [`FileError::TooLarge`] without having read more
/// than `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let fail = |source| FileError::Read { path: path.to_owned(), source };
    // Opening a pipe that nobody writes to would wait for ever.
    if let Some(what) = other_than_file(&fs::metadata(path).map_err(fail)?.file_type()) {
        return Err(FileError::NoFile { path: path.to_owned(), what });
    }
    let file = File::open(path).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// What is there, if it is no file.
fn other_than_file(kind: &fs::FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some("a folder"),
        _ => Some("a pipe or a device"),
    }
}

/// Reads a file that lies in `folder` or below, as [`read`] does; `name` is relative to it. `None`: it
/// names something outside, be it by a link, or something that can't be read.
pub(crate) fn read_within(folder: &Path, name: &Path, limit: u64) -> Option<Vec<u8>> {
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if name.as_os_str().is_empty() || !name.components().all(inside) {
        return None;
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let path = folder.join(name).canonicalize().ok()?;
    if !path.starts_with(folder.canonicalize().ok()?) {
        return None;
    }
    read(&path, limit).ok()
}

/// Replaces the file by `bytes`, or leaves it untouched.
///
/// # Errors
/// [`FileError::Write`] or [`FileError::NoFolder`].
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

/// Replaces the file by what `fill` writes, or leaves it untouched. The folder must exist. A device such as
/// `/dev/null` is written to and stays what it is; a pipe is refused, since writing could wait for ever.
///
/// # Errors
/// [`FileError::Write`], with `fill`'s error, too, [`FileError::NoFolder`] or [`FileError::NoFile`].
pub(crate) fn write_atomic_with(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FileError> {
    let kind = fs::metadata(path).map(|found| found.file_type()).ok();
    let written = match kind.as_ref().and_then(other_than_file) {
        None => replace(path, fill),
        Some(_) if kind.is_some_and(|kind| is_character_device(&kind)) => write_through(path, fill),
        Some(what) => return Err(FileError::NoFile { path: path.to_owned(), what }),
    };
    written.map_err(|source| unwritten(path, source))
}

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Whoever may read other new files.
    Everybody,
    /// Nobody but its owner, from its first byte on: keys, which commands alone write.
    #[cfg(feature = "training")]
    Owner,
}

/// Writes a file that isn't there yet, whole or not at all.
///
/// # Errors
/// As [`write_atomic`], and [`FileError::Exists`], whatever it is that is there.
#[cfg(feature = "training")]
pub(crate) fn write_new(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    let written = || -> io::Result<()> {
        let temporary = temporary(path, access, |file| file.write_all(bytes))?;
        temporary.persist_noclobber(path).map_err(|error| error.error)?;
        sync_folder(folder_of(path))
    };
    written().map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
        _ => unwritten(path, source),
    })
}

/// What a failure to write means.
fn unwritten(path: &Path, source: io::Error) -> FileError {
    let (path, folder) = (path.to_owned(), folder_of(path).to_owned());
    if source.kind() == io::ErrorKind::NotFound && !folder.exists() {
        return FileError::NoFolder { path, folder };
    }
    FileError::Write { path, source }
}

#[cfg(unix)]
fn is_character_device(kind: &fs::FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_char_device(kind)
}

/// Elsewhere devices have no place among files.
#[cfg(not(unix))]
fn is_character_device(_kind: &fs::FileType) -> bool {
    false
}

/// Writes to what can't be replaced.
fn write_through(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut device = io::BufWriter::new(File::options().write(true).open(path)?);
    fill(&mut device)?;
    device.flush()
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn replace(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    temporary(path, Access::Everybody, fill)?.persist(path).map_err(|error| error.error)?;
    sync_folder(folder_of(path))
}

/// What `fill` writes, on disk but not under its name yet.
fn temporary(
    path: &Path,
    access: Access,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<tempfile::NamedTempFile> {
    // In the same folder, so that the rename stays within one file system and is atomic.
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX).suffix(".tmp");
    // Minus the umask, as for any new file; tempfile's own are for their owner.
    #[cfg(unix)]
    if access == Access::Everybody {
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    }
    #[cfg(not(unix))]
    let _ = access;
    let mut buffered = io::BufWriter::new(builder.tempfile_in(folder_of(path))?);
    fill(&mut buffered)?;
    let temporary = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
    // The contents must be on disk before the name points at them, the name before we say so.
    temporary.as_file().sync_all()?;
    Ok(temporary)
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere folders can't be opened as files; the rename itself is all that can be had.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Deletes what writers that were killed left in `folder`; call it only while nobody writes there.
///
/// # Errors
/// [`FileError::Read`] when the folder can't be listed, [`FileError::Write`] when a file stays.
#[cfg(feature = "training")]
pub(crate) fn remove_leftovers(folder: &Path) -> Result<(), FileError> {
    let unreadable = |source| FileError::Read { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(TEMPORARY_PREFIX) && name.ends_with(".tmp") {
            let path = entry.path();
            fs::remove_file(&path).map_err(|source| FileError::Write { path, source })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn devices_are_written_to_and_folders_refused() {
        write_atomic(Path::new("/dev/null"), b"gone").unwrap();
        assert!(is_character_device(&fs::metadata("/dev/null").unwrap().file_type()));
        let error = write_atomic(Path::new("/dev/full"), b"more").unwrap_err();
        assert!(matches!(error, FileError::Write { .. }), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let error = write_atomic(folder.path(), b"x").unwrap_err();
        assert!(matches!(error, FileError::NoFile { what: "a folder", .. }), "{error}");
    }

    #[test]
    fn writes_replace_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.bbk");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.bbk");
        write_atomic(&path, b"old").unwrap();
        let failed = write_atomic_with(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert!(matches!(failed, Err(FileError::Write { .. })));
        assert_eq!(read(&path, 3).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_file_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_new(&path, b"old", Access::Owner).unwrap();
        for place in [path.as_path(), folder.path()] {
            let error = write_new(place, b"new", Access::Everybody).unwrap_err();
            assert!(matches!(error, FileError::Exists { .. }), "{error}");
        }
        assert_eq!(read(&path, 3).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = write_new(&folder.path().join("none/key"), b"", Access::Owner).unwrap_err();
        assert!(matches!(error, FileError::NoFolder { .. }), "{error}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let others = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o077;
            assert_eq!(others(&path), 0);
            let open = folder.path().join("open");
            write_atomic(&folder.path().join("as others"), b"").unwrap();
            write_new(&open, b"", Access::Everybody).unwrap();
            assert_eq!(others(&open), others(&folder.path().join("as others")));
        }
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent");
        let message = read(&path, 1).unwrap_err().to_string();
        assert!(message.contains("absent"), "{message}");
        let message = write_atomic(&path.join("x"), b"").unwrap_err().to_string();
        assert!(message.contains("there is no folder") && message.contains("absent"), "{message}");
        fs::write(&path, b"1234").unwrap();
        assert!(matches!(read(&path, 3), Err(FileError::TooLarge { limit: 3, .. })));
        assert!(matches!(remove_leftovers(&path), Err(FileError::Read { .. })));
        // A file where a folder should be is another matter.
        assert!(matches!(write_atomic(&path.join("x"), b""), Err(FileError::Write { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_folders_are_no_files() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for (path, is) in [(pipe.as_path(), "a pipe"), (folder.path(), "a folder")] {
            let error = read(path, 9).unwrap_err();
            assert!(matches!(error, FileError::NoFile { what, .. } if what.starts_with(is)));
        }
        assert!(matches!(read(Path::new("/dev/zero"), 9), Err(FileError::NoFile { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn what_leaves_the_folder_is_not_read() {
        use std::os::unix::fs::symlink;
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("model");
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(outer.path().join("secret"), b"s").unwrap();
        fs::write(folder.join("sub/data"), b"d").unwrap();
        symlink("../secret", folder.join("link")).unwrap();
        symlink("..", folder.join("up")).unwrap();
        symlink("sub/data", folder.join("fine")).unwrap();
        let read = |name: &str| read_within(&folder, Path::new(name), 9);
        assert_eq!(read("sub/data").as_deref(), Some(&b"d"[..]));
        assert_eq!(read("./fine").as_deref(), Some(&b"d"[..]));
        for outside in ["link", "up/secret", "../secret", "", "/etc/hostname", "sub"] {
            assert_eq!(read(outside), None, "{outside}");
        }
    }

    #[test]
    fn leftovers_go_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(format!("{TEMPORARY_PREFIX}1.tmp"));
        let kept = folder.path().join("model.bbk");
        fs::write(&left, b"").unwrap();
        fs::write(&kept, b"").unwrap();
        remove_leftovers(folder.path()).unwrap();
        assert!(kept.exists() && !left.exists());
    }
}
