//! What kind of numbers a model computes with, and whether it is one kind only.

use super::convert::Site;
use super::schema::{Model, Type};
use crate::import::ImportError;

/// The numbers of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    /// Of 8 bits.
    Integers,
    /// Weights may be of fewer bits.
    Floats,
}

/// Conversions, which may be at either side: QUANTIZE and DEQUANTIZE.
const CONVERSIONS: [i32; 2] = [114, 6];

/// What the operators write, conversions and sizes aside.
pub(super) fn arithmetic(model: &Model<'_>) -> Result<Arithmetic, ImportError> {
    let (mut floats, mut integers) = (None, None);
    for (index, operator) in model.operators.iter().enumerate() {
        let site = Site::new(model, index, operator);
        let output = operator.outputs.first().and_then(|&id| model.tensors.get(id as usize));
        let Some(output) = output.filter(|_| !CONVERSIONS.contains(&operator.code)) else {
            continue;
        };
        match output.kind {
            Type::F32 | Type::F16 => {
                floats.get_or_insert(site);
            }
            Type::I8 => {
                integers.get_or_insert(site);
            }
            Type::I16 => {
                let problem = "computes with 16 bits, but activations have 8 here; convert it again \
                               with TFLITE_BUILTINS_INT8, or without any quantisation for \
                               `bitsback quantize`";
                return Err(ImportError::Numbers { at: site.at(), problem });
            }
            Type::U8 => {
                let problem = "computes with unsigned bytes, as TensorFlow 1 quantised; convert it \
                               again with TFLITE_BUILTINS_INT8, or without any quantisation for \
                               `bitsback quantize`";
                return Err(ImportError::Numbers { at: site.at(), problem });
            }
            _ => {}
        }
    }
    match (floats, integers) {
        (Some(island), Some(_)) => {
            let problem = "computes with floats in a model of integers, as the converter has no int8 \
                           form of it; take another operator for it, or convert without any \
                           quantisation for `bitsback quantize`";
            Err(ImportError::Numbers { at: island.at(), problem })
        }
        (Some(_), None) => Ok(Arithmetic::Floats),
        (None, _) => Ok(Arithmetic::Integers),
    }
}

#[cfg(test)]
mod tests {
    use crate::import::tflite::builder::{ModelBuilder, single};
    use crate::import::{ImportError, floats};

    const F32: i8 = 0;
    const I16: i8 = 7;
    const RELU: i32 = 19;
    const ELU: i32 = 111;

    /// Values of a type between an int8 input and an int8 output, written by an operator.
    fn island(code: i32, kind: i8) -> ModelBuilder {
        let mut builder = ModelBuilder::new();
        let input = builder.tensor(&[1, 4], 0.5, 0);
        let before = builder.typed(&[1, 4], kind, &[], 0.5, 0);
        builder.operator(6, &[input], before, vec![]);
        let after = builder.typed(&[1, 4], kind, &[], 0.5, 0);
        builder.operator(code, &[before], after, vec![]);
        let back = builder.tensor(&[1, 4], 0.5, 0);
        builder.operator(114, &[after], back, vec![]);
        let output = builder.tensor(&[1, 4], 0.5, 0);
        builder.operator(RELU, &[back], output, vec![]);
        (builder.inputs, builder.outputs) = (vec![input], vec![output]);
        builder
    }

    #[test]
    fn the_operator_that_makes_floats_is_named() {
        let found = island(ELU, F32).refused().to_string();
        assert!(
            found.starts_with("operator 1 (ELU, which writes `t2`) computes with floats"),
            "{found}"
        );
        assert!(found.contains("bitsback quantize"), "{found}");
        let found = floats(&island(ELU, F32).bytes(), None, None).unwrap_err().to_string();
        assert!(found.contains("operator 1 (ELU"), "{found}");
    }

    #[test]
    fn activations_of_16_bits_say_how_to_convert_again() {
        let found = island(RELU, I16).refused().to_string();
        assert!(found.contains("16 bits") && found.contains("TFLITE_BUILTINS_INT8"), "{found}");
    }

    #[test]
    fn models_of_floats_are_for_quantize() {
        let mut builder = ModelBuilder::new();
        let input = builder.typed(&[1, 4], F32, &[], 0.0, 0);
        let output = builder.typed(&[1, 4], F32, &[], 0.0, 0);
        builder.operator(RELU, &[input], output, vec![]);
        (builder.inputs, builder.outputs) = (vec![input], vec![output]);
        let refused = builder.refused();
        assert!(matches!(refused, ImportError::Floats), "{refused}");
        assert!(refused.to_string().contains("bitsback quantize"));
        assert!(!floats(&builder.bytes(), None, None).unwrap().is_quantized());
        let unknown = {
            let mut builder = builder.clone();
            let another = builder.typed(&[1, 4], F32, &[], 0.0, 0);
            builder.operator(ELU, &[output], another, vec![]);
            builder.outputs = vec![another];
            floats(&builder.bytes(), None, None).unwrap_err().to_string()
        };
        assert!(
            unknown.contains("operator 1 (ELU, which writes `t2`) is not supported"),
            "{unknown}"
        );
        let integers = single(RELU, &[1, 4], &[1, 4], vec![]);
        assert!(floats(&integers.bytes(), None, None).unwrap().is_quantized());
    }
}
