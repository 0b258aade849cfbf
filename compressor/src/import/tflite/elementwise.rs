//! Operators that work value by value: sums, products, activations, conversions.

use bitsback_runtime::format::{Clamp, Window};
use bitsback_runtime::requantize::Multiplier;

use super::convert::{Converter, Site, activation, per_tensor, signed_multiplier};
use super::operands::{Difference, Operands};
use super::schema::Type;
use crate::compile::ByteMap;
use crate::graph::ops::{
    IntegerAdd, IntegerDepthwiseConv2d, IntegerHardSwish, IntegerLeakyRelu, IntegerLimit,
    IntegerLogistic, IntegerMul, IntegerRescale, IntegerSoftmax, IntegerTanh,
};
use crate::graph::{IntegerOp, IntegerValue, Matrix, Origin, ValueId};
use crate::import::ImportError;
use crate::numbers::{hard_swish, multiplier};

/// Integer bits of what `LOGISTIC` and `TANH` compute with, and of `SOFTMAX`.
const LOGISTIC_INTEGER_BITS: i32 = 4;
const SOFTMAX_INTEGER_BITS: i32 = 5;

impl<'a> Converter<'a> {
    /// `ADD`.
    pub(super) fn add(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let operands = self.operands(site)?;
        let (factors, sum, clamp) = self.sum(site, &operands)?;
        let Operands { inputs, output, .. } = operands;
        self.push(
            site,
            IntegerAdd { multipliers: factors, output_multiplier: sum, clamp },
            inputs.to_vec(),
            output,
        );
        Ok(())
    }

    /// `SUB`: the sum with the second operand's negative.
    pub(super) fn sub(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let first = self.operand(site, 0, "its first operand")?;
        let second = self.operand(site, 1, "its second operand")?;
        let zero_points = [first, second].map(|id| self.of(id).quantization.zero_point);
        let negative = self.negated(site, second);
        let operands = self.arranged(site, first, negative)?;
        let (mut factors, rest, clamp) = self.sum(site, &operands)?;
        let Operands { inputs, output, swapped } = operands;
        let [first, second] = if swapped { [1, 0] } else { [0, 1] };
        let difference = Difference {
            factors: [factors[first], factors[second]],
            zero_points,
            rest,
            zero_point: self.of(output).quantization.zero_point,
            clamp,
        };
        factors[second] = difference.mirrored().ok_or_else(|| {
            let (_, tensor) = self.output(site);
            site.quantization(tensor, "is a difference that no sum gives exactly")
        })?;
        self.push(
            site,
            IntegerAdd { multipliers: factors, output_multiplier: rest, clamp },
            inputs.to_vec(),
            output,
        );
        Ok(())
    }

    /// Factors of a sum's operands and of the sum, and its activation.
    fn sum(
        &self,
        site: &Site<'a>,
        operands: &Operands,
    ) -> Result<([Multiplier; 2], Multiplier, Clamp), ImportError> {
        let code = site.operator.options.map_or(Ok(0), |options| options.i8(0, 0))?;
        let output = self.of(operands.output);
        let clamp = activation(site, code, output)?;
        let [a, b] = operands.inputs.map(|id| f64::from(self.of(id).quantization.scale));
        let twice = 2.0 * a.max(b);
        let sum = twice / (f64::from(1u32 << 20) * f64::from(output.quantization.scale));
        Ok(([multiplier(a / twice), multiplier(b / twice)], multiplier(sum), clamp))
    }

    /// `MUL`; with a constant a depthwise convolution of one tap, whose products are the same.
    pub(super) fn mul(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let Operands { inputs, output, .. } = self.operands(site)?;
        let code = site.operator.options.map_or(Ok(0), |options| options.i8(0, 0))?;
        let clamp = activation(site, code, self.of(output))?;
        let [a, b] = inputs.map(|id| self.of(id).clone());
        let factor = f64::from(a.quantization.scale) * f64::from(b.quantization.scale)
            / f64::from(self.of(output).quantization.scale);
        let factor = multiplier(factor);
        let Origin::Constant(constant) = &b.origin else {
            self.push(site, IntegerMul { multiplier: factor, clamp }, inputs.to_vec(), output);
            return Ok(());
        };
        let whole = self.of(output).clone();
        let channels = if constant.len() == 1 { 1 } else { constant.len() };
        let dims = vec![whole.len() / channels.max(1), 1, channels];
        let difference = |&q: &i8| i16::from(q) - i16::from(b.quantization.zero_point);
        let values: Vec<i16> = constant.iter().map(difference).collect();
        let narrow = values.iter().all(|value| i8::try_from(*value).is_ok());
        let matrix = Matrix {
            rows: channels,
            columns: 1,
            bits: if narrow { 8 } else { 16 },
            values,
            multipliers: vec![factor],
            clamp,
            ..Matrix::default()
        };
        let mut image = |value: IntegerValue, origin| {
            self.graph.values.push(IntegerValue { dims: dims.clone(), origin, ..value });
            self.graph.values.len() - 1
        };
        let input = image(a, Origin::View(inputs[0], 0));
        let written = image(whole, Origin::Computed);
        self.make_view(written, output);
        let window = Window { size: [1, 1], stride: [1, 1], padding: [0, 0] };
        let op = IntegerDepthwiseConv2d { window, dilation: [1, 1] };
        self.push_layer(site, op, matrix, vec![input], written);
        Ok(())
    }

