//! `[data]`: which data, and how they are divided and scaled.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::layout::{Layout, ModelFit};
use super::{DataError, NormalizationKind, found::Found};
use crate::numbers::Shape;

/// The share of the examples that decides, at least and at most, unless the job states one.
const VALIDATION_SHARE: (f64, f64) = (0.1, 0.25);

/// Examples that should decide: one of a hundred is a point of percent.
const VALIDATION_EXAMPLES: f64 = 100.0;

/// `[data]`. Keys that the kind doesn't use must not be given; see [`DataConfig::check`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Which format.
    pub kind: DataKind,
    /// The inputs: a file, or for `images` and `cifar-10` a folder.
    pub inputs: Option<PathBuf>,
    /// The labels: a file (`idx`, `npy`).
    pub labels: Option<PathBuf>,
    /// Separate test inputs.
    pub test_inputs: Option<PathBuf>,
    /// Separate test labels (`idx`, `npy`).
    pub test_labels: Option<PathBuf>,
    /// Name of the inputs' array (`npz`); default `x`.
    pub input_array: Option<String>,
    /// Name of the labels' array (`npz`); default `y`.
    pub label_array: Option<String>,
    /// Name of the test inputs' array (`npz`), in `test_inputs` or else in `inputs`.
    pub test_input_array: Option<String>,
    /// Name of the test labels' array (`npz`).
    pub test_label_array: Option<String>,
    /// Whether the first line names the columns (`csv`); default true.
    pub header: Option<bool>,
    /// What separates columns (`csv`); default `,`.
    pub delimiter: Option<char>,
    /// The label's column (`csv`): a name, or an index from 0, or from the end if negative; default
    /// −1, the last.
    pub label_column: Option<Column>,
    /// Names for the classes, in their order; default: the labels.
    pub class_names: Option<Vec<String>>,
    /// Shape of one example, `[n]`, `[height, width]` or `[height, width, channels]` (`idx`, `npy`,
    /// `npz`, `csv`); default: what the file says.
    pub shape: Option<Vec<usize>>,
    /// Whether arrays have their channels first (`idx`, `npy`, `npz`, `csv`); default: last.
    pub layout: Option<Layout>,
    /// Whether numbers that are no bytes in the file are pixels 0…255 all the same (`npy`, `npz`,
    /// `csv`); default false.
    pub pixels: Option<bool>,
    /// Height and width to which images are scaled (`images`); default: all must be equal.
    pub resize: Option<[usize; 2]>,
    /// Channels of images (`images`); default: colour if the first image has any.
    pub color: Option<Color>,
    /// How inputs are scaled; default [`NormalizationKind::default_for`].
    pub normalization: Option<NormalizationKind>,
    /// Share of the examples outside the test set that decides (thresholds, early stopping); unset:
    /// a tenth, or as much more, up to a quarter, as 100 examples take.
    pub validation_fraction: Option<f64>,
    /// The same as a number of examples; wins over the share.
    pub validation_count: Option<usize>,
    /// Share of the examples in the test set, which decides nothing. Not used where the data have
    /// their own test files.
    pub test_fraction: f64,
    /// The same as a number of examples; wins over the share.
    pub test_count: Option<usize>,
    /// Share of an even division that each class counts for in training at least: examples of rarer
    /// classes count more than once. 0: all count alike.
    pub rare_class_share: f64,
    /// Seed of the division; default: the job's seed. State it to vary the job's seed over one
    /// division.
    pub split_seed: Option<u64>,
    /// The model that data are read for, if it isn't made from them: then labels may be missing, or
    /// be real numbers. No key of a job.
    #[serde(skip)]
    pub fit: Option<ModelFit>,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            kind: DataKind::default(),
            inputs: None,
            labels: None,
            test_inputs: None,
            test_labels: None,
            input_array: None,
            label_array: None,
            test_input_array: None,
            test_label_array: None,
            header: None,
            delimiter: None,
            label_column: None,
            class_names: None,
            shape: None,
            layout: None,
            pixels: None,
            resize: None,
            color: None,
            normalization: None,
            validation_fraction: None,
            validation_count: None,
            test_fraction: 0.2,
            test_count: None,
            rare_class_share: 0.2,
            split_seed: None,
            fit: None,
        }
    }
}

/// Which format the data have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataKind {
    /// The bundled 8 × 8 digits.
    #[default]
    Digits,
    /// MNIST's format; may be gzipped.
    Idx,
    /// Two NumPy files.
    Npy,
    /// A NumPy archive.
    Npz,
    /// A table as text.
    Csv,
    /// A folder of folders of PNG or JPEG files, one a class.
    Images,
    /// CIFAR-10's binary version.
    #[serde(rename = "cifar-10")]
    Cifar10,
}

impl DataKind {
    /// Its name in a job file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Idx => "idx",
            Self::Npy => "npy",
            Self::Npz => "npz",
            Self::Csv => "csv",
            Self::Images => "images",
            Self::Cifar10 => "cifar-10",
        }
    }
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a column's name, or its index (0 is the first, -1 the last)")]
pub enum Column {
    /// From 0; negative ones count from the end.
    Index(i64),
    /// As the header says.
    Name(String),
}

impl Default for Column {
    fn default() -> Self {
        Self::Index(-1)
    }
}

impl std::fmt::Display for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Name(name) => write!(f, "\"{name}\""),
        }
    }
}

