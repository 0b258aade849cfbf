//! Models of other tools, as `.bbk` files.
//!
//! [`import`] reads a file, makes an [`crate::graph::IntegerGraph`] of it,
//! and lowers and serialises that. The bytes are not trusted: every count has a limit, nothing
//! panics, and what isn't supported is named with its place.

mod dequantize;
mod error;
mod flatbuffer;
mod layout;
pub mod onnx;
pub mod tflite;

use std::path::{Path, PathBuf};

pub use error::{At, ImportError};
pub use flatbuffer::Damaged;
pub use layout::{Basis, InputLayout};

use crate::compile::serialize::ModelInfo;
use crate::compile::{self, ByteMap, CompileOptions, Compiled, InputQuantization, RawInput};
use crate::data::Layout;
use crate::graph::{IntegerGraph, LowerError, Plan, lower};
use crate::numbers::Quantization;
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
    /// How weights are stored, and for which cores they are arranged.
    pub compile: CompileOptions,
    /// In which order an ONNX file has its input's dimensions, where it doesn't tell.
    pub layout: Option<Layout>,
}

/// An imported model.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The `.bbk` file.
    pub bytes: Vec<u8>,
    /// The graph of integers.
    pub integers: IntegerGraph,
    /// What it was written from.
    pub compiled: Compiled,
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
    let (graph, file_map) = if onnx::is_onnx(bytes) {
        let model = onnx::read(bytes, options.folder.as_deref(), options.layout)?;
        let model = model.with_outputs_in_order()?;
        if !model.is_quantized() {
            return Err(ImportError::Floats);
        }
        input_layout = model.input_layout;
        (prescribed(&model)?, None)
    } else {
        refuse_layout(options.layout)?;
        tflite::read(bytes)?
    };
    let quantization = graph.values.get(graph.input).map(|value| value.quantization);
    let quantization = quantization.unwrap_or(Quantization { scale: 1.0, zero_point: 0 });
    let map = options.bytes.map(|range| byte_map(quantization, range)).or(file_map);
    let raw = map.map_or(RawInput::Nothing, |map| RawInput::ByteChannels(vec![map]));
    let input = InputQuantization { quantization, residual: 0.0, raw };
    let (bytes, compiled) = compile::write(&graph, &input, &options.compile, &options.info)?;
    Ok(Imported { bytes, integers: graph, compiled, input_layout })
}

/// The graph of integers of a model that brings its quantisation along.
///
/// # Errors
/// Where the file leaves a scale open, and what doesn't fit the runtime.
fn prescribed(model: &FloatModel) -> Result<IntegerGraph, LowerError> {
    let mut plan = Plan { scales: model.weights.clone(), ..Plan::of(&model.activations) };
    // What is only arranged or chosen from later has the scale that it is given then.
    for node in model.graph.nodes.iter().rev() {
        let keeps = node.op.copies_scale() && node.op.commutes_with_limits();
        if let (true, Some(&scale)) = (keeps, plan.activations.get(&node.output)) {
            plan.activations.entry(node.inputs[0]).or_insert(scale);
        }
    }
    lower(&model.graph, &plan)
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
            None => dequantize::dequantize(&tflite::read(bytes)?.0),
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
fn byte_map(quantization: Quantization, range: ByteRange) -> ByteMap {
    let one = f64::from(1u32 << BYTE_SHIFT);
    let scale = f64::from(quantization.scale);
    let step = f64::from(range.high - range.low) / 255.0 / scale;
    let start = f64::from(range.low) / scale + f64::from(quantization.zero_point);
    let (mul, add) = ((step * one).round() as i32, (start * one).round() as i32);
    ByteMap { mul, add, shift: BYTE_SHIFT }
}
