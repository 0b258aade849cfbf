//! Models of other tools, as `.bbk` files.
//!
//! [`import`] reads a file, makes an [`crate::integer_graph::IntegerGraph`] of it,
//! and lowers and serialises that. The bytes are not trusted: every count has a limit, nothing
//! panics, and what isn't supported is named with its place.

mod dequantize;
mod error;
pub mod flatbuffer;
mod layout;
pub mod onnx;
pub mod tflite;

use std::path::{Path, PathBuf};

pub use error::{At, ImportError};
pub use layout::{Basis, InputLayout};

use crate::calibrate::ByteMap;
use crate::data::Layout;
use crate::integer_graph::{Arrangement, IntegerGraph};
use crate::lower::Graph;
use crate::quantize;
use crate::serialize::{ModelInfo, serialize};
use onnx::FloatModel;

/// Most bytes of a file that is imported: as many as a model may have.
pub const MAX_IMPORT_BYTES: u64 = bitsback_runtime::format::MAX_FILE_LEN as u64;
/// Positions that raw bytes are shifted: factors and summands keep 14 fractional bits, and 255
/// times them stays far from 32 bits.
const BYTE_SHIFT: u8 = 14;

/// The real values that the least and the greatest byte of an image stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ByteRange {
    /// Of byte 0.
    pub low: f32,
    /// Of byte 255.
    pub high: f32,
}

/// What a file doesn't say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportOptions {
    /// The name, classes, and whether to store operators' names.
    pub info: ModelInfo,
    /// How images were given to the model in training, so that the device can take raw pixels.
    pub bytes: Option<ByteRange>,
    /// Where files that the model refers to are.
    pub folder: Option<PathBuf>,
    /// For which cores 8-bit weights are arranged.
    pub arrangement: Arrangement,
    /// Whether convolutions take their poolings in.
    pub fused: bool,
    /// In which order an ONNX file has its input's dimensions, where it doesn't tell.
    pub layout: Option<Layout>,
}

/// An imported model.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The `.bbk` file.
    pub bytes: Vec<u8>,
    /// What it was written from.
    pub graph: Graph,
    /// In which order an ONNX file has the dimensions of an input that is an image or a sequence.
    pub input_layout: Option<InputLayout>,
}

/// Whether the bytes claim to be of a format that can be imported.
pub fn is_importable(bytes: &[u8]) -> bool {
    tflite::is_tflite(bytes) || onnx::is_onnx(bytes)
}

/// Imports a quantised model: of TensorFlow Lite, or of ONNX. What the latter keeps in other files
/// is sought in the options' folder.
///
/// # Errors
/// What is wrong with the file or not supported, and where.
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Imported, ImportError> {
    let mut input_layout = None;
    let mut graph = if onnx::is_onnx(bytes) {
        let model = onnx::read(bytes, options.folder.as_deref(), options.layout)?;
        let model = model.with_outputs_in_order()?;
        if !model.is_quantized() {
            return Err(ImportError::Floats);
        }
        input_layout = model.input_layout;
        quantize::prescribed(&model)?
    } else {
        refuse_layout(options.layout)?;
        tflite::read(bytes)?
    };
    if let Some(range) = options.bytes {
        set_byte_range(&mut graph, range);
    }
    graph.arrangement = options.arrangement;
    graph.fused = options.fused;
    let graph = graph.lower()?;
    let bytes = serialize(&graph, &options.info)?;
    Ok(Imported { bytes, graph, input_layout })
}

/// Reads a model as floats: an ONNX file as it is, one of TensorFlow Lite that computes with floats
/// as it is, too, and an int8 one by what its integers stand for. Either may bring its quantisation
/// along; [`FloatModel::freed`] drops it. `layout` is the order of an ONNX input's dimensions, where
/// the file doesn't tell.
///
/// # Errors
/// What is wrong with the file or not supported, and where.
pub fn floats(
    bytes: &[u8],
    folder: Option<&Path>,
    layout: Option<Layout>,
) -> Result<FloatModel, ImportError> {
    if tflite::is_tflite(bytes) {
        refuse_layout(layout)?;
        return match tflite::floats(bytes)? {
            Some(model) => model.with_outputs_in_order(),
            None => dequantize::dequantize(&tflite::read(bytes)?),
        };
    }
    onnx::read(bytes, folder, layout)?.with_outputs_in_order()
}

/// Whether a file is a model that computes with floats and has no quantisation; `false` for bytes of
/// any other kind.
///
/// # Errors
/// What is wrong with a file that claims to be a model.
pub fn computes_with_floats(bytes: &[u8]) -> Result<bool, ImportError> {
    if tflite::is_tflite(bytes) {
        return tflite::computes_with_floats(bytes);
    }
    if onnx::is_onnx(bytes) { onnx::computes_with_floats(bytes) } else { Ok(false) }
}

/// Files of TensorFlow Lite always have channels last.
fn refuse_layout(layout: Option<Layout>) -> Result<(), ImportError> {
    match layout {
        Some(Layout::ChannelsFirst) => Err(ImportError::LastAlways),
        Some(Layout::ChannelsLast) | None => Ok(()),
    }
}

/// q = round(real / scale) + zero point, where real runs from low to high.
fn set_byte_range(graph: &mut IntegerGraph, range: ByteRange) {
    let Some(input) = graph.values.get(graph.input) else { return };
    let one = f64::from(1u32 << BYTE_SHIFT);
    let scale = f64::from(input.scale);
    let step = f64::from(range.high - range.low) / 255.0 / scale;
    let start = f64::from(range.low) / scale + f64::from(input.zero_point);
    let (mul, add) = ((step * one).round() as i32, (start * one).round() as i32);
    graph.bytes = vec![ByteMap { mul, add, shift: BYTE_SHIFT }];
}
