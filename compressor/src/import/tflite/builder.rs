//! Models for tests, built byte by byte.

use crate::import::{ImportError, ImportOptions, import};
use crate::verify::run_batch;

/// A field's value in a FlatBuffer.
#[derive(Clone)]
pub(super) enum Field {
    I8(i8),
    I32(i32),
    F32(f32),
    Bytes(Vec<u8>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
    I64s(Vec<i64>),
    Table(Vec<(usize, Field)>),
    Tables(Vec<Vec<(usize, Field)>>),
}

pub(super) type Fields = Vec<(usize, Field)>;

/// Appends a table; what it refers to follows behind it.
fn write(bytes: &mut Vec<u8>, fields: &Fields) -> usize {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let slots = fields.iter().map(|(index, _)| index + 1).max().unwrap_or(0);
    let vtable = bytes.len();
    bytes.resize(vtable + 4 + 2 * slots, 0);
    bytes[vtable..vtable + 2].copy_from_slice(&((4 + 2 * slots) as u16).to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let table = bytes.len();
    bytes.extend(((table - vtable) as i32).to_le_bytes());
    bytes.resize(table + 4 + 4 * fields.len(), 0);
    for (place, (index, field)) in fields.iter().enumerate() {
        let at = table + 4 + 4 * place;
        let slot = vtable + 4 + 2 * index;
        bytes[slot..slot + 2].copy_from_slice(&((at - table) as u16).to_le_bytes());
        let value = match field {
            Field::I8(value) => u32::from(*value as u8),
            Field::I32(value) => *value as u32,
            Field::F32(value) => value.to_bits(),
            Field::Table(inner) => (write(bytes, inner) - at) as u32,
            Field::Tables(tables) => {
                let start = vector(bytes, tables.len(), &vec![0; 4 * tables.len()]);
                for (i, inner) in tables.iter().enumerate() {
                    let (slot, target) = (start + 4 + 4 * i, write(bytes, inner));
                    bytes[slot..slot + 4].copy_from_slice(&((target - slot) as u32).to_le_bytes());
                }
                (start - at) as u32
            }
            Field::Bytes(raw) => (vector(bytes, raw.len(), raw) - at) as u32,
            Field::I32s(numbers) => {
                let raw: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
                (vector(bytes, numbers.len(), &raw) - at) as u32
            }
            Field::F32s(numbers) => {
                let raw: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
                (vector(bytes, numbers.len(), &raw) - at) as u32
            }
            Field::I64s(numbers) => {
                let raw: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
                (vector(bytes, numbers.len(), &raw) - at) as u32
            }
        };
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    table
}

fn vector(bytes: &mut Vec<u8>, count: usize, raw: &[u8]) -> usize {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let start = bytes.len();
    bytes.extend((count as u32).to_le_bytes());
    bytes.extend(raw);
    start
}

/// A model in the making.
#[derive(Clone, Default)]
pub(super) struct ModelBuilder {
    pub(super) tensors: Vec<Fields>,
    pub(super) buffers: Vec<Fields>,
    pub(super) codes: Vec<Fields>,
    pub(super) operators: Vec<Fields>,
    pub(super) inputs: Vec<i32>,
    pub(super) outputs: Vec<i32>,
    pub(super) version: i32,
}

pub(super) const I8: i8 = 9;
pub(super) const I32: i8 = 2;

impl ModelBuilder {
    pub(super) fn new() -> Self {
        Self { buffers: vec![Vec::new()], version: 3, ..Self::default() }
    }

    pub(super) fn tensor(&mut self, shape: &[i32], scale: f32, zero_point: i64) -> i32 {
        self.typed(shape, I8, &[], scale, zero_point)
    }

    pub(super) fn typed(
        &mut self,
        shape: &[i32],
        kind: i8,
        data: &[u8],
        scale: f32,
        zero: i64,
    ) -> i32 {
        let buffer = if data.is_empty() { 0 } else { self.buffers.len() as i32 };
        if buffer > 0 {
            self.buffers.push(vec![(0, Field::Bytes(data.to_vec()))]);
        }
        let quantization = vec![(2, Field::F32s(vec![scale])), (3, Field::I64s(vec![zero]))];
        let name = format!("t{}", self.tensors.len()).into_bytes();
        self.tensors.push(vec![
            (0, Field::I32s(shape.to_vec())),
            (1, Field::I8(kind)),
            (2, Field::I32(buffer)),
            (3, Field::Bytes(name)),
            (4, Field::Table(quantization)),
        ]);
        self.tensors.len() as i32 - 1
    }

    pub(super) fn integers(&mut self, values: &[i32]) -> i32 {
        let raw: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.typed(&[values.len() as i32], I32, &raw, 1.0, 0)
    }

    pub(super) fn operator(&mut self, code: i32, inputs: &[i32], output: i32, options: Fields) {
        self.codes.push(vec![(0, Field::I8(code.min(127) as i8)), (3, Field::I32(code))]);
        self.operators.push(vec![
            (0, Field::I32(self.codes.len() as i32 - 1)),
            (1, Field::I32s(inputs.to_vec())),
            (2, Field::I32s(vec![output])),
            (4, Field::Table(options)),
        ]);
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let graph = vec![
            (0, Field::Tables(self.tensors.clone())),
            (1, Field::I32s(self.inputs.clone())),
            (2, Field::I32s(self.outputs.clone())),
            (3, Field::Tables(self.operators.clone())),
        ];
        let model = vec![
            (0, Field::I32(self.version)),
            (1, Field::Tables(self.codes.clone())),
            (2, Field::Tables(vec![graph])),
            (4, Field::Tables(self.buffers.clone())),
        ];
        let mut bytes = b"\0\0\0\0TFL3".to_vec();
        let root = write(&mut bytes, &model) as u32;
        bytes[..4].copy_from_slice(&root.to_le_bytes());
        bytes
    }

    pub(super) fn run(&self, inputs: &[i8]) -> Vec<i8> {
        let imported = import(&self.bytes(), &ImportOptions::default()).unwrap();
        run_batch(&imported.bytes, inputs).unwrap()
    }

    pub(super) fn refused(&self) -> ImportError {
        import(&self.bytes(), &ImportOptions::default()).unwrap_err()
    }
}

/// One operator from an input of `from` to an output of `to`, both shapes without scales of note.
pub(super) fn single(code: i32, from: &[i32], to: &[i32], options: Fields) -> ModelBuilder {
    let mut builder = ModelBuilder::new();
    let (input, output) = (builder.tensor(from, 0.5, 1), builder.tensor(to, 0.5, 1));
    builder.operator(code, &[input], output, options);
    (builder.inputs, builder.outputs) = (vec![input], vec![output]);
    builder
}
