//! What the argument DATA of `evaluate`, `compare` and `quantize` can be.

use std::path::{Path, PathBuf};

use bitsback_runtime::Model;

use super::model_file;
use crate::data::{
    self, Color, DataConfig, DataKind, Dataset, Layout, ModelFit, RawLabels, Split, answers, cifar,
    images,
};
use crate::error::{CliError, Error};
use crate::graph::{Affine, Graph};
use crate::job::Job;
use crate::numbers::Shape;
use crate::task::Ending;

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

/// What a model takes and gives, which tells how to read data that don't say it themselves.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The dimensions of an input, and the number of outputs.
    pub(super) fit: ModelFit,
    /// Whether it takes raw bytes such as pixels.
    pub(super) bytes: bool,
    /// Where arrays have their channels.
    pub(super) layout: Layout,
}

/// `--data-layout`.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct DataLayout {
    /// Where arrays and tables have their channels; images have them last
    #[arg(long = "data-layout", value_enum, default_value_t, value_name = "WHERE")]
    pub(super) layout: Layout,
}

impl Wanted {
    /// By a model of integers.
    pub(super) fn by(model: &Model<'_>, layout: DataLayout) -> Self {
        let outputs = Ending::of_model(model).outputs;
        let fit = ModelFit { dims: model_file::input_dims(model), outputs };
        Self { fit, bytes: model_file::takes_bytes(model), layout: layout.layout }
    }

    /// Refuses --data-layout where something else says what it would.
    pub(super) fn layout_is_not_for(&self, why: &str) -> Result<(), Error> {
        if self.layout == Layout::ChannelsLast {
            return Ok(());
        }
        let reason = format!("--data-layout is for arrays and tables; {why}");
        Err(CliError::Meaning { reason }.into())
    }

    /// By a graph of floats.
    pub(super) fn by_floats(graph: &Graph<Affine>, layout: DataLayout) -> Self {
        let dims = graph.values[graph.input].dims.clone();
        let fit = ModelFit { dims, outputs: Ending::of_graph(graph).outputs };
        Self { fit, bytes: false, layout: layout.layout }
    }
}

/// Data that were read for a model.
pub(super) struct Source {
    /// Where they are from.
    pub(super) path: PathBuf,
    /// The inputs; labels are apart.
    pub(super) dataset: Dataset,
    /// Labels as the data have them.
    raw: RawLabels,
    /// Names of a job's classes.
    pub(super) names: Option<Vec<String>>,
    /// The examples that are meant.
    pub(super) examples: Vec<u32>,
}

impl Source {
    /// The labels for a model with so many outputs; one-hot rows are classes.
    pub(super) fn labels(&self, outputs: Option<usize>) -> RawLabels {
        let classes = match &self.raw {
            RawLabels::Reals { width, values } if Some(*width) == outputs => {
                answers::one_hot(*width, values)
            }
            _ => None,
        };
        classes.unwrap_or_else(|| self.raw.clone())
    }

    /// Whether these labels, of this data, were one-hot rows.
    pub(super) fn are_one_hot(&self, labels: &RawLabels) -> bool {
        matches!((&self.raw, labels), (RawLabels::Reals { .. }, RawLabels::Numbers(_)))
    }

    /// Data of a file or a folder, all of them.
    fn all(path: &Path, config: &DataConfig) -> Result<Self, Error> {
        let (dataset, raw) = data::read_for(config)?;
        let examples = (0..).take(dataset.len()).collect();
        Ok(Self { path: path.to_owned(), dataset, raw, names: None, examples })
    }

    /// The data of a job, with their classes' names for labels, and their division.
    fn of_job(path: &Path, wanted: &Wanted) -> Result<(Self, Split), Error> {
        wanted.layout_is_not_for("a job says `layout` in its section [data]")?;
        let job = Job::load(path)?;
        let mut dataset = data::load(&job.data).map_err(|error| job.data_error(error))?;
        check_job_shape(path, dataset.shape, &wanted.fit)?;
        let split = Split::new(&dataset, &job.data, job.data.split_seed.unwrap_or(job.seed))?;
        let classes = std::mem::take(&mut dataset.classes);
        let labels = std::mem::take(&mut dataset.labels);
        let name = |&label: &u32| classes.get(label as usize).cloned();
        let raw = RawLabels::Names(labels.iter().filter_map(name).collect());
        let (path, names) = (path.to_owned(), Some(classes));
        Ok((Self { path, dataset, raw, names, examples: Vec::new() }, split))
    }
}

/// Checks that a job's data are in the model's shape.
fn check_job_shape(path: &Path, found: Shape, fit: &ModelFit) -> Result<(), Error> {
    let dims = match found {
        Shape::Flat(n) => vec![n],
        Shape::Image { height, width, channels } => vec![height, width, channels],
    };
    Ok(data::check_fit(path, &dims, fit)?)
}

/// Reads a data set and lists the examples that are meant.
///
/// A job file brings its own division, and folders in MNIST's and CIFAR-10's formats have files for both
/// parts. In other data every example is meant.
pub(super) fn read(path: &Path, part: Option<Part>, wanted: &Wanted) -> Result<Source, Error> {
    if ending(path) == "toml" {
        let (mut source, split) = Source::of_job(path, wanted)?;
        source.examples = match part.unwrap_or_default() {
            Part::Train => split.train,
            Part::Validation => split.validation,
            Part::Test => split.test,
            Part::All => (0..).take(source.dataset.len()).collect(),
        };
        return Ok(source);
    }
    let config = if path.is_dir() { folder(path, part, wanted)? } else { file(path, wanted)? };
    let mut source = Source::all(path, &config)?;
    // MNIST's files are named by their part, and CIFAR-10's are read together.
    if let Some(start) = source.dataset.test_start {
        match part.unwrap_or_default() {
            Part::Train => source.examples.truncate(start),
            Part::Validation | Part::Test => _ = source.examples.drain(..start),
            Part::All => {}
        }
    }
    Ok(source)
}

