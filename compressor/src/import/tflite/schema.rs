//! The parts of a `.tflite` file that are needed, checked for counts and references.
//!
//! Field numbers are those of TensorFlow Lite's `schema.fbs`, version 3.

use std::borrow::Cow;

use super::sizes;
use crate::import::flatbuffer::{Damaged, Table};
use crate::import::{At, ImportError};

/// The version of the schema that is read.
const SCHEMA_VERSION: u32 = 3;
/// Bytes 4 to 8 of a file.
const IDENTIFIER: &[u8] = b"TFL3";
/// Most tensors: an operator has a handful, and the runtime takes 1024 operators.
const MAX_TENSORS: usize = 16_384;
/// Most operators before those that take no time are dropped: several times the runtime's 1024.
const MAX_OPERATORS: usize = 8_192;
/// Most operands of one operator: joins have the most, and few have more than a dozen.
const MAX_OPERANDS: usize = 64;
/// Longest name that is kept: names are for messages.
const MAX_NAME_LEN: usize = 80;

/// Type of a tensor's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    F32,
    I32,
    U8,
    I64,
    I8,
    I4,
    F16,
    I16,
    /// Any other, by its number in the schema.
    Other(i8),
}

impl Type {
    fn of(number: i8) -> Self {
        match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::I32,
            3 => Self::U8,
            4 => Self::I64,
            7 => Self::I16,
            9 => Self::I8,
            17 => Self::I4,
            other => Self::Other(other),
        }
    }

    /// Its name in the schema.
    pub(super) fn name(self) -> String {
        match self {
            Self::F32 => "FLOAT32",
            Self::I32 => "INT32",
            Self::U8 => "UINT8",
            Self::I64 => "INT64",
            Self::I8 => "INT8",
            Self::I4 => "INT4",
            Self::F16 => "FLOAT16",
            Self::I16 => "INT16",
            Self::Other(5) => "STRING",
            Self::Other(6) => "BOOL",
            Self::Other(10) => "FLOAT64",
            Self::Other(number) => return format!("number {number}"),
        }
        .to_owned()
    }
}

/// A tensor as the file describes it.
#[derive(Clone, Debug)]
pub(super) struct Tensor<'a> {
    pub(super) name: String,
    pub(super) shape: Vec<i32>,
    pub(super) kind: Type,
    /// Its values, if it is a constant.
    pub(super) data: Cow<'a, [u8]>,
    pub(super) scales: Vec<f32>,
    pub(super) zero_points: Vec<i64>,
    /// The dimension along which scales vary.
    pub(super) axis: i32,
    pub(super) sparse: bool,
}

/// An operator: its number in the schema, options and operands.
#[derive(Clone, Debug)]
pub(super) struct Operator<'a> {
    pub(super) code: i32,
    pub(super) version: i32,
    /// The name of a custom operator.
    pub(super) custom: String,
    /// Tensors that it reads; −1 stands for one that was left out.
    pub(super) inputs: Vec<i32>,
    pub(super) outputs: Vec<i32>,
    pub(super) options: Option<Table<'a>>,
}

/// The file's only graph.
#[derive(Clone, Debug)]
pub(super) struct Model<'a> {
    pub(super) tensors: Vec<Tensor<'a>>,
    pub(super) operators: Vec<Operator<'a>>,
    pub(super) input: usize,
    pub(super) output: usize,
}

/// Whether the bytes claim to be a `.tflite` file.
pub(super) fn is_tflite(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(IDENTIFIER)
}

impl<'a> Model<'a> {
    /// Reads the file's tables.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, ImportError> {
        if !is_tflite(bytes) {
            return Err(ImportError::UnknownFormat);
        }
        let root = Table::root(bytes)?;
        let found = root.u32(0, 0)?;
        if found != SCHEMA_VERSION {
            return Err(ImportError::SchemaVersion { found, supported: SCHEMA_VERSION });
        }
        let codes = root.tables(1)?;
        let buffers = root.tables(4)?;
        let graphs = root.tables(2)?;
        let [graph] = graphs.as_slice() else {
            return Err(ImportError::NotOne { what: "graphs", found: graphs.len() });
        };
        let tables = limited("tensors", graph.tables(0)?, MAX_TENSORS)?;
        let tensors: Result<Vec<_>, Damaged> =
            tables.iter().map(|table| tensor(bytes, table, &buffers)).collect();
        let tensors = tensors?;
        let tables = limited("operators", graph.tables(3)?, MAX_OPERATORS)?;
        let operators = tables.iter().enumerate().map(|(index, table)| {
            let operator = operator(index, table, &codes)?;
            check_references(index, &operator, tensors.len())?;
            Ok(operator)
        });
        let operators = operators.collect::<Result<Vec<_>, ImportError>>()?;
        let input = only("inputs", &graph.i32s(1)?, tensors.len())?;
        let output = only("outputs", &graph.i32s(2)?, tensors.len())?;
        let mut model = Self { tensors, operators, input, output };
        sizes::resolve(&mut model)?;
        Ok(model)
    }
}

