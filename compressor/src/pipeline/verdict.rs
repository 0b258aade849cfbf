//! Whether the model is good enough: better than chance, within its limits, and as its job requires.

use super::finish::{Input, Model};
use super::warnings::spread;
use crate::compile::storage::Costing;
use crate::error::{Error, PipelineError, Unmet};
use crate::graph::{Affine, Graph};
use crate::job::{Job, WeightBits};
use crate::select::chance::{Chance, Standing};
use crate::select::within;
use crate::summary::ChanceSummary;
use crate::train::batch::Examples;
use crate::train::deterministic::weight_count;
use crate::train::evaluate::{logits, score};
use crate::verify;

/// Widest weights that a job can ask for, in bits.
const MOST_BITS: u8 = 8;

/// Spread of the inputs below which they are said to vary too little.
const LEAST_SPREAD: f32 = 0.2;

/// Steps that a first training should have, before anything else is suspected.
const ENOUGH_STEPS: u64 = 1_000;

/// Classes that a sentence names.
const MOST_NAMED: usize = 3;

/// How the dense network and the model stand to chance.
pub(super) struct Verdict {
    dense: Chance,
    model: Chance,
}

/// A network of floats beside chance.
pub(super) fn chance(
    network: &Graph<Affine>,
    on: &Examples,
    device: &burn::tensor::Device,
) -> Result<Chance, Error> {
    let answers = verify::classes_of(&logits(network, on, device), on.classes);
    Ok(Chance::new(&verify::count(&answers, &on.labels, on.classes)?.confusion))
}

impl Verdict {
    /// Judges both on the examples that a front would be judged by.
    pub(super) fn new(input: &Input<'_>, model: &Model) -> Result<Self, Error> {
        let judged = input.run.prepared.judged();
        let inputs = model.compiled.input_quantization.quantize(&judged.inputs);
        let found = verify::evaluate(&model.bytes, &inputs, &judged.labels)?;
        Ok(Self {
            dense: chance(&input.trained.dense, judged, input.run.device)?,
            model: Chance::new(&found.confusion),
        })
    }

    /// Classes that the dense network gets right now and then, not by chance alone, and the model
    /// never answers.
    pub(super) fn lost(&self, classes: &[String]) -> Vec<String> {
        self.unanswered(classes, true)
    }

    /// Classes that the model never answers: those that the dense network knows, or the others.
    fn unanswered(&self, classes: &[String], known: bool) -> Vec<String> {
        let is_known = |class: &usize| self.dense.is_better() && self.dense.right.contains(class);
        let gone = |&(class, _): &(usize, &String)| {
            !self.model.answered.contains(&class) && is_known(&class) == known
        };
        classes.iter().enumerate().filter(gone).map(|(_, name)| name.clone()).collect()
    }

    /// A sentence for the lost classes, and one for the others that the model never answers.
    pub(super) fn warnings(&self, classes: &[String]) -> Vec<String> {
        let lost = some(&self.lost(classes)).map(|names| {
            format!(
                "the model never answers {names}, which the dense network knows: raise \
                 [variational.shrink] target_weights or [data] rare_class_share, or collect more of it"
            )
        });
        let never = some(&self.unanswered(classes, false)).map(|names| {
            let whose = match self.dense.is_better() {
                true => "the dense network hasn't learned it either: collect more of it",
                false => "nor is the dense network better than chance",
            };
            format!("the model never answers {names}; {whose}")
        });
        lost.into_iter().chain(never).collect()
    }

    /// For the summary.
    pub(super) fn summary(&self, classes: &[String]) -> ChanceSummary {
        let percent = 100.0 / self.model.examples.max(1) as f64;
        ChanceSummary {
            examples: self.model.examples,
            most_frequent: classes.get(self.model.most_frequent).cloned().unwrap_or_default(),
            most_frequent_error_percent: self.model.constant_errors as f64 * percent,
            dense_error_percent: self.dense.errors as f64 * percent,
            dense: self.dense.standing,
            error_percent: self.model.errors as f64 * percent,
            compressed: self.model.standing,
            lost_classes: self.lost(classes),
        }
    }
}

