//! The proof that firmware with the runtime holds no path to a panic: it links although its panic
//! handler calls a function that nobody defines.

use std::path::Path;

use crate::boards::BOARDS;
use crate::commands::slots;
use crate::error::XtaskError;
use crate::firmware::{self, Program};

/// A model, which must be some: the programs hold every operator, also those that it hasn't.
const MODEL: &str = "tests/golden/operators/model.bbk";

/// Everything that the runtime can do, with the model checked when the program starts and when it is
/// built, each with a sentinel, and with weights unpacked; and what slots can do, with update packages but for
/// a signature's own code.
const PROGRAMS: [&[&str]; 4] = [
    &["no-panic", "pairs", "per-channel", "widths", "checks", "sentinel"],
    &["no-panic", "pairs", "per-channel", "widths", "sentinel"],
    &["no-panic", "pairs", "per-channel", "widths", "checks", "unpacked"],
    &["no-panic", "empty", "slots", "packages"],
];

/// Links the programs for every core, and sees that slots' code stays within its budget.
pub(crate) fn check(root: &Path) -> Result<(), XtaskError> {
    let model = root.join(MODEL);
    for board in BOARDS {
        for features in PROGRAMS {
            let program = Program {
                package: "footprint",
                features,
                model: Some(&model),
                ..Program::default()
            };
            firmware::build_program(root, board, program)?;
        }
        println!("{}: no path to a panic", board.core);
    }
    slots::check_size(root)
}
