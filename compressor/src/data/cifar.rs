//! CIFAR-10's binary version, as its authors publish it (A. Krizhevsky, *Learning Multiple Layers of
//! Features from Tiny Images*, 2009): a folder with five files for training and one for testing. A file
//! is records of a label, one byte of 0…9, and an image of 32 × 32: all of its red values, row after row,
//! then all green ones, then all blue ones.
//!
//! A file may have fewer records than the authors' 10,000; what was made of other files than theirs has
//! a [`note`] beside it, which goes into the job's figures.

use std::path::{Path, PathBuf};

use thiserror::Error;

#[cfg(feature = "training")]
use super::DataKind;
use super::array::{self, Array, Numbers};
use super::{DataConfig, DataError, Layout, Part, RawLabels};
use crate::files;

/// The files for training, in the authors' order.
const TRAIN: [&str; 5] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
];

/// The file for testing.
const TEST: &str = "test_batch.bin";

/// What was done to the data, if they aren't the authors' own files.
#[cfg(feature = "training")]
const NOTE: &str = "NOTE.txt";

/// Longest note, in bytes: it stands in reports and tables.
#[cfg(feature = "training")]
const MAX_NOTE_BYTES: u64 = 2048;

/// What labels stand for, as in the authors' `batches.meta.txt`.
const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Channels, height and width, in the order of a record.
const DIMS: [usize; 3] = [3, 32, 32];

/// Bytes of an image.
const IMAGE: usize = DIMS[0] * DIMS[1] * DIMS[2];

/// Bytes of a record: a label and an image.
const RECORD: usize = 1 + IMAGE;

/// Most records of a file: what the authors' files have.
const MAX_RECORDS: usize = 10_000;

/// What is wrong with a file of CIFAR-10.
#[derive(Debug, Error)]
pub enum CifarError {
    /// One of the six files isn't there.
    #[error(
        "{}: isn't there; kind = \"cifar-10\" takes data_batch_1.bin to data_batch_5.bin and \
         test_batch.bin from the folder `data.inputs`: correct the path, or fetch them",
        path.display()
    )]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// The file ends within a record, or has none.
    #[error(
        "{}: has {bytes} bytes, and ends within the record that begins at byte {start}: a record has \
         {RECORD} bytes; fetch the file again",
        path.display()
    )]
    Length {
        /// Which file.
        path: PathBuf,
        /// Its bytes.
        bytes: usize,
        /// Where the record begins that isn't whole.
        start: usize,
    },
    /// A label that is no class.
    #[error(
        "{}: byte {byte} is {label}, where a record's label of 0 to 9 should be; is it the binary version \
         of CIFAR-10, and not of CIFAR-100? If so, fetch it again",
        path.display()
    )]
    Label {
        /// Which file.
        path: PathBuf,
        /// Where.
        byte: usize,
        /// What is there.
        label: u8,
    },
    /// A note that is no text.
    #[error("{}: is no plain text in UTF-8; correct or delete it", path.display())]
    Note {
        /// Which file.
        path: PathBuf,
    },
}

/// Whether a folder holds such files.
#[cfg(feature = "training")]
pub(crate) fn is_in(folder: &Path) -> bool {
    TRAIN.iter().chain([&TEST]).any(|name| folder.join(name).is_file())
}

/// The training and the test files.
pub(super) fn load(config: &DataConfig) -> Result<(Part, Option<Part>), DataError> {
    let folder = folder(config)?;
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for name in TRAIN {
        read(&folder.join(name), &mut pixels, &mut labels)?;
    }
    let train = part(folder, pixels, labels, config)?;
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    read(&folder.join(TEST), &mut pixels, &mut labels)?;
    let test = part(folder, pixels, labels, config)?;
    Ok((train, Some(test)))
}

