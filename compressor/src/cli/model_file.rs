//! Reading a model file, and what the verbs ask of it.

use std::path::Path;

use bitsback_runtime::format::{MAX_FILE_LEN, Preprocess};
use bitsback_runtime::{Interpreter, Model};

use super::feeding;
use super::output::Context;
use crate::compile::{CompileOptions, Core};
use crate::data::Layout;
use crate::error::{CliError, Error};
use crate::files;
use crate::import::onnx::{self, FloatModel};
use crate::import::{self, ByteRange, ImportOptions, InputLayout};

/// It runs here, where rows are as fast as on the largest of the cores.
const HERE: Core = Core::CortexA53;

/// Reads a file of at most a model's size. A model of another tool is imported: what comes back
/// are the bytes of a `.bbk` file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    read_for(HERE, path)
}

/// As [`read`]; another tool's model is stored as a core takes it fastest.
pub(super) fn read_for(core: Core, path: &Path) -> Result<Vec<u8>, Error> {
    Ok(imported(core, path, files::read(path, u64::from(MAX_FILE_LEN))?, None, None)?.0)
}

/// As [`read`]; another tool's model is given pixels, whose least and greatest stand for `range`, and
/// has its input's dimensions in the order `layout`. It is noted where the file says otherwise, and
/// where an order is assumed.
pub(super) fn read_for_pixels(
    context: &Context,
    path: &Path,
    range: Option<ByteRange>,
    layout: Option<Layout>,
) -> Result<Vec<u8>, Error> {
    let file = files::read(path, u64::from(MAX_FILE_LEN))?;
    let foreign = import::is_importable(&file);
    let (bytes, found) = imported(HERE, path, file, range, layout)?;
    if foreign {
        feeding::check_pixels(context, path, &parse(path, &bytes)?, range);
    } else if range.is_some() {
        context.note(&format!(
            "{}: --pixels is for other tools' files; this one says itself how it takes pixels",
            path.display()
        ));
    }
    if layout.is_some() && found.is_none() {
        let path = path.display();
        context.note(&format!("{path}: --input-layout is for .onnx files of images or sequences"));
    }
    super::layout::note(context, path, found);
    Ok(bytes)
}

/// The bytes of a `.bbk` file from those of any model's, and the order of an .onnx file's input.
fn imported(
    core: Core,
    path: &Path,
    bytes: Vec<u8>,
    range: Option<ByteRange>,
    layout: Option<Layout>,
) -> Result<(Vec<u8>, Option<InputLayout>), Error> {
    if !import::is_importable(&bytes) {
        return Ok((bytes, None));
    }
    let folder = path.parent().map(Path::to_owned);
    let compile = CompileOptions { core, ..CompileOptions::default() };
    let options =
        ImportOptions { bytes: range, folder, compile, layout, ..ImportOptions::default() };
    let imported = import::import(&bytes, &options);
    let refused = |source| CliError::Import { path: path.to_owned(), source: Box::new(source) };
    let imported = imported.map_err(refused)?;
    Ok((imported.bytes, imported.input_layout))
}

/// Reads a model as floats; one of integers as what these stand for, with its quantisation. Of an .onnx
/// file the input's dimensions are in the order `layout`; an order that is assumed is noted.
pub(super) fn read_floats(
    context: &Context,
    path: &Path,
    layout: Option<Layout>,
) -> Result<FloatModel, Error> {
    let bytes = files::read(path, import::MAX_IMPORT_BYTES)?;
    let refused = |source| CliError::Import { path: path.to_owned(), source: Box::new(source) };
    let model = import::floats(&bytes, path.parent(), layout).map_err(refused)?;
    super::layout::note(context, path, model.input_layout);
    Ok(model)
}

/// Checks that a model and its input aren't given in each other's place.
pub(super) fn check_order(model: &Path, input: &Path) -> Result<(), Error> {
    let is_model = |path: &Path| {
        let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
        ["bbk", "tflite", "onnx"].iter().any(|known| ending == *known)
    };
    if is_model(input) && !is_model(model) {
        let (first, model) = (model.to_owned(), input.to_owned());
        return Err(CliError::Swapped { first, model }.into());
    }
    Ok(())
}

/// A model of either kind.
pub(super) enum Subject {
    /// The bytes of a `.bbk` file.
    Integers(Vec<u8>),
    /// A model of floats.
    Floats(Box<FloatModel>),
}

impl Subject {
    /// Reads a model: one of integers is imported if it is another tool's, for pixels in `range`.
    pub(super) fn read(
        context: &Context,
        path: &Path,
        range: Option<ByteRange>,
        layout: Option<Layout>,
    ) -> Result<Self, Error> {
        let bytes = files::read(path, import::MAX_IMPORT_BYTES)?;
        // An order is of the other model's input.
        let layout = layout.filter(|_| onnx::is_onnx(&bytes));
        let refused = |source| CliError::Import { path: path.to_owned(), source: Box::new(source) };
        if import::computes_with_floats(&bytes).map_err(refused)? {
            return Ok(Self::Floats(Box::new(read_floats(context, path, layout)?)));
        }
        let foreign = import::is_importable(&bytes);
        let (bytes, found) = imported(HERE, path, bytes, range, layout)?;
        if foreign {
            feeding::check_pixels(context, path, &parse(path, &bytes)?, range);
        }
        super::layout::note(context, path, found);
        Ok(Self::Integers(bytes))
    }
}

/// Checks the bytes of a model file; the error names it.
pub(super) fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Model<'a>, Error> {
    let refused = |source| CliError::Model { path: path.to_owned(), source };
    Ok(Model::parse(bytes).map_err(refused)?)
}

/// An arena of the model's size.
pub(super) fn arena(model: &Model<'_>) -> Vec<i8> {
    // Bounded by the format's `MAX_ARENA_LEN`.
    vec![0; model.arena_len()]
}

/// The input's dimensions.
pub(super) fn input_dims(model: &Model<'_>) -> Vec<usize> {
    model.input().shape.dims().iter().map(|&dim| usize::from(dim)).collect()
}

/// Whether the model takes raw bytes such as pixels.
pub(super) fn takes_bytes(model: &Model<'_>) -> bool {
    matches!(model.meta().preprocess, Preprocess::Bytes(_))
}

/// Names of the classes, empty when the file has none.
pub(super) fn class_names(model: &Model<'_>) -> Vec<String> {
    (0..).map_while(|class| model.class_name(class)).map(str::to_owned).collect()
}

/// One example's values, as a data set or a file holds them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Example<'a> {
    /// Raw bytes.
    Bytes(&'a [u8]),
    /// Real features.
    Features(&'a [f32]),
    /// The model's own values.
    Quantized(&'a [i8]),
}

/// Puts an example into the model's input. Bytes for a model of features are features, too.
/// `false`: the number of values is another than the model's.
pub(super) fn set_input(interpreter: &mut Interpreter<'_, '_>, example: Example<'_>) -> bool {
    match example {
        Example::Bytes(bytes) if takes_bytes(interpreter.model()) => {
            interpreter.set_input_bytes(bytes).is_ok()
        }
        Example::Bytes(bytes) => {
            let features: Vec<f32> = bytes.iter().copied().map(f32::from).collect();
            interpreter.set_input_features(&features).is_ok()
        }
        Example::Features(features) => interpreter.set_input_features(features).is_ok(),
        Example::Quantized(values) => {
            let input = interpreter.input_mut();
            let fits = input.len() == values.len();
            if fits {
                input.copy_from_slice(values);
            }
            fits
        }
    }
}
