//! The `.bbk` file of a lowered network, parsed back before it is given out.

use bitsback_runtime::format::{
    FEATURE_RECORD_LEN, MAX_PREPROCESS_CHANNELS, Meta, ParseError, Preprocess,
};
use bitsback_runtime::writer::{WriteError, model_len, write_model};
use bitsback_runtime::{Model, Op};
use thiserror::Error;

use super::{Compiled, RawInput};

/// Most characters of a model's name: it is shown in one line.
pub const MAX_NAME_LEN: usize = 64;

/// What the file says about the model besides what it computes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelInfo {
    /// The model's name; may be empty.
    pub name: String,
    /// Names of the classes, in order; empty when they are just numbers.
    pub classes: Vec<String>,
    /// Whether to store the operators' names, which profilers show.
    pub op_names: bool,
}

/// Why a graph can't be written.
#[derive(Debug, Error)]
pub enum SerializeError {
    /// The writer refused.
    #[error("the model can't be written: {0}")]
    Write(#[from] WriteError),
    /// The parser refused what was written: the graph is not one that the runtime can run.
    #[error("the runtime refuses the model: {0}")]
    Parse(#[from] ParseError),
    /// What was parsed back is not what was written.
    #[error("operator {index} of the written model reads back differently; this is a bug in it")]
    Differs {
        /// Which operator, from 0.
        index: usize,
    },
    /// The model's name is too long or not one line.
    #[error("the model's name must be one line of at most {MAX_NAME_LEN} bytes")]
    Name,
    /// A class's name is empty or not one line.
    #[error("class {class} has a name that is empty or not one line; rename it")]
    Class {
        /// Which class, from 0.
        class: usize,
    },
}

/// The file's bytes. They have been parsed back and hold exactly `graph`.
///
/// # Errors
/// When a name can't be stored, or the runtime would refuse the model.
pub fn serialize(graph: &Compiled, info: &ModelInfo) -> Result<Vec<u8>, SerializeError> {
    check_names(info)?;
    let classes = info.classes.join("\n");
    let names: Vec<&str> = graph.notes.iter().map(|note| note.name.as_str()).collect();
    let op_names = if info.op_names { names.join("\n") } else { String::new() };
    let mut section = graph.section.clone();
    let meta = Meta {
        name: &info.name,
        classes: &classes,
        op_names: &op_names,
        input: graph.input.clone(),
        input_scale: graph.input_quantization.quantization.scale,
        output_scale: graph.output_scale,
        preprocess: preprocess(graph, &mut section),
    };
    let mut bytes = vec![0; model_len(&meta, &graph.ops, &section)?];
    let len = write_model(&meta, &graph.ops, &section, &mut bytes)?;
    bytes.truncate(len);
    check(&bytes, &graph.ops)?;
    Ok(bytes)
}

/// The parser accepts the bytes and reads the very same operators.
fn check(bytes: &[u8], ops: &[Op]) -> Result<(), SerializeError> {
    let model = Model::parse(bytes)?;
    let steps: Vec<_> = model.ops().collect();
    for (index, op) in ops.iter().enumerate() {
        if steps.get(index).is_none_or(|step| step.op != *op) {
            return Err(SerializeError::Differs { index });
        }
    }
    if steps.len() == ops.len() {
        Ok(())
    } else {
        Err(SerializeError::Differs { index: ops.len() })
    }
}

fn check_names(info: &ModelInfo) -> Result<(), SerializeError> {
    if info.name.len() > MAX_NAME_LEN || info.name.contains(['\n', '\r']) {
        return Err(SerializeError::Name);
    }
    let broken = |name: &String| name.is_empty() || name.contains(['\n', '\r']);
    match info.classes.iter().position(broken) {
        Some(class) => Err(SerializeError::Class { class }),
        None => Ok(()),
    }
}

/// The preprocessing record; a table of features goes behind the weights.
fn preprocess(graph: &Compiled, section: &mut Vec<u8>) -> Preprocess {
    match &graph.input_quantization.raw {
        RawInput::Nothing => Preprocess::None,
        RawInput::Bytes => {
            let mut channels = heapless::Vec::new();
            let minus_128 = bitsback_runtime::format::ByteAffine { mul: 1, add: -128, shift: 0 };
            // One of MAX_PREPROCESS_CHANNELS always fits.
            let _ = channels.push(minus_128);
            Preprocess::Bytes(channels)
        }
        RawInput::ByteChannels(maps) => Preprocess::Bytes(
            maps.iter().take(MAX_PREPROCESS_CHANNELS).map(|map| (*map).into()).collect(),
        ),
        RawInput::Features { offset, scale } => {
            let start = section.len() as u32;
            let count = graph.input.len();
            section.reserve(count * FEATURE_RECORD_LEN);
            for (offset, scale) in offset.iter().zip(scale).cycle().take(count) {
                section.extend(offset.to_le_bytes());
                section.extend(scale.to_le_bytes());
            }
            Preprocess::Features { offset: start }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::calibrate::{Activations, InputQuantization, Quantization, Range};
    use crate::compile::widths::at_width;
    use crate::data::Normalization;
    use crate::lower::{LowerOptions, lower};
    use crate::network::{Affine, FloatNetwork, Layer, Topology};
    use crate::numbers::Shape;

    fn graph(input: InputQuantization) -> Graph {
        let network = FloatNetwork {
            topology: Topology {
                input: Shape::Flat(3),
                layers: vec![Layer::Dense { inputs: 3, outputs: 2 }],
            },
            affine: vec![Affine {
                weight: vec![0.5, -1.0, 0.25, 1.0, 0.0, -0.5],
                bias: vec![0.1; 2],
            }],
            norms: Vec::new(),
        };
        let layers = vec![Quantization { scale: 0.01, zero_point: 3 }];
        let weights = [at_width(&network.affine[0].weight, 4).0];
        let activations = Activations { input, layers, sums: Vec::new() };
        lower(&network, &weights, &activations, &LowerOptions::default()).unwrap()
    }

    fn floats() -> InputQuantization {
        InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None)
    }

    #[test]
    fn names_and_preprocessing_come_back() {
        let normalization = Normalization { offset: vec![5.0], scale: vec![0.5] };
        let range = Range { low: -2.0, high: 2.0 };
        let graph = graph(InputQuantization::floats(range, Some(&normalization)));
        let info = ModelInfo {
            name: "iris".into(),
            classes: vec!["setosa".into(), "other".into()],
            op_names: true,
        };
        let bytes = serialize(&graph, &info).unwrap();
        let model = Model::parse(&bytes).unwrap();
        assert_eq!(model.meta().name, "iris");
        assert_eq!((model.class_name(1), model.op_name(0)), (Some("other"), Some("dense_1")));
        let mut arena = vec![0; model.arena_len()];
        let mut interpreter = bitsback_runtime::Interpreter::new(&model, &mut arena).unwrap();
        interpreter.set_input_features(&[5.0, 9.0, 1.0]).unwrap();
        let normalised = [0.0, 2.0, -2.0];
        assert_eq!(interpreter.input_mut(), graph.input_quantization.quantize(&normalised));
    }

    #[test]
    fn names_of_several_lines_are_refused() {
        let graph = graph(floats());
        let named = |name: &str| ModelInfo { name: name.into(), ..ModelInfo::default() };
        for name in ["two\nlines", &"long".repeat(20)] {
            assert!(matches!(serialize(&graph, &named(name)), Err(SerializeError::Name)));
        }
        let classes = vec!["good".into(), String::new()];
        let info = ModelInfo { classes, ..ModelInfo::default() };
        assert!(matches!(serialize(&graph, &info), Err(SerializeError::Class { class: 1 })));
    }

    #[test]
    fn graphs_that_cannot_run_are_refused() {
        let mut empty = graph(floats());
        empty.ops.clear();
        let info = ModelInfo::default();
        assert!(matches!(serialize(&empty, &info), Err(SerializeError::Write(_))));
        let mut cut = graph(floats());
        cut.section.pop();
        assert!(matches!(serialize(&cut, &info), Err(SerializeError::Parse(_))));
        let good = graph(floats());
        let bytes = serialize(&good, &info).unwrap();
        let twice = [good.ops.clone(), good.ops].concat();
        assert!(matches!(check(&bytes, &twice), Err(SerializeError::Differs { index: 1 })));
        assert!(matches!(check(&bytes, &[]), Err(SerializeError::Differs { index: 0 })));
    }
}
