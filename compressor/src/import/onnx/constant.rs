//! Constants of an ONNX graph: parameters, shapes, and what exporters compute from them.

use super::external::Folder;
use super::schema::{Entry, Tensor};
use crate::import::ImportError;
use crate::numbers::half;

/// Most numbers of one constant: as many floats as the largest file could hold.
const MAX_NUMBERS: usize = bitsback_runtime::format::MAX_FILE_LEN as usize / 4;
/// `TensorProto.data_location` of what is in a file of its own.
const EXTERNAL: i32 = 1;

/// The numbers of a constant; all integer types are one here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Numbers {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

/// A tensor that doesn't depend on the input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constant {
    /// Dimensions; none for a scalar.
    pub(super) dims: Vec<usize>,
    /// Its type in the file.
    pub(super) kind: Type,
    pub(super) numbers: Numbers,
    /// Where it was dequantised: the scale, or the scales along a dimension.
    pub(super) scales: Option<(Vec<f32>, usize)>,
}

/// Types by their numbers in `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    F32,
    U8,
    I8,
    I32,
    I64,
    F16,
    F64,
    I4,
    U4,
    Other(i32),
}

impl Type {
    /// Truth values; they are integers here.
    pub(super) const BOOL: Self = Self::Other(9);

    pub(super) fn of(number: i32) -> Self {
        match number {
            1 => Self::F32,
            2 => Self::U8,
            3 => Self::I8,
            6 => Self::I32,
            7 => Self::I64,
            10 => Self::F16,
            11 => Self::F64,
            21 => Self::U4,
            22 => Self::I4,
            other => Self::Other(other),
        }
    }

    /// Its name in the standard.
    pub(super) fn name(self) -> String {
        match self {
            Self::F32 => "FLOAT",
            Self::U8 => "UINT8",
            Self::I8 => "INT8",
            Self::I32 => "INT32",
            Self::I64 => "INT64",
            Self::F16 => "FLOAT16",
            Self::F64 => "DOUBLE",
            Self::U4 => "UINT4",
            Self::I4 => "INT4",
            Self::Other(4) => "UINT16",
            Self::Other(5) => "INT16",
            Self::Other(8) => "STRING",
            Self::Other(9) => "BOOL",
            Self::Other(16) => "BFLOAT16",
            Self::Other(number) => return format!("number {number}"),
        }
        .to_owned()
    }
}

impl Constant {
    /// The numbers of a tensor of the file.
    pub(super) fn read(tensor: &Tensor, folder: &Folder) -> Result<Self, ImportError> {
        let damaged = |problem| ImportError::Tensor { tensor: tensor.name.clone(), problem };
        let size = |&dim: &i64| usize::try_from(dim).ok();
        let dims: Option<Vec<usize>> = tensor.dims.iter().map(size).collect();
        let dims = dims.ok_or_else(|| damaged("has a dimension below 0"))?;
        // Sizes of 0 hide others that no product could hold.
        if dims.len() > 1 && dims.contains(&0) {
            return Err(damaged("is empty"));
        }
        let len = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        let len = len.filter(|&len| len <= MAX_NUMBERS);
        let len = len.ok_or_else(|| damaged("is larger than any model that can be imported"))?;
        let outside;
        let raw: &[u8] = if tensor.location == EXTERNAL {
            outside = folder.bytes(&tensor.name, &tensor.external)?;
            &outside
        } else {
            &tensor.raw
        };
        let kind = Type::of(tensor.kind);
        let numbers = numbers(kind, raw, tensor, len).ok_or_else(|| ImportError::Number {
            tensor: tensor.name.clone(),
            found: kind.name(),
            supported: "FLOAT, DOUBLE, FLOAT16, INT8, UINT8, INT32, INT64, INT4 and UINT4",
        })?;
        let constant = Self { dims, kind, numbers, scales: None };
        if constant.len() != len {
            return Err(damaged("has another number of values than its shape says"));
        }
        Ok(constant)
    }

    /// Floats of this shape.
    pub(super) fn of_floats(dims: Vec<usize>, numbers: Vec<f32>) -> Self {
        Self { dims, kind: Type::F32, numbers: Numbers::Float(numbers), scales: None }
    }

    /// Integers of this shape.
    pub(super) fn of_ints(dims: Vec<usize>, kind: Type, numbers: Vec<i64>) -> Self {
        Self { dims, kind, numbers: Numbers::Int(numbers), scales: None }
    }

