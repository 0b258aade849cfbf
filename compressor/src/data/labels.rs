//! From labels as files have them to classes 0…n−1.

use std::collections::BTreeSet;
use std::path::Path;

use super::{DataError, MAX_CLASSES};

/// Labels as a file has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawLabels {
    /// Whole numbers.
    Numbers(Vec<i64>),
    /// Names; if every one is a whole number, they count as numbers.
    Names(Vec<String>),
}

/// The classes of the training data, in order.
pub(super) enum Classes {
    /// In numeric order.
    Numbers(Vec<i64>),
    /// In alphabetic order (of the bytes).
    Names(Vec<String>),
}

impl Classes {
    /// The distinct labels.
    pub(super) fn of(path: &Path, labels: &RawLabels) -> Result<Self, DataError> {
        let classes = match labels {
            RawLabels::Numbers(numbers) => Self::Numbers(distinct(path, numbers)?),
            RawLabels::Names(names) => match as_numbers(names) {
                Some(numbers) => Self::Numbers(distinct(path, &numbers)?),
                None => Self::Names(distinct(path, names)?),
            },
        };
        let names = classes.names();
        match &names[..] {
            [] => Err(DataError::Empty { path: path.to_owned() }),
            [one] => Err(DataError::OneClass { path: path.to_owned(), class: one.clone() }),
            _ => Ok(classes),
        }
    }

    /// Their names.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Numbers(numbers) => numbers.iter().map(i64::to_string).collect(),
            Self::Names(names) => names.clone(),
        }
    }

    /// Each label's index among the classes.
    pub(super) fn encode(&self, path: &Path, labels: &RawLabels) -> Result<Vec<u32>, DataError> {
        let unknown = |class: String| DataError::UnknownClass {
            path: path.to_owned(),
            class,
            known: match self {
                Self::Numbers(numbers) => numbers.len(),
                Self::Names(names) => names.len(),
            },
        };
        let position = |found: Result<usize, usize>| found.ok().and_then(|i| u32::try_from(i).ok());
        let number = |classes: &[i64], label: i64| {
            position(classes.binary_search(&label)).ok_or_else(|| unknown(label.to_string()))
        };
        match (self, labels) {
            (Self::Numbers(classes), RawLabels::Numbers(labels)) => {
                labels.iter().map(|&label| number(classes, label)).collect()
            }
            (Self::Numbers(classes), RawLabels::Names(labels)) => labels
                .iter()
                .map(|label| {
                    let parsed = label.parse().map_err(|_| unknown(label.clone()))?;
                    number(classes, parsed)
                })
                .collect(),
            (Self::Names(classes), RawLabels::Names(labels)) => labels
                .iter()
                .map(|label| {
                    position(classes.binary_search(label)).ok_or_else(|| unknown(label.clone()))
                })
                .collect(),
            (Self::Names(_), RawLabels::Numbers(labels)) => match labels.first() {
                Some(label) => Err(unknown(label.to_string())),
                None => Ok(Vec::new()),
            },
        }
    }
}

fn as_numbers(names: &[String]) -> Option<Vec<i64>> {
    // "007" stays a name: as a number it would lose its zeros and might meet another "7".
    let number = |name: &String| name.parse().ok().filter(|n: &i64| n.to_string() == *name);
    names.iter().map(number).collect()
}

fn distinct<T: Ord + Clone>(path: &Path, labels: &[T]) -> Result<Vec<T>, DataError> {
    let mut seen = BTreeSet::new();
    for label in labels {
        if !seen.contains(label) {
            seen.insert(label);
        }
        if seen.len() > MAX_CLASSES {
            return Err(DataError::TooMany {
                path: path.to_owned(),
                what: "classes",
                found: seen.len() as u64,
                limit: MAX_CLASSES as u64,
            });
        }
    }
    Ok(seen.into_iter().cloned().collect())
}