/// Channels of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// One channel: luma.
    Gray,
    /// Three channels.
    Rgb,
}

impl Color {
    /// Number of channels.
    pub fn channels(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
        }
    }
}

impl DataConfig {
    /// Checks that the keys fit the kind.
    ///
    /// # Errors
    /// [`DataError::MissingKey`] or [`DataError::UnusedKey`].
    pub fn check(&self) -> Result<(), DataError> {
        use DataKind::{Cifar10, Csv, Idx, Images, Npy, Npz};
        let kind = self.kind;
        let keys: [(&'static str, bool, &[DataKind]); 15] = [
            ("inputs", self.inputs.is_some(), &[Idx, Npy, Npz, Csv, Images, Cifar10]),
            ("labels", self.labels.is_some(), &[Idx, Npy]),
            ("test_inputs", self.test_inputs.is_some(), &[Idx, Npy, Npz, Csv, Images]),
            ("test_labels", self.test_labels.is_some(), &[Idx, Npy]),
            ("input_array", self.input_array.is_some(), &[Npz]),
            ("label_array", self.label_array.is_some(), &[Npz]),
            ("test_input_array", self.test_input_array.is_some(), &[Npz]),
            ("test_label_array", self.test_label_array.is_some(), &[Npz]),
            ("header", self.header.is_some(), &[Csv]),
            ("delimiter", self.delimiter.is_some(), &[Csv]),
            ("label_column", self.label_column.is_some(), &[Csv]),
            ("layout", self.layout.is_some(), &[Idx, Npy, Npz, Csv]),
            ("pixels", self.pixels.is_some(), &[Npy, Npz, Csv]),
            ("resize", self.resize.is_some(), &[Images]),
            ("color", self.color.is_some(), &[Images]),
        ];
        for (key, given, kinds) in keys {
            if given && !kinds.contains(&kind) {
                return Err(DataError::UnusedKey { kind, key });
            }
            let needed = key == "inputs" || key == "labels" && self.fit.is_none();
            if !given && needed && kinds.contains(&kind) {
                return Err(DataError::MissingKey { kind, key });
            }
        }
        if matches!(kind, Idx | Npy) && self.test_inputs.is_some() != self.test_labels.is_some() {
            let key = if self.test_labels.is_some() { "test_inputs" } else { "test_labels" };
            return Err(DataError::MissingKey { kind, key });
        }
        self.given_shape().map(|_| ())
    }

    /// The paths that are given.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [&mut self.inputs, &mut self.labels, &mut self.test_inputs, &mut self.test_labels]
            .into_iter()
            .flatten()
    }

    /// `shape`, if given and possible.
    ///
    /// # Errors
    /// [`DataError::GivenShape`].
    pub fn given_shape(&self) -> Result<Option<Shape>, DataError> {
        let Some(dims) = &self.shape else { return Ok(None) };
        let shape = match dims[..] {
            [n] => Shape::Flat(n),
            [height, width] => Shape::Image { height, width, channels: 1 },
            [height, width, channels] => Shape::Image { height, width, channels },
            _ => return Err(DataError::GivenShape { found: Found(dims.clone()) }),
        };
        let len = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        match len {
            Some(1..=super::MAX_EXAMPLE_VALUES) => Ok(Some(shape)),
            _ => Err(DataError::GivenShape { found: Found(dims.clone()) }),
        }
    }

    /// The share that decides, of so many examples outside the test set.
    pub fn validation_share(&self, examples: usize) -> f64 {
        self.validation_fraction.unwrap_or_else(|| {
            let (least, most) = VALIDATION_SHARE;
            (VALIDATION_EXAMPLES / examples.max(1) as f64).clamp(least, most)
        })
    }

    /// The same with nothing left to default, as far as the kind uses it; `division` is the one that
    /// these keys give, and `is_given` whether the network has been trained already.
    pub fn resolve(
        &self,
        dataset: &super::Dataset,
        division: &super::Split,
        is_given: bool,
        seed: u64,
    ) -> Self {
        let mut all = self.clone();
        match all.kind {
            DataKind::Csv => {
                all.header.get_or_insert(true);
                all.label_column.get_or_insert_default();
                all.pixels.get_or_insert(false);
            }
            DataKind::Npz => {
                all.input_array.get_or_insert_with(|| super::npz::INPUT_ARRAY.to_owned());
                all.label_array.get_or_insert_with(|| super::npz::LABEL_ARRAY.to_owned());
                all.pixels.get_or_insert(false);
            }
            DataKind::Npy => {
                all.pixels.get_or_insert(false);
            }
            DataKind::Images => {
                if let Shape::Image { height, width, channels } = dataset.shape {
                    let color = if channels == 1 { Color::Gray } else { Color::Rgb };
                    all.resize.get_or_insert([height, width]);
                    all.color.get_or_insert(color);
                }
            }
            DataKind::Digits | DataKind::Idx | DataKind::Cifar10 => {}
        }
        all.class_names.get_or_insert_with(|| dataset.classes.clone());
        all.shape = Some(match dataset.shape {
            Shape::Flat(n) => vec![n],
            Shape::Image { height, width, channels } => vec![height, width, channels],
        });
        let normalization = NormalizationKind::default_for(&dataset.inputs, is_given);
        all.normalization.get_or_insert(normalization);
        if all.validation_fraction.is_none() {
            all.validation_count.get_or_insert(division.validation.len());
        }
        all.split_seed.get_or_insert(seed);
        all
    }
}
