//! How each layer's weights are stored: for the fewest bytes, for the fewest instructions, or for
//! either within a limit on the other.
//!
//! Every way of storing gives the same outputs, so this is a choice of costs alone. With a limit it
//! is a knapsack of few layers: from what the goal alone would take, one layer after another changes
//! to the form that saves most of what is limited for what it costs, until the limit holds; then
//! layers whose change turns out not to be needed go back.

use bitsback_runtime::Model;
use bitsback_runtime::format::ParseError;
use serde::{Deserialize, Serialize};

use crate::cost::{Core, estimate};
use crate::graph::Storage;

/// What the storage of weights is chosen for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// The fewest bytes of the model file. Decoding a coded weight takes some 40 to 80 instructions of a
    /// Cortex-M4 where weights are narrow, and some 850 at 8 bits, once an inference.
    #[default]
    Flash,
    /// Weights of 8 bits, as the target's core takes them fastest.
    Instructions,
}

impl Goal {
    /// As job files and options have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flash => "flash",
            Self::Instructions => "instructions",
        }
    }
}

/// `[size]`: how weights are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SizeConfig {
    /// What is to be small: `flash` or `instructions`.
    pub goal: Goal,
    /// With `goal = "instructions"`: most bytes of the model file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flash_bytes: Option<u64>,
    /// With `goal = "flash"`: most instructions of an inference on the target's core, as estimated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
}

/// What a model costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Bytes of the model file.
    pub bytes: u64,
    /// Estimated instructions of an inference on the target's core.
    pub instructions: u64,
}

/// What a model file costs on a core.
///
/// # Errors
/// When the runtime refuses it.
pub(crate) fn costs(core: Core, bytes: &[u8]) -> Result<Costs, ParseError> {
    let model = Model::parse(bytes)?;
    let instructions = estimate::instructions(core, &model).count;
    Ok(Costs { bytes: bytes.len() as u64, instructions })
}

impl SizeConfig {
    /// The form that the goal alone asks for.
    fn storage(&self) -> Storage {
        match self.goal {
            Goal::Flash => Storage::Shortest,
            Goal::Instructions => Storage::Fastest,
        }
    }

    /// What is limited, and to what.
    fn limit(&self) -> Option<u64> {
        match self.goal {
            Goal::Flash => self.instructions,
            Goal::Instructions => self.flash_bytes,
        }
    }

    /// What is limited, and what is to be small, of `costs`.
    fn parts(&self, costs: Costs) -> (u64, u64) {
        match self.goal {
            Goal::Flash => (costs.instructions, costs.bytes),
            Goal::Instructions => (costs.bytes, costs.instructions),
        }
    }

    /// Whether the limit, if there is one, holds.
    pub fn is_met(&self, costs: Costs) -> bool {
        self.limit().is_none_or(|limit| self.parts(costs).0 <= limit)
    }

    /// Of a limit that doesn't hold: its key, what it is, and what `costs` has instead.
    pub fn missed(&self, costs: Costs) -> (&'static str, u64, u64) {
        let what = match self.goal {
            Goal::Flash => "instructions",
            Goal::Instructions => "flash_bytes",
        };
        (what, self.limit().unwrap_or(u64::MAX), self.parts(costs).0)
    }

    /// The key of a limit on what the goal makes small anyway.
    pub fn contradiction(&self) -> Option<&'static str> {
        match self.goal {
            Goal::Flash => self.flash_bytes.map(|_| "flash_bytes"),
            Goal::Instructions => self.instructions.map(|_| "instructions"),
        }
    }

    /// Chooses the storage of so many `layers`, of models that `make` makes, with their costs. Where
    /// no choice is within the limit, what comes nearest.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn choose<M, E>(
        &self,
        layers: usize,
        mut make: impl FnMut(&[Storage]) -> Result<(M, Costs), E>,
    ) -> Result<M, E> {
        let goal = self.storage();
        let mut chosen = vec![goal; layers];
        let (mut model, mut costs) = make(&chosen)?;
        while !self.is_met(costs) {
            let mut best: Option<(f64, Vec<Storage>, M, Costs)> = None;
            for (layer, form) in changes(&chosen) {
                let mut changed = chosen.clone();
                changed[layer] = form;
                let (candidate, its) = make(&changed)?;
                let ((limited, small), (before, small_before)) =
                    (self.parts(its), self.parts(costs));
                if limited >= before {
                    continue;
                }
                let paid = small.saturating_sub(small_before).max(1);
                let worth = (before - limited) as f64 / paid as f64;
                if best.as_ref().is_none_or(|best| worth > best.0) {
                    best = Some((worth, changed, candidate, its));
                }
            }
            let Some((_, changed, candidate, its)) = best else { break };
            (chosen, model, costs) = (changed, candidate, its);
        }
        for layer in 0..layers {
            if chosen[layer] == goal {
                continue;
            }
            let mut changed = chosen.clone();
            changed[layer] = goal;
            let (candidate, its) = make(&changed)?;
            if self.is_met(its) && self.parts(its).1 < self.parts(costs).1 {
                (chosen, model, costs) = (changed, candidate, its);
            }
        }
        Ok(model)
    }
}

