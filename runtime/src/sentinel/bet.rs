//! What a bet is called, and what it says when it wins.

use core::fmt;

use super::{CLASSES_AT, Sentinel};

/// Names of the bets on ordinal statistics, by their places.
const NAMES: [&str; CLASSES_AT] = [
    "answer lo2",
    "answer lo6",
    "answer hi2",
    "answer hi6",
    "brightness lo2",
    "brightness lo6",
    "brightness hi2",
    "brightness hi6",
    "roughness lo2",
    "roughness lo6",
    "roughness hi2",
    "roughness hi6",
    "answer low",
    "answer high",
    "brightness low",
    "brightness high",
    "roughness low",
    "roughness high",
];

/// A bet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(all(feature = "defmt", target_os = "none"), derive(defmt::Format))]
pub enum Bet {
    /// On an ordinal statistic: its place, below [`CLASSES_AT`]. First the tables, then the tails.
    Ordinal(u8),
    /// That the class of this number is more frequent.
    Class(u16),
}

impl Bet {
    /// What it is on: `brightness lo6` says that inputs are darker, and by much; `roughness high` that more
    /// of them are rougher than nearly all of the reference.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ordinal(place) => NAMES.get(usize::from(place)).copied().unwrap_or_default(),
            Self::Class(_) => "class",
        }
    }
}

impl fmt::Display for Bet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ordinal(_) => f.write_str(self.name()),
            Self::Class(class) => write!(f, "class {class}"),
        }
    }
}

/// The field no longer looks like the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(all(feature = "defmt", target_os = "none"), derive(defmt::Format))]
pub struct Alarm {
    /// The bet that has gained most, which is what has changed.
    pub bet: Bet,
    /// By how much the inferences since its best start speak against the reference, in sixteenths of a bit.
    pub evidence: u16,
}

impl Sentinel<'_> {
    /// The bet at a place, if there is one.
    pub fn bet_at(&self, place: u8) -> Option<Bet> {
        if self.has_bet(place.into()) { Some(self.named(place)) } else { None }
    }

    /// The bet at a place that has one.
    pub(super) fn named(&self, place: u8) -> Bet {
        match place.checked_sub(CLASSES_AT as u8) {
            Some(symbol) => Bet::Class(self.class_number(symbol)),
            None => Bet::Ordinal(place),
        }
    }
}
