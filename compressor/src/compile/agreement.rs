//! Whether data are scaled as those were that a quantised model was made for.

use crate::data::{Dataset, Normalization, Values};
use crate::numbers::Range;

/// How far the ends of bytes may be from those of the model's range, in parts of it. Converters see
/// a few hundred examples, which needn't reach the ends; 0…1 instead of −1…1 is half of it.
const TOLERANCE: f32 = 0.4;
/// Examples of floats that are looked at.
const EXAMPLES: usize = 1000;
/// Most of their values that may lie far outside of the model's range.
const OUTSIDE: f64 = 0.05;
/// The least part of the model's range that floats must fill.
const FILLED: f32 = 0.25;

/// The range of the normalised data, if they are scaled otherwise than a model whose inputs lie in
/// `model` takes them; of the listed examples where the data are no bytes.
pub(crate) fn disagreement(
    model: Range,
    dataset: &Dataset,
    normalization: &Normalization,
    examples: &[u32],
) -> Option<Range> {
    let span = model.high - model.low;
    let near = |a: f32, b: f32| (a - b).abs() < TOLERANCE * span;
    if let Values::Bytes(_) = dataset.inputs {
        let found = of_bytes(normalization);
        let same = near(found.low, model.low) && near(found.high, model.high);
        return (!same).then_some(found);
    }
    let some = &examples[..examples.len().min(EXAMPLES)];
    let values = dataset.batch(normalization, some);
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let far = |x: &&f32| **x < model.low - FILLED * span || **x > model.high + FILLED * span;
    let outside = values.iter().filter(far).count();
    let same = outside as f64 <= OUTSIDE * values.len() as f64 && high - low >= FILLED * span;
    (!same && !values.is_empty()).then_some(Range { low, high })
}

/// From byte 0 to byte 255, over all channels.
fn of_bytes(normalization: &Normalization) -> Range {
    let channels = normalization.offset.iter().zip(&normalization.scale);
    let nothing = Range { low: f32::INFINITY, high: f32::NEG_INFINITY };
    channels.fold(nothing, |range, (offset, scale)| Range {
        low: range.low.min(-offset * scale),
        high: range.high.max((255.0 - offset) * scale),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::NormalizationKind;
    use crate::numbers::Shape;

    fn dataset(inputs: Values) -> Dataset {
        Dataset {
            shape: Shape::Flat(4),
            inputs,
            labels: vec![0],
            classes: vec!["a".into(), "b".into()],
            test_start: None,
        }
    }

    fn found(inputs: Values, kind: NormalizationKind, low: f32, high: f32) -> Option<Range> {
        let dataset = dataset(inputs);
        let normalization = Normalization::fit(kind, &dataset, &[0]).unwrap();
        disagreement(Range { low, high }, &dataset, &normalization, &[0])
    }

    #[test]
    fn bytes_of_another_scaling_are_told() {
        use NormalizationKind::{None, Standard, Symmetric, Unit};
        let bytes = || Values::Bytes(vec![0, 10, 20, 130]);
        for (kind, low, high) in
            [(Unit, 0.0, 1.0), (Unit, 0.0, 0.8), (Symmetric, -1.0, 1.0), (None, 0.0, 255.0)]
        {
            assert_eq!(found(bytes(), kind, low, high), Option::None, "{kind:?}");
        }
        let range = Range { low: 0.0, high: 1.0 };
        assert_eq!(found(bytes(), Unit, -1.0, 1.0), Some(range));
        assert_eq!(found(bytes(), Unit, 0.0, 255.0), Some(range));
        assert_eq!(found(bytes(), Unit, -0.42, 2.82), Some(range));
        assert!(found(bytes(), Symmetric, 0.0, 1.0).is_some());
        assert!(found(bytes(), Standard, 0.0, 1.0).is_some());
    }

    #[test]
    fn floats_must_fill_the_range_and_stay_in_it() {
        let floats = || Values::Floats(vec![-3.0, 0.5, 1.0, 2.5]);
        let none = NormalizationKind::None;
        assert_eq!(found(floats(), none, -3.2, 3.0), None);
        assert_eq!(found(floats(), none, -3.0, 10.0), None);
        assert_eq!(found(floats(), none, -1.0, 1.0), Some(Range { low: -3.0, high: 2.5 }));
        assert!(found(floats(), none, -128.0, 127.0).is_some());
        assert_eq!(found(Values::Floats(Vec::new()), none, 0.0, 1.0), None);
    }
}
