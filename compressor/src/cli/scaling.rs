//! How raw data were scaled in training: what a model of floats doesn't say.

use crate::compile::disagreement;
use crate::data::{Dataset, Normalization, Values};
use crate::error::{CliError, Error};
use crate::import::ByteRange;
use crate::numbers::Range;
use crate::report::number::significant;

/// `--pixels`, `--mean`, `--std`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Scaling {
    /// What byte 0 and byte 255 stood for in training, before mean and std [default: 0,1]
    #[arg(long, value_name = "LOW,HIGH", value_parser = byte_range, allow_hyphen_values = true)]
    pixels: Option<ByteRange>,
    /// What was subtracted in training: one number, or one per channel
    #[arg(long, value_name = "M,…", value_delimiter = ',', allow_hyphen_values = true)]
    mean: Vec<f32>,
    /// What the difference was divided by
    #[arg(long, value_name = "S,…", value_delimiter = ',')]
    std: Vec<f32>,
}

/// Two finite numbers with a comma between them, which aren't equal.
pub(super) fn byte_range(text: &str) -> Result<ByteRange, String> {
    let number = |part: &str| part.trim().parse::<f32>().ok().filter(|value| value.is_finite());
    let range = text.split_once(',').and_then(|(low, high)| number(low).zip(number(high)));
    let apart = |&(low, high): &(f32, f32)| low != high && (high - low).is_finite();
    range
        .filter(apart)
        .map(|(low, high)| ByteRange { low, high })
        .ok_or_else(|| "give two numbers that differ, as 0,1".into())
}

/// Checks that data are scaled to the inputs of a model that was quantised for `model`.
pub(super) fn check(
    model: Range,
    dataset: &Dataset,
    normalization: &Normalization,
    examples: &[u32],
) -> Result<(), Error> {
    let Some(found) = disagreement(model, dataset, normalization, examples) else { return Ok(()) };
    let [low, high] = [model.low, model.high].map(|end| significant(end.into()));
    let advice = match dataset.inputs {
        Values::Bytes(_) => {
            format!("say how they were scaled in training, as --pixels={low},{high}")
        }
        Values::Floats(_) => "scale them as in training, or say --mean and --std".to_owned(),
    };
    let reason = format!(
        "the model's inputs were {low} to {high} when it was quantised, but the data run from {} to \
         {}; {advice}",
        significant(found.low.into()),
        significant(found.high.into()),
    );
    Err(CliError::Scaling { reason }.into())
}

impl Scaling {
    /// Whether anything but the defaults was asked for.
    pub(super) fn is_given(&self) -> bool {
        self.pixels.is_some() || self.is_standard()
    }

    /// What the least and the greatest byte stood for, if that was said.
    pub(super) fn pixels(&self) -> Option<ByteRange> {
        self.pixels
    }

    /// Whether a mean or a standard deviation was given.
    pub(super) fn is_standard(&self) -> bool {
        !self.mean.is_empty() || !self.std.is_empty()
    }

    /// From raw values to what the model was trained on.
    pub(super) fn normalization(&self, dataset: &Dataset) -> Result<Normalization, Error> {
        let channels = dataset.shape.channels();
        let fits = |numbers: &[f32]| [0, 1, channels].contains(&numbers.len());
        let finite = self.mean.iter().chain(&self.std).all(|number| number.is_finite());
        if !fits(&self.mean) || !fits(&self.std) || !finite || self.std.iter().any(|&s| s <= 0.0) {
            let reason = format!(
                "--mean and --std take one number, or one for each of the {channels} channels; \
                 those of --std are above 0"
            );
            return Err(CliError::Scaling { reason }.into());
        }
        let wrong = |reason: &str| Error::from(CliError::Scaling { reason: reason.to_owned() });
        // Raw values times `step` plus `low` are what mean and std were taken of.
        let (step, low) = match (&dataset.inputs, self.pixels) {
            (Values::Bytes(_), range) => {
                let ByteRange { low, high } = range.unwrap_or(ByteRange { low: 0.0, high: 1.0 });
                ((high - low) / 255.0, low)
            }
            (Values::Floats(_), None) => (1.0, 0.0),
            (Values::Floats(_), Some(_)) => {
                return Err(wrong("--pixels is for bytes, but the data are floats"));
            }
        };
        if step <= 0.0 {
            return Err(wrong("--pixels takes a low and a high number"));
        }
        let number = |numbers: &[f32], at: usize, or: f32| {
            numbers.get(at).or(numbers.first()).copied().unwrap_or(or)
        };
        let places = self.mean.len().max(self.std.len()).max(1);
        let offset = (0..places).map(|at| (number(&self.mean, at, 0.0) - low) / step);
        let scale = (0..places).map(|at| step / number(&self.std, at, 1.0));
        Ok(Normalization { offset: offset.collect(), scale: scale.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::Shape;

    fn dataset(inputs: Values) -> Dataset {
        Dataset {
            shape: Shape::Image { height: 1, width: 1, channels: 3 },
            inputs,
            labels: vec![0],
            classes: vec!["a".into(), "b".into()],
            test_start: None,
        }
    }

    fn scaling(pixels: Option<ByteRange>, mean: &[f32], std: &[f32]) -> Scaling {
        Scaling { pixels, mean: mean.to_vec(), std: std.to_vec() }
    }

    #[test]
    fn bytes_are_scaled_as_in_training() {
        let bytes = dataset(Values::Bytes(vec![0, 51, 255]));
        let normalised = |scaling: Scaling| {
            let normalization = scaling.normalization(&bytes).unwrap();
            bytes.batch(&normalization, &[0])
        };
        let near = |a: &[f32], b: [f32; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near(&normalised(scaling(None, &[], &[])), [0.0, 0.2, 1.0]));
        let range = Some(ByteRange { low: -1.0, high: 1.0 });
        assert!(near(&normalised(scaling(range, &[], &[])), [-1.0, -0.6, 1.0]));
        let standard = normalised(scaling(None, &[0.5, 0.2, 0.0], &[0.5]));
        assert!(near(&standard, [-1.0, 0.0, 2.0]), "{standard:?}");
    }

    #[test]
    fn pixels_have_a_range() {
        let range = |low, high| Ok(ByteRange { low, high });
        assert_eq!((byte_range("0,1"), byte_range("-1, 1")), (range(0.0, 1.0), range(-1.0, 1.0)));
        for text in ["0,0", "1", "0,nan", "0,inf", "-3e38,3e38", "0,1,2", ","] {
            assert!(byte_range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let bytes = dataset(Values::Bytes(vec![0; 3]));
        let floats = dataset(Values::Floats(vec![0.0; 3]));
        let range = |low, high| Some(ByteRange { low, high });
        let table = [
            (&bytes, scaling(None, &[0.1, 0.2], &[])),
            (&bytes, scaling(None, &[], &[0.0])),
            (&bytes, scaling(None, &[f32::NAN], &[])),
            (&bytes, scaling(range(1.0, 0.0), &[], &[])),
            (&floats, scaling(range(0.0, 1.0), &[], &[])),
        ];
        for (data, scaling) in table {
            let refused = scaling.normalization(data).unwrap_err();
            assert_eq!(refused.kind(), crate::error::Kind::Usage, "{scaling:?}");
        }
    }
}
