//! What both slots are for: the record that is kept, and how it may change.
//!
//! Everything here is a function of values; what it takes to keep them is [`crate::log`]'s.

use crate::HEAD_LEN;

/// One of the two slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The first of the layout.
    A,
    /// The second.
    B,
}

impl Slot {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Why a model isn't what runs any more, or what its trial showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Its sentinel raised an alarm.
    Alarm = 1,
    /// Its trial took all the starts that it was given, and nobody confirmed it.
    Unconfirmed = 2,
    /// A watchdog reset the device while it was on trial.
    Watchdog = 3,
    /// Its golden self-test gave other bits.
    SelfTest = 4,
    /// Its sentinel raised an alarm, but that of the model before was in alarm, too: the field changed, not
    /// the model. Nothing to go back for.
    FieldChanged = 5,
    /// The gate refused it at a start: its flash has lost bits.
    Damaged = 6,
}

impl Reason {
    fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Alarm,
            2 => Self::Unconfirmed,
            3 => Self::Watchdog,
            4 => Self::SelfTest,
            5 => Self::FieldChanged,
            6 => Self::Damaged,
            _ => return None,
        })
    }
}

/// What was last noted of a model, for telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// The model's version; 0 if its head was lost, too.
    pub version: u32,
    /// What was noted.
    pub reason: Reason,
}

/// What made this start necessary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The watchdog: a model on trial is to blame, once it has been started.
    Watchdog,
    /// Anything else: power, a pin, the application.
    Other,
}

/// What the slot is for whose model isn't the confirmed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// Nothing.
    Free,
    /// The model that was confirmed before this one: the way back.
    Previous,
    /// A model that arrives.
    Staging {
        /// Bytes of the slot that are there, its head among them; never more than are.
        received: u32,
    },
    /// A model on trial.
    Trial {
        /// Starts that it has had.
        starts: u8,
        /// Starts that it may have.
        allowed: u8,
    },
    /// A model that was on trial or confirmed, and that the device went back from.
    Failed,
}

/// The state of both slots, as its record has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    floor: u32,
    /// Of a model that arrives; else 0.
    received: u32,
    noted_version: u32,
    /// [`RECORD_VERSION`], what the other slot is for, and the confirmed one: 1 or 2, or 0 if there is none.
    what: u8,
    starts: u8,
    allowed: u8,
    noted_reason: u8,
}

/// The words of a state with its number.
pub(crate) const STATE_WORDS: usize = 5;

/// The upper three bits of [`State::what`]: neither all ones nor all zeros, as in flash without a state.
const RECORD_VERSION: u8 = 1 << 5;
const VERSION_BITS: u8 = 7 << 5;
/// The two lowest.
const SLOT_BITS: u8 = 3;
/// The three between them.
const USE_BITS: u8 = 7 << 2;
const FREE: u8 = 0;
const STAGING: u8 = 1 << 2;
// Those from here on need a confirmed model.
const PREVIOUS: u8 = 2 << 2;
const TRIAL: u8 = 3 << 2;
const FAILED: u8 = 4 << 2;

impl State {
    /// Of a device that has no model yet.
    pub(crate) const EMPTY: Self = Self {
        floor: 0,
        received: 0,
        noted_version: 0,
        what: RECORD_VERSION,
        starts: 0,
        allowed: 0,
        noted_reason: 0,
    };

    /// The slot with the confirmed model, if there is one.
    pub fn confirmed(&self) -> Option<Slot> {
        match self.what & SLOT_BITS {
            1 => Some(Slot::A),
            2 => Some(Slot::B),
            _ => None,
        }
    }

    /// What the other slot is for.
    pub fn other(&self) -> Other {
        match self.what & USE_BITS {
            STAGING => Other::Staging { received: self.received },
            PREVIOUS => Other::Previous,
            TRIAL => Other::Trial { starts: self.starts, allowed: self.allowed },
            FAILED => Other::Failed,
            _ => Other::Free,
        }
    }

    /// The highest version that was ever tried or confirmed.
    pub fn floor(&self) -> u32 {
        self.floor
    }

    /// What was last noted.
    pub fn note(&self) -> Option<Note> {
        let reason = Reason::of(self.noted_reason)?;
        Some(Note { version: self.noted_version, reason })
    }

    /// Whether a model is on trial.
    pub(crate) fn is_trial(&self) -> bool {
        self.what & USE_BITS == TRIAL
    }

    /// The slot whose model isn't the confirmed one.
    pub(crate) fn other_slot(&self) -> Slot {
        self.confirmed().map_or(Slot::A, Slot::other)
    }

    /// The slot to start: that of a trial, or the confirmed one.
    pub(crate) fn starting(&self) -> Option<Slot> {
        if self.is_trial() { Some(self.other_slot()) } else { self.confirmed() }
    }

    /// With another use of the other slot.
    fn used_for(self, used: u8) -> Self {
        let what = self.what & !USE_BITS | used;
        Self { what, received: 0, starts: 0, allowed: 0, ..self }
    }

    /// With the confirmed model in this slot, and another use of the one that is the other now.
    pub(crate) fn confirmed_in(self, slot: Slot) -> Self {
        let number = match slot {
            Slot::A => 1,
            Slot::B => 2,
        };
        Self { what: RECORD_VERSION | number, ..self }.used_for(FREE)
    }

    /// With something noted.
    pub(crate) fn noted(self, version: u32, reason: Reason) -> Self {
        Self { noted_version: version, noted_reason: reason as u8, ..self }
    }

