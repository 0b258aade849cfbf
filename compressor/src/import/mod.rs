//! Models of other tools, as `.bbk` files.
//!
//! [`import`] reads a file, makes an [`crate::integer_graph::IntegerGraph`] of it,
//! and lowers and serialises that. The bytes are not trusted: every count has a limit, nothing
//! panics, and what isn't supported is named with its place.

mod dequantize;
mod error;
pub mod flatbuffer;
pub mod onnx;
pub mod tflite;

use std::path::{Path, PathBuf};

pub use error::{At, ImportError};

use crate::calibrate::ByteMap;
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
}

/// An imported model.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The `.bbk` file.
    pub bytes: Vec<u8>,
    /// What it was written from.
    pub graph: Graph,
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
    let mut graph = if onnx::is_onnx(bytes) {
        let model = onnx::read(bytes, options.folder.as_deref())?;
        if !model.is_quantized() {
            return Err(ImportError::Floats);
        }
        quantize::prescribed(&model)?
    } else {
        tflite::read(bytes)?
    };
    if let Some(range) = options.bytes {
        set_byte_range(&mut graph, range);
    }
    graph.arrangement = options.arrangement;
    graph.fused = options.fused;
    let graph = graph.lower()?;
    let bytes = serialize(&graph, &options.info)?;
    Ok(Imported { bytes, graph })
}

/// Reads a model as floats: an ONNX file as it is, an int8 model of TensorFlow Lite by what its
/// integers stand for. Either may bring its quantisation along; [`FloatModel::freed`] drops it.
///
/// # Errors
/// What is wrong with the file or not supported, and where.
pub fn floats(bytes: &[u8], folder: Option<&Path>) -> Result<FloatModel, ImportError> {
    if tflite::is_tflite(bytes) {
        return dequantize::dequantize(&tflite::read(bytes)?);
    }
    onnx::read(bytes, folder)
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
