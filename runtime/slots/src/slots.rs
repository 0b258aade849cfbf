//! The two slots: which model starts, its trial, and the way back.

use crate::HEAD_LEN;
use crate::error::Error;
use crate::flash::{MappedFlash, check_geometry};
use crate::gate::{Announced, Gate};
use crate::layout::Layout;
use crate::log::Log;
use crate::staging::Cursor;
use crate::state::{Other, Reason, Restart, Slot, State, model_part};

/// The model that a start has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its slot.
    pub slot: Slot,
    /// Its version.
    pub version: u32,
    /// Where its bytes begin in the flash.
    pub offset: u32,
    /// How many they are.
    pub len: u32,
    /// Whether it is on trial: [`Slots::confirm`] it, or the device goes back.
    pub is_on_trial: bool,
}

/// What calls give.
pub(crate) type Outcome<T, F, G> =
    Result<T, Error<<F as embedded_storage::nor_flash::ErrorType>::Error, <G as Gate>::Refusal>>;

/// Two model slots of a flash and their state.
///
/// A program makes it once when it starts, and runs the model that it says. The other slot is free for the
/// next model, which arrives in pieces ([`Self::begin`], [`Self::write`], [`Self::finish`]), is tried
/// ([`Self::activate`] and another start), and then is confirmed ([`Self::confirm`]) or gone back from
/// ([`Self::roll_back`]). Power may go at any moment of any call.
#[derive(Debug)]
pub struct Slots<F: MappedFlash, G: Gate> {
    pub(crate) flash: F,
    pub(crate) gate: G,
    pub(crate) layout: Layout,
    log: Log,
    pub(crate) state: State,
    pub(crate) cursor: Cursor,
    chosen: Option<Chosen>,
    fault: Option<Error<F::Error, G::Refusal>>,
}

impl<F: MappedFlash, G: Gate> Slots<F, G> {
    /// Reads the state, ends a trial that has had its starts, and chooses the model to run: the one on trial,
    /// else the confirmed one, and if the gate refuses that, the other slot's. What is chosen has passed the
    /// gate just now. A device without state, which has never been updated, takes the slot that the gate
    /// accepts, that with the higher version if it accepts both.
    ///
    /// Flash that fails or is worn out doesn't fail a start, but a trial that can't be counted isn't run:
    /// [`Self::fault`] says what happened.
    ///
    /// # Errors
    /// [`Error::Layout`] alone.
    pub fn start(flash: F, gate: G, layout: Layout, restart: Restart) -> Outcome<Self, F, G> {
        const { check_geometry::<F>() };
        let mut flash = flash;
        if !layout.fits(&flash) {
            return Err(Error::Layout);
        }
        let (log, found) = Log::open(&mut flash, layout.state);
        let state = found.state.unwrap_or(State::EMPTY);
        let (cursor, chosen, fault) = (Cursor::NONE, None, None);
        let mut slots = Self { flash, gate, layout, log, state, cursor, chosen, fault };
        let wanted = match found.state {
            Some(state) => state.started(restart),
            None => slots.without_state(),
        };
        let mut next = slots.choose(wanted);
        if let (None, Some(chosen)) = (found.state, slots.chosen) {
            next = next.tried(chosen.version);
        }
        if (next != slots.state || found.is_unsettled)
            && let Err(error) = slots.keep(&next)
        {
            slots.fault = Some(error);
            slots.start_uncounted();
        }
        Ok(slots)
    }

    /// The flash.
    pub fn flash(&self) -> &F {
        &self.flash
    }

    /// Gives the flash back. Of a model that is being staged, no more than [`Self::received`] is kept.
    pub fn release(self) -> F {
        self.flash
    }

    /// The model to run; `None` on a device that has none, or none left that the gate accepts.
    pub fn chosen(&self) -> Option<Chosen> {
        self.chosen
    }