    /// Its only number, if it has one.
    pub(super) fn single(&self) -> Option<f32> {
        match self.floats().as_slice() {
            [number] => Some(*number),
            _ => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        match &self.numbers {
            Numbers::Float(numbers) => numbers.len(),
            Numbers::Int(numbers) => numbers.len(),
        }
    }

    pub(super) fn floats(&self) -> Vec<f32> {
        match &self.numbers {
            Numbers::Float(numbers) => numbers.clone(),
            Numbers::Int(numbers) => numbers.iter().map(|&number| number as f32).collect(),
        }
    }

    /// Its integers, if it has any.
    pub(super) fn integers(&self) -> Option<&[i64]> {
        match &self.numbers {
            Numbers::Int(numbers) => Some(numbers),
            Numbers::Float(_) => None,
        }
    }

    /// In another order: `places` has, for each number, where it was.
    pub(super) fn rearranged(&self, dims: Vec<usize>, places: &[usize]) -> Self {
        let numbers = match &self.numbers {
            Numbers::Float(numbers) => Numbers::Float(pick(numbers, places)),
            Numbers::Int(numbers) => Numbers::Int(pick(numbers, places)),
        };
        Self { dims, kind: self.kind, numbers, scales: None }
    }
}

fn pick<T: Copy>(from: &[T], places: &[usize]) -> Vec<T> {
    places.iter().filter_map(|&place| from.get(place).copied()).collect()
}

/// Numbers of a type from bytes, or from the field that the type has where there are none.
fn numbers(kind: Type, raw: &[u8], tensor: &Tensor, len: usize) -> Option<Numbers> {
    let bare = raw.is_empty();
    let ints = || Numbers::Int(tensor.ints.iter().map(|&number| i64::from(number)).collect());
    Some(match kind {
        Type::F32 if bare => Numbers::Float(tensor.floats.clone()),
        Type::F32 => {
            let chunks = raw.as_chunks::<4>().0.iter();
            Numbers::Float(chunks.map(|&chunk| f32::from_le_bytes(chunk)).collect())
        }
        Type::F64 => {
            let chunks = raw.as_chunks::<8>().0.iter();
            Numbers::Float(chunks.map(|&chunk| f64::from_le_bytes(chunk) as f32).collect())
        }
        Type::F16 if bare => {
            Numbers::Float(tensor.ints.iter().map(|&bits| half(bits as u16)).collect())
        }
        Type::F16 => {
            let chunks = raw.as_chunks::<2>().0.iter();
            Numbers::Float(chunks.map(|&chunk| half(u16::from_le_bytes(chunk))).collect())
        }
        Type::I64 if bare => Numbers::Int(tensor.longs.clone()),
        Type::I64 => {
            let chunks = raw.as_chunks::<8>().0.iter();
            Numbers::Int(chunks.map(|&chunk| i64::from_le_bytes(chunk)).collect())
        }
        Type::I32 | Type::I8 | Type::U8 | Type::BOOL if bare => ints(),
        Type::I32 => {
            let chunks = raw.as_chunks::<4>().0.iter();
            Numbers::Int(chunks.map(|&chunk| i64::from(i32::from_le_bytes(chunk))).collect())
        }
        Type::I8 => Numbers::Int(raw.iter().map(|&byte| i64::from(byte as i8)).collect()),
        Type::U8 | Type::BOOL => Numbers::Int(raw.iter().map(|&byte| i64::from(byte)).collect()),
        // Two in a byte, the lower half first.
        Type::I4 | Type::U4 => {
            let packed = tensor.ints.iter().map(|&byte| byte as u8);
            let bytes: Vec<u8> = if bare { packed.collect() } else { raw.to_vec() };
            let signed = |byte: u8| [(byte as i8) << 4 >> 4, byte as i8 >> 4].map(i64::from);
            let unsigned = |byte: u8| [byte & 15, byte >> 4].map(i64::from);
            let both = |&byte: &u8| if kind == Type::I4 { signed(byte) } else { unsigned(byte) };
            Numbers::Int(bytes.iter().flat_map(both).take(len).collect())
        }
        Type::Other(_) => return None,
    })
}

/// The value of a key.
pub(super) fn value<'e>(entries: &'e [Entry], key: &str) -> Option<&'e str> {
    entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
}
