//! What of a layer costs instructions: how often its kernels' loops turn, and what is done once.
//!
//! A count's name says whose loop it is; what it stands for is told where it is computed.
//! `constants.tsv` says which of them a path takes instructions for, and how many. Those were solved for,
//! so that a count that costs nothing is left out by itself.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// All counts of a layer, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counts(BTreeMap<Cow<'static, str>, f64>);

impl Counts {
    /// Adds to a count.
    pub(super) fn add(&mut self, name: impl Into<Cow<'static, str>>, count: f64) {
        if count != 0.0 {
            *self.0.entry(name.into()).or_default() += count;
        }
    }

    /// Adds to several counts the same multiple of what is told of each.
    pub(super) fn add_all<const N: usize>(&mut self, times: f64, counts: [(&'static str, f64); N]) {
        for (name, count) in counts {
            self.add(name, times * count);
        }
    }

    /// A count, 0 where there is none.
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Names of what is counted.
    #[allow(dead_code)] // `cargo xtask bench cost --fit` asks
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let mut counts = Counts::default();
        counts.add("row", 2.0);
        counts.add("row".to_owned(), 1.5);
        counts.add("never", 0.0);
        counts.add_all(3.0, [("row", 0.5), ("block", 1.0)]);
        assert_eq!([counts.get("row"), counts.get("block"), counts.get("never")], [5.0, 3.0, 0.0]);
        assert_eq!(counts.names().collect::<Vec<_>>(), ["block", "row"]);
    }
}
