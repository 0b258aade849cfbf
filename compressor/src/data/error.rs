//! What can be wrong with data.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::DataKind;
use super::cifar::CifarError;
use super::found::{Found, list, show};
use super::label_error::LabelError;
use crate::files::FileError;
use crate::numbers::Shape;

/// What is wrong with which file, and what to do. Examples, features and bytes count from 0; lines
/// and columns from 1, as editors show them.
#[derive(Debug, Error)]
pub enum DataError {
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The kind needs a key.
    #[error("`data.{key}` is missing; kind = \"{}\" needs it", kind.name())]
    MissingKey {
        /// Which kind.
        kind: DataKind,
        /// Which key.
        key: &'static str,
    },
    /// The kind has no use for a key.
    #[error("`data.{key}` has no meaning with kind = \"{}\"; delete it", kind.name())]
    UnusedKey {
        /// Which kind.
        kind: DataKind,
        /// Which key.
        key: &'static str,
    },
    /// `data.shape` is none.
    #[error(
        "`data.shape` is {found}; give [n], [height, width] or [height, width, channels], all at \
         least 1, together at most {}",
        super::MAX_EXAMPLE_VALUES
    )]
    GivenShape {
        /// What it is.
        found: Found,
    },
    /// A normalisation that the inputs don't allow.
    #[error(
        "`data.normalization` is for bytes, but the inputs are floats; use \"standard\" or \"none\""
    )]
    Normalization,
    /// Damaged gzip.
    #[error("{}: can't be decompressed: {source}; fetch it again", path.display())]
    Gzip {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another format.
    #[error(
        "{}: is no {format} file (byte 0…{}: {found:02x?}); check `data.kind` and the path",
        path.display(), found.len().saturating_sub(1)
    )]
    Format {
        /// Which file.
        path: PathBuf,
        /// Which format it should have.
        format: &'static str,
        /// How it begins.
        found: Vec<u8>,
    },
    /// A damaged header.
    #[error("{}: byte {byte}: {expected}; write the file again", path.display())]
    Header {
        /// Which file.
        path: PathBuf,
        /// Where.
        byte: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// An element type without a reader.
    #[error("{}: holds elements of type {found}; supported are {supported}", path.display())]
    ElementType {
        /// Which file.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What could be read.
        supported: &'static str,
    },
    /// The length isn't what the header says.
    #[error(
        "{}: has {has} bytes of data, but its header promises {needs}; it is damaged: fetch it \
         again",
        path.display()
    )]
    Length {
        /// Which file.
        path: PathBuf,
        /// Bytes promised.
        needs: u64,
        /// Bytes there.
        has: u64,
    },
    /// More of something than is supported.
    #[error("{}: {found} {what} are more than the {limit} that are supported", path.display())]
    TooMany {
        /// Which file.
        path: PathBuf,
        /// Of what.
        what: &'static str,
        /// How many.
        found: u64,
        /// How many could be.
        limit: u64,
    },
    /// Dimensions that can't be examples or labels.
    #[error("{}: is {found}, but {expected}", path.display())]
    Dimensions {
        /// Which file.
        path: PathBuf,
        /// What it is.
        found: Found,
        /// What it should be.
        expected: &'static str,
    },
    /// `data.shape` against the file.
    #[error(
        "{}: an example is {found}, but `data.shape` says {expected}; correct or delete \
         `data.shape`: {remedy}",
        path.display()
    )]
    Shape {
        /// Which file.
        path: PathBuf,
        /// What the file has.
        found: Found,
        /// What the job says.
        expected: Found,
        /// What else would help.
        remedy: &'static str,
    },
    /// Data in another shape than a model takes.
    #[error("{}: an example is {found}, but the model takes {expected}; {remedy}", path.display())]
    ModelShape {
        /// Which file.
        path: PathBuf,
        /// What the file has.
        found: Found,
        /// What the model takes.
        expected: Found,
        /// What would help.
        remedy: &'static str,
    },
    /// Training and test files differ in shape.
    #[error(
        "{}: test examples are {}, but those for training are {}",
        path.display(), show(*.found), show(*.expected)
    )]
    TestShape {
        /// The test file.
        path: PathBuf,
        /// Its shape.
        found: Shape,
        /// The training data's shape.
        expected: Shape,
    },
    /// Training and test files differ in type.
    #[error(
        "{}: test inputs are bytes and those for training floats, or the other way round; \
         convert one of them",
        path.display()
    )]
    TestType {
        /// The test file.
        path: PathBuf,
    },
    /// Not one label per example.
    #[error("{}: {inputs} examples, but {labels} labels; are these files a pair?", path.display())]
    Count {
        /// The inputs' file.
        path: PathBuf,
        /// Examples.
        inputs: usize,
        /// Labels.
        labels: usize,
    },
    /// A value that is no pixel.
    #[error(
        "{}: a value of example {example} is {value}; `data.pixels` needs whole numbers \
         0…255",
        path.display()
    )]
    Pixel {
        /// Which file.
        path: PathBuf,
        /// Which example.
        example: usize,
        /// The value.
        value: f64,
    },
    /// NaN or infinite.
    #[error(
        "{}: feature {feature} of example {example} is {value}; remove the example or fill in \
         a number",
        path.display()
    )]
    NotFinite {
        /// Which file.
        path: PathBuf,
        /// Which example.
        example: usize,
        /// Which feature.
        feature: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// Training examples that are all the same.
    #[error(
        "{}: the inputs of all {examples} training examples are equal; there is nothing to tell \
         classes apart by: check the inputs",
        path.display()
    )]
    Alike {
        /// Which file or folder.
        path: PathBuf,
        /// How many.
        examples: usize,
    },
    /// No example.
    #[error("{}: holds no example", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// Nothing to tell apart.
    #[error(
        "{}: every example has the class `{class}`; there is nothing to learn: check the \
         labels",
        path.display()
    )]
    OneClass {
        /// Which file.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// A class that training never saw.
    #[error("{}: class `{class}` is not among the training data's {known} classes", path.display())]
    UnknownClass {
        /// Which file.
        path: PathBuf,
        /// Which class.
        class: String,
        /// How many are known.
        known: usize,
    },
    /// Not one name per class.
    #[error(
        "{}: has {classes} classes, but `data.class_names` has {names} names; give one per class",
        path.display()
    )]
    ClassNames {
        /// Which file.
        path: PathBuf,
        /// Names given.
        names: usize,
        /// Classes there are.
        classes: usize,
    },
    /// A folder whose name can't be a class's.
    #[error("{}: the folder's name is no Unicode text; rename it", path.display())]
    FolderName {
        /// The folder.
        path: PathBuf,
    },
    /// Labels that can't be used.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// A file of CIFAR-10 that can't be used.
    #[error(transparent)]
    Cifar(#[from] CifarError),
    /// A class name that a model can't hold.
    #[error(
        "{}: the class name {class:?} has control characters or more than {} bytes; set \
         `data.class_names`",
        path.display(), super::MAX_CLASS_NAME
    )]
    ClassName {
        /// Which file.
        path: PathBuf,
        /// Its beginning.
        class: String,
    },
    /// A damaged archive.
    #[error(
        "{}: is no readable NPZ archive: {source}; write it again with numpy.savez",
        path.display()
    )]
    Npz {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An array that isn't there.
    #[error(
        "{}: has no array `{name}`; it has {}: set `data.{key}`",
        path.display(), list(present)
    )]
    NoArray {
        /// Which file.
        path: PathBuf,
        /// The array.
        name: String,
        /// The key that names it.
        key: &'static str,
        /// What is there.
        present: Vec<String>,
    },
    /// A line that is no CSV.
    #[error("{}:{line}: can't be read: {source}", path.display())]
    Csv {
        /// Which file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// Why.
        source: ::csv::Error,
    },
    /// A delimiter of more than one byte.
    #[error(
        "`data.delimiter` is {found:?}; it must be one ASCII character, such as \",\" or \"\\t\""
    )]
    Delimiter {
        /// What it is.
        found: char,
    },
    /// Lines of different lengths.
    #[error(
        "{}:{line}: {found} columns, but the first line has {expected}; is `data.delimiter` \
         right?",
        path.display()
    )]
    CsvColumns {
        /// Which file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// Columns here.
        found: usize,
        /// Columns of the first line.
        expected: usize,
    },
    /// A field that is no finite number.
    #[error(
        "{}:{line}: column {column} is {text:?}, which is no finite number; fill it in, or \
         remove the line or the column",
        path.display()
    )]
    CsvNumber {
        /// Which file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// Which column, from 1, with its name if it has one.
        column: String,
        /// What is there, at most its first 40 characters.
        text: String,
    },
    /// No such column.
    #[error(
        "{}: there is no column {wanted}; the columns are {}: set `data.label_column`",
        path.display(), list(present)
    )]
    NoColumn {
        /// Which file.
        path: PathBuf,
        /// What `data.label_column` says.
        wanted: String,
        /// What is there.
        present: Vec<String>,
    },
    /// A header of numbers.
    #[error(
        "{}:1: the first line holds numbers, as an example does, and no names; set `data.header = \
         false`, or if these are names, `data.label_column` to the label's",
        path.display()
    )]
    NoHeader {
        /// Which file.
        path: PathBuf,
    },
    /// A damaged or unsupported image.
    #[error("{}: is no readable PNG or JPEG: {source}", path.display())]
    Image {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: image::ImageError,
    },
    /// Images of different sizes.
    #[error(
        "{}: is {} × {}, but the first image is {} × {}; set `data.resize = [height, width]`",
        path.display(), found[0], found[1], expected[0], expected[1]
    )]
    ImageSize {
        /// Which file.
        path: PathBuf,
        /// Its height and width.
        found: [usize; 2],
        /// The first image's.
        expected: [usize; 2],
    },
    /// No class folders.
    #[error(
        "{}: has no sub-folders; put each class's images into a folder of its name",
        path.display()
    )]
    NoClassFolders {
        /// Which folder.
        path: PathBuf,
    },
    /// An empty class folder.
    #[error(
        "{}: holds no .png, .jpg or .jpeg file; each sub-folder must be one class",
        path.display()
    )]
    NoImages {
        /// Which folder.
        path: PathBuf,
    },
    /// A part of the division is empty.
    #[error(
        "the {part} set is empty: of {examples} examples, `data.validation_fraction` and \
         `data.test_fraction` (or `_count`) leave it none"
    )]
    EmptyPart {
        /// `training`, `validation` or `test`.
        part: &'static str,
        /// All examples.
        examples: usize,
    },
    /// A class that training would not see.
    #[error(
        "class `{class}` has {count} examples, none of them in the training set; add examples, \
         remove the class, or hold out less"
    )]
    ClassNotTrained {
        /// Which class.
        class: String,
        /// How many examples.
        count: usize,
    },
    /// More are held out than there are.
    #[error("`data.{part}_count` = {count} is more than the {examples} examples there are")]
    HeldOut {
        /// `validation` or `test`.
        part: &'static str,
        /// How many are wanted.
        count: usize,
        /// How many there are.
        examples: usize,
    },
    /// An input that doesn't fit the model.
    #[error("{}: is {found}, but the model takes {}", path.display(), show(*.expected))]
    InputShape {
        /// Which file.
        path: PathBuf,
        /// What it is.
        found: Found,
        /// What the model takes.
        expected: Shape,
    },
}

impl DataError {
    /// The key of `[data]` to blame, where it is one key's fault alone.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::MissingKey { key, .. }
            | Self::UnusedKey { key, .. }
            | Self::NoArray { key, .. } => Some(key),
            Self::GivenShape { .. } | Self::Shape { .. } => Some("shape"),
            Self::ClassNames { .. }
            | Self::ClassName { .. }
            | Self::Labels(LabelError::UnnamedClass { .. }) => Some("class_names"),
            Self::Normalization => Some("normalization"),
            Self::Delimiter { .. } => Some("delimiter"),
            Self::NoColumn { .. } => Some("label_column"),
            Self::NoHeader { .. } => Some("header"),
            _ => None,
        }
    }
}
