//! What both slots are for: the record that is kept, and how it may change.
//!
//! Everything here is a function of values; what it takes to keep them is [`crate::log`]'s.

use bitsback_runtime::format::crc32;

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
        const ALL: [Reason; 6] = [
            Reason::Alarm,
            Reason::Unconfirmed,
            Reason::Watchdog,
            Reason::SelfTest,
            Reason::FieldChanged,
            Reason::Damaged,
        ];
        ALL.into_iter().find(|&reason| reason as u8 == byte)
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

/// The state of both slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The slot with the confirmed model, if there is one.
    pub confirmed: Option<Slot>,
    /// What the other slot is for.
    pub other: Other,
    /// The highest version that was ever tried or confirmed.
    pub floor: u32,
    /// What was last noted.
    pub note: Option<Note>,
}

/// The bytes of a state and its number.
pub(crate) const STATE_LEN: usize = 24;
/// The version of these bytes, in the upper three bits of byte 16, which are neither all ones nor all zeros.
const RECORD_VERSION: u8 = 1;

impl State {
    /// Of a device that has no model yet.
    pub(crate) const EMPTY: Self =
        Self { confirmed: None, other: Other::Free, floor: 0, note: None };

    /// The slot whose model isn't the confirmed one.
    pub(crate) fn other_slot(&self) -> Slot {
        self.confirmed.map_or(Slot::A, Slot::other)
    }

    /// The slot to start: that of a trial, or the confirmed one.
    pub(crate) fn starting(&self) -> Option<Slot> {
        match self.other {
            Other::Trial { .. } => Some(self.other_slot()),
            _ => self.confirmed,
        }
    }

    /// After a start: a trial that has used up its starts, or is to blame for the reset, has failed.
    pub(crate) fn started(self, restart: Restart) -> Self {
        match self.other {
            Other::Trial { starts, .. } if starts > 0 && restart == Restart::Watchdog => {
                self.failed(Reason::Watchdog)
            }
            Other::Trial { starts, allowed } if starts >= allowed => {
                self.failed(Reason::Unconfirmed)
            }
            Other::Trial { starts, allowed } => {
                Self { other: Other::Trial { starts: starts.saturating_add(1), allowed }, ..self }
            }
            _ => self,
        }
    }

    /// A trial has failed. Its version is the floor, which it raised when it began.
    fn failed(self, reason: Reason) -> Self {
        let note = Some(Note { version: self.floor, reason });
        Self { other: Other::Failed, note, ..self }
    }

    /// A trial begins; or, where there is nothing to go back to, a model is confirmed at once.
    pub(crate) fn activated(self, version: u32, allowed: u8) -> Self {
        let floor = self.floor.max(version);
        match self.confirmed {
            None => Self { confirmed: Some(self.other_slot()), other: Other::Free, floor, ..self },
            Some(_) => {
                Self { other: Other::Trial { starts: 0, allowed: allowed.max(1) }, floor, ..self }
            }
        }
    }

    /// The model on trial is confirmed; the one before stays for a while.
    pub(crate) fn confirmed(self) -> Option<Self> {
        let Other::Trial { .. } = self.other else { return None };
        Some(Self { confirmed: Some(self.other_slot()), other: Other::Previous, ..self })
    }

    /// Back to the model before: from a trial, or from a confirmed model of `version` if the one before it
    /// is still there.
    pub(crate) fn rolled_back(self, version: u32, reason: Reason) -> Option<Self> {
        match self.other {
            Other::Trial { .. } => Some(self.failed(reason)),
            Other::Previous => Some(Self {
                confirmed: Some(self.other_slot()),
                other: Other::Failed,
                note: Some(Note { version, reason }),
                ..self
            }),
            Other::Free | Other::Staging { .. } | Other::Failed => None,
        }
    }

    /// Without the model that was to start, which the gate refuses: a trial's end, or the other slot instead.
    /// A model that hasn't fully arrived is no choice; its slot's bits may still change.
    pub(crate) fn without(self, version: u32, is_complete: bool) -> Option<Self> {
        match self.other {
            Other::Trial { .. } => Some(self.failed(Reason::Damaged)),
            Other::Staging { .. } if !is_complete => None,
            _ => Some(Self {
                confirmed: Some(self.other_slot()),
                other: Other::Free,
                note: Some(Note { version, reason: Reason::Damaged }),
                ..self
            }),
        }
    }

    /// The bytes of this state as the record of a number.
    pub(crate) fn encode(&self, number: u32) -> [u8; STATE_LEN] {
        let (kind, received, starts, allowed) = match self.other {
            Other::Free => (0, 0, 0, 0),
            Other::Previous => (1, 0, 0, 0),
            Other::Staging { received } => (2, received, 0, 0),
            Other::Trial { starts, allowed } => (3, 0, starts, allowed),
            Other::Failed => (4, 0, 0, 0),
        };
        let slot = match self.confirmed {
            None => 0,
            Some(Slot::A) => 1,
            Some(Slot::B) => 2,
        };
        let (version, reason) = self.note.map_or((0, 0), |note| (note.version, note.reason as u8));
        let words = [number, self.floor, received, version];
        let last = [RECORD_VERSION << 5 | kind << 2 | slot, starts, allowed, reason];
        let mut bytes = [0; STATE_LEN];
        let fields = words.into_iter().flat_map(u32::to_le_bytes).chain(last);
        bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        let [fields @ .., _, _, _, _] = &bytes;
        let crc = crc32(&[fields]);
        bytes
            .iter_mut()
            .skip(STATE_LEN - 4)
            .zip(crc.to_le_bytes())
            .for_each(|(to, from)| *to = from);
        bytes
    }

    /// A record's number and state; `None` of any bytes that [`Self::encode`] doesn't give.
    pub(crate) fn decode(bytes: &[u8; STATE_LEN]) -> Option<(u32, Self)> {
        let (words, _) = bytes.as_chunks::<4>();
        let &[number, floor, received, version, [what, starts, allowed, reason], crc] = words
        else {
            return None;
        };
        let confirmed = match what & 3 {
            1 => Some(Slot::A),
            2 => Some(Slot::B),
            _ => None,
        };
        let other = match what >> 2 & 7 {
            1 => Other::Previous,
            2 => Other::Staging { received: u32::from_le_bytes(received) },
            3 => Other::Trial { starts, allowed },
            4 => Other::Failed,
            _ => Other::Free,
        };
        let note =
            Reason::of(reason).map(|reason| Note { version: u32::from_le_bytes(version), reason });
        let number = u32::from_le_bytes(number);
        let state = Self { confirmed, other, floor: u32::from_le_bytes(floor), note };
        let [fields @ .., _, _, _, _] = bytes;
        let needs_confirmed =
            matches!(other, Other::Previous | Other::Trial { .. } | Other::Failed);
        let is_sound = crc32(&[fields]) == u32::from_le_bytes(crc)
            && what >> 5 == RECORD_VERSION
            && (confirmed.is_some() || !needs_confirmed);
        is_sound.then_some((number, state))
    }
}

/// Bytes of a model that a slot with so many bytes holds.
pub(crate) fn model_part(received: u32) -> u32 {
    received.saturating_sub(HEAD_LEN as u32)
}
