//! What dense layers and convolutions share: packed weights, biases, requantisation.

use bitsback_runtime::format::{
    self, Bias, BiasWidth, Clamp, Layout, MAX_BIAS_SHIFT, Requantization, StoredBias, Weights,
    pack_row, row_len,
};
use bitsback_runtime::requantize::Multiplier;

use super::fuse::{Activation, AffineStage};
use super::multiplier::multiplier;
use super::section::Section;
use super::{LowerError, Lowering};
use crate::bit_width::IntegerWeights;
use crate::calibrate::Quantization;

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
    let between = Between {
        input: lowering.current,
        wanted: lowering.activations.layers[stage.index],
        // Poolings and selections before the first layer pass a constant on as it is.
        residual: if stage.index == 0 { lowering.activations.input.residual } else { 0.0 },
        activation: stage.activation,
        bias_tolerance: lowering.options.bias_tolerance,
    };
    let fixed = Fixed::new(&lowering.parameters(stage.index).0.bias, integers, &between, name)?;
    let row = integers.values.len() / fixed.biases.len().max(1);
    let mut packed = Vec::with_capacity(fixed.biases.len() * row_len(integers.bits, row));
    let mut bytes = vec![0; row_len(integers.bits, row)];
    for values in integers.values.chunks_exact(row.max(1)) {
        pack_row(values, integers.bits, &mut bytes)
            .map_err(|source| LowerError::Weights { layer: name.to_owned(), source })?;
        packed.extend_from_slice(&bytes);
    }
    let offset = lowering.section.push(&packed)?;
    let weights = Weights { offset, bits: integers.bits, layout: Layout::RowMajor };
    let bias = store(&mut lowering.section, &fixed.stored)?;
    let requantization = Requantization::PerTensor(fixed.multiplier);
    let affine = format::Affine { weights, bias, requantization, clamp: fixed.clamp };
    Ok(Lowered { affine, output: fixed.output })
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
    stored: Stored,
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
        let folded: Vec<i64> = plain.iter().zip(&offsets).map(|(b, offset)| b - offset).collect();
        let stored = Stored::choose(&plain, &folded, bias_tolerance / factor);
        let biases = stored.effective(&offsets);
        let (multiplier, clamp) = (multiplier(factor), clamp(activation, output));
        Ok(Self { unit, factor, multiplier, output, clamp, biases, stored })
    }
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

/// How a layer's biases are stored.
enum Stored {
    /// All are 0.
    Nothing,
    /// Added to Σ (x − zero point)·w.
    Plain(Narrow),
    /// Added to Σ x·w.
    Folded(Narrow),
}

impl Stored {
    /// The fewest bytes that keep the biases within `tolerance` of the accumulator; where both
    /// forms take the same, the folded one, which saves an operation per product.
    fn choose(plain: &[i64], folded: &[i64], tolerance: f64) -> Self {
        if plain.iter().all(|&b| b == 0) {
            return Self::Nothing;
        }
        match (narrow(folded, tolerance), narrow(plain, tolerance)) {
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

    /// What is added to Σ (x − zero point)·w; `offsets` are zero point · Σ w per output.
    fn effective(&self, offsets: &[i64]) -> Vec<i64> {
        match self {
            Self::Nothing => vec![0; offsets.len()],
            Self::Plain(stored) => stored.shifted().collect(),
            Self::Folded(stored) => stored.shifted().zip(offsets).map(|(b, o)| b + o).collect(),
        }
    }
}

/// Puts the biases into the section.
fn store(section: &mut Section, stored: &Stored) -> Result<Bias, LowerError> {
    let mut push = |stored: &Narrow| {
        let (width, shift) = (stored.width, stored.shift);
        let values = stored.values.iter();
        let bytes: Vec<u8> =
            values.flat_map(|v| v.to_le_bytes().into_iter().take(width.bytes())).collect();
        Ok(StoredBias { offset: section.push(&bytes)?, width, shift })
    };
    match stored {
        Stored::Nothing => Ok(Bias::None),
        Stored::Plain(stored) => push(stored).map(Bias::Plain),
        Stored::Folded(stored) => push(stored).map(Bias::Folded),
    }
}

/// Biases as they are stored.
struct Narrow {
    width: BiasWidth,
    shift: u8,
    values: Vec<i32>,
}

impl Narrow {
    /// The biases that the device adds.
    fn shifted(&self) -> impl Iterator<Item = i64> {
        self.values.iter().map(|&v| i64::from(v) << self.shift)
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
