//! A layer's integers: weights at their scales, biases and multipliers.

use bitsback_runtime::coding::CODED_BIAS_MAX;
use bitsback_runtime::format;

use super::{DEFAULT_BITS, LowerError, Lowering, Matrix};
use crate::graph::Affine;
use crate::numbers::{Quantization, Rows, multiplier};

/// Largest bias in units of the accumulator: half of 32 bits, the other half is for the products.
const MAX_BIAS: f64 = (1i64 << 30) as f64;

impl Lowering<'_> {
    /// A layer's integers, and its output's quantisation. `affine` are its parameters, and `mean` is
    /// what its weights meet on average, if that is known.
    ///
    /// # Errors
    /// What doesn't fit, by the layer's name.
    pub fn matrix(&mut self, affine: &Affine) -> Result<(Matrix, Quantization), LowerError> {
        let first = self.operand(0)?;
        let from = self.quantization(first);
        let outputs = affine.bias.len();
        let rows = self.rows(affine, from)?;
        for scale in rows.scales.iter().chain([&from.scale]) {
            self.sound(*scale)?;
        }
        let scales = || rows.scales.iter().copied().cycle().take(outputs.max(1));
        let units: Vec<f64> = scales().map(|s| f64::from(from.scale) * f64::from(s)).collect();
        let to = self.wanted_at_least(units.iter().copied().fold(0.0, f64::max))?;
        let columns = affine.weight.len() / outputs.max(1);
        let residual = f64::from(self.residuals[first]);
        let mean = self.plan.means.get(&self.node.inputs[0]);
        let site = self.graph.site(self.node);
        let mean = mean.and_then(|mean| self.node.op.mean_columns(&site, mean));
        let added = mean
            .map_or_else(Vec::new, |mean| rows.added_by_rounding(&affine.weight, outputs, &mean));
        let exact = self.plan.rows.contains_key(&self.node.output);
        let mut biases = Vec::with_capacity(outputs);
        for (row, ((&bias, unit), scale)) in
            affine.bias.iter().zip(&units).zip(scales()).enumerate()
        {
            let values = rows.values.get(row * columns..(row + 1) * columns).unwrap_or_default();
            let sum: i64 = values.iter().map(|&w| i64::from(w)).sum();
            let lacking = residual * f64::from(scale) * sum as f64;
            let added = added.get(row).copied().unwrap_or_default();
            let bias = ((f64::from(bias) + lacking - added) / unit).round();
            if exact && bias.abs() > MAX_BIAS {
                return Err(LowerError::Bias { layer: self.node.name.clone(), output: row, bias });
            }
            biases.push(bias.clamp(-MAX_BIAS, MAX_BIAS) as i64);
        }
        let factor = |unit: &f64| unit / f64::from(to.scale);
        let tolerances: Vec<f64> =
            units.iter().map(|unit| self.plan.bias_tolerance / factor(unit)).collect();
        let rounded = round_together(&biases, &tolerances).unwrap_or(biases);
        let matrix = Matrix {
            rows: outputs,
            columns,
            bits: rows.bits,
            values: rows.values,
            bias: rounded.into_iter().map(|bias| bias as i32).collect(),
            multipliers: units.iter().map(|unit| multiplier(factor(unit))).collect(),
            scales: rows.scales,
            clamp: self.clamp(to),
            storage: Default::default(),
        };
        Ok((matrix, to))
    }

    /// The integers of a layer's weights.
    fn rows(&self, affine: &Affine, from: Quantization) -> Result<Rows, LowerError> {
        let Affine { weight, bias } = affine;
        if let Some(rows) = self.plan.rows.get(&self.node.output) {
            let (expected, found) = (weight.len(), rows.values.len());
            if expected != found {
                let layer = self.node.name.clone();
                return Err(LowerError::Integers { layer, expected, found });
            }
            return Ok(rows.clone());
        }
        if let Some(scales) = self.plan.scales.get(&self.node.output) {
            return Ok(Rows::given(weight, scales, bias.len()));
        }
        let bits = self.plan.bits.get(&self.node.output).copied().unwrap_or(DEFAULT_BITS);
        let finest = |bias: &f32| (f64::from(bias.abs()) / f64::from(from.scale) / MAX_BIAS) as f32;
        let least: Vec<f32> = bias.iter().map(finest).collect();
        Ok(Rows::nearest(weight, &least, bits))
    }
}

/// Biases rounded to multiples of the largest power of two that keeps each within its tolerance, as a
/// coded stream stores them: rounded alike for every way of storing, so that this choice can't change
/// a result. None where a stream can't hold them, or nothing may be rounded.
fn round_together(biases: &[i64], tolerances: &[f64]) -> Option<Vec<i64>> {
    if tolerances.iter().all(|&tolerance| tolerance <= 0.0) {
        return None;
    }
    let at = |shift: u8| -> Option<Vec<i64>> {
        let half = (1i64 << shift) >> 1;
        let rounded = biases.iter().zip(tolerances).map(|(bias, &tolerance)| {
            let value = (bias + half) >> shift;
            let near = ((value << shift) - bias).abs() as f64 <= tolerance;
            let fits = i16::try_from(value).is_ok() && value >= -i64::from(CODED_BIAS_MAX);
            (near && fits).then_some(value << shift)
        });
        rounded.collect()
    };
    (0..=format::MAX_BIAS_SHIFT).rev().find_map(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_are_rounded_within_the_tolerance() {
        assert_eq!(round_together(&[257, -512], &[0.0; 2]), None);
        assert_eq!(round_together(&[257, -512], &[1.0; 2]), Some(vec![256, -512]));
        // Each within its own.
        assert_eq!(round_together(&[257, -512], &[0.5, 400.0]), Some(vec![257, -512]));
        assert_eq!(round_together(&[258, -512], &[0.5, 400.0]), Some(vec![258, -512]));
        assert_eq!(round_together(&[1 << 40], &[1.0]), None);
    }
}
