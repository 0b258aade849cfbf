//! Which optional parts of the runtime a model needs.

use core::fmt;

use bitsback_runtime::Features;

/// A set of the runtime's features as packages state it, a bit each. Firmware without one refuses such a package
/// before it is sent; without this, `Model::parse` would do so at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeatureSet(pub u8);

impl FeatureSet {
    /// Those of this build.
    pub const HERE: Self = Self::of(Features::BUILT);

    /// Of the runtime's own set.
    pub const fn of(features: Features) -> Self {
        let Features { widths, pairs, per_channel } = features;
        Self(widths as u8 | (pairs as u8) << 1 | (per_channel as u8) << 2)
    }

    /// What of this set isn't in the other.
    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for FeatureSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |bit: u8| self.0 & bit != 0;
        let known = Features { widths: has(1), pairs: has(2), per_channel: has(4) };
        for (place, name) in known.names().enumerate() {
            write!(f, "{}{name}", if place > 0 { ", " } else { "" })?;
        }
        match self.0 & !7 {
            0 => Ok(()),
            unknown => write!(f, "{}{unknown:#x}", if has(7) { ", " } else { "" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn sets_are_bits_and_have_names() {
        let all = Features { widths: true, pairs: true, per_channel: true };
        assert_eq!(FeatureSet::of(all), FeatureSet(7));
        assert_eq!(FeatureSet::of(Features { pairs: true, ..Features::default() }), FeatureSet(2));
        assert_eq!(FeatureSet(5).without(FeatureSet(6)), FeatureSet(1));
        let names =
            [(1, "widths"), (6, "pairs, per-channel"), (8, "0x8"), (0x14, "per-channel, 0x10")];
        for (bits, name) in names {
            assert_eq!(FeatureSet(bits).to_string(), name);
        }
    }
}
