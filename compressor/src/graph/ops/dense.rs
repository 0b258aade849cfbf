//! Fully connected layers.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{self, Attribute, Exported, Exporter};
use super::super::integer::{Emitter, IntegerOperator, Relation, StoredLayer, Takes};
use super::super::known::{Known, Span};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Groups, Operator, Prepared, Site, Units, Weights};
use super::Op;
#[cfg(feature = "training")]
use crate::graph::tensor::integer::{IntegerLayer, IntegerSite};
#[cfg(feature = "training")]
use crate::graph::tensor::{Inputs, Pass, Value};
use crate::numbers::Quantization;

/// y = W·x + b over all values of the input, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dense {}

impl Operator for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn check(&self, _site: &Site<'_>) -> Option<&'static str> {
        None
    }

    fn weights(&self, site: &Site<'_>) -> Option<Weights> {
        let (outputs, inputs) = (site.output.len(), site.input().len());
        Some(Weights { outputs, taps: 1, inputs, groups: Groups::Inputs })
    }

    fn is_matrix(&self) -> bool {
        true
    }

    fn forward(&self, _: &Site<'_>, x: &Operands<'_>, layer: Option<&Prepared<'_>>) -> Vec<f32> {
        layer.map_or_else(Vec::new, |layer| layer.multiply(x.all()))
    }

    #[cfg(feature = "training")]
    fn train(&self, site: &Site<'_>, x: Inputs, pass: &mut Pass<'_>) -> Value {
        Value::of_rows(pass.dense(x.first.flat()), &site.output.dims)
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Mixed
    }

    fn constant(&self, _operands: &[f32]) -> Option<f32> {
        None
    }

    fn mean_columns(&self, _site: &Site<'_>, mean: &[f32]) -> Option<Vec<f32>> {
        Some(mean.to_vec())
    }

    fn has_clamp(&self) -> bool {
        true
    }

    fn saturates(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        let Some(affine) = &lowering.node().parameters else { return lowering.pass() };
        let (matrix, to) = lowering.matrix(affine)?;
        let (input, dims) = (lowering.operand(0)?, lowering.output_dims().to_vec());
        lowering.write(IntegerDense {}, vec![input], dims, to, Some(matrix));
        Ok(())
    }

    fn export(&self, site: &Site<'_>, layer: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        let affine = exporter::parameters(layer)?;
        let (from, to) = (&site.input().dims, &site.output.dims);
        let (inputs, outputs) = (from.iter().product(), affine.bias.len());
        let (mut x, output) = (file.operand(0), file.output());
        if from.len() > 1 {
            let flat = file.fresh();
            file.reshape(&x, from, &[inputs], &flat);
            x = flat;
        }
        let [weight, bias] = file.layer(&[outputs, inputs], affine.weight.clone(), &affine.bias);
        let written = if to.len() == 1 { output.clone() } else { file.fresh() };
        let transposed = vec![("transB", Attribute::Int(1))];
        file.emit("Gemm", &[&x, &weight, &bias], &written, transposed);
        if to.len() > 1 {
            file.reshape(&written, &[outputs], to, &output);
        }
        Ok(())
    }
}

/// A dense layer of integers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct IntegerDense {}

impl IntegerOperator for IntegerDense {
    fn label(&self) -> &'static str {
        "dense"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let dense = matches!(step.op, runtime::Op::Dense(_) | runtime::Op::CodedDense(_));
        dense.then_some(Self {})
    }

    fn layer(step: &Step) -> Option<(StoredLayer, usize)> {
        let layer = match &step.op {
            runtime::Op::Dense(op) => StoredLayer::Rows(op.affine),
            runtime::Op::CodedDense(op) => StoredLayer::Coded(op.affine),
            _ => return None,
        };
        Some((layer, 1))
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let takes = Takes { coded: usize::MAX, paired: usize::MAX, lag: 1 };
        let (output, input) = (emitter.output()?, emitter.flat(0)?);
        Ok(match emitter.layer(takes)? {
            StoredLayer::Rows(affine) => runtime::Op::Dense(ops::Dense { input, output, affine }),
            StoredLayer::Coded(affine) => {
                runtime::Op::CodedDense(ops::CodedDense { input, output, affine })
            }
        })
    }

    fn spans(&self, known: &Known<'_>) -> Vec<Span> {
        known.rows(None, |_, column| column)
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        Vec::new()
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        Some((Dense {}.into(), Clamp::NONE))
    }

    #[cfg(feature = "training")]
    fn train(
        &self,
        site: &IntegerSite<'_>,
        x: Inputs,
        layer: Option<&IntegerLayer<'_>>,
    ) -> Option<Value> {
        let layer = layer?;
        let weight = layer.tensors.weight.clone().transpose();
        let sums = x.first.flat().matmul(weight) + layer.tensors.bias.clone().unsqueeze();
        Some(Value::of_rows(layer.requantized(sums, site.to()), &site.output.dims))
    }

    #[cfg(feature = "training")]
    fn trains(&self) -> bool {
        true
    }
}
