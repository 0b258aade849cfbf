//! Whether a model is better than chance: nothing is gained by making one small that isn't.
//!
//! Two things are asked of its answers on examples that nothing was trained on. They must have fewer
//! errors than the answer that is always the most frequent class. And they must follow the labels:
//! the same answers, dealt out to the examples at random, are as often right in at most a hundredth
//! of the deals (a permutation test, which holds for any number of examples and classes, however
//! unequal). A model that answers one class alone fails both.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::confidence::percent;

/// Deals of the test.
const DEALS: u32 = 999;

/// Share of the deals that may be right as often as the model.
const LEVEL: f64 = 0.01;

/// Sets the deals' stream of randomness.
const SEED: u64 = 0x5eed;

/// How a model stands to chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is better.
    Better,
    /// It isn't.
    NotBetter,
    /// There are too few examples to tell even a model without an error from chance.
    TooFewExamples,
}

/// A model's answers beside those of chance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chance {
    /// Examples that it was judged by.
    pub examples: u64,
    /// Those that it gets wrong.
    pub errors: u64,
    /// Those that the most frequent class as the only answer gets wrong.
    pub constant_errors: u64,
    /// The most frequent class, the first of equals.
    pub most_frequent: usize,
    /// Classes that it answers at all.
    pub answered: Vec<usize>,
    /// Classes of which it gets an example right.
    pub right: Vec<usize>,
    /// How it stands.
    pub standing: Standing,
}

impl Chance {
    /// Judges a confusion: `confusion[actual][answered]` examples.
    pub(crate) fn new(confusion: &[Vec<u32>]) -> Self {
        let actual: Vec<u64> =
            confusion.iter().map(|row| row.iter().map(|&n| u64::from(n)).sum()).collect();
        let examples: u64 = actual.iter().sum();
        let right = |i: usize| confusion.get(i).and_then(|row| row.get(i)).copied().unwrap_or(0);
        let known = (0..confusion.len()).filter(|&i| right(i) > 0).collect();
        let right: u64 = (0..confusion.len()).map(|i| u64::from(right(i))).sum();
        let most = actual.iter().copied().max().unwrap_or(0);
        let is_answered =
            |&class: &usize| confusion.iter().any(|row| row.get(class).is_some_and(|&n| n > 0));
        let errors = examples - right;
        let constant_errors = examples - most;
        let standing = if errors < constant_errors && follows(confusion, right) {
            Standing::Better
        } else if log_orders(&actual) < -LEVEL.ln() {
            Standing::TooFewExamples
        } else {
            Standing::NotBetter
        };
        Self {
            examples,
            errors,
            constant_errors,
            most_frequent: actual.iter().position(|&n| n == most).unwrap_or(0),
            answered: (0..confusion.len()).filter(is_answered).collect(),
            right: known,
            standing,
        }
    }

    /// Whether it is better than chance.
    pub(crate) fn is_better(&self) -> bool {
        self.standing == Standing::Better
    }

    /// What its answers are worth, with the classes' names.
    pub(crate) fn why(&self, classes: &[String]) -> String {
        let name = |class: usize| classes.get(class).map_or("?", String::as_str);
        let share = |errors: u64| 100.0 * errors as f64 / self.examples.max(1) as f64;
        let constant = format!(
            "always answering `{}` would have {:.2} %",
            name(self.most_frequent),
            share(self.constant_errors)
        );
        let error = share(self.errors);
        match (self.standing, &self.answered[..]) {
            (Standing::Better, _) => format!("{error:.2} % of {} wrong; {constant}", self.examples),
            (Standing::TooFewExamples, _) => format!(
                "{error:.2} % of {} wrong, and {constant}: so few can't be told from chance with {} \
                 % confidence, whatever the model",
                self.examples,
                percent(1.0 - LEVEL)
            ),
            (Standing::NotBetter, &[only]) => {
                format!("it answers `{}` to each of {} examples", name(only), self.examples)
            }
            (Standing::NotBetter, _) if self.errors < self.constant_errors => format!(
                "{error:.2} % of {} examples are wrong ({constant}), but the answers follow the \
                 labels no better than answers dealt out at random",
                self.examples
            ),
            (Standing::NotBetter, _) => {
                format!("{error:.2} % of {} examples are wrong, and {constant}", self.examples)
            }
        }
    }
}

