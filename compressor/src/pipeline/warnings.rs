//! What a job should be told before it trains: settings that its data are too few for.

use super::Prepared;
use crate::graph::{Graph, Weights};
use crate::job::Job;
use crate::select::within;
use crate::train::pace::{Pace, TOO_FEW_STEPS};

/// Spread of the inputs below which a network hardly learns.
const LEAST_SPREAD: f32 = 0.1;

/// Training examples of a class below which it is hardly learned.
const LEAST_TRAINING: u64 = 5;

/// Validation and test examples of a class below which its error says nothing: one more or less right
/// is half of it.
const LEAST_JUDGING: u64 = 3;

/// Every warning, a sentence each; `job` is resolved.
pub(super) fn warnings(job: &Job, structure: &Graph<()>, prepared: &Prepared) -> Vec<String> {
    let mut all = few_steps(job, prepared.train.len());
    all.extend(coarse(job, prepared.judged().len()));
    all.extend(rare(prepared));
    all.extend(super::sentinel::warning(job, prepared));
    let varies = spread(&prepared.train.inputs);
    if varies < LEAST_SPREAD && !job.network.is_given() {
        all.push(format!(
            "inputs vary by {varies:.3} after [data] normalization = \"{}\"; around 1 is good, as \
             without that key",
            job.data.normalization.map_or("none", |kind| kind.name())
        ));
    }
    let target = job.variational.shrink.target_weights.unwrap_or(0);
    let weights: usize = structure.weights().iter().map(Weights::len).sum();
    if target >= weights && job.variational.is_bayesian() && job.variational.shrink.every > 0 {
        all.push(format!(
            "[variational.shrink] target_weights = {target}, but the network has no more than \
             {weights}: nothing is removed while it trains"
        ));
    }
    all
}

/// Stages that are over before they have begun.
fn few_steps(job: &Job, examples: usize) -> Vec<String> {
    let stage = |name: &str, pace: Pace| {
        let steps = pace.steps(examples);
        (1..TOO_FEW_STEPS).contains(&steps).then(|| {
            format!(
                "[{name}] is {steps} steps ({} epochs of {}), and under {TOO_FEW_STEPS} little is \
                 learned; without its `epochs` and `batch` they follow from the data",
                pace.epochs,
                pace.steps_an_epoch(examples)
            )
        })
    };
    let pretrain =
        if job.network.is_given() { None } else { stage("pretrain", job.pretrain.pace(examples)) };
    let others = [
        stage("variational", job.variational.pace(examples)),
        stage("finetune", job.finetune.pace(examples)),
        stage("quantize", job.quantize.pace(examples)),
    ];
    pretrain.into_iter().chain(others.into_iter().flatten()).collect()
}

/// A rise of the error that is less than one example.
fn coarse(job: &Job, judged: usize) -> Option<String> {
    let one = 100.0 / judged.max(1) as f64;
    let allowed = job.requirements.error_rise();
    (!within(one, allowed)).then(|| {
        format!(
            "[requirements] error_rise_points = {allowed} allows not one error more than the dense \
             network has: one of {judged} validation examples is {one:.2} points; allow that, or \
             raise [data] validation_count"
        )
    })
}

/// Classes with too few examples to learn them or to tell how well.
fn rare(prepared: &Prepared) -> Option<String> {
    let mut test = vec![0; prepared.dataset.classes.len()];
    for &example in &prepared.split.test {
        let label = prepared.dataset.labels.get(example as usize).copied().unwrap_or(u32::MAX);
        if let Some(count) = test.get_mut(label as usize) {
            *count += 1;
        }
    }
    let (train, judged) = (prepared.train.per_class(), prepared.judged().per_class());
    let counts = train.into_iter().zip(judged).zip(test).map(|((a, b), c)| [a, b, c]);
    few(&prepared.dataset.classes, counts)
}

/// Names the classes of which `counts` has too few training, validation and test examples.
fn few(classes: &[String], counts: impl Iterator<Item = [u64; 3]>) -> Option<String> {
    let is_few = |counts: &[u64; 3]| {
        let least = [LEAST_TRAINING, LEAST_JUDGING, LEAST_JUDGING];
        counts.iter().zip(least).any(|(&count, least)| count < least)
    };
    let mut all = classes.iter().zip(counts).filter(|(_, counts)| is_few(counts));
    let (name, [train, validation, test]) = all.next()?;
    let others = match all.count() {
        0 => String::new(),
        more => format!(", and {more} more classes have as few"),
    };
    Some(format!(
        "class `{name}`: {train} training, {validation} validation and {test} test examples{others}; \
         its error can't be told: collect more, or raise [data] validation_count and test_count"
    ))
}

/// Standard deviation of all values.
pub(super) fn spread(values: &[f32]) -> f32 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let squares = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>();
    (squares / n).sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_classes_are_named_with_their_counts() {
        let names = ["fine", "dented", "torn"].map(str::to_owned);
        assert_eq!(few(&names, [[5, 3, 3]; 3].into_iter()), None);
        let one = few(&names, [[90, 30, 30], [5, 1, 2], [5, 3, 3]].into_iter()).unwrap();
        let counts = "class `dented`: 5 training, 1 validation and 2 test examples; its error";
        assert!(one.starts_with(counts), "{one}");
        for counts in [[4, 3, 3], [5, 2, 3], [5, 3, 2]] {
            let all = few(&names, [counts; 3].into_iter()).unwrap();
            assert!(all.contains("class `fine`") && all.contains("2 more classes"), "{all}");
        }
    }

    #[test]
    fn the_spread_is_the_standard_deviation() {
        assert!((spread(&[1.0, 3.0]) - 1.0).abs() < 1e-6);
        assert_eq!(spread(&[]), 0.0);
    }
}
