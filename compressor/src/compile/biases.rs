//! How biases are stored: in the fewest bytes that hold them exactly.

use bitsback_runtime::coding::CODED_BIAS_MAX;
use bitsback_runtime::format::{Bias, BiasWidth, MAX_BIAS_SHIFT, StoredBias};

use super::section::Section;
use crate::graph::LowerError;

/// How a layer's biases are stored as a vector.
pub(super) enum Stored {
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
    pub(super) fn choose(plain: &[i64], folded: &[i64]) -> Self {
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
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Plain(narrow) | Self::Folded(narrow) => {
                narrow.values.len() * narrow.width.bytes()
            }
        }
    }

    /// Puts the biases into the section.
    pub(super) fn store(&self, section: &mut Section) -> Result<Bias, LowerError> {
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
pub(super) struct Narrow {
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

/// Biases as a coded stream holds them, if it can: the shift and the values before it.
pub(super) fn coded(biases: &[i64]) -> Option<(u8, Vec<i16>)> {
    let at = |shift: u8| -> Option<Vec<i16>> {
        let values = biases.iter().map(|bias| {
            let value = bias >> shift;
            let short = i16::try_from(value).ok().filter(|&value| value >= -CODED_BIAS_MAX);
            short.filter(|_| value << shift == *bias)
        });
        values.collect()
    };
    (0..=MAX_BIAS_SHIFT).rev().find_map(|shift| Some((shift, at(shift)?)))
}
