//! How `import` and `quantize` store weights, and what each choice takes.

use bitsback_runtime::Model;
use serde::Serialize;

use super::amount;
use crate::compile::serialize::{ModelInfo, SerializeError};
use crate::compile::storage::{Costing, Goal, SizeConfig};
use crate::compile::{CompileError, CompileOptions, Core, InputQuantization, Unpacked, Writer};
use crate::cost::estimate::Estimator;
use crate::error::{CliError, Error};
use crate::graph::IntegerGraph;
use crate::report::number::thousands;

/// Options about the storage of weights; they change no output.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct Storing {
    /// What the storage of weights is chosen for: the fewest bytes of the file, or the fewest
    /// instructions of the target's core [default: weights of 8 bits for instructions, others packed]
    #[arg(long, value_enum, value_name = "GOAL")]
    goal: Option<Goal>,
    /// With --goal instructions: most bytes of the file, such as 65536 or 64K (of 1,024)
    #[arg(long, value_name = "BYTES", value_parser = amount::bytes)]
    flash_bytes: Option<u64>,
    /// With --goal flash: most instructions of an inference on the target, as estimated, such as 250000 or
    /// 2M (of 1,000,000)
    #[arg(long, value_name = "COUNT", value_parser = amount::instructions)]
    instructions: Option<u64>,
    /// The core that the model is for: weights of 8 bits are stored as it multiplies them fastest, in
    /// pairs of rows for a Cortex-M4, M7 or M33, row after row for others; every core gives the same
    /// outputs from either
    #[arg(long, value_enum, value_name = "CORE", default_value_t)]
    target: Core,
    /// RAM that the program gives for weights, such as 4096 or 4K (of 1,024): as many as fit are unpacked
    /// into it once, and --goal and --instructions are for an inference with them
    #[arg(long, value_name = "BYTES", value_parser = amount::bytes, default_value_t = 0)]
    weights_ram: u64,
}

/// What a model takes when its weights are stored for a goal.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Choice {
    /// `default`, `flash` or `instructions`.
    goal: &'static str,
    /// Whether it is the one that was taken.
    taken: bool,
    /// The target's core.
    core: Core,
    file_bytes: u64,
    /// Of an inference on the target's core, as estimated.
    instructions: u64,
    /// The same with weights unpacked once; null where none are coded or packed.
    unpacked: Option<Unpacked>,
}

impl Storing {
    /// The compiler's options.
    ///
    /// # Errors
    /// Limits that contradict the goal.
    pub(super) fn options(&self) -> Result<CompileOptions, Error> {
        let Self { flash_bytes, instructions, .. } = *self;
        let limited = flash_bytes.is_some() || instructions.is_some();
        if self.goal.is_none() && limited {
            let reason = "--flash-bytes goes with --goal instructions, --instructions with --goal \
                          flash"
                .to_owned();
            return Err(CliError::Storing { reason }.into());
        }
        let size = self.goal.map(|goal| SizeConfig { goal, flash_bytes, instructions });
        if let Some(key) = size.as_ref().and_then(SizeConfig::contradiction) {
            let key = key.replace('_', "-");
            let reason = format!("--{key} limits what the goal makes small anyway; leave it out");
            return Err(CliError::Storing { reason }.into());
        }
        Ok(self.compile(size))
    }

    fn compile(&self, size: Option<SizeConfig>) -> CompileOptions {
        let (core, weights_ram_bytes) = (self.target, self.weights_ram);
        CompileOptions { size, core, weights_ram_bytes, ..CompileOptions::default() }
    }

    /// What each goal takes of a graph of integers.
    ///
    /// # Errors
    /// As [`crate::compile::write`].
    pub(super) fn choices(
        &self,
        graph: &IntegerGraph,
        input: &InputQuantization,
        info: &ModelInfo,
        taken: &[u8],
    ) -> Result<Vec<Choice>, CompileError> {
        let limited = self.flash_bytes.is_some() || self.instructions.is_some();
        let writer = Writer::new(graph, input, info)?;
        let mut estimator = Estimator::new(self.target);
        let mut choice = |goal, taken, bytes: &[u8]| -> Result<Choice, CompileError> {
            let model = Model::parse(bytes).map_err(SerializeError::from)?;
            let found = estimator.instructions(self.weights_ram, &model);
            let (core, file_bytes) = (self.target, bytes.len() as u64);
            let (instructions, unpacked) = (found.count, found.unpacked);
            Ok(Choice { goal, taken, core, file_bytes, instructions, unpacked })
        };
        let goals = [None, Some(Goal::Flash), Some(Goal::Instructions)];
        let mut choices = Vec::with_capacity(goals.len() + 1);
        for goal in goals {
            let size = goal.map(|goal| SizeConfig { goal, ..SizeConfig::default() });
            let (bytes, _) = writer.write(&self.compile(size))?;
            let name = goal.map_or("default", Goal::name);
            choices.push(choice(name, goal == self.goal && !limited, &bytes)?);
        }
        if limited {
            choices.push(choice("within the limit", true, taken)?);
        }
        Ok(choices)
    }

    /// Whether what was written keeps to the limit.
    ///
    /// # Errors
    /// [`CliError::Unmet`] where it doesn't.
    pub(super) fn check(&self, options: &CompileOptions, bytes: &[u8]) -> Result<(), Error> {
        let Some(size) = &options.size else { return Ok(()) };
        let mut costing = Costing::new(options.core, options.weights_ram_bytes);
        let costs = costing.of(bytes).map_err(|error| CompileError::Serialize(error.into()))?;
        if size.is_met(costs) {
            return Ok(());
        }
        let (key, limit, found) = size.missed(costs);
        let key = key.replace('_', "-");
        let reason = format!(
            "--{key} {limit} can't be met: the nearest that storage alone comes is {found}; narrow \
             weights, or compress"
        );
        Err(CliError::Unmet { reason }.into())
    }
}

/// The choices, a line each.
pub(super) fn told(choices: &[Choice]) -> String {
    let line = |choice: &Choice| {
        format!(
            "\n{} {:<16} {:>9} bytes, about {} instructions of a {}{}",
            if choice.taken { "*" } else { " " },
            choice.goal,
            thousands(choice.file_bytes),
            thousands(choice.instructions),
            choice.core,
            unpacked(choice.unpacked),
        )
    };
    let lines: String = choices.iter().map(line).collect();
    format!("weights stored (--goal):{lines}")
}

/// What the other way takes, behind what a model takes as it is stored.
pub(super) fn unpacked(unpacked: Option<Unpacked>) -> String {
    unpacked.map_or_else(String::new, |Unpacked { count, weights_ram_bytes }| {
        format!(
            ", {} with {} bytes of RAM for weights",
            thousands(count),
            thousands(weights_ram_bytes)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_told() {
        let choice = Choice {
            goal: "flash",
            taken: true,
            core: Core::CortexM4,
            file_bytes: 1_355,
            instructions: 530_800,
            unpacked: Some(Unpacked { count: 111_360, weights_ram_bytes: 3_375 }),
        };
        let plain = Choice { goal: "default", taken: false, unpacked: None, ..choice.clone() };
        let text = told(&[plain, choice]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].ends_with("about 530,800 instructions of a Cortex-M4"), "{text}");
        assert!(
            lines[2].ends_with("Cortex-M4, 111,360 with 3,375 bytes of RAM for weights"),
            "{text}"
        );
    }
}