fn limited<T>(what: &'static str, list: Vec<T>, limit: usize) -> Result<Vec<T>, ImportError> {
    let found = list.len();
    if found > limit { Err(ImportError::TooMany { what, found, limit }) } else { Ok(list) }
}

/// The one tensor that a list names.
fn only(what: &'static str, list: &[i32], tensors: usize) -> Result<usize, ImportError> {
    match list {
        [id] => usize::try_from(*id)
            .ok()
            .filter(|&id| id < tensors)
            .ok_or(ImportError::Damaged(Damaged { at: 0, what: "the graph's input or output" })),
        _ => Err(ImportError::NotOne { what, found: list.len() }),
    }
}

fn tensor<'a>(
    bytes: &'a [u8],
    table: &Table<'a>,
    buffers: &[Table<'a>],
) -> Result<Tensor<'a>, Damaged> {
    let mut name = table.text(3)?;
    if let Some((end, _)) = name.char_indices().nth(MAX_NAME_LEN) {
        name.truncate(end);
    }
    let what = "a tensor's buffer";
    let buffer = table.u32(2, 0)? as usize;
    let buffer = buffers.get(buffer).ok_or(Damaged { at: table.position(), what })?;
    let quantization = table.table(4)?;
    let (scales, zero_points, axis) = match &quantization {
        Some(q) => (q.f32s(2)?, q.i64s(3)?, q.i32(6, 0)?),
        None => (Vec::new(), Vec::new(), 0),
    };
    Ok(Tensor {
        name,
        shape: table.i32s(0)?,
        kind: Type::of(table.i8(1, 0)?),
        data: Cow::Borrowed(buffer_data(bytes, buffer)?),
        scales,
        zero_points,
        axis,
        sparse: table.has(6)?,
    })
}

/// The bytes of a buffer, within the table or, in large files, behind all tables.
fn buffer_data<'a>(bytes: &'a [u8], buffer: &Table<'a>) -> Result<&'a [u8], Damaged> {
    let (offset, size) = (buffer.u64(1, 0)?, buffer.u64(2, 0)?);
    if offset <= 1 {
        return buffer.bytes(0);
    }
    let outside = Damaged { at: buffer.position(), what: "a buffer" };
    let range = |(start, len): (usize, usize)| bytes.get(start..start.checked_add(len)?);
    let places = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
    places.and_then(range).ok_or(outside)
}

fn operator<'a>(
    index: usize,
    table: &Table<'a>,
    codes: &[Table<'a>],
) -> Result<Operator<'a>, ImportError> {
    let code = codes.get(table.u32(0, 0)? as usize);
    let code = code.ok_or(Damaged { at: table.position(), what: "an operator's code" })?;
    // Codes up to 127 are written to an older field, too; the larger one counts.
    let number = i32::from(code.i8(0, 0)?).max(code.i32(3, 0)?);
    let (inputs, outputs) = (table.i32s(1)?, table.i32s(2)?);
    if inputs.len().max(outputs.len()) > MAX_OPERANDS {
        let found = inputs.len().max(outputs.len());
        let what = "operands of one operator";
        tracing::debug!(index, found, "too many operands");
        return Err(ImportError::TooMany { what, found, limit: MAX_OPERANDS });
    }
    Ok(Operator {
        code: number,
        version: code.i32(2, 1)?,
        custom: code.text(1)?,
        inputs,
        outputs,
        options: table.table(4)?,
    })
}

/// Every operand exists.
fn check_references(
    index: usize,
    operator: &Operator<'_>,
    tensors: usize,
) -> Result<(), ImportError> {
    let exists = |&id: &i32| usize::try_from(id).is_ok_and(|id| id < tensors);
    let fine = operator.inputs.iter().all(|id| *id == -1 || exists(id))
        && operator.outputs.iter().all(exists);
    if fine {
        return Ok(());
    }
    let at = At {
        index,
        operator: super::operators::name(operator.code, &operator.custom),
        output: String::new(),
    };
    Err(ImportError::Missing { at, what: "an operand" })
}
