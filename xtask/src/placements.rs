//! A model wherever it may lie in a device's memory: at every distance from a word's beginning, as it
//! is and with its parts moved against one another.
//!
//! The format aligns no part, and a file may be flashed to any address: kernels must give the same
//! bits from all of them. So the conformance firmware finds several files in the model slot, one
//! behind the other, of which all but the first are the same model in another place.

use std::collections::BTreeMap;

use bitsback_runtime::format::{Bias, Preprocess, Requantization};
use bitsback_runtime::ops::CodedAffine;
use bitsback_runtime::writer::{WriteError, model_len, set_margin, write_model};
use bitsback_runtime::{Model, Op, Step, format};

use crate::error::XtaskError;

/// Bytes of a word.
const WORD: usize = 4;

/// What lies in the model slot.
pub(crate) struct Image {
    pub(crate) bytes: Vec<u8>,
    /// The number of files in it.
    pub(crate) files: u64,
}

impl Image {
    /// The model at the slot's beginning, then, as far as the slot has room, the model at other
    /// distances from a word's beginning and, at each distance, with its parts moved.
    pub(crate) fn of(name: &str, model: &[u8], slot: usize) -> Result<Self, XtaskError> {
        let moved = with_parts_moved(name, model)?;
        let mut image = Self { bytes: model.to_vec(), files: 1 };
        let others = [(&moved[..], 1), (model, 2), (&moved, 2), (model, 1)];
        let others = others.into_iter().chain([(&moved[..], 3), (model, 3), (&moved, 0)]);
        for (file, at) in others {
            // A byte at least tells files apart from what is behind them.
            let gap = 1 + (at + WORD - (image.bytes.len() + 1) % WORD) % WORD;
            if image.bytes.len() + gap + file.len() <= slot {
                image.bytes.resize(image.bytes.len() + gap, 0);
                image.bytes.extend_from_slice(file);
                image.files += 1;
            }
        }
        Ok(image)
    }
}

/// The model with its parts in the same order, each a byte further from a word's beginning than the
/// one before: at four addresses, each part meets each distance, and neighbours never the same.
pub(crate) fn with_parts_moved(name: &str, model: &[u8]) -> Result<Vec<u8>, XtaskError> {
    let wrong = |problem: String| XtaskError::Golden { path: name.into(), problem };
    let model = Model::<'_>::parse(model).map_err(|error| wrong(error.to_string()))?;
    let mut ops: Vec<Op> = model.ops().map(|step: Step| step.op).collect();
    let mut meta = model.meta();
    let mut offsets: Vec<&mut u32> = ops.iter_mut().flat_map(parts).collect();
    if let Preprocess::Features { offset } = &mut meta.preprocess {
        offsets.push(offset);
    }
    let mut places: BTreeMap<u32, u32> = offsets.iter().map(|offset| (**offset, 0)).collect();
    let starts: Vec<usize> = places.keys().map(|&start| start as usize).collect();
    let ends = starts.iter().skip(1).copied().chain([model.section().len()]);
    let mut section = Vec::new();
    for (number, ((&start, end), place)) in
        starts.iter().zip(ends).zip(places.values_mut()).enumerate()
    {
        let gap = (number + 1 + WORD - section.len() % WORD) % WORD;
        section.resize(section.len() + gap, 0);
        *place = section.len() as u32;
        section.extend_from_slice(model.section().get(start..end).unwrap_or_default());
    }
    for offset in offsets {
        *offset = places.get(offset).copied().unwrap_or_default();
    }
    let written = |error: WriteError| wrong(error.to_string());
    let mut file = vec![0; model_len(&meta, &ops, &section).map_err(written)?];
    write_model(&meta, &ops, &section, &mut file).map_err(written)?;
    set_margin(&mut file, model.margin());
    Ok(file)
}