    /// The ends of an operator that keeps the number of values.
    fn unary(&mut self, site: &Site<'a>) -> Result<(ValueId, ValueId), ImportError> {
        let input = self.operand(site, 0, "its input")?;
        let output = self.result(site)?;
        let (from, to) = (self.of(input), self.of(output));
        if from.len() != to.len() {
            return Err(site.shape_error("sizes must be equal", &[&from.dims, &to.dims]));
        }
        Ok((input, output))
    }

    /// A function of single values that takes a factor from the input's scale to the output's; `op` also
    /// gets the output's zero point.
    pub(super) fn scaled<O: Into<IntegerOp>>(
        &mut self,
        site: &Site<'a>,
        op: impl FnOnce(Multiplier, i8) -> O,
    ) -> Result<(), ImportError> {
        let (input, output) = self.unary(site)?;
        let [from, to] = [input, output].map(|id| self.of(id).quantization);
        let factor = multiplier(f64::from(from.scale) / f64::from(to.scale));
        self.push(site, op(factor, to.zero_point), vec![input], output);
        Ok(())
    }

    /// `RELU`: to the output's scale, not below its zero.
    pub(super) fn relu(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        self.scaled(site, |multiplier, zero| {
            let clamp = Clamp { min: zero, max: i8::MAX };
            IntegerRescale { multiplier, clamp }
        })
    }

    /// `RELU6`: limits by the input's quantisation, and the bytes stay as they are.
    pub(super) fn relu6(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let (input, output) = self.unary(site)?;
        let clamp = activation(site, 3, self.of(input))?;
        self.push(site, IntegerLimit { clamp }, vec![input], output);
        Ok(())
    }

    /// `HARD_SWISH`.
    pub(super) fn hard_swish(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let (input, output) = self.unary(site)?;
        let [product, gate] =
            hard_swish(self.of(input).quantization.scale, self.of(output).quantization.scale);
        if product.shift > 0 {
            let (_, tensor) = self.output(site);
            return Err(site.quantization(tensor, "has a scale far below its input's"));
        }
        self.push(site, IntegerHardSwish { multiplier: product, gate }, vec![input], output);
        Ok(())
    }

    /// `LEAKY_RELU`: its factors are computed in single precision.
    pub(super) fn leaky_relu(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let (input, output) = self.unary(site)?;
        let alpha = site.operator.options.map_or(Ok(0.0), |options| options.f32(0, 0.0))?;
        if !alpha.is_finite() {
            return Err(ImportError::Attribute {
                at: site.at(),
                what: "alpha",
                found: alpha.to_string(),
                supported: "a finite number",
            });
        }
        let (from, to) = (self.of(input).quantization.scale, self.of(output).quantization.scale);
        let negative = signed_multiplier(f64::from(from * alpha / to));
        let positive = multiplier(f64::from(from / to));
        self.push(site, IntegerLeakyRelu { positive, negative }, vec![input], output);
        Ok(())
    }

    /// `LOGISTIC`.
    pub(super) fn logistic(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let factor = self.saturating(site, i8::MIN)?;
        let (input, output) = self.unary(site)?;
        self.push(site, IntegerLogistic { multiplier: factor }, vec![input], output);
        Ok(())
    }

    /// `TANH`.
    pub(super) fn tanh(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let factor = self.saturating(site, 0)?;
        let (input, output) = self.unary(site)?;
        self.push(site, IntegerTanh { multiplier: factor }, vec![input], output);
        Ok(())
    }

    /// The input's scale in fixed point; the output's zero point must be the stated one.
    fn saturating(&mut self, site: &Site<'a>, zero_point: i8) -> Result<Multiplier, ImportError> {
        let (input, output) = self.unary(site)?;
        if self.of(output).quantization.zero_point != zero_point {
            let (_, tensor) = self.output(site);
            return Err(site.quantization(tensor, "has another zero point than is defined for it"));
        }
        let one = f64::from(1u32 << (31 - LOGISTIC_INTEGER_BITS));
        self.not_below_half(site, f64::from(self.of(input).quantization.scale) * one)
    }

