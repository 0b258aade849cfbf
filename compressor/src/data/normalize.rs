//! Normalisation: one offset and one scale per feature, per channel, or for all values.
//!
//! It is computed on the training split alone and stored in the model, so that a device can be fed
//! raw bytes.

use std::ops::Range;

use bitsback_runtime::format::MAX_PREPROCESS_CHANNELS;
use serde::{Deserialize, Serialize};

use super::{DataError, Dataset, Values};
use crate::numbers::Shape;

/// `data.normalization`: how inputs are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormalizationKind {
    /// Bytes to 0…1: x / 255.
    Unit,
    /// Bytes to −1…1.
    Symmetric,
    /// To mean 0 and standard deviation 1: per feature of flat floats, per channel of images, and
    /// over all values of bytes that are flat or have more channels than a device scales.
    Standard,
    /// As they are.
    None,
}

impl NormalizationKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Unit, Self::Symmetric, Self::Standard, Self::None];

    /// Its name in a job file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Symmetric => "symmetric",
            Self::Standard => "standard",
            Self::None => "none",
        }
    }

    /// `standard`: training from scratch needs inputs that vary by about one, whatever their contrast.
    /// A network that `is_given` was trained on something else, for bytes most often `unit`.
    pub fn default_for(inputs: &Values, is_given: bool) -> Self {
        match inputs {
            Values::Bytes(_) if is_given => Self::Unit,
            Values::Bytes(_) | Values::Floats(_) => Self::Standard,
        }
    }
}

/// y = (x − offset\[c\])·scale\[c\], where c is the value's position modulo the number of
/// offsets. There are as many scales: one, one per channel, or one per feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// What is subtracted, in the units of the raw input.
    pub offset: Vec<f32>,
    /// What the difference is multiplied with; finite and above 0.
    pub scale: Vec<f32>,
}

impl Normalization {
    /// Computes the normalisation of `kind` from the listed examples: give it the training split.
    ///
    /// # Errors
    /// [`DataError::Normalization`] where floats were to be scaled as bytes.
    pub fn fit(
        kind: NormalizationKind,
        dataset: &Dataset,
        training: &[u32],
    ) -> Result<Self, DataError> {
        let all = |offset: f32, scale: f32| Self { offset: vec![offset], scale: vec![scale] };
        match (kind, &dataset.inputs) {
            (NormalizationKind::None, _) => Ok(all(0.0, 1.0)),
            (NormalizationKind::Unit, Values::Bytes(_)) => Ok(all(0.0, 1.0 / 255.0)),
            (NormalizationKind::Symmetric, Values::Bytes(_)) => Ok(all(127.5, 1.0 / 127.5)),
            (NormalizationKind::Unit | NormalizationKind::Symmetric, Values::Floats(_)) => {
                Err(DataError::Normalization)
            }
            (NormalizationKind::Standard, _) => Ok(standard(dataset, training)),
        }
    }

    /// What another normalisation's numbers are multiplied with to be this one's, if one factor does it
    /// for every channel.
    #[cfg(feature = "training")]
    pub(crate) fn multiple_of(&self, other: &Self) -> Option<f32> {
        let mut factors = self.scale.iter().zip(&other.scale).map(|(own, other)| own / other);
        let factor = factors.next()?;
        (self.offset == other.offset && factors.all(|f| f == factor)).then_some(factor)
    }

    /// Normalises the values at `positions`, counted over all examples; those beyond the end are
    /// left out.
    pub fn apply(&self, values: &Values, positions: Range<usize>) -> Vec<f32> {
        let mut out = Vec::with_capacity(positions.len().min(values.len()));
        self.apply_to(values, positions, &mut out);
        out
    }

    /// As [`Self::apply`], appending to `out`.
    pub fn apply_to(&self, values: &Values, positions: Range<usize>, out: &mut Vec<f32>) {
        let start = positions.start;
        let positions = start.min(values.len())..positions.end.min(values.len());
        match values {
            Values::Bytes(v) => self.extend(start, v.get(positions), |&x| f32::from(x), out),
            Values::Floats(v) => self.extend(start, v.get(positions), |&x| x, out),
        }
    }

    fn extend<T>(
        &self,
        start: usize,
        values: Option<&[T]>,
        float: impl Fn(&T) -> f32,
        out: &mut Vec<f32>,
    ) {
        let values = values.unwrap_or_default();
        // One offset for all is the common case and needs no cycling.
        if let ([offset], [scale]) = (&self.offset[..], &self.scale[..]) {
            out.extend(values.iter().map(|x| (float(x) - offset) * scale));
            return;
        }
        let skipped = start.checked_rem(self.offset.len()).unwrap_or(0);
        let affine = self.offset.iter().zip(&self.scale).cycle().skip(skipped);
        out.extend(
            values.iter().zip(affine).map(|(x, (offset, scale))| (float(x) - offset) * scale),
        );
    }
}

/// A channel that never varies keeps scale 1 and becomes 0.
fn standard(dataset: &Dataset, training: &[u32]) -> Normalization {
    let period = match (dataset.shape, &dataset.inputs) {
        // Flat bytes are pixels in a row: all alike.
        (Shape::Flat(_), Values::Bytes(_)) => 1,
        (Shape::Flat(n), Values::Floats(_)) => n,
        (Shape::Image { channels, .. }, Values::Bytes(_)) if channels > MAX_PREPROCESS_CHANNELS => {
            1
        }
        (Shape::Image { channels, .. }, _) => channels,
    };
    let raw = Normalization { offset: vec![0.0], scale: vec![1.0] };
    let mut channels = vec![Moments::default(); period];
    for &example in training {
        for pixel in dataset.batch(&raw, &[example]).chunks_exact(period.max(1)) {
            for (channel, &x) in channels.iter_mut().zip(pixel) {
                channel.add(f64::from(x));
            }
        }
    }
    Normalization {
        offset: channels.iter().map(|c| c.mean as f32).collect(),
        scale: channels.iter().map(Moments::scale).collect(),
    }
}

/// Mean and squared deviations of a stream, updated one by one (Welford): sums of raw squares would
/// cancel where the mean is large.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, x: f64) {
        self.count += 1.0;
        let before = x - self.mean;
        self.mean += before / self.count;
        self.squares += before * (x - self.mean);
    }

    /// 1 / standard deviation, or 1 where that is no finite number.
    fn scale(&self) -> f32 {
        let scale = (self.count / self.squares).sqrt() as f32;
        if scale.is_finite() && scale > 0.0 { scale } else { 1.0 }
    }
}
