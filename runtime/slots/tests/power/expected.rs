//! What the state of a device must be, in a few lines that share nothing with the crate.

use bitsback_slots::{Chosen, Other, Restart, State};

/// What the other slot is for, with the version of its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherSlot {
    Free,
    Previous(u32),
    Staging { version: u32, is_complete: bool },
    Trial { version: u32, starts: u8, allowed: u8 },
    Failed(u32),
}

/// A device's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub confirmed: u32,
    pub other: OtherSlot,
    pub floor: u32,
}

impl Expected {
    /// Of a device that left its factory with a model.
    pub fn provisioned(version: u32) -> Self {
        Self { confirmed: version, other: OtherSlot::Free, floor: version }
    }

    pub fn with(self, other: OtherSlot) -> Self {
        Self { other, ..self }
    }

    /// After a start.
    pub fn started(self, restart: Restart) -> Self {
        let OtherSlot::Trial { version, starts, allowed } = self.other else { return self };
        let is_blamed = restart == Restart::Watchdog && starts > 0;
        match is_blamed || starts == allowed {
            true => self.with(OtherSlot::Failed(version)),
            false => self.with(OtherSlot::Trial { version, starts: starts + 1, allowed }),
        }
    }

    pub fn activated(self, version: u32, allowed: u8) -> Self {
        Self { floor: version, ..self }.with(OtherSlot::Trial { version, starts: 0, allowed })
    }

    pub fn confirmed(self) -> Self {
        let OtherSlot::Trial { version, .. } = self.other else { panic!("{self:?}") };
        Self { confirmed: version, ..self }.with(OtherSlot::Previous(self.confirmed))
    }

    pub fn rolled_back(self) -> Self {
        match self.other {
            OtherSlot::Trial { version, .. } => self.with(OtherSlot::Failed(version)),
            OtherSlot::Previous(version) => {
                Self { confirmed: version, ..self }.with(OtherSlot::Failed(self.confirmed))
            }
            _ => panic!("{self:?}"),
        }
    }

    /// The version that runs, and whether it is on trial.
    pub fn running(&self) -> (u32, bool) {
        match self.other {
            OtherSlot::Trial { version, .. } => (version, true),
            _ => (self.confirmed, false),
        }
    }

    /// Whether a device that has just started is in this state. `is_complete` is whether all of a staged model
    /// is there.
    pub fn is(&self, state: &State, chosen: Chosen, is_complete: bool) -> bool {
        let has_same_use = match (self.other, state.other()) {
            (OtherSlot::Free, Other::Free)
            | (OtherSlot::Previous(_), Other::Previous)
            | (OtherSlot::Failed(_), Other::Failed) => true,
            (OtherSlot::Staging { is_complete: expected, .. }, Other::Staging { .. }) => {
                is_complete == expected
            }
            (
                OtherSlot::Trial { starts, allowed, .. },
                Other::Trial { starts: found, allowed: of },
            ) => (starts, allowed) == (found, of),
            _ => false,
        };
        has_same_use
            && state.floor() == self.floor
            && (chosen.version, chosen.is_on_trial) == self.running()
    }
}
