//! An application on a device whose power goes: it looks at the slots, and does what comes next.

use bitsback_slots::{Error, Layout, Reason, Restart, Slots};

use super::expected::{Expected, OtherSlot};
use super::flash::{Flash, FlashError};
use super::package::{Refusal, TestGate};
use super::scenario::{End, Goal, Scenario, Update};

type Made<const P: usize, const W: usize> = Slots<Flash<P, W>, TestGate>;
type Failure = Error<FlashError, Refusal>;

/// Starts and calls that a goal takes at most, with all that interrupts it.
const MAX_TURNS: usize = 200;

/// What comes after a call.
enum Next {
    /// Look again.
    Look,
    /// The device starts again.
    Start(Restart),
    /// Power has gone.
    Lost,
    /// The goal is reached.
    Done,
}

/// A device with what is known of it.
pub struct Device<'s, const P: usize, const W: usize> {
    scenario: &'s Scenario,
    layout: Layout,
    /// While no slots have it.
    flash: Option<Flash<P, W>>,
    /// What it may be in: one state, unless power has gone in a call.
    states: Vec<Expected>,
    /// Bytes that were noted of a staged version.
    noted: Option<(u32, u32)>,
    /// Whether the model of the present goal was all there.
    was_staged: bool,
}

impl<'s, const P: usize, const W: usize> Device<'s, P, W> {
    /// Fresh from the factory: a model in its first slot, no state.
    pub fn new(scenario: &'s Scenario) -> Self {
        let slot_len = scenario.slot_len.next_multiple_of(P);
        let layout = Layout::contiguous(0, P as u32, slot_len as u32);
        let mut flash = Flash::new(2 + 2 * slot_len / P, 0);
        flash.provision(layout.slots[0] as usize, &scenario.first.slot());
        let states = vec![Expected::provisioned(scenario.first.version())];
        let flash = Some(flash);
        Self { scenario, layout, flash, states, noted: None, was_staged: false }
    }

    /// The flash, between goals.
    pub fn flash(&mut self) -> &mut Flash<P, W> {
        self.flash.as_mut().unwrap()
    }

    /// Works until the goal is reached.
    pub fn reach(&mut self, goal: &Goal) {
        self.was_staged = false;
        let mut slots = self.start(Restart::Other);
        for _ in 0..MAX_TURNS {
            let next = match goal {
                Goal::Update(update) => self.update(&mut slots, update),
                Goal::Back => self.back(&mut slots),
                Goal::Refused(head) => self.offer(&mut slots, head),
            };
            let restart = match next {
                Next::Look => continue,
                Next::Start(restart) => restart,
                Next::Lost => Restart::Other,
                Next::Done => {
                    self.flash = Some(slots.release());
                    return;
                }
            };
            self.flash = Some(slots.release());
            slots = self.start(restart);
        }
        panic!("{goal:?} isn't reached: {:?}", self.states);
    }

    fn state(&self) -> Expected {
        assert_eq!(self.states.len(), 1);
        self.states[0]
    }

    /// Starts, again if power goes meanwhile, and finds out what state the device is in.
    fn start(&mut self, mut restart: Restart) -> Made<P, W> {
        loop {
            let mut flash = self.flash.take().unwrap();
            let was_cut = flash.is_dead();
            flash.power_up();
            let slots = Slots::start(flash, TestGate, self.layout, restart).unwrap();
            let started: Vec<Expected> =
                self.states.iter().map(|state| state.started(restart)).collect();
            if !slots.flash().is_dead() {
                self.states = vec![self.find(&slots, &started)];
                if was_cut {
                    self.start_again(slots.flash().clone());
                }
                return slots;
            }
            self.states.extend(started);
            self.flash = Some(slots.release());
            restart = Restart::Other;
        }
    }

    /// Another start, of a copy, must find what the first has found.
    fn start_again(&self, mut copy: Flash<P, W>) {
        copy.plan(&[], copy.steps());
        copy.power_up();
        let again = Slots::start(copy, TestGate, self.layout, Restart::Other).unwrap();
        self.find(&again, &[self.state().started(Restart::Other)]);
    }

    /// The one of these states that the device is in, with the right model to run.
    fn find(&self, slots: &Made<P, W>, states: &[Expected]) -> Expected {
        let chosen = slots.chosen().expect("a model to run");
        let package = self.scenario.package(chosen.version).expect("a version that there is");
        assert!(slots.model() == Some(&package.model), "{chosen:?} is another model");
        assert_eq!(slots.fault(), None);
        let received = slots.received();
        let found = states.iter().find(|state| {
            let OtherSlot::Staging { version, .. } = state.other else {
                return state.is(slots.state(), chosen, false);
            };
            let len = self.scenario.package(version).map(|package| package.model.len() as u32);
            state.is(slots.state(), chosen, received == len)
        });
        *found.unwrap_or_else(|| panic!("{:?}, {chosen:?}: none of {states:?}", slots.state()))
    }

