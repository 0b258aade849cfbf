//! What the argument DATA of `evaluate` can be.

use std::path::{Path, PathBuf};

use bitsback_runtime::Model;

use super::model_file;
use crate::data::{self, Color, DataConfig, DataKind, Dataset, Split};
use crate::error::{CliError, Error};
use crate::job::Job;
use crate::network::Shape;

/// Which examples of a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Part {
    /// Gradients came from these
    Train,
    /// These decided
    Validation,
    /// These had no part in any decision
    #[default]
    Test,
    /// All of them
    All,
}

/// File names of MNIST's format, without an ending.
const IDX_TRAIN: [&str; 2] = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
const IDX_TEST: [&str; 2] = ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// What a model takes, which tells how to read data that don't say it themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Shape of an input.
    pub(super) shape: Shape,
    /// Whether it takes raw bytes such as pixels.
    pub(super) bytes: bool,
}

impl Wanted {
    /// By a model of integers.
    pub(super) fn by(model: &Model<'_>) -> Self {
        Self { shape: model_file::input_shape(model), bytes: model_file::takes_bytes(model) }
    }
}

/// Reads a data set and lists the examples that are meant.
///
/// A job file brings its own division, and a folder in MNIST's format has files for both parts. In
/// other data every example is meant.
pub(super) fn read(
    path: &Path,
    part: Option<Part>,
    wanted: Wanted,
) -> Result<(Dataset, Vec<u32>), Error> {
    if ending(path) == "toml" {
        return of_job(path, part.unwrap_or_default());
    }
    let config = if path.is_dir() { folder(path, part, wanted)? } else { file(path, wanted)? };
    let dataset = data::load(&config)?;
    let all = (0..).take(dataset.len()).collect();
    Ok((dataset, all))
}

/// The data of a job, divided as the job divides them.
fn of_job(path: &Path, part: Part) -> Result<(Dataset, Vec<u32>), Error> {
    let job = Job::load(path)?;
    let dataset = data::load(&job.data).map_err(|error| job.data_error(error))?;
    let split = Split::new(&dataset, &job.data, job.data.split_seed.unwrap_or(job.seed))?;
    let examples = match part {
        Part::Train => split.train,
        Part::Validation => split.validation,
        Part::Test => split.test,
        Part::All => (0..).take(dataset.len()).collect(),
    };
    Ok((dataset, examples))
}

/// The examples that calibrate, those that decide, and those that tell the result.
///
/// A job's division is taken as it is, and MNIST's test files are for telling. In other data every
/// second example is for telling; the rest is divided evenly between the other two.
pub(super) fn read_parts(path: &Path, wanted: Wanted) -> Result<(Dataset, [Vec<u32>; 3]), Error> {
    if ending(path) == "toml" {
        let (dataset, train) = of_job(path, Part::Train)?;
        let [validation, test] = [Part::Validation, Part::Test].map(|part| of_job(path, part));
        return Ok((dataset, [train, validation?.1, test?.1]));
    }
    let mut config =
        if path.is_dir() { folder(path, Some(Part::Train), wanted)? } else { file(path, wanted)? };
    if path.is_dir() && config.kind == DataKind::Idx {
        let [inputs, labels] = IDX_TEST.map(|name| idx_file(path, name));
        if inputs.is_some() && labels.is_some() {
            (config.test_inputs, config.test_labels) = (inputs, labels);
        }
    }
    let dataset = data::load(&config)?;
    let every =
        |start: usize, step: usize, end: usize| (start..end).step_by(step).map(|i| i as u32);
    let parts = match dataset.test_start {
        Some(end) => [
            every(0, 2, end).collect(),
            every(1, 2, end).collect(),
            every(end, 1, dataset.len()).collect(),
        ],
        None => {
            let end = dataset.len();
            [every(0, 4, end).collect(), every(2, 4, end).collect(), every(1, 2, end).collect()]
        }
    };
    Ok((dataset, parts))
}

/// A folder: files in MNIST's format, or a folder of images per class.
fn folder(path: &Path, part: Option<Part>, wanted: Wanted) -> Result<DataConfig, Error> {
    let names = match part {
        Some(Part::Train) => &IDX_TRAIN,
        _ => &IDX_TEST,
    };
    let [inputs, labels] = names.map(|name| idx_file(path, name));
    if inputs.is_some() || labels.is_some() {
        return Ok(DataConfig { kind: DataKind::Idx, inputs, labels, ..DataConfig::default() });
    }
    let (resize, color) = match wanted.shape {
        Shape::Image { height, width, channels: 1 } => ([height, width], Color::Gray),
        Shape::Image { height, width, channels: 3 } => ([height, width], Color::Rgb),
        _ => {
            return Err(CliError::InputShape {
                path: path.to_owned(),
                found: "a folder of images".to_owned(),
                wanted: "neither gray nor colour images".to_owned(),
            }
            .into());
        }
    };
    Ok(DataConfig {
        kind: DataKind::Images,
        inputs: Some(path.to_owned()),
        resize: Some(resize),
        color: Some(color),
        ..DataConfig::default()
    })
}

/// The file of this name, with or without compression.
fn idx_file(folder: &Path, name: &str) -> Option<PathBuf> {
    [name.to_owned(), format!("{name}.gz")]
        .into_iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

/// A NumPy archive with the arrays `x` and `y`, or a table whose last column is the label.
fn file(path: &Path, wanted: Wanted) -> Result<DataConfig, Error> {
    let kind = match ending(path).as_str() {
        "npz" => DataKind::Npz,
        "csv" => DataKind::Csv,
        _ => {
            let known = "a job file (.toml), .npz, .csv, or a folder (MNIST's files, or images)";
            return Err(CliError::UnknownInput { path: path.to_owned(), known }.into());
        }
    };
    let shape = match wanted.shape {
        Shape::Flat(n) => vec![n],
        Shape::Image { height, width, channels } => vec![height, width, channels],
    };
    Ok(DataConfig {
        kind,
        inputs: Some(path.to_owned()),
        shape: Some(shape),
        // A model of pixels means pixels, whatever type the file stores them as.
        pixels: wanted.bytes.then_some(true),
        ..DataConfig::default()
    })
}

/// A file's ending in lower case.
fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}
