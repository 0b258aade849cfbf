//! Operators of a model of floats that become several nodes.

use super::{FIRST, LAST, Writer, int, ints, text};
use crate::import::ImportError;
use crate::import::tflite::convert::{Site, integers};
use crate::import::tflite::slice::{self, Part};
use crate::import::tflite::window::padding_and_stride;

/// ONNX's name of the schema's border rule.
fn auto_pad(padding: i8) -> super::schema::Attribute {
    text("auto_pad", if padding == 0 { "SAME_UPPER" } else { "VALID" })
}

impl<'m> Writer<'m> {
    /// `FULLY_CONNECTED`: a product with the transposed weights.
    pub(in crate::import::tflite) fn fully_connected(
        &mut self,
        site: &Site<'m>,
    ) -> Result<(), ImportError> {
        let options = site.operator.options;
        let option = |index| options.map_or(Ok(0), |options| options.i8(index, 0));
        let (code, format, keeps) = (option(0)?, option(1)?, option(2)? != 0);
        if format != 0 {
            return Err(ImportError::Attribute {
                at: site.at(),
                what: "the weights' format",
                found: format!("number {format}"),
                supported: "DEFAULT",
            });
        }
        let (mut x, weights, output) =
            (self.operand(site, 0)?, self.operand(site, 1)?, self.output(site)?);
        let from = self.tensor(site, 0)?;
        let columns = self.tensor(site, 1)?.shape.last().copied().unwrap_or_default();
        if !keeps && (from.shape.len() != 2 || from.shape.last() != Some(&columns)) {
            let target = self.longs(&[-1, i64::from(columns)]);
            x = self.step(site, "Reshape", &[&x, &target], vec![])?;
        }
        let weights = self.transposed(site, &weights, &[1, 0])?;
        let product = self.step(site, "MatMul", &[&x, &weights], vec![])?;
        let sum = self.biased(site, &product)?;
        self.activated(site, code, &sum, &output)
    }

    /// With the biases, if there are any.
    pub(in crate::import::tflite) fn biased(
        &mut self,
        site: &Site<'m>,
        product: &str,
    ) -> Result<String, ImportError> {
        if !self.has(site, 2) {
            return Ok(product.to_owned());
        }
        let bias = self.operand(site, 2)?;
        self.step(site, "Add", &[product, &bias], vec![])
    }

