//! The inputs that fuzzing found worth keeping: one archive a target, `tests/fuzz/corpus/TARGET.zip`.
//! `cargo xtask corpus` unpacks and packs them; the tests read them as they are.
//!
//! The same inputs give the same archive: entries are sorted by name, without times and owners, and
//! stored rather than deflated, so that no library's version shows. An archive is checked like any other
//! file: names are plain, and numbers and sizes have limits.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

/// Where the archives are, from the top folder.
pub const FOLDER: &str = "tests/fuzz/corpus";
/// What their names end with.
pub const ENDING: &str = "zip";
/// Most inputs of a target: a minimised corpus has some hundreds.
pub const MAX_INPUTS: usize = 1 << 14;
/// Most bytes of an input: beyond a megabyte, libFuzzer makes none either.
pub const MAX_INPUT_BYTES: u64 = 1 << 20;
/// Most bytes of all inputs of a target, which are held in memory at once.
pub const MAX_BYTES: u64 = 1 << 26;

/// Inputs by name.
pub type Inputs = BTreeMap<String, Vec<u8>>;

/// Why an archive is refused, or none is written.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// The container is damaged.
    #[error("no sound zip archive: {0}")]
    Archive(#[from] ZipError),
    /// An input can't be read or written.
    #[error("input {name}: {source}")]
    Input {
        /// Its name.
        name: String,
        /// What happened.
        source: std::io::Error,
    },
    /// A name that leads elsewhere, or nowhere.
    #[error("{name:?} is no plain name: letters, digits, '-', '_' and '.' inside, at most 255")]
    Name {
        /// As the archive or the folder has it.
        name: String,
    },
    /// More inputs than a corpus has.
    #[error("{found} inputs, at most {MAX_INPUTS}: minimise them (`cargo fuzz cmin`)")]
    Many {
        /// How many there are.
        found: usize,
    },
    /// An input, or all together, are too long.
    #[error("input {name} is beyond {MAX_INPUT_BYTES} bytes, or all up to it beyond {MAX_BYTES}")]
    Long {
        /// The first that is.
        name: String,
    },
}

/// Whether a file may be called so, in any folder of any system.
pub fn is_plain(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.chars().all(is_allowed)
}

/// The inputs of an archive.
///
/// # Errors
/// Names the entry that is wrong.
pub fn read(archive: &[u8]) -> Result<Inputs, CorpusError> {
    let mut archive = ZipArchive::new(Cursor::new(archive))?;
    if archive.len() > MAX_INPUTS {
        return Err(CorpusError::Many { found: archive.len() });
    }
    let mut inputs = Inputs::new();
    let mut left = MAX_BYTES;
    for index in 0..archive.len() {
        let entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        if !entry.is_file() || !is_plain(&name) {
            return Err(CorpusError::Name { name });
        }
        let limit = left.min(MAX_INPUT_BYTES);
        let mut bytes = Vec::new();
        // One byte more than allowed, whatever the entry says of its size.
        entry
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| CorpusError::Input { name: name.clone(), source })?;
        if bytes.len() as u64 > limit {
            return Err(CorpusError::Long { name });
        }
        left -= bytes.len() as u64;
        inputs.insert(name, bytes);
    }
    Ok(inputs)
}

/// The archive of inputs, which [`read`] accepts.
///
/// # Errors
/// Names the input that no archive may have.
pub fn write(inputs: &Inputs) -> Result<Vec<u8>, CorpusError> {
    if inputs.len() > MAX_INPUTS {
        return Err(CorpusError::Many { found: inputs.len() });
    }
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let mut total = 0;
    for (name, bytes) in inputs {
        total += bytes.len() as u64;
        if !is_plain(name) {
            return Err(CorpusError::Name { name: name.clone() });
        }
        if bytes.len() as u64 > MAX_INPUT_BYTES || total > MAX_BYTES {
            return Err(CorpusError::Long { name: name.clone() });
        }
        archive.start_file(name.as_str(), options)?;
        archive
            .write_all(bytes)
            .map_err(|source| CorpusError::Input { name: name.clone(), source })?;
    }
    Ok(archive.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(pairs: &[(&str, &[u8])]) -> Inputs {
        pairs.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect()
    }

    /// An archive that nothing checks.
    fn archive(names: &[&str], bytes: &[u8]) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for name in names {
            archive.start_file(*name, SimpleFileOptions::default()).unwrap();
            archive.write_all(bytes).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    #[test]
    fn what_is_written_comes_back_and_is_the_same_every_time() {
        let some = inputs(&[("b.bbk", b"\x00\xFFx"), ("a", b""), ("0045d7", &[7; 300])]);
        let written = write(&some).unwrap();
        assert_eq!(read(&written).unwrap(), some);
        assert_eq!(write(&read(&written).unwrap()).unwrap(), written);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = "x".repeat(256);
        for name in ["../a", "/a", "a/b", "a\\b", ".a", "a b", "ä", &long] {
            let error = read(&archive(&[name], b"x")).unwrap_err();
            assert!(matches!(error, CorpusError::Name { .. }), "{name}: {error}");
            let error = write(&inputs(&[(name, b"x")])).unwrap_err();
            assert!(matches!(error, CorpusError::Name { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn sizes_and_numbers_have_limits() {
        let long = vec![0; MAX_INPUT_BYTES as usize + 1];
        let error = read(&archive(&["a", "b"], &long)).unwrap_err();
        assert!(matches!(&error, CorpusError::Long { name } if name == "a"), "{error}");
        let error = write(&inputs(&[("a", &long)])).unwrap_err();
        assert!(matches!(error, CorpusError::Long { .. }), "{error}");
        let names: Vec<String> = (0..=MAX_INPUTS).map(|number| number.to_string()).collect();
        let many = names.iter().map(|name| (name.clone(), Vec::new())).collect();
        assert!(matches!(write(&many), Err(CorpusError::Many { found }) if found == names.len()));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let error = read(&archive(&names, b"")).unwrap_err();
        assert!(matches!(error, CorpusError::Many { .. }), "{error}");
        let megabyte = vec![0; MAX_INPUT_BYTES as usize];
        let error = read(&archive(&names[..=MAX_BYTES as usize >> 20], &megabyte)).unwrap_err();
        assert!(matches!(error, CorpusError::Long { .. }), "{error}");
    }

    #[test]
    fn damage_is_found() {
        assert!(matches!(read(b"PK"), Err(CorpusError::Archive(_))));
        let mut flipped = write(&inputs(&[("name", b"0123456789")])).unwrap();
        let at = flipped.windows(4).position(|bytes| bytes == b"4567").unwrap();
        flipped[at] ^= 1;
        assert!(matches!(read(&flipped), Err(CorpusError::Input { name, .. }) if name == "name"));
    }
}
