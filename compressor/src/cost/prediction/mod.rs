//! How many instructions a layer takes on a core, predicted.
//!
//! A prediction is a sum: the counts of a layer ([`counts`]) times what each of them takes on the path
//! that the layer goes through the core's kernels. Counts follow the kernels' loops: `convolution` chooses
//! as they do, `positions`, `squares`, `packed`, `vectors`, `products`, `lists`, `depthwise` and `copies` count
//! turns, and `finish` what becomes of sums. `turns` says how an inference runs a model's operators. What a turn takes was
//! solved for by least squares from
//! layers that were counted under QEMU (`cargo xtask bench cost --fit`), and is a table of its own,
//! `constants.tsv`. The command says how far predictions of other layers are from their counts.
//!
//! `cargo xtask` reads these files, too, so they need nothing but the runtime.

pub(crate) mod advice;
mod convolution;
mod copies;
pub(crate) mod cores;
pub(crate) mod counts;
mod depthwise;
mod depthwise_taps;
mod depthwise_vectors;
mod finish;
pub(crate) mod layer;
mod lists;
mod others;
mod packed;
mod parameters;
pub(crate) mod path;
mod positions;
mod products;
mod squares;
mod stream;
pub(crate) mod turns;
mod unpacked;
mod vectors;
mod windows;

use std::collections::HashMap;
use std::sync::OnceLock;

use bitsback_runtime::Step;

use self::cores::Core;
use self::layer::Layer;
use self::path::Path;
use self::turns::Turn;

/// What was solved for: core, path, count and instructions of one, a line each.
const CONSTANTS: &str = include_str!("constants.tsv");

/// What a path takes: instructions of each count, by name.
pub(crate) type Costs = Vec<(String, f64)>;

/// What every path takes on every core that was counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table(HashMap<(Core, String), Costs>);

impl Table {
    /// The one that is a part of the program.
    pub(crate) fn built_in() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| Self::parse(CONSTANTS))
    }

    /// A table as text. Lines that say nothing are left out; a test sees that the file has none.
    pub(crate) fn parse(text: &str) -> Self {
        let mut table = Self::default();
        for (core, path, count, instructions) in text.lines().filter_map(constant) {
            let costs = table.0.entry((core, path.to_owned())).or_default();
            costs.push((count.to_owned(), instructions));
        }
        table
    }

    /// What a path takes on a core that was counted.
    pub(crate) fn costs(&self, core: Core, path: Path) -> &[(String, f64)] {
        self.0.get(&(core, path.costs().name())).map_or(&[], Vec::as_slice)
    }

    /// Takes what a path takes from now on.
    #[allow(dead_code)] // by `cargo xtask bench cost --fit`
    pub(crate) fn set(&mut self, core: Core, path: Path, costs: Costs) {
        self.0.insert((core, path.name()), costs);
    }

    /// The table as text, in the order of cores and paths.
    #[allow(dead_code)] // by `cargo xtask bench cost --fit`
    pub(crate) fn text(&self) -> String {
        let mut lines = String::new();
        for core in Core::ALL {
            for path in Path::all().into_iter().filter(|path| path.costs() == *path) {
                for (count, instructions) in self.costs(core, path) {
                    let (core, path) = (core.name(), path.name());
                    lines += &format!("{core}\t{path}\t{count}\t{instructions}\n");
                }
            }
        }
        lines
    }

    /// Instructions of a layer on the core that it was seen for.
    pub(crate) fn instructions(&self, core: Core, layer: &Layer) -> f64 {
        let costs = self.costs(core.counted(), layer.path);
        costs.iter().map(|(count, each)| each * layer.counts.get(count)).sum()
    }
}

/// One line of the table.
fn constant(line: &str) -> Option<(Core, &str, &str, f64)> {
    let mut parts = line.split('\t');
    let mut next = || parts.next();
    let (core, path, count, instructions) = (next()?, next()?, next()?, next()?);
    Some((Core::of_name(core)?, path, count, instructions.parse().ok()?))
}

/// Instructions of an operator by itself on a core, as it is stored; `section` is the model's weight section.
pub(crate) fn operator(core: Core, step: &Step, section: &[u8]) -> u64 {
    turn(core, &Turn::stored(step), section)
}

/// Instructions of an operator in its turn.
pub(crate) fn turn(core: Core, turn: &Turn, section: &[u8]) -> u64 {
    instructions(core, &Layer::of(core, turn, section))
}

/// Instructions of a layer on the core that it was seen for.
pub(crate) fn instructions(core: Core, layer: &Layer) -> u64 {
    Table::built_in().instructions(core, layer).round().max(0.0) as u64
}

#[cfg(test)]
pub(crate) mod tests {
    use super::path::{Form, Way};
    use super::*;

    #[test]
    fn every_line_of_the_table_says_something() {
        for line in CONSTANTS.lines() {
            let (core, path, _, instructions) = constant(line).unwrap();
            assert_eq!(core.counted(), core, "{line}");
            assert!(Path::all().iter().any(|known| known.name() == path), "{line}");
            assert!(instructions > 0.0 && instructions.is_finite(), "{line}");
        }
        assert_eq!(Table::built_in().text(), CONSTANTS);
    }

    #[test]
    fn every_path_has_costs_on_every_core() {
        // Groups of channels aren't of half-words there.
        let never = (Core::CortexM55, Path::Weights(Way::Depthwise, Form::Halves));
        for core in Core::ALL {
            for path in Path::all() {
                let costs = Table::built_in().costs(core.counted(), path);
                let is_taken = (core, path) != never;
                assert_eq!(!costs.is_empty(), is_taken, "{core}: {}", path.name());
            }
        }
    }

    /// The file of a golden model.
    pub(crate) fn golden(name: &str) -> Vec<u8> {
        let path = format!("{}/../tests/golden/{name}/model.bbk", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    }

    #[test]
    fn weights_that_were_unpacked_cost_less() {
        let bytes = golden("coded-lenet");
        let model = bitsback_runtime::Model::parse(&bytes).unwrap();
        for core in Core::ALL {
            let [stored, unpacked] = [0, model.weights_len()].map(|room| {
                let turns = Turn::all(&model, room);
                turns.iter().map(|one| turn(core, one, model.section())).sum::<u64>()
            });
            assert!(3 * stored > 4 * unpacked, "{core}: {stored}, {unpacked}");
        }
    }
}
