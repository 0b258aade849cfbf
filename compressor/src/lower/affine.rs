//! What dense layers and convolutions share: packed weights, biases, requantisation.

use bitsback_runtime::format::{
    self, Bias, BiasWidth, Clamp, Layout, MAX_BIAS_SHIFT, Requantization, StoredBias, Weights,
    pack_row, row_len,
};

use crate::bit_width::IntegerWeights;
use crate::calibrate::Quantization;
use crate::network::Affine;

use super::fuse::{Activation, AffineStage};
use super::multiplier::multiplier;
use super::section::Section;
use super::{LowerError, Lowering};

/// Largest bias in units of the accumulator: half of 32 bits, the other half is for the products.
const MAX_BIAS: f64 = (1i64 << 30) as f64;

/// A lowered affine layer: its record and its output's quantisation.
pub(super) struct Lowered {
    pub(super) affine: format::Affine,
    pub(super) output: Quantization,
}

/// Lowers the parameters of one layer. `integers` may have more columns than the float layer: the
/// additional ones are zero.
pub(super) fn lower(
    lowering: &mut Lowering,
    stage: &AffineStage,
    name: &str,
    integers: &IntegerWeights,
) -> Result<Lowered, LowerError> {
    let affine = lowering.parameters(stage.index).0;
    let input = lowering.current;
    let wanted = lowering.activations.layers[stage.index];
    for scale in [input.scale, integers.scale, wanted.scale] {
        if !(scale.is_finite() && scale > 0.0) {
            return Err(LowerError::Scale { layer: name.to_owned(), scale });
        }
    }
    let unit = f64::from(input.scale) * f64::from(integers.scale);
    let output = not_finer_than(wanted, unit);
    let factor = unit / f64::from(output.scale);
    let row = integers.values.len() / affine.bias.len().max(1);

    // Poolings and selections before the first layer pass a constant on as it is.
    let residual = if stage.index == 0 { lowering.activations.input.residual } else { 0.0 };
    let plain = biases(affine, integers, row, unit, f64::from(residual), name)?;
    let sums = integers.values.chunks_exact(row.max(1));
    let sums = sums.map(|row| row.iter().map(|&w| i64::from(w)).sum::<i64>());
    let zero_point = i64::from(input.zero_point);
    let folded: Vec<i64> = plain.iter().zip(sums).map(|(b, sum)| b - zero_point * sum).collect();
    let tolerance = lowering.options.bias_tolerance / factor;

    let mut packed = Vec::with_capacity(affine.bias.len() * row_len(integers.bits, row));
    let mut bytes = vec![0; row_len(integers.bits, row)];
    for values in integers.values.chunks_exact(row.max(1)) {
        pack_row(values, integers.bits, &mut bytes)
            .map_err(|source| LowerError::Weights { layer: name.to_owned(), source })?;
        packed.extend_from_slice(&bytes);
    }
    let offset = lowering.section.push(&packed)?;
    let weights = Weights { offset, bits: integers.bits, layout: Layout::RowMajor };
    let bias = store(&mut lowering.section, &plain, &folded, tolerance)?;
    let requantization = Requantization::PerTensor(multiplier(factor));
    let clamp = clamp(stage.activation, output);
    Ok(Lowered { affine: format::Affine { weights, bias, requantization, clamp }, output })
}

/// An output's step is at least the accumulator's: a finer one would only shift zeros in (and the
/// multiplier's left shift could leave 32 bits).
fn not_finer_than(wanted: Quantization, unit: f64) -> Quantization {
    if f64::from(wanted.scale) >= unit {
        return wanted;
    }
    let steps_below = f64::from(wanted.zero_point) + 128.0;
    let below = (steps_below * f64::from(wanted.scale) / unit).round();
    Quantization { scale: unit as f32, zero_point: (below - 128.0).clamp(-128.0, 127.0) as i8 }
}

/// Biases in units of the accumulator, with the input's residual through the weights.
fn biases(
    affine: &Affine,
    integers: &IntegerWeights,
    row: usize,
    unit: f64,
    residual: f64,
    name: &str,
) -> Result<Vec<i64>, LowerError> {
    let rows = integers.values.chunks_exact(row.max(1));
    let biases = affine.bias.iter().zip(rows).enumerate().map(|(output, (&bias, row))| {
        let sum: i64 = row.iter().map(|&w| i64::from(w)).sum();
        let shift = residual * f64::from(integers.scale) * sum as f64;
        let bias = ((f64::from(bias) + shift) / unit).round();
        if bias.abs() > MAX_BIAS {
            return Err(LowerError::Bias { layer: name.to_owned(), output, bias });
        }
        Ok(bias as i64)
    });
    biases.collect()
}

