//! From labels as files have them to classes 0…n−1.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::found::Found;
use super::{DataError, LabelError, MAX_CLASSES};

/// Distinct numbers from which labels are suspected to be quantities: fewer are ids, ratings, digits.
const MANY_NUMBERS: usize = 20;

/// Labels as a file has them.
#[derive(Clone, Debug, PartialEq)]
pub enum RawLabels {
    /// Whole numbers.
    Numbers(Vec<i64>),
    /// Names; if every one is a whole number, they count as numbers.
    Names(Vec<String>),
    /// Real numbers, so many an example: what a model that answers with numbers should give.
    Reals {
        /// Numbers of one example.
        width: usize,
        /// All numbers, example after example.
        values: Vec<f32>,
    },
    /// The data have none.
    None,
}

impl RawLabels {
    /// Whether there are labels that say nothing, since every example has the same.
    pub fn are_alike(&self) -> bool {
        fn alike<T: PartialEq>(labels: &[T]) -> bool {
            !labels.is_empty() && labels.windows(2).all(|pair| pair[0] == pair[1])
        }
        match self {
            Self::Numbers(numbers) => alike(numbers),
            Self::Names(names) => alike(names),
            Self::Reals { .. } | Self::None => false,
        }
    }

    /// Of how many examples; of none where there are none.
    pub fn count(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Names(names) => names.len(),
            Self::Reals { width, values } => values.len() / (*width).max(1),
            Self::None => 0,
        }
    }

    /// Names as real numbers where all are numbers and some aren't whole ones: targets, and no
    /// classes.
    pub(super) fn of_texts(texts: Vec<String>) -> Self {
        if texts.iter().all(String::is_empty) {
            return Self::None;
        }
        // What is infinite or not a number stays among them, to be refused by its place.
        let real = |text: &String| text.parse::<f32>().ok();
        match texts.iter().map(real).collect::<Option<Vec<f32>>>() {
            Some(values) if values.iter().any(|x| x.fract() != 0.0) => {
                Self::Reals { width: 1, values }
            }
            _ => Self::Names(texts),
        }
    }

    /// Adds those of the test part, which are of the same kind.
    pub(super) fn extend(&mut self, path: &Path, more: Self) -> Result<(), DataError> {
        match (self, more) {
            (Self::Numbers(all), Self::Numbers(more)) => all.extend(more),
            (Self::Names(all), Self::Names(more)) => all.extend(more),
            (Self::Reals { width: a, values }, Self::Reals { width: b, values: more })
                if *a == b =>
            {
                values.extend(more);
            }
            (Self::None, Self::None) => {}
            _ => return Err(LabelError::TestLabels { path: path.to_owned() }.into()),
        }
        Ok(())
    }
}

/// The classes of the training data.
pub(super) struct Classes {
    /// What they are called.
    names: Vec<String>,
    /// What labels call them.
    order: Order,
}

/// Classes as labels call them, in order.
enum Order {
    /// In numeric order.
    Numbers(Vec<i64>),
    /// In alphabetic order (of the bytes), or as the job names them.
    Names(Vec<String>),
}

impl Order {
    /// As texts.
    fn texts(&self) -> Vec<String> {
        match self {
            Self::Numbers(numbers) => numbers.iter().map(i64::to_string).collect(),
            Self::Names(names) => names.clone(),
        }
    }
}