    /// The version of the model that the device goes back to, while another one is on trial: an alarm that was
    /// noted of it, too, means that the field has changed, and not the model.
    pub fn version_before(&self) -> Option<u32> {
        let slot = self.state.confirmed().filter(|_| self.state.is_trial())?;
        self.announced(slot).ok().map(|announced| announced.version)
    }

    /// The bytes of the model to run, where they lie in the flash. A program that stages another model while
    /// it runs this one makes the same slice of [`Chosen::offset`] and [`Chosen::len`] by its own means, since
    /// this one borrows the slots.
    pub fn model(&self) -> Option<&[u8]> {
        let chosen = self.chosen?;
        self.flash.slice(chosen.offset, chosen.len as usize)
    }

    /// What is kept of both slots.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What went wrong when this start chose a model, if anything did: a slot that the gate refuses, or a
    /// state that couldn't be written.
    pub fn fault(&self) -> Option<&Error<F::Error, G::Refusal>> {
        self.fault.as_ref()
    }

    /// Puts the staged model on trial, or once more one that has failed: the next `starts` starts (at least
    /// one) run it, unless one of them confirms it. Where there is no model to go back to, it is confirmed
    /// at once.
    ///
    /// The gate checks it first. A staged model that is refused is given up: begin anew.
    ///
    /// # Errors
    /// When nothing is staged, or not all of it, or the gate refuses it, or its version isn't above all that
    /// were tried.
    pub fn activate(&mut self, starts: u8) -> Outcome<(), F, G> {
        let slot = self.state.other_slot();
        let floor = self.state.floor();
        let least = match self.state.other() {
            Other::Staging { received } => {
                let len = self.announced(slot)?.model_len;
                let received = model_part(received);
                if received != len {
                    return Err(Error::Incomplete { received, len });
                }
                floor.saturating_add(1)
            }
            Other::Failed => floor,
            Other::Trial { .. } => return Err(Error::InUse),
            Other::Free | Other::Previous => return Err(Error::NothingStaged),
        };
        self.cursor = Cursor::NONE;
        let checked = match self.check(slot) {
            Ok(Chosen { version: found, .. }) if found < least => {
                Err(Error::Version { found, floor })
            }
            checked => checked,
        };
        match checked {
            Ok(found) => self.keep(&self.state.activated(found.version, starts)),
            Err(error) => {
                self.keep(&self.state.freed())?;
                Err(error)
            }
        }
    }

    /// Ends the trial of the model that runs: it is the confirmed one from now on. The one before stays as the
    /// way back until another is staged.
    ///
    /// # Errors
    /// When the model that runs isn't on trial, or the flash fails: the trial goes on then.
    pub fn confirm(&mut self) -> Outcome<(), F, G> {
        if !self.chosen.is_some_and(|chosen| chosen.is_on_trial) || !self.state.is_trial() {
            return Err(Error::NotOnTrial);
        }
        self.keep(&self.state.succeeded())?;
        if let Some(chosen) = &mut self.chosen {
            chosen.is_on_trial = false;
        }
        Ok(())
    }

    /// Goes back to the model before: from a trial, or from a confirmed model as long as nothing has been
    /// staged since. [`Self::chosen`] is the model before only after another start.
    ///
    /// # Errors
    /// [`Error::NoWayBack`] when that model is gone, or the flash fails.
    pub fn roll_back(&mut self, reason: Reason) -> Outcome<(), F, G> {
        let next = self.state.rolled_back(self.version(), reason).ok_or(Error::NoWayBack)?;
        self.keep(&next)
    }

    /// Notes something of the model that runs, for telemetry, and changes nothing else:
    /// [`Reason::FieldChanged`], say, when its alarm isn't a reason to go back.
    ///
    /// # Errors
    /// When the flash fails.
    pub fn note(&mut self, reason: Reason) -> Outcome<(), F, G> {
        self.keep(&self.state.noted(self.version(), reason))
    }

    fn version(&self) -> u32 {
        self.chosen.map_or(0, |chosen| chosen.version)
    }

