//! What the committed models `wide-2`, `wide-4` and `wide-8` may take of each kind of kernel: a kernel
//! that isn't called, or that the compiler takes apart, gives the right bits all the same.

use crate::conformance::Outcome;
use crate::error::XtaskError;

/// The multiply-accumulates of each of the three models.
const MACS: u64 = 203 * 64 + 64 * 36 + 36 * 10;
/// Kernels, and the most instructions for a hundred multiply-accumulates of 2, 4 and 8 bits, with all
/// that is around them: a tenth more than was counted, since compilers differ.
const MOST: [(&str, [u64; 3]); 4] = [
    ("mve", [297, 99, 76]),
    ("neon", [129, 127, 127]),
    ("rv32im", [1001, 769, 529]),
    ("thumb1", [1325, 1039, 591]),
];

/// Refuses what took more than it may.
pub(crate) fn check(outcome: &Outcome) -> Result<(), XtaskError> {
    let Some(most) = most(&outcome.isa, &outcome.model) else { return Ok(()) };
    if !outcome.ran || outcome.instructions <= most {
        return Ok(());
    }
    let (core, model) = (outcome.core, outcome.model.clone());
    Err(XtaskError::Slow { core, model, instructions: outcome.instructions, most })
}

/// The most instructions of an inference, if the model has a budget.
fn most(isa: &str, model: &str) -> Option<u64> {
    let width = ["wide-2", "wide-4", "wide-8"].iter().position(|&name| name == model)?;
    let (_, most) = MOST.iter().find(|(name, _)| *name == isa)?;
    Some(most[width] * MACS / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(instructions: u64) -> Outcome {
        Outcome {
            core: "cortex-a53",
            isa: "neon".to_owned(),
            model: "wide-8".to_owned(),
            ran: true,
            reason: None,
            vectors: 1,
            places: 1,
            mismatches: 0,
            instructions,
            decision_instructions: 0,
            feed_instructions: 0,
            arena_bytes: 0,
            stack_bytes: 0,
            unpacked_instructions: 0,
            weights_ram_bytes: 0,
            first_mismatch: None,
        }
    }

    #[test]
    fn a_kernel_that_is_taken_apart_is_over_budget() {
        // What sixteen loads of bytes for one of a vector took: 3.61 a multiply-accumulate.
        assert!(matches!(check(&outcome(MACS * 361 / 100)), Err(XtaskError::Slow { .. })));
        assert!(check(&outcome(MACS * 45 / 100)).is_ok());
    }

    #[test]
    fn other_models_have_no_budget() {
        assert_eq!(most("neon", "digits"), None);
        assert_eq!(most("portable", "wide-8"), None);
    }
}
