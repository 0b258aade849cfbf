//! How each layer's weights are stored: for the fewest bytes, for the fewest instructions, or for
//! either within a limit on the other. Where the device has RAM for weights, instructions are those with
//! as many of them unpacked as it has room for, so that a layer may be short and fast at once.
//!
//! Every way of storing gives the same outputs, so this is a choice of costs alone. With a limit it
//! is a knapsack of few layers: from what the goal alone would take, one layer after another changes
//! to the form that saves most of what is limited for what it costs, until the limit holds; then
//! layers whose change turns out not to be needed go back.

use bitsback_runtime::Model;
use bitsback_runtime::format::ParseError;
use serde::{Deserialize, Serialize};

use crate::cost::Core;
use crate::cost::estimate::Estimator;
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
    /// With `goal = "flash"`: most instructions of an inference on the target, as estimated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
}

/// What a model costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Costs {
    /// Bytes of the model file.
    pub bytes: u64,
    /// Estimated instructions of an inference on the target.
    pub instructions: u64,
}

/// What model files cost on a core whose program gives so many bytes of RAM for weights.
#[derive(Clone, Debug)]
pub(crate) struct Costing {
    estimator: Estimator,
    weights_ram_bytes: u64,
}

impl Costing {
    /// For a core.
    pub(crate) fn new(core: Core, weights_ram_bytes: u64) -> Self {
        Self { estimator: Estimator::new(core), weights_ram_bytes }
    }

    /// Costs of a model file.
    ///
    /// # Errors
    /// When the runtime refuses it.
    pub(crate) fn of(&mut self, bytes: &[u8]) -> Result<Costs, ParseError> {
        let model = Model::parse(bytes)?;
        let instructions = self.estimator.required(self.weights_ram_bytes, &model);
        Ok(Costs { bytes: bytes.len() as u64, instructions })
    }
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
    /// no choice is within the limit, what comes nearest. Of choices with as few instructions, the one with
    /// fewest bytes: with RAM for weights (`has_ram`) a layer that is coded may be as fast as any.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn choose<M, E>(
        &self,
        layers: usize,
        has_ram: bool,
        mut make: impl FnMut(&[Storage]) -> Result<(M, Costs), E>,
    ) -> Result<M, E> {
        let first = vec![self.storage(); layers];
        let (model, costs) = make(&first)?;
        let mut made = Made { chosen: first, model, costs };
        self.meet(&mut made, &mut make)?;
        self.go_back(&mut made, &mut make)?;
        if has_ram && self.goal == Goal::Instructions {
            self.shorten(&mut made, &mut make)?;
        }
        Ok(made.model)
    }

    /// Changes one layer after the other until the limit holds.
    fn meet<M, E>(
        &self,
        made: &mut Made<M>,
        make: &mut impl FnMut(&[Storage]) -> Result<(M, Costs), E>,
    ) -> Result<(), E> {
        while !self.is_met(made.costs) {
            let mut best: Option<(f64, Made<M>)> = None;
            for (layer, form) in changes(&made.chosen) {
                let mut changed = made.chosen.clone();
                changed[layer] = form;
                let (candidate, its) = make(&changed)?;
                let ((limited, small), (before, small_before)) =
                    (self.parts(its), self.parts(made.costs));
                if limited >= before {
                    continue;
                }
                let paid = small.saturating_sub(small_before).max(1);
                let worth = (before - limited) as f64 / paid as f64;
                if best.as_ref().is_none_or(|best| worth > best.0) {
                    best = Some((worth, Made { chosen: changed, model: candidate, costs: its }));
                }
            }
            let Some((_, better)) = best else { break };
            *made = better;
        }
        Ok(())
    }

    /// Has layers as the goal alone would, whose change turned out not to be needed.
    fn go_back<M, E>(
        &self,
        made: &mut Made<M>,
        make: &mut impl FnMut(&[Storage]) -> Result<(M, Costs), E>,
    ) -> Result<(), E> {
        let goal = self.storage();
        for layer in 0..made.chosen.len() {
            if made.chosen[layer] == goal {
                continue;
            }
            let mut changed = made.chosen.clone();
            changed[layer] = goal;
            let (model, costs) = make(&changed)?;
            if self.is_met(costs) && self.parts(costs).1 < self.parts(made.costs).1 {
                *made = Made { chosen: changed, model, costs };
            }
        }
        Ok(())
    }

    /// Has layers in fewer bytes where that takes no instruction more.
    fn shorten<M, E>(
        &self,
        made: &mut Made<M>,
        make: &mut impl FnMut(&[Storage]) -> Result<(M, Costs), E>,
    ) -> Result<(), E> {
        for (layer, form) in changes(&made.chosen.clone()) {
            let mut changed = made.chosen.clone();
            changed[layer] = form;
            let (model, costs) = make(&changed)?;
            let no_slower = costs.instructions <= made.costs.instructions;
            if no_slower && costs.bytes < made.costs.bytes {
                *made = Made { chosen: changed, model, costs };
            }
        }
        Ok(())
    }
}

/// A model as its layers are stored, and its costs.
struct Made<M> {
    chosen: Vec<Storage>,
    model: M,
    costs: Costs,
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
        choose_with(config, false, LAYERS)
    }

    fn choose_with(
        config: SizeConfig,
        has_ram: bool,
        layers: [[(u64, u64); 3]; 3],
    ) -> (Vec<Storage>, Costs) {
        let made = config.choose(layers.len(), has_ram, |forms| {
            let costs = forms.iter().zip(layers).fold(
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
    fn with_ram_a_layer_may_be_short_and_fast() {
        // With its weights unpacked, the second layer is as fast coded as it is in bytes, and the third
        // faster by an instruction in bytes.
        let layers = [
            [(40, 90), (10, 90), (80, 30)],
            [(60, 45), (20, 45), (120, 45)],
            [(5, 6), (4, 6), (9, 5)],
        ];
        let fast = SizeConfig { goal: Goal::Instructions, ..SizeConfig::default() };
        let (forms, costs) = choose_with(fast, true, layers);
        assert_eq!(forms, [Storage::Fastest, Storage::Shortest, Storage::Fastest]);
        assert_eq!((costs.bytes, costs.instructions), (100 + 80 + 20 + 9, 100 + 30 + 45 + 5));
        // Bytes are all the same for a goal that has no RAM.
        assert_eq!(choose_with(fast, false, layers).0, [Storage::Fastest; 3]);
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
