//! What a model's outputs and the data's labels mean to one another, and what a model gives.

use std::path::Path;

use bitsback_runtime::{Model, OpKind};

use super::output::Context;
use super::source::Source;
use crate::data::answers::{self, Matched, match_labels};
use crate::data::{DataError, RawLabels, list};
use crate::error::{CliError, Error};
use crate::quantize::assess::Truth;
use crate::task::{Ending, Task};
use crate::verify::{self, VerifyError};

/// `--classes` and `--task`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Meaning {
    /// Names of the classes, in the order of the outputs; of a single output, of what is below and
    /// above the threshold [default: the model's, or a job's]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(super) classes: Vec<String>,
    /// What the outputs are [default: the largest is the class; a single one is a class behind a
    /// sigmoid, with two names, or with labels 0 and 1, else a number]
    #[arg(long, value_enum)]
    pub(super) task: Option<Task>,
}

/// What the examples should give.
pub(super) enum Answers {
    /// Nobody says.
    Unknown,
    /// Classes.
    Classes(Matched),
    /// Numbers: so many an example, as many as the model answers with.
    Numbers(usize, Vec<f32>),
}

/// What outputs mean, and what they should be.
pub(super) struct Judging {
    pub(super) task: Task,
    pub(super) answers: Answers,
    /// Names of the classes; empty where they are unknown, or outputs are numbers.
    pub(super) names: Vec<String>,
}

impl Meaning {
    /// Decides what outputs mean and matches labels to them; `ending` is a model's, and `named` the
    /// names that are known of its classes. What was assumed is noted.
    pub(super) fn judge(
        &self,
        context: &Context,
        source: &Source,
        ending: Ending,
        named: &[String],
    ) -> Result<Judging, Error> {
        let labels = source.labels(ending.outputs);
        let names = self.names(ending, named, source.names.as_ref())?;
        if self.classes.is_empty() && named.is_empty() && !numbered(&names) {
            context.note(&format!(
                "the model has no class names: those of the job are taken for its outputs, {}",
                list(&names)
            ));
        }
        let task = match self.task {
            Some(task) => checked(task, ending)?,
            None => assumed(context, ending, &names, &labels),
        };
        let classes = match task {
            Task::Regression => return regression(context, source, ending, &labels),
            Task::Binary => Some(2),
            // A model that gives a class alone doesn't say how many it knows.
            Task::Classes => ending.outputs.or((!names.is_empty()).then_some(names.len())),
        };
        if source.are_one_hot(&labels) {
            context.note(&format!(
                "{}: each label is a row with a single 1, and counts as the class of its place",
                source.path.display()
            ));
        }
        if !are_classes(context, source, ending, &names, &labels) {
            return Ok(Judging { task, answers: Answers::Unknown, names });
        }
        let matched =
            match_labels(&source.path, &labels, &names, classes).map_err(DataError::from)?;
        if matched.assumed {
            context.note(&format!(
                "the model has no class names: its classes are taken to be {}, in this order; else say \
                 --classes",
                list(&matched.names)
            ));
        }
        let missing = matched.missing(&source.examples);
        if !missing.is_empty() {
            context.note(&format!(
                "{}: no example of {} ({} of the model's {} classes)",
                source.path.display(),
                list(&missing),
                missing.len(),
                matched.names.len()
            ));
        }
        Ok(Judging { task, names: matched.names.clone(), answers: Answers::Classes(matched) })
    }

    /// What outputs mean where there are no data with labels, and the names of classes.
    pub(super) fn of_outputs(
        &self,
        context: &Context,
        ending: Ending,
        named: &[String],
    ) -> Result<(Task, Vec<String>), Error> {
        let names = self.names(ending, named, None)?;
        let task = match self.task {
            Some(task) => checked(task, ending)?,
            None => assumed(context, ending, &names, &RawLabels::None),
        };
        Ok((task, names))
    }

