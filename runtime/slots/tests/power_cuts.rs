//! Power goes at every operation of the flash, and nothing is lost; see `power/mod.rs`.

mod power;

use power::flash::{Cut, Moment};
use power::scenario::Scenario;
use power::{Case, PAGES, WRITES};

/// All there are, of every operation; cut in the middle as often as this.
const MIDDLES: u64 = 3;

#[test]
fn scenarios_reach_their_end() {
    for len in [1_024, 5_000] {
        let scenario = Scenario::whole(len);
        for page in PAGES {
            for write in WRITES {
                Case { page, write, scenario: &scenario, seed: 1, cuts: Vec::new() }.run();
            }
        }
    }
}

/// Every operation, before, during and after.
fn every_operation(page: usize, write: usize, scenario: &Scenario) -> u64 {
    let whole = Case { page, write, scenario, seed: 1, cuts: Vec::new() }.run();
    let mut cases = 0;
    for step in 0..whole {
        let middles = (0..MIDDLES).map(|seed| (Moment::During, seed));
        for (moment, seed) in [(Moment::Before, 1), (Moment::After, 1)].into_iter().chain(middles) {
            Case { page, write, scenario, seed, cuts: vec![Cut { step, moment }] }.run();
            cases += 1;
        }
    }
    cases
}

#[test]
fn power_goes_once_at_every_operation() {
    let scenario = Scenario::whole(1_024);
    let cases: u64 = [(256, 8), (256, 32), (1024, 4), (4096, 16)]
        .into_iter()
        .map(|(page, write)| every_operation(page, write, &scenario))
        .sum();
    eprintln!("{cases} cases");
    assert!(cases > 10_000);
}