/// Where an operator's parts are.
fn parts(op: &mut Op) -> Vec<&mut u32> {
    match op {
        Op::Dense(op) => affine(&mut op.affine),
        Op::Conv2d(op) => affine(&mut op.affine),
        Op::DepthwiseConv2d(op) => affine(&mut op.affine),
        Op::Conv2dMaxPool2d(op) => affine(&mut op.affine),
        Op::CodedDense(op) => coded(&mut op.affine),
        Op::CodedConv2d(op) => coded(&mut op.affine),
        Op::CodedDepthwiseConv2d(op) => coded(&mut op.affine),
        Op::Select(op) => vec![&mut op.mask],
        Op::MaxPool2d(_)
        | Op::AvgPool2d(_)
        | Op::Softmax(_)
        | Op::Argmax(_)
        | Op::Add(_)
        | Op::Mul(_)
        | Op::Concat(_)
        | Op::Pad(_)
        | Op::Slice(_)
        | Op::Mean(_)
        | Op::Rescale(_)
        | Op::ResizeNearest(_)
        | Op::LeakyRelu(_)
        | Op::HardSwish(_)
        | Op::Logistic(_)
        | Op::Tanh(_) => vec![],
    }
}

fn affine(affine: &mut format::Affine) -> Vec<&mut u32> {
    let mut parts = vec![&mut affine.weights.offset];
    if let Bias::Plain(stored) | Bias::Folded(stored) = &mut affine.bias {
        parts.push(&mut stored.offset);
    }
    if let Requantization::PerChannel { offset } = &mut affine.requantization {
        parts.push(offset);
    }
    parts
}

fn coded(affine: &mut CodedAffine) -> Vec<&mut u32> {
    let mut parts = vec![&mut affine.offset];
    if let Requantization::PerChannel { offset } = &mut affine.requantization {
        parts.push(offset);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::committed;
    use bitsback_runtime::{Header, Interpreter};
    use std::path::Path;

    /// The outputs of a model that lies so far behind a word's beginning, vector after vector.
    fn outputs(file: &[u8], at: usize, inputs: &[u8]) -> Vec<u8> {
        let mut memory = vec![0; file.len() + 2 * WORD];
        let start = memory.as_ptr().align_offset(WORD) + at;
        let place = start..start + file.len();
        memory[place.clone()].copy_from_slice(file);
        let model = Model::<'_>::parse(&memory[place]).unwrap();
        let mut arena = vec![0; model.arena_len() + at];
        let mut interpreter = Interpreter::new(&model, &mut arena[at..]).unwrap();
        let mut outputs = Vec::new();
        for input in inputs.chunks(model.input().len()) {
            let to = interpreter.input_mut().iter_mut();
            to.zip(input).for_each(|(to, &from)| *to = from as i8);
            interpreter.invoke();
            outputs.extend(interpreter.output().iter().map(|&y| y as u8));
        }
        outputs
    }

    #[test]
    fn golden_outputs_are_the_same_wherever_a_model_lies() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
        let mut moves = 0;
        for golden in committed(&root).unwrap() {
            let moved = with_parts_moved(&golden.name, &golden.model).unwrap();
            moves += usize::from(moved != golden.model);
            for at in 0..WORD {
                for file in [&golden.model, &moved] {
                    let found = outputs(file, at, golden.inputs());
                    assert!(found == golden.outputs(), "{} at {at}", golden.name);
                }
            }
        }
        assert!(moves > 20, "{moves} models have parts");
    }

    #[test]
    fn an_image_has_the_model_at_every_distance() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/pairs/model.bbk");
        let model = std::fs::read(root).unwrap();
        let image = Image::of("pairs", &model, 1 << 20).unwrap();
        let magic = |at: &usize| Header::read(&image.bytes[*at..]).is_some();
        let mut starts: Vec<usize> =
            (0..image.bytes.len()).filter(magic).map(|at| at % WORD).collect();
        assert_eq!(image.files as usize, starts.len());
        starts.sort_unstable();
        assert_eq!(starts, [0, 0, 1, 1, 2, 2, 3, 3]);
        // A slot that is just large enough for the model has it alone.
        assert_eq!(Image::of("pairs", &model, model.len()).unwrap().files, 1);
    }
}