    /// The classes' names: given, or the model's, or the job's where there is one for each class.
    fn names(
        &self,
        ending: Ending,
        named: &[String],
        of_job: Option<&Vec<String>>,
    ) -> Result<Vec<String>, Error> {
        let classes = ending.outputs.map(|outputs| outputs.max(2));
        if !self.classes.is_empty() {
            check_names(&self.classes, ending)?;
            return Ok(self.classes.clone());
        }
        if !named.is_empty() {
            return Ok(named.to_vec());
        }
        let of_job = of_job.filter(|names| classes.is_none_or(|n| n == names.len()));
        Ok(of_job.cloned().unwrap_or_default())
    }
}

/// Whether names are just the numbers of the classes, as none are.
fn numbered(names: &[String]) -> bool {
    names.iter().enumerate().all(|(class, name)| *name == class.to_string())
}

/// Checks that there is one name for each class of a model.
pub(super) fn check_names(names: &[String], ending: Ending) -> Result<(), Error> {
    let Some(classes) = ending.outputs.map(|outputs| outputs.max(2)) else { return Ok(()) };
    if names.is_empty() || names.len() == classes {
        return Ok(());
    }
    let reason = format!(
        "--classes has {} names, but the model tells {classes} classes apart; give one for each",
        names.len()
    );
    Err(CliError::Meaning { reason }.into())
}

/// Checks that a model can do what it is said to do.
fn checked(task: Task, ending: Ending) -> Result<Task, Error> {
    let single = ending.outputs == Some(1);
    let reason = match (task, single, ending.outputs) {
        (Task::Binary, false, _) => "--task binary is for models with a single output",
        (Task::Classes, true, _) => {
            "the model has a single output: say --task binary or --task regression"
        }
        (Task::Regression, _, None) => "the model answers with a class, and with no numbers",
        _ => return Ok(task),
    };
    Err(CliError::Meaning { reason: reason.to_owned() }.into())
}

/// What outputs mean if nobody says; what of a single one was assumed, and why, is noted.
fn assumed(context: &Context, ending: Ending, names: &[String], labels: &RawLabels) -> Task {
    let Some(outputs) = ending.outputs else { return Task::Classes };
    if outputs != 1 {
        let numbers = matches!(labels, RawLabels::Reals { width, .. } if *width == outputs);
        return if numbers { Task::Regression } else { Task::Classes };
    }
    let numbers = answers::numbers(labels);
    let real = numbers.iter().any(|(_, all)| all.iter().any(|x| x.fract() != 0.0));
    let (task, why) = if real {
        (Task::Regression, "the labels are real numbers")
    } else if names.len() == 2 {
        (Task::Binary, "there are two class names")
    } else if answers::are_names(labels) {
        (Task::Binary, "the labels are names")
    } else if ending.sigmoid {
        (Task::Binary, "it comes from a sigmoid")
    } else if answers::zeros_and_ones(labels) {
        (Task::Binary, "the labels are 0 and 1")
    } else {
        (Task::Regression, "nothing says that it is a class")
    };
    // Who gives two names has said it.
    if names.len() == 2 && task == Task::Binary {
        return task;
    }
    let said = match task {
        Task::Binary => format!("one of two classes, the second above {}", ending.threshold()),
        _ => "a number".to_owned(),
    };
    context
        .note(&format!("the model's single output is taken as {said}, as {why}; else say --task"));
    task
}

/// Whether labels are classes; why there are some that aren't is noted.
fn are_classes(
    context: &Context,
    source: &Source,
    ending: Ending,
    names: &[String],
    labels: &RawLabels,
) -> bool {
    let path = source.path.display();
    // An autoencoder's data come in one folder or with a column of zeros.
    let gives_what_it_takes = ending.outputs == Some(source.dataset.shape.len());
    if let RawLabels::Reals { width, .. } = labels {
        context.note(&format!(
            "{path}: the labels are real numbers, {width} an example, and no classes: errors aren't \
             counted"
        ));
    } else if names.is_empty() && labels.are_alike() && gives_what_it_takes {
        context.note(&format!(
            "{path}: all labels are alike, and the model gives as many numbers as it takes: they are \
             taken for no classes, and errors aren't counted; else say --classes"
        ));
    } else {
        return *labels != RawLabels::None;
    }
    false
}

