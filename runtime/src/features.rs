//! What a program can do without: features of this crate, all of them on by default.
//!
//! The operators of a model are chosen by [`Model::parse_only`](crate::Model::parse_only). Weight
//! layers have parts that only some models need; a program that knows its model leaves the others
//! out with `default-features = false` and names what `bitsback inspect` names. No feature changes
//! a result: a model that needs one that is left out is refused, by
//! [`Model::trust`](crate::Model::trust), too.

use core::ops::BitOr;

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// `widths`: weights of other widths than 8 bits.
    pub widths: bool,
    /// `pairs`: weights in [`Layout::Pairs`](crate::format::Layout::Pairs).
    pub pairs: bool,
    /// `per-channel`: a multiplier for each output of a layer.
    pub per_channel: bool,
}

impl Features {
    /// Those that this crate was built with.
    pub const BUILT: Self = Self {
        widths: cfg!(feature = "widths"),
        pairs: cfg!(feature = "pairs"),
        per_channel: cfg!(feature = "per-channel"),
    };

    /// Whether all of these are [built](Self::BUILT).
    pub(crate) const fn are_built(self) -> bool {
        (Self::BUILT.widths || !self.widths)
            && (Self::BUILT.pairs || !self.pairs)
            && (Self::BUILT.per_channel || !self.per_channel)
    }

    /// Their names in `Cargo.toml`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let each =
            [(self.widths, "widths"), (self.pairs, "pairs"), (self.per_channel, "per-channel")];
        each.into_iter().filter_map(|(is_there, name)| is_there.then_some(name))
    }
}

impl BitOr for Features {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            widths: self.widths | other.widths,
            pairs: self.pairs | other.pairs,
            per_channel: self.per_channel | other.per_channel,
        }
    }
}
