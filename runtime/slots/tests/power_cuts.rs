//! Power goes at every operation of the flash, and nothing is lost; see `power/mod.rs`.

mod power;

use proptest::prelude::*;

use power::draw::Cases;
use power::flash::{Cut, Moment};
use power::scenario::Scenario;
use power::{Case, PAGES, WRITES};

/// All there are, of every operation; cut in the middle as often as this.
const MIDDLES: u64 = 2;
/// What becomes of each pair of middles, as often as this.
const SEEDS: u64 = 24;

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
    let cases: u64 = [(256, 8), (256, 32)]
        .into_iter()
        .map(|(page, write)| every_operation(page, write, &scenario))
        .sum();
    assert!(cases > 5_000, "{cases}");
}

/// In the middle of writing state, and again while that is made good: the pairs that could cost a state.
#[test]
fn power_goes_twice_while_state_is_written() {
    let scenario = Scenario::of(1_024, &[0, 1, 0]);
    let (page, write) = (1_024, 8);
    let (_, steps) = Case { page, write, scenario: &scenario, seed: 1, cuts: vec![] }.steps();
    for &step in &steps {
        for (after, seed) in (1..8).flat_map(|after| (0..SEEDS).map(move |seed| (after, seed))) {
            let cuts = [step, step + after].map(|step| Cut { step, moment: Moment::During });
            Case { page, write, scenario: &scenario, seed, cuts: cuts.to_vec() }.run();
        }
    }
    assert!(steps.len() > 50, "{steps:?}");
}

/// Pairs, on every kind of flash; `cargo xtask slots` draws millions, and larger models.
#[test]
fn power_goes_twice() {
    let cases = Cases::up_to(4_096);
    (0..2_000).for_each(|number| cases.run(number, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any goals in any order, cut anywhere, any number of times.
    #[test]
    fn devices_live_on(
        kinds in prop::collection::vec(0_u64..9, 1..12),
        steps in prop::collection::vec((0_u64..4_000, 0_usize..4), 0..3),
        (page, write) in (0_usize..4, 0_usize..4),
        seed in any::<u64>(),
    ) {
        let scenario = Scenario::of(1_024, &kinds);
        let mut steps = steps;
        steps.sort_unstable();
        let moments = [Moment::Before, Moment::During, Moment::During, Moment::After];
        let cuts = steps.into_iter().map(|(step, kind)| Cut { step, moment: moments[kind] });
        let (page, write, cuts) = (PAGES[page], WRITES[write], cuts.collect());
        Case { page, write, scenario: &scenario, seed, cuts }.run();
    }
}
