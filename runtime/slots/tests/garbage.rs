//! Flash with anything in it: a start never panics, and never chooses what the gate doesn't accept.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod power;

use power::garbage::start_with;
use power::random::Random;
use proptest::prelude::*;

/// Contents that are drawn: a second or two.
const CONTENTS: u64 = 20_000;

#[test]
fn anything_in_flash_gives_an_accepted_model_or_none() {
    let mut random = Random(1);
    let (mut chosen, mut updated) = (0, 0);
    for _ in 0..CONTENTS {
        let bytes: Vec<u8> = (0..random.below(120)).map(|_| random.byte()).collect();
        let outcome = start_with(&bytes);
        chosen += u64::from(outcome.is_chosen);
        updated += u64::from(outcome.is_updated);
    }
    assert!(chosen > CONTENTS / 10 && chosen < CONTENTS, "{chosen} chose a model");
    assert!(updated > CONTENTS / 100, "{updated} were updated");
}

proptest! {
    #[test]
    fn so_does_what_is_shrunk(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        start_with(&bytes);
    }
}
