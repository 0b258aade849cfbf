//! Why a section is no sentinel.

use core::fmt;

/// What is wrong with a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(all(feature = "defmt", target_os = "none"), derive(defmt::Format))]
pub enum Fault {
    /// It ends with the magic, but isn't as long as its kind and its length say.
    Length,
    /// Bits that must be 0 aren't.
    Reserved,
    /// It has no statistic, or values beside class bets or without their statistic.
    Kind,
    /// Threshold, shift, decimation or tolerance is out of range.
    Numbers,
    /// More than ten classes have bets, or not five with a map, or none where there should be some.
    Classes,
    /// The map's class numbers don't ascend.
    Map,
    /// Edges don't ascend.
    Edges {
        /// Of which statistic: 0 answer, 1 brightness, 2 roughness.
        statistic: u8,
    },
    /// A lower bound is above the upper one.
    Bounds {
        /// Of which statistic: 0 answer, 1 brightness, 2 roughness.
        statistic: u8,
    },
    /// A bet isn't proved, or the numbers of one on an event are out of range.
    Bet {
        /// Its place.
        place: u8,
    },
    /// The model has other answers than those that the section is about.
    Model,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sentinel's section: ")?;
        match *self {
            Self::Length => f.write_str("its length isn't what its kind and its end say"),
            Self::Reserved => f.write_str("bits that must be 0 aren't"),
            Self::Kind => f.write_str("byte 2: there are no such statistics"),
            Self::Numbers => f.write_str("threshold, shift, decimation or tolerance out of range"),
            Self::Classes => f.write_str("byte 5: there can't be so many class bets"),
            Self::Map => f.write_str("the map's class numbers must ascend"),
            Self::Edges { statistic } => {
                write!(f, "edges of statistic {statistic} must ascend")
            }
            Self::Bounds { statistic } => {
                write!(f, "a lower bound of statistic {statistic} is above the upper one")
            }
            Self::Bet { place } => write!(f, "bet {place} isn't proved to be fair"),
            Self::Model => f.write_str("it is about another model's answers or inputs"),
        }
    }
}

impl core::error::Error for Fault {}