    /// The slot that this start runs.
    pub(crate) fn runs_in(&self, slot: Slot) -> bool {
        self.chosen.is_some_and(|chosen| chosen.slot == slot)
    }

    /// Keeps another state.
    pub(crate) fn keep(&mut self, next: &State) -> Outcome<(), F, G> {
        let Err(fault) = self.log.keep(&mut self.flash, next) else {
            self.state = *next;
            return Ok(());
        };
        // What failed may still read as the new state: the old one goes behind it. If that fails, too, the
        // next start finds one of them, and this call's error stands.
        let _ = self.log.keep(&mut self.flash, &self.state);
        Err(fault.into())
    }

    /// What a slot's head announces.
    pub(crate) fn announced(&self, slot: Slot) -> Outcome<Announced, F, G> {
        self.admit(self.flash.slice(self.layout.slot(slot), HEAD_LEN).ok_or(Error::Layout)?)
    }

    /// What a head announces, which the gate accepts and a slot has room for.
    pub(crate) fn admit(&self, head: &[u8]) -> Outcome<Announced, F, G> {
        let announced = self.gate.announced(head).map_err(Error::Refused)?;
        self.check_room(announced).map(|()| announced)
    }

    /// Checks that a slot has room for a model.
    pub(crate) fn check_room(&self, announced: Announced) -> Outcome<(), F, G> {
        let (len, room) = (announced.model_len, self.layout.room());
        if len == 0 || len > room { Err(Error::Length { len, room }) } else { Ok(()) }
    }

    /// Takes a slot's model through the gate.
    fn check(&self, slot: Slot) -> Outcome<Chosen, F, G> {
        let Announced { version, model_len: len } = self.announced(slot)?;
        let start = self.layout.slot(slot);
        let offset = start.saturating_add(HEAD_LEN as u32);
        let head = self.flash.slice(start, HEAD_LEN).ok_or(Error::Layout)?;
        let model = self.flash.slice(offset, len as usize).ok_or(Error::Layout)?;
        self.gate.check_model(head, model).map_err(Error::Refused)?;
        self.gate.parse(model).map_err(Error::Parse)?;
        Ok(Chosen { slot, version, offset, len, is_on_trial: false })
    }

    /// Chooses by a state, and gives the state in which what was refused is left out. If nothing is left,
    /// the state stays.
    fn choose(&mut self, wanted: State) -> State {
        let mut next = wanted;
        for _ in [Slot::A, Slot::B] {
            let Some(slot) = next.starting() else { return next };
            let error = match self.check(slot) {
                Ok(found) => {
                    self.chosen = Some(Chosen { is_on_trial: next.is_trial(), ..found });
                    return next;
                }
                Err(error) => error,
            };
            self.fault = Some(error);
            let version = self.announced(slot).map_or(0, |announced| announced.version);
            // Of a model that is still to arrive, bits may change.
            if !self.is_complete(&next) {
                break;
            }
            next = next.without(version);
        }
        wanted
    }

    /// Whether the other slot isn't one that a model is still arriving in.
    fn is_complete(&self, state: &State) -> bool {
        let Other::Staging { received } = state.other() else { return true };
        let announced = self.announced(state.other_slot());
        announced.is_ok_and(|announced| announced.model_len == model_part(received))
    }

    /// The state of a device that has none: the slot with the higher version is chosen first.
    fn without_state(&self) -> State {
        let [a, b] = [Slot::A, Slot::B]
            .map(|slot| self.announced(slot).map_or(0, |announced| announced.version));
        match (a, b) {
            (0, 0) => State::EMPTY,
            _ => State::EMPTY.confirmed_in(if a < b { Slot::B } else { Slot::A }),
        }
    }

    /// After a state that couldn't be written: a trial that isn't counted could go on for ever.
    fn start_uncounted(&mut self) {
        if self.chosen.is_some_and(|chosen| chosen.is_on_trial)
            && let Some(Ok(found)) = self.state.confirmed().map(|slot| self.check(slot))
        {
            self.chosen = Some(found);
        }
    }
}
