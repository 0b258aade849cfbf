//! Data: reading, splitting, normalising.
//!
//! [`load`] reads what a `[data]` section names into a [`Dataset`]. Every reader takes its bytes
//! for hostile: sizes are checked against the file's length and a named `MAX_*` before anything is
//! allocated, and errors name the file, the byte, line or column, and what to do. After `load`
//! returned, the dataset is whole: as many labels as examples, every label a class, at least two
//! classes, every value finite. [`read_for`] reads the same data for a model that exists: their labels
//! are left as they are, since the model says what they mean (module `answers`).

#[cfg(feature = "training")]
pub(crate) mod answers;
mod array;
mod bounded;
pub(crate) mod cifar;
mod config;
pub(crate) mod csv;
pub(crate) mod digits;
mod error;
mod found;
pub(crate) mod idx;
pub(crate) mod images;
mod input;
mod label_error;
mod labels;
mod layout;
mod normalize;
pub mod npy;
pub(crate) mod npz;
mod split;

use std::path::Path;

pub use array::{Array, Numbers};
pub use cifar::CifarError;
pub use config::{Color, Column, DataConfig, DataKind};
pub use error::DataError;
pub use found::Found;
#[cfg(feature = "training")]
pub(crate) use found::list;
pub use input::{InputBatch, read_image, read_npy};
pub use label_error::LabelError;
pub use labels::RawLabels;
pub use layout::{Layout, ModelFit, check_fit, shape_of};
pub use normalize::{Normalization, NormalizationKind};
pub use split::Split;

pub use crate::files::FileError;
pub use crate::numbers::Shape;

/// Largest file, and most bytes of decoded values, that a reader takes (4 GiB): more than the
/// largest public data sets at microcontroller resolutions, and what a workstation's memory holds.
pub const MAX_DATA_BYTES: u64 = 4 << 30;

/// Most examples: positions are stored as `u32`, and 2^31 leaves room for sums.
pub const MAX_EXAMPLES: usize = 1 << 31;

/// Most values of one example (1 Mi): a megapixel; a microcontroller's memory is smaller.
pub const MAX_EXAMPLE_VALUES: usize = 1 << 20;

/// Most classes. More are the sign of a column of numbers taken for labels.
pub const MAX_CLASSES: usize = 4096;

/// Longest class name in bytes: names travel in the model, and devices print them on small displays.
pub const MAX_CLASS_NAME: usize = 64;

/// Inputs, examples × values of one example, row-major; images as height × width × channels.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Pixels and other bytes.
    Bytes(Vec<u8>),
    /// Features, all finite.
    Floats(Vec<f32>),
}

impl Values {
    /// Number of values over all examples.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(v) => v.len(),
            Self::Floats(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Labelled examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Shape of one example.
    pub shape: Shape,
    /// All inputs.
    pub inputs: Values,
    /// Class of each example: an index into `classes`; none where data are read for a model.
    pub labels: Vec<u32>,
    /// Names of the classes: numbers in numeric order, or names in alphabetic order, unless
    /// `data.class_names` renames them; at most [`MAX_CLASS_NAME`] bytes, no control characters.
    pub classes: Vec<String>,
    /// Where the examples of the data's own test files begin, if it has any: they are all of the
    /// test set, and nothing else is.
    pub test_start: Option<usize>,
}

impl Dataset {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.inputs.len().checked_div(self.shape.len()).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// Normalised inputs of the listed examples, one after the other. Examples that don't exist are
    /// left out.
    ///
    /// # Shapes
    /// examples × `shape.len()`.
    pub fn batch(&self, normalization: &Normalization, examples: &[u32]) -> Vec<f32> {
        let width = self.shape.len();
        let mut out = Vec::with_capacity(examples.len() * width);
        for &example in examples {
            let start = example as usize * width;
            normalization.apply_to(&self.inputs, start..start + width, &mut out);
        }
        out
    }

    /// Refuses examples whose inputs are all equal; `origin` is for messages.
    ///
    /// # Errors
    /// [`DataError::Alike`].
    pub fn check_inputs_differ(&self, origin: &Path, examples: &[u32]) -> Result<(), DataError> {
        fn alike<T: PartialEq>(values: &[T], width: usize, examples: &[u32]) -> bool {
            let input = |&example: &u32| {
                let start = (example as usize).checked_mul(width)?;
                values.get(start..start.checked_add(width)?)
            };
            let first = examples.first().and_then(input);
            examples.iter().all(|example| input(example) == first)
        }
        let width = self.shape.len();
        let are_alike = match &self.inputs {
            Values::Bytes(values) => alike(values, width, examples),
            Values::Floats(values) => alike(values, width, examples),
        };
        if are_alike && examples.len() > 1 {
            return Err(DataError::Alike { path: origin.to_owned(), examples: examples.len() });
        }
        Ok(())
    }

    /// The bytes of one example, if the inputs are bytes.
    pub fn bytes(&self, example: u32) -> Option<&[u8]> {
        let width = self.shape.len();
        let start = (example as usize).checked_mul(width)?;
        match &self.inputs {
            Values::Bytes(v) => v.get(start..start + width),
            Values::Floats(_) => None,
        }
    }
}

/// Examples as one file (or pair of files) holds them.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Shape of one example.
    pub shape: Shape,
    /// Inputs.
    pub inputs: Values,
    /// Labels as the file has them.
    pub labels: RawLabels,
}

