//! How many instructions a layer takes on a core, predicted.
//!
//! A prediction is a sum: the counts of a layer ([`features`]) times what each of them takes on the path
//! that the layer goes through the core's kernels. What they take was solved for by least squares from
//! layers that were counted under QEMU (`cargo xtask bench cost --fit`), and is a table of its own,
//! `constants.tsv`. The command says how far predictions of other layers are from their counts.
//!
//! `cargo xtask` reads these files, too, so they need nothing but the runtime.

pub(crate) mod advice;
pub(crate) mod cores;
pub(crate) mod features;
pub(crate) mod layer;
mod others;
pub(crate) mod path;
mod stream;
pub(crate) mod unpacked;
mod windows;

use std::collections::HashMap;
use std::sync::OnceLock;

use bitsback_runtime::Step;

use self::cores::Core;
use self::features::Feature;
use self::layer::Layer;
use self::path::Path;

/// What was solved for: core, path, feature and instructions, a line each.
const CONSTANTS: &str = include_str!("constants.tsv");

/// What the features of a path take: instructions of each.
pub(crate) type Costs = Vec<(Feature, f64)>;

/// What the features of every path take on every core that was counted.
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
        for (core, path, feature, instructions) in text.lines().filter_map(constant) {
            table.0.entry((core, path.to_owned())).or_default().push((feature, instructions));
        }
        table
    }

    /// What a path takes on a core that was counted.
    pub(crate) fn costs(&self, core: Core, path: Path) -> &[(Feature, f64)] {
        self.0.get(&(core, path.name())).map_or(&[], Vec::as_slice)
    }

    /// Takes what a path takes from now on.
    #[allow(dead_code)] // by `cargo xtask bench cost --fit`
    pub(crate) fn set(&mut self, core: Core, path: Path, costs: Costs) {
        self.0.insert((core, path.name()), costs);
    }

    /// The table as text, in the order of cores, paths and features.
    #[allow(dead_code)] // by `cargo xtask bench cost --fit`
    pub(crate) fn text(&self) -> String {
        let mut lines = String::new();
        for core in Core::ALL {
            for path in Path::all() {
                for &(feature, instructions) in self.costs(core, path) {
                    let (core, path, feature) = (core.name(), path.name(), feature.name());
                    lines += &format!("{core}\t{path}\t{feature}\t{instructions}\n");
                }
            }
        }
        lines
    }

    /// Instructions of a layer on the core that it was seen for.
    pub(crate) fn instructions(&self, core: Core, layer: &Layer) -> f64 {
        let costs = self.costs(core.counted(), layer.path);
        costs.iter().map(|&(feature, each)| each * layer.features.get(feature)).sum()
    }
}

/// One line of the table.
fn constant(line: &str) -> Option<(Core, &str, Feature, f64)> {
    let mut parts = line.split('\t');
    let mut next = || parts.next();
    let (core, path, feature, instructions) = (next()?, next()?, next()?, next()?);
    let feature = Feature::ALL.iter().copied().find(|known| known.name() == feature)?;
    Some((Core::of_name(core)?, path, feature, instructions.parse().ok()?))
}

/// Instructions of an operator on a core; `section` is the model's weight section.
pub(crate) fn operator(core: Core, step: &Step, section: &[u8]) -> u64 {
    instructions(core, &Layer::of(core, step, section))
}

/// Instructions of a layer on the core that it was seen for.
pub(crate) fn instructions(core: Core, layer: &Layer) -> u64 {
    Table::built_in().instructions(core, layer).round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
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
        for core in Core::ALL {
            for path in Path::all() {
                let costs = Table::built_in().costs(core.counted(), path);
                assert!(!costs.is_empty(), "{core}: {}", path.name());
            }
        }
    }
}
