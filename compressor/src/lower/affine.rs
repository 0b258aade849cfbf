//! What dense layers and convolutions share: packed or coded weights, biases, requantisation.

use bitsback_runtime::coding::{CODED_BIAS_MAX, coded_limit};
use bitsback_runtime::format::{
    self, Bias, BiasWidth, Clamp, Layout, MAX_BIAS_SHIFT, PackError, Requantization, StoredBias,
    Weights, pack_row, row_len,
};
use bitsback_runtime::ops::CodedAffine;
use bitsback_runtime::requantize::Multiplier;

use super::fuse::{Activation, AffineStage};
use super::multiplier::multiplier;
use super::pairs::{self, Candidate};
use super::section::Section;
use super::{LowerError, Lowering};
use crate::bit_width::IntegerWeights;
use crate::calibrate::Quantization;
use crate::coding::CodedLayer;
use crate::storage::Storage;

/// Largest bias in units of the accumulator: half of 32 bits, the other half is for the products.
const MAX_BIAS: f64 = (1i64 << 30) as f64;

/// A lowered affine layer: its record and its output's quantisation.
pub(super) struct Lowered {
    pub(super) parameters: Parameters,
    pub(super) output: Quantization,
}

/// Most weights of a row that an operator takes coded, and in pairs.
pub(super) struct Longest {
    pub(super) coded: usize,
    pub(super) paired: usize,
}

/// How a layer's parameters are stored.
pub(super) enum Parameters {
    /// Row after row, packed.
    Rows(format::Affine),
    /// As one coded stream.
    Coded(CodedAffine),
}

/// Lowers the parameters of one layer. `integers` may have more columns than the float layer: the
/// additional ones are zero. `lag` is the distance to the weight before, see [`CodedLayer`].
pub(super) fn lower(
    lowering: &mut Lowering,
    stage: &AffineStage,
    name: &str,
    integers: &IntegerWeights,
    lag: usize,
    longest: Longest,
) -> Result<Lowered, LowerError> {
    let between = Between {
        input: lowering.current,
        wanted: lowering.activations.layers[stage.index],
        residual: lowering.residual,
        activation: stage.activation,
        bias_tolerance: lowering.options.bias_tolerance,
    };
    let fixed = Fixed::new(&lowering.parameters(stage.index).0.bias, integers, &between, name)?;
    let row = integers.values.len() / fixed.biases.len().max(1);
    let (clamp, output) = (fixed.clamp, fixed.output);
    let requantization = Requantization::PerTensor(fixed.multiplier);
    let storage = lowering.options.storage(stage.index);
    lowering.stored = storage;
    let bits = match storage {
        Storage::Fastest if integers.bits < 8 => 8,
        _ => integers.bits,
    };
    let packed = pack(integers, bits, row)
        .map_err(|source| LowerError::Weights { layer: name.to_owned(), source })?;
    let bias = Stored::choose(&fixed.biases, &fixed.folded);
    if storage == Storage::Shortest
        && row <= longest.coded
        && let Some((bits, bias_shift, stream)) = code(integers, row, lag, &fixed)
        && stream.len() < packed.len() + bias.len()
    {
        let (offset, len) = (lowering.section.push(&stream)?, stream.len() as u32);
        let coded = CodedAffine { offset, len, bits, bias: bias_shift, requantization, clamp };
        return Ok(Lowered { parameters: Parameters::Coded(coded), output });
    }
    let candidate = Candidate {
        values: &integers.values,
        columns: row,
        folded: matches!(bias, Stored::Folded(_)),
        longest: longest.paired,
    };
    let pairs = match storage {
        Storage::Fastest if bits == 8 => pairs::store(&mut lowering.section, &candidate)?,
        _ => None,
    };
    let weights = match pairs {
        Some(weights) => weights,
        None => {
            let offset = lowering.section.push(&packed)?;
            Weights { offset, bits, layout: Layout::RowMajor }
        }
    };
    let bias = bias.store(&mut lowering.section)?;
    let affine = format::Affine { weights, bias, requantization, clamp };
    Ok(Lowered { parameters: Parameters::Rows(affine), output })
}

/// What a layer's integer arithmetic follows from, besides its weights and biases.
pub(crate) struct Between {
    /// Quantisation of the layer's input.
    pub(crate) input: Quantization,
    /// Quantisation wanted of its output.
    pub(crate) wanted: Quantization,
    /// A constant that every input value lacks; see [`InputQuantization::residual`].
    ///
    /// [`InputQuantization::residual`]: crate::calibrate::InputQuantization::residual
    pub(crate) residual: f32,
    /// Fused activation.
    pub(crate) activation: Activation,
    /// How far rounding a bias may move an output, in steps of the output.
    pub(crate) bias_tolerance: f64,
}

