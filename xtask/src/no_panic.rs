//! The proof that firmware with the runtime holds no path to a panic: it links although its panic
//! handler calls a function that nobody defines.

use std::path::Path;

use crate::boards::BOARDS;
use crate::error::XtaskError;
use crate::firmware::{self, Program};

/// A model with every operator.
const MODEL: &str = "tests/golden/operators/model.bbk";

/// Links the program for every core.
pub(crate) fn check(root: &Path) -> Result<(), XtaskError> {
    let model = root.join(MODEL);
    let program = Program {
        package: "footprint",
        features: &["no-panic"],
        model: Some(&model),
        ..Program::default()
    };
    for board in BOARDS {
        firmware::build_program(root, board, program)?;
        println!("{}: no path to a panic", board.core);
    }
    Ok(())
}
