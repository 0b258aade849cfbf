//! NPZ, NumPy's archive of arrays, compressed or not.

use std::io::Cursor;
use std::path::Path;

use zip::ZipArchive;

use super::{Array, DataConfig, DataError, MAX_DATA_BYTES, Part, array, bounded, npy};
use crate::files;

/// What follows an array's name in the archive.
const ENDING: &str = ".npy";

/// The inputs' array if the job doesn't say.
pub(super) const INPUT_ARRAY: &str = "x";

/// The labels' array if the job doesn't say.
pub(super) const LABEL_ARRAY: &str = "y";

/// The training and, where named, the test arrays. Test arrays may lie in the same file.
pub(super) fn load(config: &DataConfig) -> Result<(Part, Option<Part>), DataError> {
    let Some(path) = config.inputs.as_deref() else {
        return Err(DataError::MissingKey { kind: config.kind, key: "inputs" });
    };
    let bytes = files::read(path, MAX_DATA_BYTES)?;
    let input_array = config.input_array.as_deref().unwrap_or(INPUT_ARRAY);
    let label_array = config.label_array.as_deref().unwrap_or(LABEL_ARRAY);
    let inputs = parse(path, &bytes, input_array, "input_array")?;
    let labels = if lacks_labels(path, &bytes, label_array, config)? {
        None
    } else {
        Some(parse(path, &bytes, label_array, "label_array")?)
    };
    let train = array::part(path, inputs, labels, config)?;
    let separate = config.test_inputs.as_deref();
    if separate.is_none() && config.test_input_array.is_none() && config.test_label_array.is_none()
    {
        return Ok((train, None));
    }
    let test_input = config.test_input_array.as_deref().unwrap_or(input_array);
    let test_label = config.test_label_array.as_deref().unwrap_or(label_array);
    let (path, bytes) = match separate {
        Some(path) => (path, files::read(path, MAX_DATA_BYTES)?),
        None => {
            // Within one file a test array must be named, or it would be the training array.
            let missing = |key| Err(DataError::MissingKey { kind: config.kind, key });
            if config.test_input_array.is_none() {
                return missing("test_input_array");
            }
            if config.test_label_array.is_none() {
                return missing("test_label_array");
            }
            (path, bytes)
        }
    };
    let inputs = parse(path, &bytes, test_input, "test_input_array")?;
    let labels = parse(path, &bytes, test_label, "test_label_array")?;
    let test = array::part(path, inputs, Some(labels), config)?;
    Ok((train, Some(test)))
}

/// Whether data for a model come without labels: nobody named their array, and there is none.
fn lacks_labels(
    path: &Path,
    bytes: &[u8],
    name: &str,
    config: &DataConfig,
) -> Result<bool, DataError> {
    if config.fit.is_none() || config.label_array.is_some() {
        return Ok(false);
    }
    let damaged = |source| DataError::Npz { path: path.to_owned(), source };
    let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| damaged(e.into()))?;
    Ok(!names(&archive).any(|present| present == name))
}

/// Reads one array out of an archive's bytes; `key` is what names it in a job file.
///
/// # Errors
/// As [`npy::parse`], and when the archive is damaged or lacks the array.
pub(crate) fn parse(
    path: &Path,
    bytes: &[u8],
    name: &str,
    key: &'static str,
) -> Result<Array, DataError> {
    let damaged = |source| DataError::Npz { path: path.to_owned(), source };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| damaged(e.into()))?;
    let present: Vec<String> = names(&archive).collect();
    if !present.iter().any(|p| p == name) {
        let (path, name) = (path.to_owned(), name.to_owned());
        return Err(DataError::NoArray { path, name, key, present });
    }
    let entry = archive.by_name(&format!("{name}{ENDING}")).map_err(|e| damaged(e.into()))?;
    // The archive's own idea of the size is not believed: memory grows with what comes out.
    let array = bounded::unpack(path, entry, bytes.len())?.map_err(damaged)?;
    npy::parse(path, &array)
}

/// The names of the archive's arrays.
fn names(archive: &ZipArchive<Cursor<&[u8]>>) -> impl Iterator<Item = String> {
    let files = archive.file_names().filter_map(Result::ok);
    files.filter_map(|file| file.strip_suffix(ENDING).map(str::to_owned))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{DataKind, Values, load, npy::tests::file};
    use super::*;
    use std::io::Write;

    /// An archive of the given arrays, deflated.
    pub(in crate::data) fn archive(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = zip::ZipWriter::new(&mut bytes);
        for (name, array) in arrays {
            let options = zip::write::SimpleFileOptions::default();
            writer.start_file(format!("{name}{ENDING}"), options).unwrap();
            writer.write_all(array).unwrap();
        }
        writer.finish().unwrap();
        bytes.into_inner()
    }

    fn config(path: &Path) -> DataConfig {
        let inputs = Some(path.to_owned());
        DataConfig { kind: DataKind::Npz, inputs, ..DataConfig::default() }
    }

    #[test]
    fn one_file_with_training_and_test_arrays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let x = file("<f4", false, "(2, 1)", &[0; 8]);
        let y = file("|u1", false, "(2,)", &[0, 1]);
        let arrays = [("x", x.clone()), ("y", y.clone()), ("x_test", x), ("y_test", y)];
        std::fs::write(&path, archive(&arrays)).unwrap();
        let mut config = config(&path);
        let dataset = load(&config).unwrap();
        assert_eq!((dataset.len(), dataset.test_start), (2, None));
        config.test_input_array = Some("x_test".to_owned());
        assert!(matches!(
            load(&config),
            Err(DataError::MissingKey { key: "test_label_array", .. })
        ));
        config.test_label_array = Some("y_test".to_owned());
        let dataset = load(&config).unwrap();
        assert_eq!((dataset.len(), dataset.test_start), (4, Some(2)));
        assert_eq!(dataset.inputs, Values::Floats(vec![0.0; 4]));
        config.test_inputs = Some(path.clone());
        assert_eq!(load(&config).unwrap(), dataset);
        config.label_array = Some("z".to_owned());
        let message = load(&config).unwrap_err().to_string();
        assert!(message.contains("`x`, `y`") || message.contains("`x_test`"), "{message}");
        std::fs::write(&path, b"PK").unwrap();
        assert!(matches!(load(&config), Err(DataError::Npz { .. })));
    }
}