impl Classes {
    /// The distinct labels, in the order of the `given` names where these are the labels
    /// themselves; else the given names rename the classes, in their order.
    pub(super) fn of(
        path: &Path,
        labels: &RawLabels,
        given: Option<&[String]>,
    ) -> Result<Self, DataError> {
        check_classes(path, labels)?;
        let order = match labels {
            RawLabels::Numbers(numbers) => Order::Numbers(distinct(path, numbers)?),
            RawLabels::Names(names) => match as_numbers(names) {
                Some(numbers) => Order::Numbers(distinct(path, &numbers)?),
                None => Order::Names(distinct(path, names)?),
            },
            RawLabels::Reals { width, values } => return Err(no_classes(path, *width, values)),
            RawLabels::None => return Err(LabelError::NoLabels { path: path.to_owned() }.into()),
        };
        let texts = order.texts();
        match &texts[..] {
            [] => return Err(DataError::Empty { path: path.to_owned() }),
            [one] => {
                return Err(DataError::OneClass { path: path.to_owned(), class: one.clone() });
            }
            _ => {}
        }
        let Some(given) = given else { return Ok(Self { names: texts, order }) };
        let (known, unknown): (Vec<&String>, Vec<&String>) =
            texts.iter().partition(|text| given.contains(text));
        match (known.first(), unknown.first()) {
            // The labels themselves: their order is meant, and is none of the alphabet's.
            (Some(_), None) => {
                Ok(Self { names: given.to_vec(), order: Order::Names(given.to_vec()) })
            }
            (Some(_), Some(class)) if matches!(order, Order::Names(_)) => {
                let (path, class) = (path.to_owned(), class.to_string());
                Err(LabelError::UnnamedClass { path, class }.into())
            }
            _ if given.len() != texts.len() => {
                let (names, classes) = (given.len(), texts.len());
                Err(DataError::ClassNames { path: path.to_owned(), names, classes })
            }
            _ => Ok(Self { names: given.to_vec(), order }),
        }
    }

    /// Their names.
    pub(super) fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    /// Each label's index among the classes.
    pub(super) fn encode(&self, path: &Path, labels: &RawLabels) -> Result<Vec<u32>, DataError> {
        let unknown = |class: String| DataError::UnknownClass {
            path: path.to_owned(),
            class,
            known: self.names.len(),
        };
        let texts = self.order.texts();
        let places: HashMap<&str, u32> = texts.iter().map(String::as_str).zip(0..).collect();
        let place = |label: &str| places.get(label).copied();
        match labels {
            RawLabels::Numbers(labels) => labels
                .iter()
                .map(|label| label.to_string())
                .map(|label| place(&label).ok_or_else(|| unknown(label)))
                .collect(),
            RawLabels::Names(labels) => labels
                .iter()
                .map(|label| place(label).ok_or_else(|| unknown(label.clone())))
                .collect(),
            RawLabels::Reals { width, values } => Err(no_classes(path, *width, values)),
            RawLabels::None => Err(LabelError::NoLabels { path: path.to_owned() }.into()),
        }
    }
}

/// Refuses numbers that were measured or counted rather than given to classes. What is one in so
/// many classes is a quantity if there are fractions, or values below −1 (which stands for
/// *unknown*), or hardly two examples with the same value.
fn check_classes(path: &Path, labels: &RawLabels) -> Result<(), DataError> {
    let (distinct, is_measured) = match labels {
        RawLabels::Numbers(numbers) => {
            let all: BTreeSet<i64> = numbers.iter().copied().collect();
            (all.len(), all.first().is_some_and(|&least| least < -1))
        }
        RawLabels::Names(names) => {
            let all: BTreeSet<&str> = names.iter().map(String::as_str).collect();
            let number = |name: &&str| name.parse::<f64>().ok().filter(|x| x.is_finite());
            let Some(numbers) = all.iter().map(number).collect::<Option<Vec<f64>>>() else {
                return Ok(());
            };
            (all.len(), numbers.iter().any(|&x| x.fract() != 0.0 || x < -1.0))
        }
        RawLabels::Reals { .. } | RawLabels::None => return Ok(()),
    };
    let rows = labels.count();
    // More classes than there may be are an error of their own.
    let is_rare = distinct > rows / 2 && distinct <= MAX_CLASSES;
    if distinct >= MANY_NUMBERS && (is_measured || is_rare) {
        return Err(LabelError::Quantities { path: path.to_owned(), distinct, rows }.into());
    }
    Ok(())
}

/// Real numbers where classes are needed.
fn no_classes(path: &Path, width: usize, values: &[f32]) -> DataError {
    if width != 1 {
        return DataError::Dimensions {
            path: path.to_owned(),
            found: Found(vec![values.len() / width.max(1), width]),
            expected: "labels must be n or n × 1 whole numbers (not one-hot)",
        };
    }
    let example = values.iter().position(|x| x.fract() != 0.0).unwrap_or(0);
    let value = values.get(example).copied().unwrap_or(f32::NAN);
    LabelError::NotWhole { path: path.to_owned(), example, value }.into()
}

pub(super) fn as_numbers(names: &[String]) -> Option<Vec<i64>> {
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