/// What was done to the data before they were these files: a few words in the first line, and what they
/// mean in those below. None of other kinds, and of the authors' own files.
///
/// # Errors
/// [`CifarError::Note`], or that it can't be read.
#[cfg(feature = "training")]
pub(crate) fn note(config: &DataConfig) -> Result<Option<String>, DataError> {
    if config.kind != DataKind::Cifar10 {
        return Ok(None);
    }
    let path = folder(config)?.join(NOTE);
    if !path.exists() {
        return Ok(None);
    }
    let text = String::from_utf8(files::read(&path, MAX_NOTE_BYTES)?).ok();
    let is_plain = |text: &String| text.chars().all(|c| c == '\n' || !c.is_control());
    match text.filter(is_plain) {
        Some(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        None => Err(CifarError::Note { path }.into()),
    }
}

fn folder(config: &DataConfig) -> Result<&Path, DataError> {
    let missing = DataError::MissingKey { kind: config.kind, key: "inputs" };
    config.inputs.as_deref().ok_or(missing)
}

/// Appends a file's images and labels.
fn read(path: &Path, pixels: &mut Vec<u8>, labels: &mut Vec<u8>) -> Result<(), DataError> {
    if !path.exists() {
        return Err(CifarError::Missing { path: path.to_owned() }.into());
    }
    let bytes = files::read(path, (MAX_RECORDS * RECORD) as u64)?;
    let (records, rest) = bytes.as_chunks::<RECORD>();
    if !rest.is_empty() || records.is_empty() {
        let (path, start) = (path.to_owned(), records.len() * RECORD);
        return Err(CifarError::Length { path, bytes: bytes.len(), start }.into());
    }
    for (at, record) in records.iter().enumerate() {
        let [label, image @ ..] = record;
        if usize::from(*label) >= CLASSES.len() {
            let (path, byte) = (path.to_owned(), at * RECORD);
            return Err(CifarError::Label { path, byte, label: *label }.into());
        }
        labels.push(*label);
        pixels.extend(image);
    }
    Ok(())
}

/// Images with their channels last. Labels are names for a job, which defines its classes by them, and
/// numbers for a model that exists, which may have no names.
fn part(
    folder: &Path,
    pixels: Vec<u8>,
    labels: Vec<u8>,
    config: &DataConfig,
) -> Result<Part, DataError> {
    let dims = [&[labels.len()], &DIMS[..]].concat();
    let planes = DataConfig { layout: Some(Layout::ChannelsFirst), ..config.clone() };
    let part = array::part(folder, Array { dims, numbers: Numbers::Bytes(pixels) }, None, &planes)?;
    let name = |label: u8| CLASSES.get(usize::from(label)).map(|&name| name.to_owned());
    let labels = match config.fit {
        Some(_) => RawLabels::Numbers(labels.into_iter().map(i64::from).collect()),
        None => RawLabels::Names(labels.into_iter().filter_map(name).collect()),
    };
    Ok(Part { labels, ..part })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{ModelFit, load, read_for};
    use super::*;
    use crate::numbers::Shape;

    /// A record whose red values count up, whose green ones are all 7, and blue ones all the label.
    fn record(label: u8) -> Vec<u8> {
        let plane = IMAGE / DIMS[0];
        let red = (0..plane).map(|i| (i % 251) as u8);
        std::iter::once(label)
            .chain(red)
            .chain(std::iter::repeat_n(7, plane))
            .chain(std::iter::repeat_n(label, plane))
            .collect()
    }

    /// The six files, with one record of each class in the test file, and two in each of the others.
    fn scene() -> (tempfile::TempDir, DataConfig) {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<u8> = (0..10).flat_map(record).collect();
        for name in TRAIN {
            fs::write(folder.path().join(name), [&all[..], &all].concat()).unwrap();
        }
        fs::write(folder.path().join(TEST), &all).unwrap();
        let inputs = Some(folder.path().to_owned());
        let config = DataConfig { kind: DataKind::Cifar10, inputs, ..DataConfig::default() };
        (folder, config)
    }

    #[test]
    fn planes_become_pixels_and_labels_names() {
        let (folder, config) = scene();
        let data = load(&config).unwrap();
        assert_eq!(data.shape, Shape::Image { height: 32, width: 32, channels: 3 });
        assert_eq!((data.len(), data.test_start), (110, Some(100)));
        assert_eq!(data.classes, CLASSES);
        assert_eq!(data.labels[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
        let image = data.bytes(9).unwrap();
        assert_eq!(image[..6], [0, 7, 9, 1, 7, 9]);
        // The second row begins at the red plane's value 32.
        assert_eq!(image[3 * 32..3 * 32 + 3], [32, 7, 9]);
        assert!(is_in(folder.path()) && !is_in(&folder.path().join("other")));
    }

    #[test]
    fn a_model_is_given_numbers_and_its_own_shape() {
        let (_folder, config) = scene();
        let fit = |dims: &[usize]| Some(ModelFit { dims: dims.to_vec(), outputs: Some(10) });
        let config = DataConfig { fit: fit(&[32, 32, 3]), ..config };
        let (data, labels) = read_for(&config).unwrap();
        let RawLabels::Numbers(labels) = labels else { panic!("names") };
        assert_eq!((labels[9], data.bytes(9).unwrap()[2]), (9, 9));
        let error = read_for(&DataConfig { fit: fit(&[28, 28, 1]), ..config }).unwrap_err();
        assert!(matches!(error, DataError::ModelShape { .. }), "{error}");
    }

    #[test]
    fn damage_is_named_with_its_file_and_byte() {
        let (folder, config) = scene();
        let damaged = |name: &str, bytes: &[u8]| {
            fs::write(folder.path().join(name), bytes).unwrap();
            let error = load(&config).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(name), "{text}");
            fs::write(folder.path().join(name), record(3)).unwrap();
            (error, text)
        };
        let two = [record(1), record(2)].concat();
        let (error, text) = damaged("data_batch_3.bin", &two[..two.len() - 1]);
        let wrong = DataError::Cifar(CifarError::Length {
            path: folder.path().join("data_batch_3.bin"),
            bytes: 2 * RECORD - 1,
            start: RECORD,
        });
        assert_eq!(format!("{error:?}"), format!("{wrong:?}"), "{text}");
        let (error, _) = damaged(TEST, &[]);
        assert!(matches!(error, DataError::Cifar(CifarError::Length { bytes: 0, start: 0, .. })));
        let (_, text) = damaged("data_batch_5.bin", &[record(9), record(10)].concat());
        assert!(text.contains("byte 3073 is 10"), "{text}");
        let (_, text) = damaged("data_batch_1.bin", &record(1).repeat(MAX_RECORDS + 1));
        assert!(text.contains("30730000"), "{text}");
        fs::remove_file(folder.path().join("data_batch_2.bin")).unwrap();
        let text = load(&config).unwrap_err().to_string();
        assert!(text.contains("data_batch_2.bin: isn't there"), "{text}");
        let without = DataConfig { inputs: None, ..config };
        assert!(matches!(load(&without), Err(DataError::MissingKey { key: "inputs", .. })));
    }

    #[test]
    fn a_note_is_text_or_refused() {
        let (folder, config) = scene();
        assert_eq!(note(&config).unwrap(), None);
        let path = folder.path().join(NOTE);
        fs::write(&path, "from JPEG files\nNot the authors' pixels.\n").unwrap();
        let found = note(&config).unwrap().unwrap();
        assert_eq!(found, "from JPEG files\nNot the authors' pixels.");
        for wrong in [&b"\xff"[..], b"a\x1b[2J"] {
            fs::write(&path, wrong).unwrap();
            let error = note(&config).unwrap_err();
            assert!(matches!(error, DataError::Cifar(CifarError::Note { .. })), "{error}");
        }
        fs::write(&path, vec![b'a'; MAX_NOTE_BYTES as usize + 1]).unwrap();
        assert!(matches!(note(&config), Err(DataError::File(_))));
        assert_eq!(note(&DataConfig::default()).unwrap(), None);
    }
}