    /// A factor that is only shifted to the left.
    fn not_below_half(&self, site: &Site<'a>, factor: f64) -> Result<Multiplier, ImportError> {
        let factor = multiplier(factor);
        if factor.shift < 0 || factor.value == 0 {
            let (_, tensor) = self.input(site, 0, "its input")?;
            return Err(site.quantization(tensor, "has too small a scale"));
        }
        Ok(factor)
    }

    /// `SOFTMAX`.
    pub(super) fn softmax(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let (input, output) = self.unary(site)?;
        let beta = site.operator.options.map_or(Ok(0.0), |options| options.f32(0, 0.0))?;
        let to = self.of(output);
        if to.quantization.zero_point != i8::MIN || to.quantization.scale != 1.0 / 256.0 {
            let (_, tensor) = self.output(site);
            let problem = "must have the scale 1/256 and the zero point −128";
            return Err(site.quantization(tensor, problem));
        }
        let one = f64::from(1u32 << (31 - SOFTMAX_INTEGER_BITS));
        let factor = f64::from(beta) * f64::from(self.of(input).quantization.scale) * one;
        let factor = self.not_below_half(site, factor.min(f64::from(i32::MAX)))?;
        // The same arrangement on both sides; softmax is over the last dimension.
        let dims = self.of(output).dims.clone();
        let mut input = input;
        if self.of(input).dims != dims {
            if self.of(input).dims.last() != dims.last() {
                let from = self.of(input).dims.clone();
                return Err(site.shape_error("shapes must be equal", &[&from, &dims]));
            }
            let view =
                IntegerValue { dims, origin: Origin::View(input, 0), ..self.of(input).clone() };
            self.graph.values.push(view);
            input = self.graph.values.len() - 1;
        }
        self.push(site, IntegerSoftmax { multiplier: factor }, vec![input], output);
        Ok(())
    }

    /// `QUANTIZE`. At the model's ends, conversions from float and uint8 and back to uint8 are
    /// left to whoever feeds the model: they move the end.
    pub(super) fn quantize(
        &mut self,
        site: &Site<'a>,
        ends: &mut (usize, usize),
    ) -> Result<(), ImportError> {
        let (from_id, from) = self.input(site, 0, "its input")?;
        let (to_id, to) = self.output(site);
        match (from.kind, to.kind) {
            (Type::I8, Type::I8) => {
                let clamp = Clamp::NONE;
                self.scaled(site, |multiplier, _| IntegerRescale { multiplier, clamp })?;
            }
            (Type::F32, Type::I8) if from_id == ends.0 => ends.0 = to_id,
            (Type::U8, Type::I8) if from_id == ends.0 => {
                let zero_point = match (from.scales.as_slice(), from.zero_points.as_slice()) {
                    ([scale], [zero_point]) if to.scales.as_slice() == [*scale] => *zero_point,
                    _ => return Err(site.quantization(from, "must have the scale of the output")),
                };
                let (_, new) = per_tensor(to).map_err(|problem| site.quantization(to, problem))?;
                let add = (i64::from(new) - zero_point.clamp(-1024, 1024)) as i32;
                self.set_bytes(ByteMap { mul: 1, add, shift: 0 });
                ends.0 = to_id;
            }
            (Type::I8, Type::U8) if to_id == ends.1 => {
                if from.scales != to.scales {
                    return Err(site.quantization(to, "must have the scale of the input"));
                }
                ends.1 = from_id;
            }
            (other, Type::I8) => return Err(self.wrong_type(site, &from.name, other)),
            (_, other) => return Err(self.wrong_type(site, &to.name, other)),
        }
        Ok(())
    }

    fn wrong_type(&self, site: &Site<'a>, tensor: &str, found: Type) -> ImportError {
        let supported = "INT8 (or, at the model's ends, FLOAT32 or UINT8)";
        ImportError::Type {
            at: site.at(),
            tensor: tensor.to_owned(),
            found: found.name(),
            supported,
        }
    }

    /// `DEQUANTIZE` at the model's end: the model gives what is before it.
    pub(super) fn dequantize(
        &mut self,
        site: &Site<'a>,
        ends: &mut (usize, usize),
    ) -> Result<(), ImportError> {
        let (from_id, from) = self.input(site, 0, "its input")?;
        let (to_id, to) = self.output(site);
        if to_id != ends.1 {
            return Err(self.wrong_type(site, &to.name, to.kind));
        }
        if from.kind != Type::I8 {
            return Err(self.wrong_type(site, &from.name, from.kind));
        }
        ends.1 = from_id;
        Ok(())
    }
}
