//! Cases by chance: every one of a seed's numbers is another, and can be run again alone.

use super::flash::{Cut, Moment};
use super::random::Random;
use super::scenario::Scenario;
use super::{Case, PAGES, WRITES};

/// Lengths of models, and how often each is drawn: large ones take longer.
const LENGTHS: [(usize, u64); 6] =
    [(1_024, 400), (2_000, 60), (4_096, 20), (10_000, 6), (30_000, 2), (65_536, 1)];
/// Goals of a drawn scenario.
const GOALS: u64 = 3;
/// Scenarios of each length.
const SCENARIOS: usize = 24;

/// Scenarios with the numbers of operations that each takes on each kind of flash.
pub struct Cases {
    /// By length, with its share.
    lengths: Vec<(Vec<Drawn>, u64)>,
}

struct Drawn {
    scenario: Scenario,
    /// By page and unit.
    steps: Vec<u64>,
}

/// The kinds of flash.
fn kinds() -> impl Iterator<Item = (usize, usize)> {
    PAGES.into_iter().flat_map(|page| WRITES.map(|write| (page, write)))
}

impl Cases {
    /// Scenarios of every length up to this one.
    pub fn up_to(max_len: usize) -> Self {
        let mut random = Random(max_len as u64);
        let lengths = LENGTHS.into_iter().filter(|(len, _)| *len <= max_len);
        let lengths = lengths.map(|(len, share)| {
            let drawn = (0..SCENARIOS).map(|_| Drawn::new(len, &mut random)).collect();
            (drawn, share)
        });
        Self { lengths: lengths.collect() }
    }

    /// Runs the case of a number, with this many cuts.
    pub fn run(&self, number: u64, cuts: u64) {
        let mut random = Random(number.wrapping_mul(0xD134_2543_DE82_EF95));
        let all: u64 = self.lengths.iter().map(|(_, share)| share).sum();
        let mut left = random.below(all);
        let (drawn, _) = self
            .lengths
            .iter()
            .find(|(_, share)| {
                let is_here = left < *share;
                left = left.saturating_sub(*share);
                is_here
            })
            .unwrap();
        let drawn = &drawn[random.below(drawn.len() as u64) as usize];
        let kind = random.below(drawn.steps.len() as u64) as usize;
        let (page, write) = kinds().nth(kind).unwrap();
        let mut places: Vec<u64> = (0..cuts).map(|_| random.below(drawn.steps[kind] + 1)).collect();
        // Half of them close together: while the first is made good.
        if random.below(2) == 0 {
            let first = places[0];
            places.iter_mut().skip(1).for_each(|place| *place = first + 1 + random.below(40));
        }
        places.sort_unstable();
        let moments = [Moment::Before, Moment::During, Moment::During, Moment::After];
        let cuts = places
            .into_iter()
            .map(|step| Cut { step, moment: moments[random.below(4) as usize] })
            .collect();
        Case { page, write, scenario: &drawn.scenario, seed: number, cuts }.run();
    }
}

impl Drawn {
    fn new(len: usize, random: &mut Random) -> Self {
        let goals: Vec<u64> = (0..GOALS).map(|_| random.next()).collect();
        let scenario = Scenario::of(len, &goals);
        let steps = kinds()
            .map(|(page, write)| {
                Case { page, write, scenario: &scenario, seed: 1, cuts: Vec::new() }.run()
            })
            .collect();
        Self { scenario, steps }
    }
}