impl Input<'_> {
    /// Whether validation finds the model good enough.
    ///
    /// # Errors
    /// When the model can't be run.
    pub(super) fn check(
        &self,
        model: &Model,
        verdict: &Verdict,
    ) -> Result<Result<(), Unmet>, Error> {
        if let Err(unmet) = self.check_chance(verdict) {
            return Ok(Err(unmet));
        }
        let size = self.job.size;
        let target = self.job.target;
        let mut costing = Costing::new(target.core, target.weights_ram_bytes);
        let found = costing.of(&model.bytes).map_err(PipelineError::Parse)?;
        if !size.is_met(found) {
            let (what, limit, found) = size.missed(found);
            return Ok(Err(Unmet::Size { what, limit, found }));
        }
        if let Some(front) = self.front {
            return Ok(front.verdict(self.job));
        }
        let validation = &self.run.prepared.validation;
        let dense = score(&self.trained.dense, validation, self.run.device);
        let found = model.verification.integer_error_percent;
        let rise = found - dense.error_percent;
        let allowed = self.job.requirements.error_rise();
        if within(rise, allowed) {
            return Ok(Ok(()));
        }
        let examples = validation.len();
        let remedy = self.remedy();
        Ok(Err(Unmet::Requirement { found, rise, allowed, examples, remedy }))
    }

    /// Whether there is anything to compress, and something left of it.
    fn check_chance(&self, verdict: &Verdict) -> Result<(), Unmet> {
        let classes = &self.run.prepared.dataset.classes;
        let of = |whose: &str, chance: &Chance| format!("{whose}: {}", chance.why(classes));
        let (dense, model) = (&verdict.dense, &verdict.model);
        Err(match (dense.standing, model.standing) {
            (Standing::Better, Standing::Better) => return Ok(()),
            (Standing::TooFewExamples, _) | (_, Standing::TooFewExamples) => {
                Unmet::TooFewToTell { why: of("The integer model", model) }
            }
            (Standing::NotBetter, _) => Unmet::Chance {
                why: of("The dense network", dense),
                remedy: untrained(self.job, &self.run.prepared.train),
            },
            (_, Standing::NotBetter) => {
                let why = of("The integer model", model);
                Unmet::Chance { why, remedy: self.remedy() }
            }
        })
    }

    /// What keeps more of the dense network, as far as this job leaves it open.
    fn remedy(&self) -> String {
        let (job, trained) = (self.job, self.trained);
        let (left, all) = (weight_count(&trained.network), weight_count(&trained.dense));
        let mut ways = Vec::new();
        if job.variational.is_bayesian() && left < all {
            let more = (left + left / 2).min(all);
            ways.push(match job.variational.shrink.target_weights.unwrap_or(0) {
                0 => format!("stop removing sooner ([variational.shrink] target_weights = {more})"),
                target => format!("raise [variational.shrink] target_weights ({target} now)"),
            });
        }
        if job.quantize.is_on() {
            match &job.quantize.bits {
                Some(WeightBits::Given(bits)) if bits.iter().any(|&bits| bits < MOST_BITS) => {
                    ways.push("raise [quantize] bits".to_owned());
                }
                Some(WeightBits::FromPosterior(_)) if job.bits.least < MOST_BITS => {
                    ways.push(format!("raise [bits] least ({} now)", job.bits.least));
                }
                _ => {}
            }
            if job.quantize.has_rate() {
                ways.push(format!("lower [quantize] rate ({} now)", job.quantize.rate()));
            }
        } else if job.bits.most < MOST_BITS {
            ways.push("raise [bits] most".to_owned());
        } else {
            ways.push("train in integers ([quantize] epochs)".to_owned());
        }
        ways.push("train longer".to_owned());
        ways.join(", ")
    }
}

/// The first few of these names, and how many more there are; `None` without any.
fn some(names: &[String]) -> Option<String> {
    let shown: Vec<String> =
        names.iter().take(MOST_NAMED).map(|name| format!("`{name}`")).collect();
    let more = match names.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!shown.is_empty()).then(|| shown.join(", ") + &more)
}

/// What helps a network that learned nothing.
fn untrained(job: &Job, train: &Examples) -> String {
    let mut ways = vec![
        "see that labels belong to their inputs, and that the inputs tell them apart".to_owned(),
    ];
    let varies = spread(&train.inputs);
    if varies < LEAST_SPREAD {
        ways.push(format!(
            "leave out [data] normalization: as stated, inputs vary by {varies:.3} where 1 is good"
        ));
    }
    if !job.network.is_given() {
        let steps = job.pretrain.pace(train.len()).steps(train.len());
        if steps < ENOUGH_STEPS {
            ways.push(format!(
                "leave out [pretrain] epochs and batch: as stated, they are {steps} steps"
            ));
        }
        ways.push("try another [pretrain] learning_rate, or other layers".to_owned());
    }
    ways.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_are_never_answered_are_told_apart() {
        let names = ["fine", "dented", "torn"].map(str::to_owned);
        // The dense network knows two of the classes, and the model one.
        let model = Chance::new(&[vec![40, 0, 0], vec![20, 0, 0], vec![9, 0, 0]]);
        let dense = Chance::new(&[vec![40, 0, 0], vec![1, 19, 0], vec![5, 4, 0]]);
        let known = Verdict { dense, model: model.clone() };
        assert_eq!(known.lost(&names), ["dented"]);
        let told = known.warnings(&names);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("never answers `dented`, which the dense network knows"));
        assert!(told[1].contains("never answers `torn`; the dense network hasn't learned it"));
        let luck = Chance::new(&[vec![20, 15, 5], vec![10, 7, 3], vec![5, 3, 1]]);
        let told = Verdict { dense: luck, model }.warnings(&names);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("`dented`, `torn`; nor is the dense network"), "{told:?}");
    }
}