/// Reads the data that a `[data]` section names. Paths are taken as they stand (the job file's
/// reader has already joined relative ones with the job file's folder).
///
/// # Errors
/// What is wrong with which file, and what to do.
pub fn load(config: &DataConfig) -> Result<Dataset, DataError> {
    config.check()?;
    let (train, test) = parts(config)?;
    let (origin, test_origin) = origins(config);
    let classes = labels::Classes::of(origin, &train.labels, config.class_names.as_deref())?;
    let mut labels = classes.encode(origin, &train.labels)?;
    if let Some(test) = &test {
        labels.extend(classes.encode(test_origin, &test.labels)?);
    }
    let (joined, _) = join(origin, train, test.map(|part| (test_origin, part)))?;
    let dataset = Dataset { labels, classes: classes.names(), ..joined };
    if let Some(given) = config.given_shape()?
        && given != dataset.shape
    {
        let (found, expected) = (found::show(dataset.shape), found::show(given));
        let remedy = "give the data in that shape";
        return Err(DataError::Shape { path: origin.to_owned(), found, expected, remedy });
    }
    // The model keeps them as lines of text.
    let odd = |n: &&String| n.len() > MAX_CLASS_NAME || n.chars().any(char::is_control);
    if let Some(class) = dataset.classes.iter().find(odd) {
        let class = class.chars().take(MAX_CLASS_NAME).collect();
        return Err(DataError::ClassName { path: origin.to_owned(), class });
    }
    Ok(dataset)
}

/// Reads data for a model that exists (`config.fit` says what it takes), with labels as they are.
///
/// # Errors
/// As [`load`], but for what concerns classes.
pub fn read_for(config: &DataConfig) -> Result<(Dataset, RawLabels), DataError> {
    config.check()?;
    let (train, test) = parts(config)?;
    let (origin, test_origin) = origins(config);
    join(origin, train, test.map(|part| (test_origin, part)))
}

/// The training and the test part, as files have them.
fn parts(config: &DataConfig) -> Result<(Part, Option<Part>), DataError> {
    match config.kind {
        DataKind::Digits => Ok((digits::read()?, None)),
        DataKind::Idx => idx::load(config),
        DataKind::Npy => npy::load(config),
        DataKind::Npz => npz::load(config),
        DataKind::Csv => csv::load(config),
        DataKind::Images => images::load(config),
        DataKind::Cifar10 => cifar::load(config),
    }
}

/// How messages name the training and the test part.
pub(crate) fn origins(config: &DataConfig) -> (&Path, &Path) {
    let origin = config.inputs.as_deref().unwrap_or(Path::new(digits::NAME));
    (origin, config.test_inputs.as_deref().unwrap_or(origin))
}
/// Joins the training and the test part, each with the path that names it. Labels stay as they are,
/// and the dataset has none yet.
fn join(
    origin: &Path,
    train: Part,
    test: Option<(&Path, Part)>,
) -> Result<(Dataset, RawLabels), DataError> {
    check_part(origin, &train)?;
    let Part { shape, mut inputs, mut labels } = train;
    let mut test_start = None;
    if let Some((path, part)) = test {
        check_part(path, &part)?;
        if part.shape != shape {
            let path = path.to_owned();
            return Err(DataError::TestShape { path, found: part.shape, expected: shape });
        }
        test_start = Some(inputs.len() / shape.len().max(1));
        labels.extend(path, part.labels)?;
        match (&mut inputs, part.inputs) {
            (Values::Bytes(all), Values::Bytes(more)) => all.extend(more),
            (Values::Floats(all), Values::Floats(more)) => all.extend(more),
            _ => return Err(DataError::TestType { path: path.to_owned() }),
        }
    }
    let dataset = Dataset { shape, inputs, labels: Vec::new(), classes: Vec::new(), test_start };
    if dataset.len() > MAX_EXAMPLES {
        return Err(DataError::TooMany {
            path: origin.to_owned(),
            what: "examples",
            found: dataset.len() as u64,
            limit: MAX_EXAMPLES as u64,
        });
    }
    Ok((dataset, labels))
}

/// Checks what holds for the data of every format.
fn check_part(path: &Path, part: &Part) -> Result<(), DataError> {
    let width = part.shape.len();
    let unlabelled = part.labels == RawLabels::None;
    let labels = part.labels.count();
    if width == 0 || part.inputs.is_empty() || (labels == 0 && !unlabelled) {
        return Err(DataError::Empty { path: path.to_owned() });
    }
    if let RawLabels::Reals { width, values } = &part.labels
        && let Some(at) = values.iter().position(|v| !v.is_finite())
    {
        let value = values.get(at).copied().unwrap_or(f32::NAN);
        let example = at.checked_div(*width).unwrap_or(0);
        return Err(LabelError::Target { path: path.to_owned(), example, value }.into());
    }
    let examples = part.inputs.len() / width;
    if (examples != labels && !unlabelled) || examples * width != part.inputs.len() {
        let path = path.to_owned();
        return Err(DataError::Count { path, inputs: examples, labels });
    }
    if let Values::Floats(values) = &part.inputs
        && let Some(at) = values.iter().position(|v| !v.is_finite())
    {
        return Err(DataError::NotFinite {
            path: path.to_owned(),
            example: at / width,
            feature: at % width,
            value: values.get(at).copied().unwrap_or(f32::NAN),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
