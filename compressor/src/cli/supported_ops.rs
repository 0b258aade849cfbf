//! `bitsback supported-ops`: what can be imported.

use super::output::Context;
use super::table;
use crate::error::Error;
use crate::import::tflite::{SUPPORTED, SupportedOperator};

/// List the operators of TensorFlow Lite that can be imported
///
/// Each with the newest version that is read, what it becomes in the .bbk file, and what has to
/// hold. `bitsback import` refuses everything else by name and place.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback supported-ops
  bitsback supported-ops --json | jq '.operators[].name'

With --json: operators[] with name, code, max_version, becomes, conditions.")]
pub(crate) struct SupportedOps {}

#[derive(serde::Serialize)]
struct Operators {
    operators: &'static [SupportedOperator],
}

impl SupportedOps {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        let row = |operator: &SupportedOperator| {
            [
                operator.name.to_owned(),
                operator.max_version.to_string(),
                operator.becomes.to_owned(),
                operator.conditions.to_owned(),
            ]
        };
        let rows: Vec<_> = SUPPORTED.iter().map(row).collect();
        let heads = ["TensorFlow Lite", "up to version", "becomes", "where"];
        let text = table::layout(&heads, &[], &rows)
            + "\nActivations are int8; fused RELU, RELU6 and RELU_N1_TO_1 are limits of the output.\n";
        context.result(&text, &Operators { operators: &SUPPORTED })
    }
}
