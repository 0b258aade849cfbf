//! `bitsback supported-ops`: what can be imported.

use super::output::Context;
use super::table;
use crate::error::Error;
use crate::import::{onnx, tflite};

/// List the operators of TensorFlow Lite and ONNX that can be imported
///
/// Each with what it becomes in the .bbk file and what has to hold; for TensorFlow Lite also the
/// newest version that is read. `bitsback import` and `bitsback quantize` refuse everything else by
/// name and place.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback supported-ops
  bitsback supported-ops --json | jq '.operators[].name'

With --json: operators[] with name, code, max_version, becomes, conditions; onnx[] with name,
becomes, conditions.")]
pub(crate) struct SupportedOps {}

#[derive(serde::Serialize)]
struct Operators {
    operators: &'static [tflite::SupportedOperator],
    onnx: &'static [onnx::SupportedOperator],
}

impl SupportedOps {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        let row = |operator: &tflite::SupportedOperator| {
            [
                operator.name.to_owned(),
                operator.max_version.to_string(),
                operator.becomes.to_owned(),
                operator.conditions.to_owned(),
            ]
        };
        let rows: Vec<_> = tflite::SUPPORTED.iter().map(row).collect();
        let heads = ["TensorFlow Lite", "up to version", "becomes", "where"];
        let mut text = table::layout(&heads, &[], &rows)
            + "\nActivations are int8; fused RELU, RELU6 and RELU_N1_TO_1 are limits of the output.\n\n";
        let row = |operator: &onnx::SupportedOperator| {
            [operator.name, operator.becomes, operator.conditions].map(str::to_owned)
        };
        let rows: Vec<_> = onnx::SUPPORTED.iter().map(row).collect();
        text += &table::layout(&["ONNX", "becomes", "where"], &[], &rows);
        text += "\nModels of floats are quantised by `bitsback quantize`; quantised ones (pairs of \
                 QuantizeLinear and DequantizeLinear) are imported as they are.\n";
        let all = Operators { operators: &tflite::SUPPORTED, onnx: &onnx::SUPPORTED };
        context.result(&text, &all)
    }
}
