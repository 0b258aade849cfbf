//! What labels mean to a model that exists: a number is the index of an output, a name is looked up
//! among the model's class names. Nothing goes by the order of the labels that data happen to have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::found::list;
use super::labels::as_numbers;
use super::{LabelError, MAX_CLASSES, RawLabels};

/// Labels as a model's classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Matched {
    /// The class of each example.
    pub labels: Vec<u32>,
    /// Names of the classes: the model's, or else numbers, or what was assumed.
    pub names: Vec<String>,
    /// Whether the names are those of the labels, in alphabetic order: the model has none.
    pub assumed: bool,
}

impl Matched {
    /// Classes without an example among the listed ones.
    pub(crate) fn missing(&self, examples: &[u32]) -> Vec<&str> {
        let of = |&example: &u32| self.labels.get(example as usize).copied();
        let seen: BTreeSet<u32> = examples.iter().filter_map(of).collect();
        let named = self.names.iter().zip(0u32..);
        named.filter(|(_, class)| !seen.contains(class)).map(|(name, _)| name.as_str()).collect()
    }
}

/// Finds each label's class. `names` are the model's, if it has any; `classes` is how many it tells
/// apart, if that is known.
///
/// # Errors
/// [`LabelError::NoOutput`] names a label that is none of the model's classes.
pub(crate) fn match_labels(
    path: &Path,
    labels: &RawLabels,
    names: &[String],
    classes: Option<usize>,
) -> Result<Matched, LabelError> {
    let texts: Vec<String> = match labels {
        RawLabels::Numbers(numbers) => numbers.iter().map(i64::to_string).collect(),
        RawLabels::Names(names) => names.clone(),
        RawLabels::Reals { .. } | RawLabels::None => {
            return Err(LabelError::NoLabels { path: path.to_owned() });
        }
    };
    let distinct: BTreeSet<&str> = texts.iter().map(String::as_str).collect();
    if names.is_empty() {
        // As many names as classes: then the alphabet's order is what tools give them.
        let sorted: Vec<String> = distinct.iter().map(|&name| name.to_owned()).collect();
        let numbers = sorted.iter().any(|name| whole(name).is_some());
        if !numbers && Some(sorted.len()) == classes {
            let known = Known::new(path, &sorted, classes);
            let labels = known.all(&texts, &distinct)?;
            return Ok(Matched { labels, names: sorted, assumed: true });
        }
    }
    let known = Known::new(path, names, classes);
    let labels = known.all(&texts, &distinct)?;
    let most = labels.iter().max().map_or(0, |&class| class as usize + 1);
    let numbers = (names.len()..classes.unwrap_or(most)).map(|class| class.to_string());
    let names = names.iter().cloned().chain(numbers).collect();
    Ok(Matched { labels, names, assumed: false })
}

/// What a model knows its classes by.
struct Known<'a> {
    path: &'a Path,
    names: &'a [String],
    /// Numbers below this one are outputs.
    classes: usize,
    /// Whether names are numbers, and not those of their outputs: then a number is a name.
    renumbered: bool,
}

impl<'a> Known<'a> {
    fn new(path: &'a Path, names: &'a [String], classes: Option<usize>) -> Self {
        let known = if names.is_empty() { MAX_CLASSES } else { names.len() };
        let other = |(at, name): (usize, &String)| whole(name).is_some_and(|n| n != at as i64);
        let renumbered = names.iter().enumerate().any(other);
        Self { path, names, classes: classes.unwrap_or(known), renumbered }
    }

    /// The class of each text.
    fn all(&self, texts: &[String], distinct: &BTreeSet<&str>) -> Result<Vec<u32>, LabelError> {
        let mut classes: BTreeMap<&str, u32> = BTreeMap::new();
        let mut taken: BTreeMap<u32, &str> = BTreeMap::new();
        for &text in distinct {
            let class = self.class(text)?;
            if let Some(other) = taken.insert(class, text) {
                let why = format!("and the label `{other}` would both be the class {class}");
                return Err(self.refused(text, why));
            }
            classes.insert(text, class);
        }
        Ok(texts.iter().filter_map(|text| classes.get(text.as_str()).copied()).collect())
    }

    fn class(&self, label: &str) -> Result<u32, LabelError> {
        if let Some(class) = self.names.iter().position(|name| name == label) {
            return Ok(class as u32);
        }
        let number = whole(label);
        if let (Some(number), true) = (number, self.renumbered) {
            let same = |name: &String| whole(name) == Some(number);
            if let Some(class) = self.names.iter().position(same) {
                return Ok(class as u32);
            }
        }
        if let (Some(number), false) = (number, self.renumbered)
            && let Ok(class) = u32::try_from(number)
            && (class as usize) < self.classes
        {
            return Ok(class);
        }
        let why = match (self.names.is_empty(), number) {
            (true, Some(_)) => {
                format!("has no output: the model's are 0 to {}", self.classes.saturating_sub(1))
            }
            (true, None) => format!(
                "is a name, but the model has no names for its classes, 0 to {}",
                self.classes.saturating_sub(1)
            ),
            (false, _) => format!("is none of the model's classes: {}", list(self.names)),
        };
        Err(self.refused(label, why))
    }

    fn refused(&self, label: &str, why: String) -> LabelError {
        LabelError::NoOutput {
            path: self.path.to_owned(),
            label: label.to_owned(),
            why,
            remedy: "correct the label, or name the outputs in their order with --classes",
        }
    }
}

/// A label's whole number, which a table may write as 3.0.
fn whole(text: &str) -> Option<i64> {
    let real = || text.parse::<f64>().ok().filter(|x| x.fract() == 0.0 && x.abs() < 1e15);
    text.parse().ok().or_else(|| real().map(|x| x as i64))
}

