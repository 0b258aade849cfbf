//! What can be wrong with labels.

use std::path::PathBuf;

use thiserror::Error;

/// Which labels of which file can't be used, and what to do. Examples count from 0.
#[derive(Debug, Error)]
pub enum LabelError {
    /// Labels of training and test files differ in kind.
    #[error(
        "{}: its labels are of another kind (whole numbers, names, real numbers) than those before; \
         convert one of them",
        path.display()
    )]
    TestLabels {
        /// The test file.
        path: PathBuf,
    },
    /// Labels where there must be some.
    #[error("{}: has no labels; they are needed here", path.display())]
    NoLabels {
        /// Which file.
        path: PathBuf,
    },
    /// A target that is no number.
    #[error(
        "{}: the target of example {example} is {value}; remove the example or fill in a number",
        path.display()
    )]
    Target {
        /// Which file.
        path: PathBuf,
        /// Which example.
        example: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A label that is no whole number.
    #[error(
        "{}: the label of example {example} is {value}; labels must be whole numbers, since jobs \
         train classification only",
        path.display()
    )]
    NotWhole {
        /// Which file.
        path: PathBuf,
        /// Which example.
        example: usize,
        /// The label.
        value: f32,
    },
    /// Labels that were measured or counted.
    #[error(
        "{}: labels look like quantities ({distinct} distinct values in {rows} rows); jobs train \
         classification only: name classes instead, such as ranges of the quantity",
        path.display()
    )]
    Quantities {
        /// Which file.
        path: PathBuf,
        /// How many different values.
        distinct: usize,
        /// Of so many examples.
        rows: usize,
    },
    /// A label that a model can't answer.
    #[error("{}: the label `{label}` {why}; {remedy}", path.display())]
    NoOutput {
        /// Which file.
        path: PathBuf,
        /// The label.
        label: String,
        /// Why it is none of the model's.
        why: String,
        /// What would help.
        remedy: &'static str,
    },
    /// A label that is missing among names of which others are labels.
    #[error(
        "{}: the class `{class}` is not in `data.class_names`, though other labels are; name all of \
         them, or call each by a new name",
        path.display()
    )]
    UnnamedClass {
        /// Which file.
        path: PathBuf,
        /// The class.
        class: String,
    },
}