/// Whether as many right answers are rare when the answers are dealt out at random.
fn follows(confusion: &[Vec<u32>], right: u64) -> bool {
    let (mut labels, mut answers) = (Vec::new(), Vec::new());
    for (label, row) in confusion.iter().enumerate() {
        for (answer, &count) in row.iter().enumerate() {
            labels.extend(std::iter::repeat_n(label as u32, count as usize));
            answers.extend(std::iter::repeat_n(answer as u32, count as usize));
        }
    }
    let mut noise = ChaCha8Rng::seed_from_u64(SEED);
    let as_good = (0..DEALS).filter(|_| {
        answers.shuffle(&mut noise);
        labels.iter().zip(&answers).filter(|(a, b)| a == b).count() as u64 >= right
    });
    // The model's own answers are one deal more.
    let share = (as_good.count() + 1) as f64 / f64::from(DEALS + 1);
    share <= LEVEL
}

/// ln of the number of orders that these examples can stand in, of which one is without an error.
fn log_orders(actual: &[u64]) -> f64 {
    let log_factorial = |n: u64| (2..=n).map(|k| (k as f64).ln()).sum::<f64>();
    log_factorial(actual.iter().sum()) - actual.iter().map(|&n| log_factorial(n)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(confusion: &[&[u32]]) -> Standing {
        let rows: Vec<Vec<u32>> = confusion.iter().map(|row| row.to_vec()).collect();
        Chance::new(&rows).standing
    }

    #[test]
    fn one_answer_is_chance_however_unequal_the_classes() {
        assert_eq!(standing(&[&[0, 24, 0], &[0, 24, 0], &[0, 24, 0]]), Standing::NotBetter);
        assert_eq!(standing(&[&[190, 0], &[10, 0]]), Standing::NotBetter);
        let chance = Chance::new(&[vec![190, 0], vec![10, 0]]);
        let names = ["fine".to_owned(), "broken".to_owned()];
        assert_eq!((chance.constant_errors, chance.most_frequent), (10, 0));
        assert!(chance.why(&names).contains("answers `fine` to each of 200"), "{chance:?}");
    }

    #[test]
    fn answers_without_a_relation_to_the_labels_are_chance() {
        assert_eq!(standing(&[&[9, 7, 8], &[8, 8, 8], &[7, 8, 9]]), Standing::NotBetter);
        // 60 of 100 right by luck is too rare to be asked for; 55 isn't.
        let luck = Chance::new(&[vec![28, 22], vec![23, 27]]);
        assert_eq!(luck.standing, Standing::NotBetter);
        assert!(luck.why(&[]).ends_with("than answers dealt out at random"), "{}", luck.why(&[]));
        assert_eq!(standing(&[&[34, 16], &[14, 36]]), Standing::Better);
    }

    #[test]
    fn a_rare_class_is_told_by_finding_it() {
        // 3 of 5 rare examples are found, and nothing else is called rare.
        assert_eq!(standing(&[&[95, 0], &[2, 3]]), Standing::Better);
        // As many errors as the most frequent class alone would have.
        assert_eq!(standing(&[&[93, 2], &[3, 2]]), Standing::NotBetter);
    }

    #[test]
    fn few_examples_prove_nothing() {
        assert_eq!(standing(&[&[2, 0], &[0, 2]]), Standing::TooFewExamples);
        assert_eq!(standing(&[&[0, 0], &[0, 0]]), Standing::TooFewExamples);
        assert_eq!(standing(&[&[5, 0], &[0, 5]]), Standing::Better);
        let chance = Chance::new(&[vec![2, 0], vec![0, 2]]);
        assert!(chance.why(&[]).contains("99 % confidence"), "{}", chance.why(&[]));
    }

    #[test]
    fn pure_luck_passes_in_one_of_a_hundred_cases() {
        let mut noise = ChaCha8Rng::seed_from_u64(7);
        let labels: Vec<usize> = (0..60).map(|i| i % 3).collect();
        let passes = (0..200).filter(|_| {
            let mut answers = labels.clone();
            answers.shuffle(&mut noise);
            let mut confusion = vec![vec![0; 3]; 3];
            labels.iter().zip(&answers).for_each(|(&a, &b)| confusion[a][b] += 1);
            Chance::new(&confusion).is_better()
        });
        assert!(passes.count() <= 6);
    }
}
