//! What happens to a device: models that come, are tried, and end in one way or another.

use bitsback_slots::{Error, HEAD_LEN};

use super::flash::FlashError;
use super::package::{Package, Refusal};
use super::random::Random;

/// How an update ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// The application confirms it; again, if losses of power have used up its starts.
    Confirm,
    /// The application goes back.
    Alarm,
    /// Nobody confirms it.
    Silence,
    /// The watchdog resets the device.
    Watchdog,
    /// The gate refuses it when all has arrived.
    Damaged(Error<FlashError, Refusal>),
}

/// A model that comes.
#[derive(Clone, Debug)]
pub struct Update {
    pub package: Package,
    /// Bytes at a time.
    pub chunk: usize,
    pub starts: u8,
    pub end: End,
}

/// A part of a scenario, which losses of power may prolong and not prevent.
#[derive(Clone, Debug)]
pub enum Goal {
    Update(Box<Update>),
    /// Back from a confirmed model, if the one before is still there.
    Back,
    /// A head that is refused.
    Refused(Vec<u8>),
}

/// A device's life.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it left the factory with.
    pub first: Package,
    pub goals: Vec<Goal>,
    /// At least so many bytes for a slot.
    pub slot_len: usize,
}

/// The kinds of goals that a scenario is drawn of.
const KINDS: u64 = 9;

impl Scenario {
    /// Every kind of goal, with models of this length.
    pub fn whole(len: usize) -> Self {
        Self::of(len, &[0, 1, 5, 2, 6, 0, 7, 8, 3, 4, 0])
    }

    /// The goals of these kinds.
    pub fn of(len: usize, kinds: &[u64]) -> Self {
        let first = Package::new(1, len - len / 8);
        let mut random = Random(len as u64);
        let mut goals = Vec::new();
        let mut old = first.clone();
        for (&kind, version) in kinds.iter().zip((2..).step_by(3)) {
            let package = Package::new(version, len - random.below(len as u64 / 4) as usize);
            let chunk = 1 + random.below(2 * len as u64) as usize;
            let starts = 1 + random.below(3) as u8;
            let mut update = Update { package, chunk, starts, end: End::Confirm };
            let goal = match kind % KINDS {
                7 => Goal::Back,
                8 if version % 2 == 0 => Goal::Refused(old.head.clone()),
                8 => {
                    update.package.head[4] ^= 1;
                    Goal::Refused(update.package.head)
                }
                kind => {
                    update.end = update.package.spoil(kind);
                    if !matches!(update.end, End::Damaged(_)) {
                        old = update.package.clone();
                    }
                    Goal::Update(Box::new(update))
                }
            };
            goals.push(goal);
        }
        Self { first, goals, slot_len: HEAD_LEN + len }
    }

    /// The package of a version.
    pub fn package<'s>(&'s self, version: u32) -> Option<&'s Package> {
        let of_goal = |goal: &'s Goal| match goal {
            Goal::Update(update) => Some(&update.package),
            Goal::Back | Goal::Refused(_) => None,
        };
        let packages = self.goals.iter().filter_map(of_goal).chain([&self.first]);
        packages.into_iter().find(|package| package.version() == version)
    }
}

impl Package {
    /// Makes it one that ends in the way of this number.
    fn spoil(&mut self, kind: u64) -> End {
        match kind {
            1 => End::Alarm,
            2 => End::Silence,
            3 => End::Watchdog,
            4 => {
                self.model[40] ^= 0x10;
                End::Damaged(Error::Refused(Refusal::Digest))
            }
            5 => {
                self.model[0] = b'B';
                *self = Self::of(self.version(), std::mem::take(&mut self.model));
                End::Damaged(Error::Parse(bitsback_runtime::ParseError::Magic))
            }
            _ => End::Confirm,
        }
    }
}
