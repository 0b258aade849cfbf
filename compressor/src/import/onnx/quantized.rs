//! Quantised models: pairs of `QuantizeLinear` and `DequantizeLinear` around operators of floats.
//!
//! Both are left out of the graph; what they say is kept beside it, per value and per layer, for
//! lowering to integers.

use super::constant::{Constant, Type};
use super::convert::Converter;
use super::site::{Activation, Site, Tensor};
use crate::graph::ops::Reshape;
use crate::import::ImportError;
use crate::numbers::Quantization;

impl Converter<'_> {
    /// `QuantizeLinear`.
    pub(super) fn quantize_linear(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        match self.operand(site, 0, "its input")? {
            Tensor::Constant(constant) => {
                let scale = self.parameter(site, 1, "its scale")?;
                let zero = self.optional_parameter(site, 2)?;
                let kind = zero.as_ref().map_or(Type::U8, |zero| zero.kind);
                let (low, high) = match kind {
                    Type::I8 => (-128, 127),
                    Type::U8 => (0, 255),
                    _ => return Err(site.unsupported("its type", kind.name(), "INT8 or UINT8")),
                };
                let along = Along::new(site, &constant, &scale, zero.as_ref())?;
                let numbers = constant.floats();
                let quantized = numbers.iter().enumerate().map(|(at, number)| {
                    let (scale, zero) = along.at(at);
                    let steps = (number / scale).round_ties_even();
                    // Beyond any type's range the cast saturates.
                    (steps as i64).saturating_add(zero).clamp(low, high)
                });
                let constant = Constant::of_ints(constant.dims.clone(), kind, quantized.collect());
                self.define(site, Tensor::Constant(constant))
            }
            Tensor::Activation(input) => {
                let quantization = self.per_tensor(site)?;
                self.fix(site, &input, quantization)
            }
        }
    }

    /// `DequantizeLinear`.
    pub(super) fn dequantize_linear(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        match self.operand(site, 0, "its input")? {
            Tensor::Constant(constant) => {
                let scale = self.parameter(site, 1, "its scale")?;
                let zero = self.optional_parameter(site, 2)?;
                let Some(numbers) = constant.integers() else {
                    return Err(site.unsupported("its type", constant.kind.name(), "an integer"));
                };
                let along = Along::new(site, &constant, &scale, zero.as_ref())?;
                let real = numbers.iter().enumerate().map(|(at, &number)| {
                    let (scale, zero) = along.at(at);
                    (f64::from(scale) * (number.saturating_sub(zero)) as f64) as f32
                });
                let mut result = Constant::of_floats(constant.dims.clone(), real.collect());
                result.scales = Some((along.scales, along.axis));
                self.define(site, Tensor::Constant(result))
            }
            Tensor::Activation(input) => {
                let quantization = self.per_tensor(site)?;
                if self.quantization(input.value) != Some(quantization) {
                    let problem = "is dequantised in another way than it was quantised";
                    let tensor = site.at().output;
                    return Err(ImportError::Quantization { at: site.at(), tensor, problem });
                }
                self.define(site, Tensor::Activation(input))
            }
        }
    }

    /// One scale and zero point, as those of int8.
    fn per_tensor(&self, site: &Site<'_>) -> Result<Quantization, ImportError> {
        let scale = self.parameter(site, 1, "its scale")?;
        let zero = self.optional_parameter(site, 2)?;
        let wrong = |problem| {
            let tensor = site.node.inputs.first().cloned().unwrap_or_default();
            ImportError::Quantization { at: site.at(), tensor, problem }
        };
        let scale = scale.single().ok_or_else(|| wrong("has more than one scale"))?;
        if !(scale.is_finite() && scale > 0.0) {
            return Err(wrong("has a scale that is no positive number"));
        }
        let (kind, zero) = match &zero {
            None => (Type::U8, 0),
            Some(zero) => match zero.integers() {
                Some([number]) => (zero.kind, *number),
                _ => return Err(wrong("has more than one zero point")),
            },
        };
        let zero = match kind {
            Type::I8 => zero,
            Type::U8 => zero - 128,
            _ => return Err(wrong("isn't quantised to 8 bits")),
        };
        let zero_point =
            i8::try_from(zero).map_err(|_| wrong("has a zero point beyond its type"))?;
        Ok(Quantization { scale, zero_point })
    }

    /// Remembers a value's quantisation. A value that has another one already is passed on by an
    /// operator, which will be the conversion.
    fn fix(
        &mut self,
        site: &Site<'_>,
        input: &Activation,
        quantization: Quantization,
    ) -> Result<(), ImportError> {
        let known = self.quantization(input.value);
        if known.is_none_or(|known| known == quantization) {
            self.model.activations.insert(input.value, quantization);
            return self.define(site, Tensor::Activation(input.clone()));
        }
        let written = self.push_like(site, Reshape {}, vec![input.value], input)?;
        self.model.activations.insert(written.value, quantization);
        Ok(())
    }
}

/// Scales and zero points along a dimension of a constant.
struct Along {
    scales: Vec<f32>,
    zeros: Vec<i64>,
    axis: usize,
    /// Numbers from one step along the dimension to the next.
    stride: usize,
}

impl Along {
    fn new(
        site: &Site<'_>,
        constant: &Constant,
        scale: &Constant,
        zero: Option<&Constant>,
    ) -> Result<Self, ImportError> {
        let wrong = |problem| {
            let tensor = site.node.inputs.first().cloned().unwrap_or_default();
            ImportError::Quantization { at: site.at(), tensor, problem }
        };
        if site.int("block_size", 0) != 0 {
            return Err(site.unsupported("block_size", site.int("block_size", 0), "0"));
        }
        let scales = scale.floats();
        if scales.iter().any(|scale| !(scale.is_finite() && *scale > 0.0)) {
            return Err(wrong("has a scale that is no positive number"));
        }
        let zeros = match zero {
            None => vec![0],
            Some(zero) => zero.integers().ok_or_else(|| wrong("has broken zero points"))?.to_vec(),
        };
        let rank = constant.dims.len() as i64;
        let axis = site.int("axis", 1);
        let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
        let axis = usize::try_from(axis).unwrap_or_default();
        let single = scales.len() == 1;
        let along = constant.dims.get(axis).copied().unwrap_or_default();
        if !single && scales.len() != along || zeros.len() != 1 && zeros.len() != scales.len() {
            return Err(wrong("needs one scale, or one for each step along its dimension"));
        }
        let stride: usize = constant.dims.iter().skip(axis + 1).product();
        Ok(Self { scales, zeros, axis, stride: stride.max(1) })
    }

    /// Scale and zero point of a number.
    fn at(&self, at: usize) -> (f32, i64) {
        let step = at / self.stride;
        (self.scales[step % self.scales.len()], self.zeros[step % self.zeros.len()])
    }
}