    /// `CONV_2D` and `DEPTHWISE_CONV_2D`, whose weights have the outputs last.
    pub(in crate::import::tflite) fn convolution(
        &mut self,
        site: &Site<'m>,
        depthwise: bool,
    ) -> Result<(), ImportError> {
        let options = self.options(site)?;
        let (padding, stride) = padding_and_stride(site, &options)?;
        let next = if depthwise { 4 } else { 3 };
        let dilation = [options.i32(next + 2, 1)?, options.i32(next + 1, 1)?].map(i64::from);
        let code = options.i8(next, 0)?;
        let channels = self.tensor(site, 0)?.shape.last().copied().unwrap_or_default();
        let own = self.tensor(site, 1)?.shape.last().copied().unwrap_or_default();
        let group =
            if depthwise { channels } else { channels.checked_div(own).unwrap_or_default() };
        let (x, weights, output) =
            (self.operand(site, 0)?, self.operand(site, 1)?, self.output(site)?);
        let x = self.transposed(site, &x, &FIRST)?;
        let order = if depthwise { [3, 0, 1, 2] } else { FIRST };
        let weights = self.transposed(site, &weights, &order)?;
        let mut inputs = vec![x, weights];
        if self.has(site, 2) {
            inputs.push(self.operand(site, 2)?);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let attributes = vec![
            int("group", group.into()),
            ints("strides", &stride.map(i64::from)),
            ints("dilations", &dilation),
            auto_pad(padding),
        ];
        let written = self.step(site, "Conv", &inputs, attributes)?;
        let written = self.transposed(site, &written, &LAST)?;
        self.activated(site, code, &written, &output)
    }

    /// `MAX_POOL_2D` and `AVERAGE_POOL_2D`.
    pub(in crate::import::tflite) fn pool(
        &mut self,
        site: &Site<'m>,
        operator: &str,
    ) -> Result<(), ImportError> {
        let options = self.options(site)?;
        let (padding, stride) = padding_and_stride(site, &options)?;
        let size = [options.i32(4, 0)?, options.i32(3, 0)?].map(i64::from);
        let code = options.i8(5, 0)?;
        let (x, output) = (self.operand(site, 0)?, self.output(site)?);
        let x = self.transposed(site, &x, &FIRST)?;
        let attributes = vec![
            ints("kernel_shape", &size),
            ints("strides", &stride.map(i64::from)),
            auto_pad(padding),
        ];
        let written = self.step(site, operator, &[&x], attributes)?;
        let written = self.transposed(site, &written, &LAST)?;
        self.activated(site, code, &written, &output)
    }

    /// Sums, products and the like, with a fused activation.
    pub(in crate::import::tflite) fn binary(
        &mut self,
        site: &Site<'m>,
        operator: &str,
    ) -> Result<(), ImportError> {
        let (a, b, output) = (self.operand(site, 0)?, self.operand(site, 1)?, self.output(site)?);
        let fuses = !["Max", "Min"].contains(&operator);
        let code = match site.operator.options.filter(|_| fuses) {
            Some(options) => options.i8(0, 0)?,
            None => 0,
        };
        let written = self.step(site, operator, &[&a, &b], vec![])?;
        self.activated(site, code, &written, &output)
    }

    pub(in crate::import::tflite) fn concatenation(
        &mut self,
        site: &Site<'m>,
    ) -> Result<(), ImportError> {
        let options = self.options(site)?;
        let (axis, code) = (options.i32(0, 0)?, options.i8(1, 0)?);
        let operands = (0..site.operator.inputs.len()).map(|place| self.operand(site, place));
        let operands = operands.collect::<Result<Vec<String>, _>>()?;
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let written = self.step(site, "Concat", &operands, vec![int("axis", axis.into())])?;
        let output = self.output(site)?;
        self.activated(site, code, &written, &output)
    }

    /// `PAD` and `PADV2`: the borders before all dimensions come before those behind them.
    pub(in crate::import::tflite) fn pad(&mut self, site: &Site<'m>) -> Result<(), ImportError> {
        let borders = integers(site, self.tensor(site, 1)?)?;
        let of = |place: usize| borders.iter().skip(place).step_by(2).copied();
        let borders: Vec<i64> = of(0).chain(of(1)).collect();
        let (x, output) = (self.operand(site, 0)?, self.output(site)?);
        let borders = self.longs(&borders);
        let mut inputs = vec![x, borders];
        if self.has(site, 2) {
            inputs.push(self.operand(site, 2)?);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.node(site, "Pad", &inputs, &output, vec![])
    }

    /// `MEAN` and `REDUCE_MAX`.
    pub(in crate::import::tflite) fn reduce(
        &mut self,
        site: &Site<'m>,
        operator: &str,
    ) -> Result<(), ImportError> {
        let axes = integers(site, self.tensor(site, 1)?)?;
        let keeps = site.operator.options.map_or(Ok(0), |options| options.i8(0, 0))?;
        let attributes = vec![ints("axes", &axes), int("keepdims", keeps.into())];
        let (x, output) = (self.operand(site, 0)?, self.output(site)?);
        self.node(site, operator, &[&x], &output, attributes)
    }

    /// `RESHAPE`, `SQUEEZE`, `EXPAND_DIMS`: to the shape that was found for the output.
    pub(in crate::import::tflite) fn view(&mut self, site: &Site<'m>) -> Result<(), ImportError> {
        let (x, output) = (self.operand(site, 0)?, self.output(site)?);
        let outputs = &site.operator.outputs;
        let shape = outputs.first().map(|&id| self.model.tensors[id as usize].shape.as_slice());
        let shape: Vec<i64> = shape.unwrap_or_default().iter().map(|&dim| dim.into()).collect();
        let shape = self.longs(&shape);
        self.node(site, "Reshape", &[&x, &shape], &output, vec![])
    }

    /// `STRIDED_SLICE` and `SLICE`; dimensions that go do so by a reshape.
    pub(in crate::import::tflite) fn slice(&mut self, site: &Site<'m>) -> Result<(), ImportError> {
        let parts = slice::parts(site, self.model)?;
        let of = |f: &dyn Fn(&Part) -> usize| -> Vec<i64> {
            parts.iter().map(|part| i64::try_from(f(part)).unwrap_or(i64::MAX)).collect()
        };
        let starts = of(&|part| part.start);
        let ends = of(&|part| part.start.saturating_add(part.count.saturating_mul(part.step)));
        let steps = of(&|part| part.step);
        let axes: Vec<i64> = (0..parts.len() as i64).collect();
        let bounds = [starts, ends, axes, steps].map(|numbers| self.longs(&numbers));
        let (x, output) = (self.operand(site, 0)?, self.output(site)?);
        let inputs = [&x, &bounds[0], &bounds[1], &bounds[2], &bounds[3]].map(String::as_str);
        if parts.iter().all(|part| !part.dropped) {
            return self.node(site, "Slice", &inputs, &output, vec![]);
        }
        let written = self.step(site, "Slice", &inputs, vec![])?;
        let left = parts.iter().filter(|part| !part.dropped);
        let shape: Vec<i64> = left.map(|part| part.count as i64).collect();
        let shape = self.longs(&shape);
        self.node(site, "Reshape", &[&written, &shape], &output, vec![])
    }

    /// `SOFTMAX` over the last dimension, of its input times β.
    pub(in crate::import::tflite) fn softmax(
        &mut self,
        site: &Site<'m>,
    ) -> Result<(), ImportError> {
        let beta = site.operator.options.map_or(Ok(1.0), |options| options.f32(0, 0.0))?;
        let (mut x, output) = (self.operand(site, 0)?, self.output(site)?);
        if beta != 1.0 {
            let beta = self.number(beta);
            x = self.step(site, "Mul", &[&x, &beta], vec![])?;
        }
        self.node(site, "Softmax", &[&x], &output, vec![int("axis", -1)])
    }
}
