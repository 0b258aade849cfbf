//! Models that no training made: every operator and every weight width, with random weights, so
//! that all of them run on every core. `cargo xtask golden` writes them to `tests/golden`.
//!
//! Everything follows from a seed; a test compares the committed files with what this code gives,
//! which also notices a format or an operator that has changed under files that exist.

mod builder;
mod coded;
mod coded_lenet;
mod depthwise;
mod few_channels;
mod hard_swish;
mod lists;
mod long_filters;
mod mobilenet;
mod operators;
mod pairs;
mod pieces;
mod pooled;
mod resized;
mod rows;
pub(crate) mod shapes;
mod slices;
mod small_images;
mod squares;
mod vgg;
mod wide;
mod widths;

use std::fs;
use std::path::Path;

use bitsback_runtime::{Interpreter, Model};

use crate::error::XtaskError;
use crate::golden;
pub(crate) use builder::{Coded, Kind, ModelBuilder, ModelBuilderError, Random, multiplier};

/// Vectors of each model: enough to meet saturation, ties and both extremes in every operator.
const VECTORS: usize = 48;
const SEED: u64 = 0x5EED_0B17_5BAC_0001;

/// A model and its vectors, as the files hold them.
pub(crate) struct Synthetic {
    pub(crate) name: &'static str,
    pub(crate) model: Vec<u8>,
    pub(crate) inputs: Vec<u8>,
    pub(crate) outputs: Vec<u8>,
}

/// All synthetic models.
pub(crate) fn all() -> Result<Vec<Synthetic>, ModelBuilderError> {
    Ok(vec![
        run("coded", coded::build)?,
        run("coded-lenet", coded_lenet::build)?,
        run("depthwise", depthwise::build)?,
        run("few-channels", few_channels::build)?,
        run("hard-swish", hard_swish::build)?,
        run("lists", lists::build)?,
        run("long-filters", long_filters::build)?,
        run("operators", operators::build)?,
        run("pairs", pairs::build)?,
        run("pieces", pieces::build)?,
        run("pooled", pooled::build)?,
        run("resized", resized::build)?,
        run("rows", rows::build)?,
        run("slices", slices::build)?,
        run("small-images", small_images::build)?,
        run("squares", squares::build)?,
        run("wide-2", |builder| wide::build(builder, 2))?,
        run("wide-4", |builder| wide::build(builder, 4))?,
        run("wide-8", |builder| wide::build(builder, 8))?,
        run("widths", widths::build)?,
    ])
}

/// Writes all of them below `folder`.
pub(crate) fn write(folder: &Path) -> Result<(), XtaskError> {
    for synthetic in all()? {
        let place = folder.join(synthetic.name);
        fs::create_dir_all(&place).map_err(|source| XtaskError::File {
            action: "create",
            path: place.clone(),
            source,
        })?;
        golden::write(&place, &synthetic.model, &synthetic.inputs, &synthetic.outputs)?;
    }
    Ok(())
}

/// Builds a model and runs its vectors on this host.
fn run(
    name: &'static str,
    draw: fn(&mut ModelBuilder) -> Result<(), ModelBuilderError>,
) -> Result<Synthetic, ModelBuilderError> {
    let mut builder = ModelBuilder::new(name, SEED);
    draw(&mut builder)?;
    let bytes = builder.finish()?;
    let model = Model::parse(&bytes).map_err(ModelBuilderError::Parse)?;
    let mut arena = vec![0; model.arena_len()];
    let mut interpreter = Interpreter::new(&model, &mut arena).map_err(ModelBuilderError::Arena)?;
    let mut random = Random::new(SEED);
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for vector in 0..VECTORS {
        for value in interpreter.input_mut() {
            *value = match vector {
                0 => i8::MIN,
                1 => i8::MAX,
                2 => 0,
                _ => random.int8(),
            };
            inputs.push(*value as u8);
        }
        interpreter.invoke();
        outputs.extend(interpreter.output().iter().map(|&value| value as u8));
    }
    Ok(Synthetic { name, model: bytes, inputs, outputs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitsback_runtime::OpKind;

    #[test]
    fn the_committed_files_are_what_this_code_gives() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
        for synthetic in all().unwrap() {
            let committed = |file: &str| fs::read(root.join(synthetic.name).join(file)).unwrap();
            let advice = "`cargo xtask golden` writes it anew, if the change is meant";
            assert!(committed("model.bbk") == synthetic.model, "{} {advice}", synthetic.name);
            assert!(committed("inputs.i8") == synthetic.inputs, "{} {advice}", synthetic.name);
            assert!(committed("outputs.i8") == synthetic.outputs, "{} {advice}", synthetic.name);
        }
    }

    #[test]
    fn every_operator_is_in_one_of_them() {
        let used = all().unwrap().iter().fold(0, |kinds, synthetic| {
            kinds | Model::<'_>::parse(&synthetic.model).unwrap().header().op_kinds
        });
        for kind in OpKind::ALL {
            assert!(used & kind.bit() != 0, "no golden model uses {}", kind.name());
        }
    }

    #[test]
    fn outputs_are_not_all_alike() {
        for synthetic in all().unwrap() {
            let mut values = synthetic.outputs.clone();
            values.sort_unstable();
            values.dedup();
            assert!(values.len() > 20, "{}: {} different values", synthetic.name, values.len());
        }
    }
}