    /// With a version that was tried.
    pub(crate) fn tried(self, version: u32) -> Self {
        Self { floor: self.floor.max(version), ..self }
    }

    /// With nothing in the other slot.
    pub(crate) fn freed(self) -> Self {
        self.used_for(FREE)
    }

    /// With so many bytes in the other slot.
    pub(crate) fn staged(self, received: u32) -> Self {
        Self { received, ..self.used_for(STAGING) }
    }

    /// After a start: a trial that has used up its starts, or is to blame for the reset, has failed.
    pub(crate) fn started(self, restart: Restart) -> Self {
        if !self.is_trial() {
            return self;
        }
        if self.starts > 0 && restart == Restart::Watchdog {
            return self.failed(Reason::Watchdog);
        }
        if self.starts >= self.allowed {
            return self.failed(Reason::Unconfirmed);
        }
        Self { starts: self.starts.saturating_add(1), ..self }
    }

    /// A trial has failed. Its version is the floor, which it raised when it began.
    fn failed(self, reason: Reason) -> Self {
        self.used_for(FAILED).noted(self.floor, reason)
    }

    /// A trial begins; or, where there is nothing to go back to, a model is confirmed at once.
    pub(crate) fn activated(self, version: u32, allowed: u8) -> Self {
        match self.confirmed() {
            None => self.confirmed_in(self.other_slot()),
            Some(_) => Self { allowed: allowed.max(1), ..self.used_for(TRIAL) },
        }
        .tried(version)
    }

    /// The model on trial is the confirmed one; the one before stays for a while.
    pub(crate) fn succeeded(self) -> Self {
        self.confirmed_in(self.other_slot()).used_for(PREVIOUS)
    }

    /// Back to the model before: from a trial, or from a confirmed model of `version` if the one before it
    /// is still there.
    pub(crate) fn rolled_back(self, version: u32, reason: Reason) -> Option<Self> {
        match self.what & USE_BITS {
            TRIAL => Some(self.failed(reason)),
            PREVIOUS => {
                let back = self.confirmed_in(self.other_slot()).used_for(FAILED);
                Some(back.noted(version, reason))
            }
            _ => None,
        }
    }

    /// Without the model that was to start, which the gate refuses: a trial's end, or the other slot instead.
    pub(crate) fn without(self, version: u32) -> Self {
        if self.is_trial() {
            self.failed(Reason::Damaged)
        } else {
            self.confirmed_in(self.other_slot()).noted(version, Reason::Damaged)
        }
    }

    /// The words of this state as the record of a number.
    pub(crate) fn encode(&self, number: u32) -> [[u8; 4]; STATE_WORDS] {
        let last = [self.what, self.starts, self.allowed, self.noted_reason];
        let [number, floor, received, version] =
            [number, self.floor, self.received, self.noted_version].map(u32::to_le_bytes);
        [number, floor, received, version, last]
    }

    /// A record's number and state; `None` of any words that [`Self::encode`] doesn't give.
    pub(crate) fn decode(words: &[[u8; 4]; STATE_WORDS]) -> Option<(u32, Self)> {
        let &[number, floor, received, version, last] = words;
        let [number, floor, received, noted_version] =
            [number, floor, received, version].map(u32::from_le_bytes);
        let [what, starts, allowed, noted_reason] = last;
        let used = what & USE_BITS;
        let is_sound = what & VERSION_BITS == RECORD_VERSION
            && what & SLOT_BITS <= 2
            && used <= FAILED
            && (what & SLOT_BITS > 0 || used < PREVIOUS);
        let state = Self { floor, received, noted_version, what, starts, allowed, noted_reason };
        is_sound.then_some((number, state))
    }
}

/// Bytes of a model that a slot with so many bytes holds.
pub(crate) fn model_part(received: u32) -> u32 {
    received.saturating_sub(HEAD_LEN as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_give_their_state_again() {
        let confirmed = State::EMPTY.confirmed_in(Slot::B).tried(9);
        let trial = confirmed.activated(10, 3).started(Restart::Other);
        let states = [
            State::EMPTY,
            State::EMPTY.staged(512),
            confirmed,
            confirmed.staged(0xFFFF_FF00),
            trial,
            trial.succeeded(),
            trial.succeeded().noted(10, Reason::FieldChanged),
            trial.started(Restart::Watchdog),
        ];
        for (state, number) in states.into_iter().zip(1..) {
            assert_eq!(State::decode(&state.encode(number)), Some((number, state)));
        }
        assert_eq!(trial.other(), Other::Trial { starts: 1, allowed: 3 });
        assert_eq!(trial.other_slot(), Slot::A);
    }

    #[test]
    fn other_words_are_no_state() {
        let mut words = State::EMPTY.encode(1);
        // Erased, cleared, a third slot, a use that there isn't, a way back without a model.
        for what in [0xFF, 0, 0x23, 0x20 | 5 << 2, 0x20 | PREVIOUS, 0x20 | TRIAL, 0x20 | FAILED] {
            words[STATE_WORDS - 1][0] = what;
            assert_eq!(State::decode(&words), None, "{what:#x}");
        }
    }

    #[test]
    fn every_reason_comes_back() {
        for byte in 0..=u8::MAX {
            assert_eq!(
                Reason::of(byte).map(|reason| reason as u8),
                (1..=6).contains(&byte).then_some(byte)
            );
        }
    }
}
