//! Devices whose power goes at any operation of their flash, in any state that this may leave it in.
//!
//! A case is a scenario, a kind of flash, and one or more cuts. The application in `device` goes on after
//! each: whatever the cut left, a start must choose a model that the gate accepts, the one that the device
//! had before the call that was cut or the one after it, and the scenario must come to its end.

// Each of those who share this uses a part of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(missing_docs, reason = "of interest here alone")]

pub mod device;
pub mod draw;
pub mod expected;
pub mod flash;
pub mod garbage;
pub mod package;
pub mod random;
pub mod scenario;

use device::Device;
use flash::Cut;
use scenario::Scenario;

/// Sizes of pages and write units.
pub const PAGES: [usize; 4] = [256, 512, 1024, 4096];
pub const WRITES: [usize; 4] = [1, 2, 4, 8];

/// A case, which can be run again; it is printed if it fails.
#[derive(Debug)]
pub struct Case<'s> {
    pub page: usize,
    pub write: usize,
    pub scenario: &'s Scenario,
    /// What power makes of flash.
    pub seed: u64,
    pub cuts: Vec<Cut>,
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { page, write, scenario, seed, cuts } = self;
            let (slot_len, goals) = (scenario.slot_len, scenario.goals.len());
            eprintln!(
                "case: pages of {page}, units of {write}, slots of {slot_len}, {goals} goals, \
                 seed {seed}, {cuts:?}"
            );
        }
    }
}

impl Case<'_> {
    /// Runs it, and gives the number of the flash's operations.
    pub fn run(&self) -> u64 {
        self.steps().0
    }

    /// Runs it, and gives the number of the flash's operations, and those that were state's.
    pub fn steps(&self) -> (u64, Vec<u64>) {
        macro_rules! run {
            ($($page:literal: $($write:literal)*;)*) => {
                match (self.page, self.write) {
                    $($(($page, $write) => self.run_on::<$page, $write>(),)*)*
                    _ => panic!("no such flash"),
                }
            };
        }
        run! { 256: 1 2 4 8 32; 512: 1 2 4 8; 1024: 1 2 4 8; 4096: 1 2 4 8 16; }
    }

    fn run_on<const P: usize, const W: usize>(&self) -> (u64, Vec<u64>) {
        let mut device = Device::<P, W>::new(self.scenario);
        device.flash().plan(&self.cuts, self.seed);
        self.scenario.goals.iter().for_each(|goal| device.reach(goal));
        (device.flash().steps(), device.flash().state_steps().to_vec())
    }
}
