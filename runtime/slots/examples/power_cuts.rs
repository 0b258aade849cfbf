//! Millions of cases of power going while slots are written; `cargo xtask slots` is this.
//!
//! Arguments: how many cases, the first one's number, and losses of power in each. A case that fails is
//! printed with its number, which runs it again alone.

#[path = "../tests/power/mod.rs"]
mod power;

use std::env;
use std::time::Instant;

use power::draw::Cases;

/// The largest models.
const MAX_LEN: usize = 65_536;
/// Cases between two lines.
const TOLD: u64 = 100_000;

/// A case's number, said if it fails.
struct Number(u64);

impl Drop for Number {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("case number {}", self.0);
        }
    }
}

fn main() {
    let numbers: Result<Vec<u64>, _> = env::args().skip(1).map(|text| text.parse()).collect();
    let Ok(&[cases, seed, cuts]) = numbers.as_deref() else {
        eprintln!("power_cuts CASES SEED CUTS");
        std::process::exit(2);
    };
    let start = Instant::now();
    let drawn = Cases::up_to(MAX_LEN);
    for number in seed..seed.saturating_add(cases) {
        let _said = Number(number);
        drawn.run(number, cuts);
        let done = number - seed + 1;
        if done % TOLD == 0 || done == cases {
            let seconds = start.elapsed().as_secs_f64();
            println!("{done} cases from seed {seed} on, {cuts} cuts in each: {seconds:.0} s");
        }
    }
}