/// The data, whose examples are those that tell the result, and the examples that calibrate and those
/// that decide.
///
/// A job's division is taken as it is, and MNIST's and CIFAR-10's test files are for telling. In other data every
/// second example is for telling; the rest is divided evenly between the other two.
pub(super) fn read_parts(path: &Path, wanted: &Wanted) -> Result<(Source, [Vec<u32>; 2]), Error> {
    if ending(path) == "toml" {
        let (mut source, split) = Source::of_job(path, wanted)?;
        source.examples = split.test;
        return Ok((source, [split.train, split.validation]));
    }
    let mut config =
        if path.is_dir() { folder(path, Some(Part::Train), wanted)? } else { file(path, wanted)? };
    if path.is_dir() && config.kind == DataKind::Idx {
        let [inputs, labels] = IDX_TEST.map(|name| idx_file(path, name));
        if inputs.is_some() && labels.is_some() {
            (config.test_inputs, config.test_labels) = (inputs, labels);
        }
    }
    let mut source = Source::all(path, &config)?;
    let every =
        |start: usize, step: usize, end: usize| (start..end).step_by(step).map(|i| i as u32);
    let end = source.dataset.test_start.unwrap_or(source.dataset.len());
    let parts = match source.dataset.test_start {
        Some(_) => {
            source.examples = every(end, 1, source.dataset.len()).collect();
            [every(0, 2, end).collect(), every(1, 2, end).collect()]
        }
        None => {
            source.examples = every(1, 2, end).collect();
            [every(0, 4, end).collect(), every(2, 4, end).collect()]
        }
    };
    Ok((source, parts))
}

/// A folder: files in MNIST's or CIFAR-10's format, or a folder of images per class, or images without
/// classes.
fn folder(path: &Path, part: Option<Part>, wanted: &Wanted) -> Result<DataConfig, Error> {
    let names = match part {
        Some(Part::Train) => &IDX_TRAIN,
        _ => &IDX_TEST,
    };
    let fit = Some(wanted.fit.clone());
    let [inputs, labels] = names.map(|name| idx_file(path, name));
    if inputs.is_some() || labels.is_some() {
        let layout = Some(wanted.layout);
        let kind = DataKind::Idx;
        return Ok(DataConfig { kind, inputs, labels, layout, fit, ..DataConfig::default() });
    }
    if cifar::is_in(path) {
        wanted.layout_is_not_for("files of CIFAR-10 have a layout of their own")?;
        let (kind, inputs) = (DataKind::Cifar10, Some(path.to_owned()));
        return Ok(DataConfig { kind, inputs, fit, ..DataConfig::default() });
    }
    if let Some(inner) = data_within(path) {
        return Err(CliError::FolderOfData { path: path.to_owned(), inner }.into());
    }
    let (resize, color) = match data::shape_of(&wanted.fit.dims) {
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
    wanted.layout_is_not_for("images have their channels last")?;
    Ok(DataConfig {
        kind: DataKind::Images,
        inputs: Some(path.to_owned()),
        resize: Some(resize),
        color: Some(color),
        fit,
        ..DataConfig::default()
    })
}

/// The first folder inside that holds what the folder itself lacks: files of MNIST or CIFAR-10, or
/// folders of images.
fn data_within(path: &Path) -> Option<PathBuf> {
    let mut inner: Vec<PathBuf> =
        std::fs::read_dir(path).ok()?.flatten().map(|entry| entry.path()).collect();
    inner.retain(|path| path.is_dir());
    inner.sort();
    inner.into_iter().find(|path| {
        let idx = IDX_TRAIN.iter().chain(&IDX_TEST).any(|name| idx_file(path, name).is_some());
        let holds = |wanted: fn(&Path) -> bool| {
            let entries = std::fs::read_dir(path).ok()?;
            Some(entries.flatten().any(|entry| wanted(&entry.path())))
        };
        // A class's folder holds images; what holds folders and none of these is above the classes.
        let classes = holds(Path::is_dir) == Some(true) && holds(images::is_image) == Some(false);
        idx || classes || cifar::is_in(path)
    })
}

/// The file of this name, with or without compression.
fn idx_file(folder: &Path, name: &str) -> Option<PathBuf> {
    [name.to_owned(), format!("{name}.gz")]
        .into_iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

/// A NumPy archive with the arrays `x` and, if there are labels, `y`, or a table whose last column is
/// the label unless it has only the inputs.
fn file(path: &Path, wanted: &Wanted) -> Result<DataConfig, Error> {
    let kind = match ending(path).as_str() {
        "npz" => DataKind::Npz,
        "csv" => DataKind::Csv,
        _ => {
            // The system's own words for a path that isn't there.
            std::fs::metadata(path).map_err(Error::io("read", path))?;
            let known = "a job file (.toml), .npz, .csv, or a folder (MNIST's or CIFAR-10's files, or images)";
            return Err(CliError::UnknownInput { path: path.to_owned(), known }.into());
        }
    };
    Ok(DataConfig {
        kind,
        inputs: Some(path.to_owned()),
        layout: Some(wanted.layout),
        fit: Some(wanted.fit.clone()),
        // A model of pixels means pixels, whatever type the file stores them as.
        pixels: wanted.bytes.then_some(true),
        ..DataConfig::default()
    })
}

/// A file's ending in lower case.
fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}