/// The classes of targets of which each example's has one 1 and else zeros, as wide as the outputs.
pub(crate) fn one_hot(width: usize, values: &[f32]) -> Option<RawLabels> {
    let class = |row: &[f32]| {
        let ones: Vec<usize> = (0..width).filter(|&at| row.get(at) == Some(&1.0)).collect();
        let zeros = row.iter().filter(|&&x| x == 0.0).count();
        let [one] = ones[..] else { return None };
        (zeros + 1 == width).then_some(one as i64)
    };
    if width < 2 {
        return None;
    }
    values.chunks_exact(width).map(class).collect::<Option<Vec<i64>>>().map(RawLabels::Numbers)
}

/// Whether labels are whole numbers in a table or an array, and each is 0 or 1.
pub(crate) fn zeros_and_ones(labels: &RawLabels) -> bool {
    match labels {
        RawLabels::Numbers(numbers) => numbers.iter().all(|number| matches!(number, 0 | 1)),
        RawLabels::Names(names) => names.iter().all(|name| matches!(whole(name), Some(0 | 1))),
        RawLabels::Reals { .. } | RawLabels::None => false,
    }
}

/// Labels as real numbers, and how many each example has, if they are numbers.
pub(crate) fn numbers(labels: &RawLabels) -> Option<(usize, Vec<f32>)> {
    match labels {
        RawLabels::Numbers(numbers) => Some((1, numbers.iter().map(|&n| n as f32).collect())),
        RawLabels::Names(names) => {
            let real = |name: &String| name.parse::<f32>().ok().filter(|x| x.is_finite());
            names.iter().map(real).collect::<Option<Vec<f32>>>().map(|values| (1, values))
        }
        RawLabels::Reals { width, values } => Some((*width, values.clone())),
        RawLabels::None => None,
    }
}

/// Whether labels are names rather than numbers.
pub(crate) fn are_names(labels: &RawLabels) -> bool {
    matches!(labels, RawLabels::Names(names) if as_numbers(names).is_none() && numbers(labels).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(labels: &[&str]) -> RawLabels {
        RawLabels::Names(labels.iter().map(|label| label.to_string()).collect())
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    fn labels(labels: &RawLabels, known: &[&str], classes: usize) -> Result<Vec<u32>, String> {
        match_labels(Path::new("a"), labels, &names(known), Some(classes))
            .map(|matched| matched.labels)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_are_outputs_whichever_are_there() {
        assert_eq!(labels(&RawLabels::Numbers(vec![3, 1, 3]), &[], 4), Ok(vec![3, 1, 3]));
        assert_eq!(labels(&texts(&["3", "1.0"]), &[], 4), Ok(vec![3, 1]));
        assert_eq!(labels(&RawLabels::Numbers(vec![1]), &["ash", "birch"], 2), Ok(vec![1]));
        for refused in [4, -1] {
            let message = labels(&RawLabels::Numbers(vec![0, refused]), &[], 4).unwrap_err();
            assert!(message.contains(&format!("`{refused}` has no output")), "{message}");
        }
    }

    #[test]
    fn names_are_looked_up() {
        let known = ["cedar", "ash", "birch"];
        assert_eq!(labels(&texts(&["birch", "cedar", "birch"]), &known, 3), Ok(vec![2, 0, 2]));
        let message = labels(&texts(&["ash", "willow"]), &known, 3).unwrap_err();
        assert!(message.contains("`willow` is none of"), "{message}");
        // The model doesn't say which three of its ten classes these are.
        let message = labels(&texts(&["ash", "birch", "cedar"]), &[], 10).unwrap_err();
        assert!(message.contains("--classes"), "{message}");
        let found = match_labels(Path::new("a"), &texts(&["b", "a"]), &[], Some(2)).unwrap();
        assert_eq!((found.labels, found.assumed), (vec![1, 0], true));
    }

    #[test]
    fn classes_that_are_called_by_numbers_keep_theirs() {
        let known = ["3", "7"];
        assert_eq!(labels(&RawLabels::Numbers(vec![7, 3]), &known, 2), Ok(vec![1, 0]));
        assert_eq!(labels(&texts(&["7.0"]), &known, 2), Ok(vec![1]));
        assert!(labels(&RawLabels::Numbers(vec![0]), &known, 2).unwrap_err().contains("`0`"));
        // A number that could be a name and an output: only the name counts.
        assert!(labels(&RawLabels::Numbers(vec![0]), &["1", "2", "other"], 3).is_err());
        assert_eq!(labels(&RawLabels::Numbers(vec![2]), &["0", "1", "other"], 3), Ok(vec![2]));
        let message = labels(&texts(&["07", "7"]), &[], 8).unwrap_err();
        assert!(message.contains("would both be"), "{message}");
    }

    #[test]
    fn what_has_no_example_is_listed() {
        let all = Matched { labels: vec![1, 1, 2], names: names(&["a", "b", "c"]), assumed: false };
        assert_eq!(all.missing(&[0, 1, 2]), ["a"]);
        assert_eq!(all.missing(&[0]), ["a", "c"]);
    }

    #[test]
    fn one_hot_rows_are_classes() {
        let classes = one_hot(3, &[0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(classes, Some(RawLabels::Numbers(vec![1, 0])));
        assert_eq!(one_hot(2, &[0.0, 1.0, 0.5, 0.5]), None);
        assert_eq!(one_hot(2, &[1.0, 1.0]), None);
        assert_eq!(one_hot(1, &[1.0]), None);
    }
}