/// Every other form of every layer.
fn changes(chosen: &[Storage]) -> impl Iterator<Item = (usize, Storage)> {
    let forms = [Storage::Packed, Storage::Shortest, Storage::Fastest];
    chosen.iter().enumerate().flat_map(move |(layer, &now)| {
        forms.into_iter().filter(move |&form| form != now).map(move |form| (layer, form))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Bytes and instructions of three layers, by form.
    const LAYERS: [[(u64, u64); 3]; 3] =
        [[(40, 90), (10, 900), (80, 30)], [(60, 50), (20, 400), (120, 45)], [(5, 5); 3]];

    fn choose(config: SizeConfig) -> (Vec<Storage>, Costs) {
        let made = config.choose(LAYERS.len(), |forms| {
            let costs = forms.iter().zip(LAYERS).fold(
                Costs { bytes: 100, instructions: 100 },
                |sum, (&form, layer)| {
                    let (bytes, instructions) = layer[form as usize];
                    Costs {
                        bytes: sum.bytes + bytes,
                        instructions: sum.instructions + instructions,
                    }
                },
            );
            Ok::<_, Infallible>(((forms.to_vec(), costs), costs))
        });
        made.unwrap()
    }

    #[test]
    fn without_a_limit_the_goal_decides() {
        assert_eq!(choose(SizeConfig::default()).0, [Storage::Shortest; 3]);
        let fast = SizeConfig { goal: Goal::Instructions, ..SizeConfig::default() };
        assert_eq!(choose(fast).0, [Storage::Fastest; 3]);
    }

    #[test]
    fn a_limit_is_on_what_the_goal_leaves() {
        let flash = SizeConfig { instructions: Some(1), ..SizeConfig::default() };
        assert_eq!(flash.contradiction(), None);
        let fast = SizeConfig { goal: Goal::Instructions, ..flash };
        assert_eq!(fast.contradiction(), Some("instructions"));
        let twice = SizeConfig { flash_bytes: Some(1), ..SizeConfig::default() };
        assert_eq!(twice.contradiction(), Some("flash_bytes"));
    }

    #[test]
    fn a_limit_is_met_at_the_least_cost() {
        for limit in [250, 300, 600, 1_200] {
            let flash = SizeConfig { instructions: Some(limit), ..SizeConfig::default() };
            let (_, costs) = choose(flash);
            assert!(flash.is_met(costs), "{limit}: {costs:?}");
            let fast = SizeConfig {
                goal: Goal::Instructions,
                flash_bytes: Some(limit),
                instructions: None,
            };
            assert!(fast.is_met(choose(fast).1), "{limit}");
        }
        // Packing the first layer alone is enough.
        let one = SizeConfig { instructions: Some(600), ..SizeConfig::default() };
        assert_eq!(choose(one).0, [Storage::Packed, Storage::Shortest, Storage::Shortest]);
    }

    #[test]
    fn what_can_not_be_met_comes_as_near_as_it_can() {
        let impossible = SizeConfig { instructions: Some(1), ..SizeConfig::default() };
        let (_, costs) = choose(impossible);
        assert!(!impossible.is_met(costs));
        assert_eq!(impossible.missed(costs), ("instructions", 1, costs.instructions));
        assert_eq!(costs.instructions, 100 + 30 + 45 + 5);
    }
}