    /// Calls what leads to another state, or is interrupted on the way.
    fn call(
        &mut self,
        slots: &mut Made<P, W>,
        after: Expected,
        call: impl FnOnce(&mut Made<P, W>) -> Result<(), Failure>,
    ) -> Next {
        let result = call(slots);
        if slots.flash().is_dead() {
            self.states.push(after);
            return Next::Lost;
        }
        assert_eq!(result, Ok(()));
        self.states = vec![after];
        Next::Look
    }

    /// What comes next in an update.
    fn update(&mut self, slots: &mut Made<P, W>, update: &Update) -> Next {
        let state = self.state();
        let version = update.package.version();
        let is_running = state.running().0 == slots.chosen().map_or(0, |chosen| chosen.version);
        match state.other {
            _ if state.confirmed == version => Next::Done,
            OtherSlot::Failed(failed) if failed == version => match update.end {
                End::Confirm => {
                    let after = state.activated(version, update.starts);
                    self.call(slots, after, |slots| slots.activate(update.starts))
                }
                _ => Next::Done,
            },
            OtherSlot::Trial { .. } if !is_running => Next::Start(Restart::Other),
            OtherSlot::Trial { .. } => match update.end {
                End::Confirm => self.call(slots, state.confirmed(), Slots::confirm),
                End::Alarm => {
                    self.call(slots, state.rolled_back(), |slots| slots.roll_back(Reason::Alarm))
                }
                End::Silence => Next::Start(Restart::Other),
                End::Watchdog => Next::Start(Restart::Watchdog),
                End::Damaged(_) => panic!("a refused model is on trial"),
            },
            OtherSlot::Staging { version: staged, is_complete: true } if staged == version => {
                self.was_staged = true;
                self.activate(slots, update)
            }
            OtherSlot::Free if self.was_staged => Next::Done,
            _ => self.stage(slots, update),
        }
    }

    /// Activates what is staged, or sees it refused.
    fn activate(&mut self, slots: &mut Made<P, W>, update: &Update) -> Next {
        let state = self.state();
        let End::Damaged(error) = update.end else {
            let after = state.activated(update.package.version(), update.starts);
            return self.call(slots, after, |slots| slots.activate(update.starts));
        };
        self.call(slots, state.with(OtherSlot::Free), |slots| {
            let result = slots.activate(update.starts);
            if result == Err(error) { Ok(()) } else { result }
        })
    }

    /// Stages all of a model, or what is missing of it.
    fn stage(&mut self, slots: &mut Made<P, W>, update: &Update) -> Next {
        let (version, model) = (update.package.version(), &update.package.model);
        let len = model.len() as u32;
        let arriving = self.state().with(OtherSlot::Staging { version, is_complete: false });
        let mut there = 0;
        let next = self.call(slots, arriving, |slots| {
            there = slots.begin(&update.package.head)?;
            Ok(())
        });
        if matches!(next, Next::Lost) {
            return next;
        }
        if let Some((_, noted)) = self.noted.filter(|(of, _)| *of == version) {
            assert!(there >= noted, "{there} bytes are left of {noted}");
        }
        for chunk in model[there as usize..].chunks(update.chunk) {
            let next = self.call(slots, arriving, |slots| slots.write(chunk));
            if matches!(next, Next::Lost) {
                return next;
            }
            self.noted = slots.received().map(|received| (version, received));
        }
        let complete = self.state().with(OtherSlot::Staging { version, is_complete: true });
        let next = self.call(slots, complete, Slots::finish);
        if !matches!(next, Next::Lost) {
            self.noted = Some((version, len));
            // A call too many changes nothing.
            assert_eq!(slots.finish(), Err(Error::NothingStaged));
        }
        next
    }

    /// Back from a confirmed model to the one before.
    fn back(&mut self, slots: &mut Made<P, W>) -> Next {
        let state = self.state();
        let OtherSlot::Previous(_) = state.other else { return Next::Done };
        match self.call(slots, state.rolled_back(), |slots| slots.roll_back(Reason::Alarm)) {
            Next::Look => Next::Start(Restart::Other),
            next => next,
        }
    }

    /// A head that no device takes: nothing is written.
    fn offer(&mut self, slots: &mut Made<P, W>, head: &[u8]) -> Next {
        let before = slots.flash().steps();
        let error = slots.begin(head).unwrap_err();
        assert!(matches!(error, Error::Refused(_) | Error::Version { .. }), "{error:?}");
        assert_eq!((slots.flash().steps(), slots.received()), (before, None));
        Next::Done
    }
}
