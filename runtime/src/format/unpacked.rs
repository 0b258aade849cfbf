//! How long unpacked weights are: see [`crate::Unpacked`], which arranges them.

use super::form::Form;
use super::header::{HEADER_LEN, Header};
use super::meta::{Numbers, Preprocess};
use super::pairs::matrix_len;
use super::reader::{Read, Reader};
use super::weights::Layout;
use crate::ops::{FORMS, OpKind};

/// Layers begin on a multiple of so many bytes, for loads of words.
pub(crate) const UNPACKED_ALIGNMENT: usize = 4;
/// Bytes before a layer: the operator's number, what is done with it, and the layer's length.
pub(crate) const UNPACKED_HEAD: usize = 8;

/// What unpacked weights of a layer take: the same on every core, so the longest layout that one has.
#[derive(Clone, Copy)]
pub(crate) struct UnpackedLayer {
    /// Outputs of a dense layer, or filters.
    pub(crate) rows: usize,
    /// Weights of each.
    pub(crate) columns: usize,
    /// Whether some cores have its rows in pairs: dense layers.
    pub(crate) paired: bool,
    /// Whether biases are unpacked, too: coded ones.
    pub(crate) biases: bool,
}

impl UnpackedLayer {
    /// Bytes of its biases and weights, up to a multiple of [`UNPACKED_ALIGNMENT`], saturating.
    pub(crate) const fn len(&self) -> usize {
        let packed = matrix_len(Layout::RowMajor, 8, self.rows, self.columns);
        let paired = matrix_len(Layout::Pairs, 8, self.rows, self.columns);
        let weights = if self.paired && paired > packed { paired } else { packed };
        let biases = if self.biases { self.rows.saturating_mul(size_of::<i32>()) } else { 0 };
        let len = weights.saturating_add(biases);
        match len.checked_next_multiple_of(UNPACKED_ALIGNMENT) {
            Some(len) => len,
            None => usize::MAX,
        }
    }
}

/// Adds a layer's bytes to those of others; the first one may begin anywhere.
pub(crate) const fn add_unpacked(len: usize, layer: &UnpackedLayer) -> usize {
    let len = if len == 0 { UNPACKED_ALIGNMENT - 1 } else { len };
    len.saturating_add(UNPACKED_HEAD).saturating_add(layer.len())
}

/// Bytes that the weights of the model in `bytes` take when they are unpacked, for
/// [`Interpreter::with_weights`](crate::Interpreter::with_weights): 0 where none are packed or coded, or
/// if these bytes are no model.
///
/// It is meant for a `const`: on a device, [`Model::weights_len`](crate::Model::weights_len) gives the same
/// in less code.
pub const fn weights_len(bytes: &[u8]) -> usize {
    let Some(header) = Header::read(bytes) else { return 0 };
    let Some((_, behind)) = bytes.split_at_checked(HEADER_LEN) else { return 0 };
    let Some((graph, _)) = behind.split_at_checked(header.graph_len as usize) else { return 0 };
    let mut reader = Reader::new(graph);
    Numbers::skip_texts(&mut reader);
    let mut previous = Dims::tensor(&mut reader);
    Form::Fields(&[f32::FORM, f32::FORM, Preprocess::FORM]).skip(&mut reader);
    let mut total = 0;
    while reader.is_sound() && !reader.rest().is_empty() {
        let tag = reader.byte();
        let Some(kind) = OpKind::from_tag(tag) else { return 0 };
        let Some((_, [form, ..])) = FORMS.split_at_checked(tag as usize) else { return 0 };
        let mut record = Reader::new(reader.rest());
        let (output, layer) = layer(kind, form, &mut record, previous);
        if let Some(layer) = layer {
            total = add_unpacked(total, &layer);
        }
        form.skip(&mut reader);
        previous = output;
    }
    if reader.is_sound() { total } else { 0 }
}

/// What is asked of a tensor's shape.
#[derive(Clone, Copy)]
struct Dims {
    len: usize,
    channels: usize,
}

impl Dims {
    /// Those of a tensor.
    const fn tensor(reader: &mut Reader<'_>) -> Self {
        reader.varint(u32::BITS); // the offset
        let mut left = reader.varint(u32::BITS);
        let mut dims = Self { len: 1, channels: 0 };
        while left > 0 && reader.is_sound() {
            dims.channels = reader.varint(u16::BITS) as usize;
            dims.len = dims.len.saturating_mul(dims.channels);
            left -= 1;
        }
        reader.byte(); // the zero point
        dims
    }

    /// Those of what an operator reads.
    const fn source(reader: &mut Reader<'_>, previous: Self) -> Self {
        if reader.case(2) == 1 { Self::tensor(reader) } else { previous }
    }
}

/// The output of a record, and its layer if that is unpacked.
const fn layer(
    kind: OpKind,
    form: &Form,
    record: &mut Reader<'_>,
    previous: Dims,
) -> (Dims, Option<UnpackedLayer>) {
    let weighted = matches!(
        kind,
        OpKind::Dense
            | OpKind::CodedDense
            | OpKind::Conv2d
            | OpKind::CodedConv2d
            | OpKind::Conv2dMaxPool2d
            | OpKind::DepthwiseConv2d
            | OpKind::CodedDepthwiseConv2d
    );
    if !weighted {
        // What it reads comes first, then what it writes.
        if let Form::Fields([inputs, ..]) = form {
            inputs.skip(record);
        }
        return (Dims::tensor(record), None);
    }
    let input = Dims::source(record, previous);
    let output = Dims::tensor(record);
    let biases =
        matches!(kind, OpKind::CodedDense | OpKind::CodedConv2d | OpKind::CodedDepthwiseConv2d);
    let paired = matches!(kind, OpKind::Dense | OpKind::CodedDense);
    let (rows, columns) = if paired {
        (output.len, input.len)
    } else {
        let height = record.varint(u16::BITS) as usize;
        let width = record.varint(u16::BITS) as usize;
        let depthwise = matches!(kind, OpKind::DepthwiseConv2d | OpKind::CodedDepthwiseConv2d);
        let depth = if depthwise { 1 } else { input.channels };
        Form::Each(4, &u16::FORM).skip(record); // the window's strides and padding
        Form::Each(2, &u16::FORM).skip(record); // dilation
        (output.channels, height.saturating_mul(width).saturating_mul(depth))
    };
    // A plain layer's weights begin with their offset.
    record.varint(u32::BITS);
    let is_narrow = biases || record.byte() < 8;
    let layer = UnpackedLayer { rows, columns, paired, biases };
    (output, if is_narrow { Some(layer) } else { None })
}