/// Labels as what numbers should be.
fn regression(
    context: &Context,
    source: &Source,
    ending: Ending,
    labels: &RawLabels,
) -> Result<Judging, Error> {
    let outputs = ending.outputs.unwrap_or_default();
    let answers = match answers::numbers(labels) {
        Some((width, values)) if width == outputs => Answers::Numbers(width, values),
        Some((width, _)) => {
            context.note(&format!(
                "{}: has {width} numbers an example to be met, but the model has {outputs} outputs: \
                 how well they are met isn't measured",
                source.path.display()
            ));
            Answers::Unknown
        }
        None if *labels == RawLabels::None => Answers::Unknown,
        None => {
            let reason = "the labels are names, which a model's numbers can't meet".to_owned();
            return Err(CliError::Meaning { reason }.into());
        }
    };
    Ok(Judging { task: Task::Regression, answers, names: Vec::new() })
}

/// What a model gives for the examples.
pub(super) struct Given {
    /// Classes; empty where outputs are numbers.
    pub(super) classes: Vec<u32>,
    /// Real outputs; none where the model gives a class alone.
    pub(super) outputs: Option<Vec<f32>>,
}

impl Given {
    /// By a model of integers, whose outputs mean what they say themselves.
    pub(super) fn by(bytes: &[u8], inputs: &[i8], task: Task) -> Result<Self, Error> {
        let model = Model::parse(bytes).map_err(VerifyError::from)?;
        Self::with_ending(bytes, inputs, task, Ending::of_model(&model))
    }

    /// By a model of integers, whose single output has that ending's threshold.
    pub(super) fn with_ending(
        bytes: &[u8],
        inputs: &[i8],
        task: Task,
        ending: Ending,
    ) -> Result<Self, Error> {
        let (classes, outputs) = verify::answers(bytes, inputs)?;
        let model = Model::parse(bytes).map_err(VerifyError::from)?;
        if model.last_kind() == OpKind::Argmax {
            return Ok(Self { classes, outputs: None });
        }
        let (scale, zero) = (model.meta().output_scale, f32::from(model.output().zero_point));
        let outputs: Vec<f32> =
            outputs.into_iter().map(|q| scale * (f32::from(q) - zero)).collect();
        let classes = match task {
            Task::Classes => classes,
            _ => ending.classes(task, &outputs),
        };
        Ok(Self { classes, outputs: Some(outputs) })
    }
}

impl Judging {
    /// The classes of the listed examples, if they are known.
    pub(super) fn labels(&self, examples: &[u32]) -> Option<Vec<u32>> {
        let Answers::Classes(matched) = &self.answers else { return None };
        Some(examples.iter().filter_map(|&at| matched.labels.get(at as usize).copied()).collect())
    }

    /// What numbers the listed examples should give, if that is known, and how many each.
    pub(super) fn targets(&self, examples: &[u32]) -> Option<(usize, Vec<f32>)> {
        let Answers::Numbers(width, values) = &self.answers else { return None };
        let row = |&at: &u32| values.get(at as usize * width..(at as usize + 1) * width);
        Some((*width, examples.iter().filter_map(row).flatten().copied().collect()))
    }

    /// What the listed examples should give.
    pub(super) fn truth(&self, examples: &[u32]) -> Truth {
        match (self.labels(examples), self.targets(examples)) {
            (Some(labels), _) => Truth::Classes(labels),
            (None, Some((width, targets))) => Truth::Numbers(width, targets),
            (None, None) => Truth::Unknown,
        }
    }

    /// Names of the classes as a model keeps them: none where they are mere numbers.
    pub(super) fn stored_names(&self) -> Vec<String> {
        if numbered(&self.names) { Vec::new() } else { self.names.clone() }
    }
}

/// Raises an error where an evaluation has nothing to go by.
pub(super) fn unlabelled(path: &Path) -> Error {
    CliError::Unlabelled { path: path.to_owned() }.into()
}