/// A layer's integer arithmetic, as the device does it: y = clamp(requantize(Σ (x − zero point)·w
/// + bias, multiplier)). Lowering stores it, and fine-tuning in integers computes with it.
#[cfg_attr(
    not(feature = "training"),
    expect(dead_code, reason = "training in integers reads what lowering alone doesn't need")
)]
pub(crate) struct Fixed {
    /// Real value of one step of the accumulator.
    pub(crate) unit: f64,
    /// Steps of the output per step of the accumulator.
    pub(crate) factor: f64,
    /// The factor, as the device has it.
    pub(crate) multiplier: Multiplier,
    /// The output's quantisation.
    pub(crate) output: Quantization,
    /// The activation.
    pub(crate) clamp: Clamp,
    /// Biases as they are added to Σ (x − zero point)·w, after they were rounded for storing.
    pub(crate) biases: Vec<i64>,
    /// The same as they are added to Σ x·w.
    folded: Vec<i64>,
    /// The same as a coded stream holds them, if it can: a shift and the values before it.
    short: Option<(u8, Vec<i16>)>,
}

impl Fixed {
    /// From real `biases` and integer weights (outputs × columns).
    ///
    /// # Errors
    /// [`LowerError::Scale`] and [`LowerError::Bias`].
    pub(crate) fn new(
        biases: &[f32],
        integers: &IntegerWeights,
        between: &Between,
        name: &str,
    ) -> Result<Self, LowerError> {
        let Between { input, wanted, residual, activation, bias_tolerance } = *between;
        for scale in [input.scale, integers.scale, wanted.scale] {
            if !(scale.is_finite() && scale > 0.0) {
                return Err(LowerError::Scale { layer: name.to_owned(), scale });
            }
        }
        let unit = f64::from(input.scale) * f64::from(integers.scale);
        let output = not_finer_than(wanted, unit);
        let factor = unit / f64::from(output.scale);
        let row = integers.values.len() / biases.len().max(1);
        let plain = exact_biases(biases, integers, row, unit, f64::from(residual), name)?;
        let rows = integers.values.chunks_exact(row.max(1));
        let sums = rows.map(|row| row.iter().map(|&w| i64::from(w)).sum::<i64>());
        let zero_point = i64::from(input.zero_point);
        let offsets: Vec<i64> = sums.map(|sum| zero_point * sum).collect();
        // Rounded alike for every way of storing them, so that this choice can't change a result.
        let short = coded_biases(&plain, bias_tolerance / factor);
        let biases = match &short {
            Some((shift, values)) => values.iter().map(|&v| i64::from(v) << shift).collect(),
            None => plain,
        };
        let folded = biases.iter().zip(&offsets).map(|(b, offset)| b - offset).collect();
        let (multiplier, clamp) = (multiplier(factor), clamp(activation, output));
        Ok(Self { unit, factor, multiplier, output, clamp, biases, folded, short })
    }
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
    fixed: &Fixed,
) -> Option<(u8, Option<u8>, Vec<u8>)> {
    let (shift, values) = fixed.short.as_ref()?;
    let biased = values.iter().any(|&bias| bias != 0);
    let biases = biased.then_some(values.as_slice());
    let layer = CodedLayer { weights: &integers.values, columns: row, lag, biases };
    let (bits, shift) = (layer.bits()?, biased.then_some(*shift));
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
pub(super) fn not_finer_than(wanted: Quantization, unit: f64) -> Quantization {
    if f64::from(wanted.scale) >= unit {
        return wanted;
    }
    let steps_below = f64::from(wanted.zero_point) + 128.0;
    let below = (steps_below * f64::from(wanted.scale) / unit).round();
    Quantization { scale: unit as f32, zero_point: (below - 128.0).clamp(-128.0, 127.0) as i8 }
}

/// Biases in units of the accumulator, with the input's residual through the weights.
fn exact_biases(
    biases: &[f32],
    integers: &IntegerWeights,
    row: usize,
    unit: f64,
    residual: f64,
    name: &str,
) -> Result<Vec<i64>, LowerError> {
    let rows = integers.values.chunks_exact(row.max(1));
    let biases = biases.iter().zip(rows).enumerate().map(|(output, (&bias, row))| {
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
pub(crate) fn clamp(activation: Activation, output: Quantization) -> Clamp {
    let zero = output.zero_point;
    match activation {
        Activation::Identity => Clamp::NONE,
        Activation::Relu => Clamp { min: zero, max: i8::MAX },
        Activation::Relu6 => Clamp { min: zero, max: output.quantize(6.0).max(zero) },
    }
}

/// How a layer's biases are stored as a vector.
pub(crate) enum Stored {
    /// All are 0.
    Nothing,
    /// Added to Σ (x − zero point)·w.
    Plain(Narrow),
    /// Added to Σ x·w.
    Folded(Narrow),
}

impl Stored {
    /// The form with the fewest bytes; where both take the same, the folded one, which saves an
    /// operation per product.
    pub(crate) fn choose(plain: &[i64], folded: &[i64]) -> Self {
        if plain.iter().all(|&b| b == 0) {
            return Self::Nothing;
        }
        match (narrow(folded), narrow(plain)) {
            (Some(folded), Some(plain)) if plain.width.bytes() < folded.width.bytes() => {
                Self::Plain(plain)
            }
            (Some(folded), _) => Self::Folded(folded),
            (None, Some(plain)) => Self::Plain(plain),
            // Both leave 32 bits: impossible below MAX_BIAS, but then the parser says so.
            (None, None) => {
                let values = plain.iter().map(|&b| b as i32).collect();
                Self::Plain(Narrow { width: BiasWidth::I32, shift: 0, values })
            }
        }
    }

    /// Bytes.
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Plain(narrow) | Self::Folded(narrow) => {
                narrow.values.len() * narrow.width.bytes()
            }
        }
    }

    /// Puts the biases into the section.
    pub(crate) fn store(&self, section: &mut Section) -> Result<Bias, LowerError> {
        let mut push = |stored: &Narrow| {
            let (width, shift) = (stored.width, stored.shift);
            Ok(StoredBias { offset: section.push(&stored.bytes())?, width, shift })
        };
        match self {
            Self::Nothing => Ok(Bias::None),
            Self::Plain(stored) => push(stored).map(Bias::Plain),
            Self::Folded(stored) => push(stored).map(Bias::Folded),
        }
    }
}

/// Biases as they are stored.
pub(crate) struct Narrow {
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

/// The narrowest form that holds all biases exactly.
fn narrow(biases: &[i64]) -> Option<Narrow> {
    let common = biases.iter().fold(0i64, |bits, b| bits | b).trailing_zeros();
    let shift = common.min(u32::from(MAX_BIAS_SHIFT)) as u8;
    for width in [BiasWidth::I8, BiasWidth::I16, BiasWidth::I32] {
        let limit = 1i64 << (8 * width.bytes() - 1);
        let values: Vec<i64> = biases.iter().map(|b| b >> shift).collect();
        let fits =
            |(&v, &b): (&i64, &i64)| (-limit..limit).contains(&v) && i32::try_from(b).is_ok();
        if values.iter().zip(biases).all(fits) {
            let values = values.into_iter().map(|v| v as i32).collect();
            return Some(Narrow { width, shift, values });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_take_the_fewest_bytes() {
        let exact = narrow(&[-128, 127]).unwrap();
        assert_eq!((exact.width, exact.shift), (BiasWidth::I8, 0));
        let even = narrow(&[256, -512]).unwrap();
        assert_eq!((even.width, even.values), (BiasWidth::I8, vec![1, -2]));
        assert_eq!(even.shift, 8);
        let odd = narrow(&[257, -512]).unwrap();
        assert_eq!((odd.width, odd.shift), (BiasWidth::I16, 0));
        let wide = narrow(&[1 << 29, 1]).unwrap();
        assert_eq!((wide.width, wide.shift), (BiasWidth::I32, 0));
        assert!(narrow(&[1 << 40, 1]).is_none());
    }

    #[test]
    fn biases_are_rounded_within_the_tolerance() {
        assert_eq!(coded_biases(&[257, -512], 0.0), Some((0, vec![257, -512])));
        assert_eq!(coded_biases(&[257, -512], 1.0), Some((8, vec![1, -2])));
        assert_eq!(coded_biases(&[1 << 40], 0.0), None);
    }

    #[test]
    fn an_output_is_no_finer_than_its_accumulator() {
        let fine = Quantization { scale: 0.001, zero_point: 0 };
        let coarse = not_finer_than(fine, 0.01);
        assert_eq!(coarse, Quantization { scale: 0.01, zero_point: -115 });
        assert_eq!(not_finer_than(fine, 0.0001), fine);
    }
}
