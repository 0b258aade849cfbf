//! What dense layers and convolutions share: packed or coded weights, biases, requantisation.

use bitsback_runtime::format::{
    self, Bias, BiasWidth, CODED_BIAS_MAX, Clamp, Layout, MAX_BIAS_SHIFT, PackError,
    Requantization, StoredBias, Weights, coded_limit, pack_row, row_len,
};
use bitsback_runtime::ops::CodedAffine;

use crate::bit_width::IntegerWeights;
use crate::calibrate::Quantization;
use crate::coding::CodedLayer;
use crate::network::Affine;

use super::fuse::{Activation, AffineStage};
use super::multiplier::multiplier;
use super::{Goal, LowerError, Lowering};

/// Largest bias in units of the accumulator: half of 32 bits, the other half is for the products.
const MAX_BIAS: f64 = (1i64 << 30) as f64;

/// A lowered affine layer: its record and its output's quantisation.
pub(super) struct Lowered {
    pub(super) parameters: Parameters,
    pub(super) output: Quantization,
}

/// How a layer's parameters are stored.
pub(super) enum Parameters {
    /// Row after row, packed.
    Rows(format::Affine),
    /// As one coded stream.
    Coded(CodedAffine),
}

/// Lowers the parameters of one layer. `integers` may have more columns than the float layer: the
/// additional ones are zero. `lag` is the distance to the weight before, see [`CodedLayer`];
/// rows of more than `longest` weights aren't coded.
pub(super) fn lower(
    lowering: &mut Lowering,
    stage: &AffineStage,
    name: &str,
    integers: &IntegerWeights,
    lag: usize,
    longest: usize,
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

    let requantization = Requantization::PerTensor(multiplier(factor));
    let clamp = clamp(stage.activation, output);
    let bits = match lowering.options.goal {
        Some(Goal::Instructions) if integers.bits < 8 => 8,
        _ => integers.bits,
    };
    let packed = pack(integers, bits, row)
        .map_err(|source| LowerError::Weights { layer: name.to_owned(), source })?;
    let stored = store(&plain, &folded, tolerance);
    if lowering.options.goal == Some(Goal::Flash)
        && row <= longest
        && let Some((bits, bias, stream)) = code(integers, row, lag, &plain, tolerance)
        && stream.len() < packed.len() + stored.as_ref().map_or(0, |(bias, _)| bias.bytes().len())
    {
        let (offset, len) = (lowering.section.push(&stream)?, stream.len() as u32);
        let coded = CodedAffine { offset, len, bits, bias, requantization, clamp };
        return Ok(Lowered { parameters: Parameters::Coded(coded), output });
    }
    let offset = lowering.section.push(&packed)?;
    let weights = Weights { offset, bits, layout: Layout::RowMajor };
    let bias = match stored {
        None => Bias::None,
        Some((narrow, is_folded)) => {
            let offset = lowering.section.push(&narrow.bytes())?;
            let record = StoredBias { offset, width: narrow.width, shift: narrow.shift };
            if is_folded { Bias::Folded(record) } else { Bias::Plain(record) }
        }
    };
    let affine = format::Affine { weights, bias, requantization, clamp };
    Ok(Lowered { parameters: Parameters::Rows(affine), output })
}

/// The rows at a width, one after another.
fn pack(integers: &IntegerWeights, bits: u8, row: usize) -> Result<Vec<u8>, PackError> {
    let mut packed = Vec::with_capacity(integers.values.len());
    let mut bytes = vec![0; row_len(bits, row)];
    for values in integers.values.chunks_exact(row.max(1)) {
        pack_row(values, bits, &mut bytes)?;
        packed.extend_from_slice(&bytes);
    }
    Ok(packed)
}

/// The layer as a coded stream, if the decoder can hold it: width, shift of the biases, stream.
fn code(
    integers: &IntegerWeights,
    row: usize,
    lag: usize,
    plain: &[i64],
    tolerance: f64,
) -> Option<(u8, Option<u8>, Vec<u8>)> {
    let biased = plain.iter().any(|&bias| bias != 0);
    let narrow = if biased { Some(coded_biases(plain, tolerance)?) } else { None };
    let biases = narrow.as_ref().map(|(_, values)| values.as_slice());
    let layer = CodedLayer { weights: &integers.values, columns: row, lag, biases };
    let (bits, shift) = (layer.bits()?, narrow.as_ref().map(|&(shift, _)| shift));
    // The sum of products may be anything that the width allows: the reader checks no rows.
    let products = row as i64 * i64::from(coded_limit(bits)) * 255;
    let bias = shift.map_or(0, |shift| i64::from(CODED_BIAS_MAX) << shift);
    if products + bias > i64::from(i32::MAX) {
        return None;
    }
    Some((bits, shift, layer.encode()?))
}

/// The largest shift that keeps biases within `tolerance`, and the biases before it.
fn coded_biases(plain: &[i64], tolerance: f64) -> Option<(u8, Vec<i16>)> {
    let at = |shift: u8| -> Option<Vec<i16>> {
        let half = (1i64 << shift) >> 1;
        let rounded = plain.iter().map(|bias| {
            let value = (bias + half) >> shift;
            let near = ((value << shift) - bias).abs() as f64 <= tolerance;
            let value = i16::try_from(value).ok()?;
            (near && value >= -CODED_BIAS_MAX).then_some(value)
        });
        rounded.collect()
    };
    (0..=MAX_BIAS_SHIFT).rev().find_map(|shift| Some((shift, at(shift)?)))
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

/// The biases in the fewest bytes that keep them within `tolerance` of the accumulator, and whether
/// they are folded; where both take the same, they are, which saves an operation per product.
fn store(plain: &[i64], folded: &[i64], tolerance: f64) -> Option<(Narrow, bool)> {
    if plain.iter().all(|&b| b == 0) {
        return None;
    }
    Some(match (narrow(folded, tolerance), narrow(plain, tolerance)) {
        (Some(folded), Some(plain)) if plain.width.bytes() < folded.width.bytes() => (plain, false),
        (Some(folded), _) => (folded, true),
        (None, Some(plain)) => (plain, false),
        // Both leave 32 bits: impossible below MAX_BIAS, but then the parser says so.
        (None, None) => {
            let values = plain.iter().map(|&b| b as i32).collect();
            (Narrow { width: BiasWidth::I32, shift: 0, values }, false)
        }
    })
}

/// Biases as they are stored.
struct Narrow {
    width: BiasWidth,
    shift: u8,
    values: Vec<i32>,
}

impl Narrow {
    /// As the weight section holds them.
    fn bytes(&self) -> Vec<u8> {
        let each = self.values.iter();
        each.flat_map(|v| v.to_le_bytes().into_iter().take(self.width.bytes())).collect()
    }
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
