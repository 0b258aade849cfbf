//! Whether the model is good enough: better than chance, within its limits, and as its job requires.

use super::PipelineError;
use super::finish::{Input, Model, costs};
use super::stages::weights;
use super::warnings::spread;
use crate::error::Error;
use crate::job::Job;
use crate::network::FloatNetwork;
use crate::select::chance::{Chance, Standing};
use crate::select::within;
use crate::summary::ChanceSummary;
use crate::train::batch::Examples;
use crate::train::evaluate::{logits, score};
use crate::verify;

/// Widest weights that a job can ask for, in bits.
const MOST_BITS: u8 = 8;

/// Spread of the inputs below which they are said to vary too little.
const LEAST_SPREAD: f32 = 0.2;

/// Steps that a first training should have, before anything else is suspected.
const ENOUGH_STEPS: u64 = 1_000;

/// How the dense network and the model stand to chance.
pub(super) struct Verdict {
    dense: Chance,
    model: Chance,
}

/// A network of floats beside chance.
pub(super) fn chance(
    network: &FloatNetwork,
    on: &Examples,
    device: &burn::tensor::Device,
) -> Result<Chance, Error> {
    let answers = verify::classes_of(&logits(network, on, device), on.classes);
    Ok(Chance::new(&verify::count(&answers, &on.labels, on.classes)?.confusion))
}

impl Verdict {
    /// Judges both on the examples that a front would be judged by.
    pub(super) fn new(input: &Input<'_>, model: &Model) -> Result<Self, Error> {
        let judged = input.site.prepared.judged();
        let inputs = model.graph.input_quantization.quantize(&judged.inputs);
        let found = verify::evaluate(&model.bytes, &inputs, &judged.labels)?;
        Ok(Self {
            dense: chance(&input.trained.dense, judged, input.site.device)?,
            model: Chance::new(&found.confusion),
        })
    }

    /// Classes that the dense network gets right now and then, and the model never answers.
    pub(super) fn lost(&self, classes: &[String]) -> Vec<String> {
        let gone = self.dense.right.iter().filter(|class| !self.model.answered.contains(class));
        gone.filter_map(|&class| classes.get(class).cloned()).collect()
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
    pub(super) fn check(&self, model: &Model, verdict: &Verdict) -> Result<(), Error> {
        self.check_chance(verdict)?;
        let size = self.job.size;
        let found = costs(&model.bytes)?;
        if !size.is_met(found) {
            let (what, limit, found) = size.missed(found);
            return Err(PipelineError::Size { what, limit, found }.into());
        }
        if let Some(front) = self.front {
            return front.verdict(self.job);
        }
        let validation = &self.site.prepared.validation;
        let dense = score(&self.trained.dense, validation, self.site.device);
        let found = model.verification.integer_error_percent;
        let rise = found - dense.error_percent;
        let allowed = self.job.requirements.error_rise();
        if within(rise, allowed) {
            return Ok(());
        }
        let examples = validation.len();
        let remedy = self.remedy();
        Err(PipelineError::Requirement { found, rise, allowed, examples, remedy }.into())
    }

    /// Whether there is anything to compress, and something left of it.
    fn check_chance(&self, verdict: &Verdict) -> Result<(), Error> {
        let classes = &self.site.prepared.dataset.classes;
        let of = |whose: &str, chance: &Chance| format!("{whose}: {}", chance.why(classes));
        let (dense, model) = (&verdict.dense, &verdict.model);
        Err(match (dense.standing, model.standing) {
            (Standing::Better, Standing::Better) => return Ok(()),
            (Standing::TooFewExamples, _) | (_, Standing::TooFewExamples) => {
                PipelineError::TooFewToTell { why: of("the integer model", model) }
            }
            (Standing::NotBetter, _) => PipelineError::Chance {
                why: of("the dense network", dense),
                remedy: untrained(self.job, &self.site.prepared.train),
            },
            (_, Standing::NotBetter) => {
                let why = of("the integer model", model);
                PipelineError::Chance { why, remedy: self.remedy() }
            }
        }
        .into())
    }

    /// What keeps more of the dense network, as far as this job leaves it open.
    fn remedy(&self) -> String {
        let (job, trained) = (self.job, self.trained);
        let (left, all) = (weights(&trained.network), weights(&trained.dense));
        let mut ways = Vec::new();
        if job.variational.is_bayesian() && left < all {
            let more = (left + left / 2).min(all);
            ways.push(match job.variational.shrink.target_weights.unwrap_or(0) {
                0 => format!("stop removing sooner ([variational.shrink] target_weights = {more})"),
                target => format!("raise [variational.shrink] target_weights ({target} now)"),
            });
        }
        if job.quantize.is_on() {
            if job.quantize.bits.iter().any(|&bits| bits < MOST_BITS) {
                ways.push("raise [quantize] bits".to_owned());
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

/// What helps a network that learned nothing.
fn untrained(job: &Job, train: &Examples) -> String {
    let mut ways = Vec::new();
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
    ways.push("see that labels belong to their inputs".to_owned());
    ways.join("; ")
}