/// The representable range of an activation.
pub(super) fn clamp(activation: Activation, output: Quantization) -> Clamp {
    let zero = output.zero_point;
    match activation {
        Activation::Identity => Clamp::NONE,
        Activation::Relu => Clamp { min: zero, max: i8::MAX },
        Activation::Relu6 => Clamp { min: zero, max: output.quantize(6.0).max(zero) },
    }
}

/// Stores the biases in the fewest bytes that keep them within `tolerance` of the accumulator;
/// where both take the same, the folded form, which saves an operation per product.
pub(crate) fn store(
    section: &mut Section,
    plain: &[i64],
    folded: &[i64],
    tolerance: f64,
) -> Result<Bias, LowerError> {
    if plain.iter().all(|&b| b == 0) {
        return Ok(Bias::None);
    }
    let short = (narrow(folded, tolerance), narrow(plain, tolerance));
    let (stored, is_folded) = match short {
        (Some(folded), Some(plain)) if plain.width.bytes() < folded.width.bytes() => (plain, false),
        (Some(folded), _) => (folded, true),
        (None, Some(plain)) => (plain, false),
        // Both leave 32 bits: impossible below MAX_BIAS, but then the parser says so.
        (None, None) => {
            let values = plain.iter().map(|&b| b as i32).collect();
            (Narrow { width: BiasWidth::I32, shift: 0, values }, false)
        }
    };
    let bytes: Vec<u8> = stored
        .values
        .iter()
        .flat_map(|v| v.to_le_bytes().into_iter().take(stored.width.bytes()))
        .collect();
    let offset = section.push(&bytes)?;
    let record = StoredBias { offset, width: stored.width, shift: stored.shift };
    Ok(if is_folded { Bias::Folded(record) } else { Bias::Plain(record) })
}

/// Biases as they are stored.
struct Narrow {
    width: BiasWidth,
    shift: u8,
    values: Vec<i32>,
}

/// The narrowest form in which no bias moves by more than `tolerance`.
fn narrow(biases: &[i64], tolerance: f64) -> Option<Narrow> {
    for width in [BiasWidth::I8, BiasWidth::I16, BiasWidth::I32] {
        let limit = 1i64 << (8 * width.bytes() - 1);
        for shift in 0..=MAX_BIAS_SHIFT {
            let half = (1i64 << shift) >> 1;
            let values: Vec<i64> = biases.iter().map(|b| (b + half) >> shift).collect();
            let moved = values.iter().zip(biases).map(|(v, b)| ((v << shift) - b).abs());
            if moved.max().unwrap_or(0) as f64 > tolerance {
                break;
            }
            let back = |v: i64| i32::try_from(v << shift).is_ok();
            if values.iter().all(|&v| (-limit..limit).contains(&v) && back(v)) {
                let values = values.into_iter().map(|v| v as i32).collect();
                return Some(Narrow { width, shift, values });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_take_the_fewest_bytes_within_the_tolerance() {
        let exact = narrow(&[-128, 127], 0.0).unwrap();
        assert_eq!((exact.width, exact.shift), (BiasWidth::I8, 0));
        let even = narrow(&[256, -512], 0.0).unwrap();
        assert_eq!((even.width, even.shift, even.values), (BiasWidth::I8, 2, vec![64, -128]));
        let odd = narrow(&[257, -512], 0.0).unwrap();
        assert_eq!((odd.width, odd.shift), (BiasWidth::I16, 0));
        let rough = narrow(&[257, -512], 1.0).unwrap();
        assert_eq!((rough.width, rough.shift), (BiasWidth::I8, 2));
        let wide = narrow(&[1 << 29, 1], 0.0).unwrap();
        assert_eq!((wide.width, wide.shift), (BiasWidth::I32, 0));
        assert!(narrow(&[1 << 40, 1], 0.0).is_none());
    }

    #[test]
    fn an_output_is_no_finer_than_its_accumulator() {
        let fine = Quantization { scale: 0.001, zero_point: 0 };
        let coarse = not_finer_than(fine, 0.01);
        assert_eq!(coarse, Quantization { scale: 0.01, zero_point: -115 });
        assert_eq!(not_finer_than(fine, 0.0001), fine);
    }
}
