//! The part of Python's pickle that `torch.save(state_dict)` needs: a machine with a stack that
//! builds dictionaries, tuples, numbers, texts, and references to tensors.
//!
//! Nothing is ever called: the handful of names that a state dict mentions ([`Global`]) are data
//! here, and any other name is an error. Memory is bounded by the pickle's length and by
//! [`MAX_VALUES`], as every value stands once in an arena and containers hold indices into it; there is
//! no recursion.

use std::collections::HashMap;

use super::element::Element;
use super::error::{FormatError, PickleError};
use super::{MAX_NAME_LEN, MAX_RANK, MAX_TENSORS};

/// Longest pickle (32 MiB): 4 kB for each tensor that is read.
pub(super) const MAX_PICKLE_BYTES: u64 = MAX_TENSORS as u64 * 4096;

/// Most values of a pickle (1 Mi), 128 for each tensor that is read: one takes about thirty. A value is
/// a byte of the pickle, and 80 in memory.
const MAX_VALUES: usize = MAX_TENSORS * 128;

/// Most values on the stack (4 Mi), which the memo can repeat: a dictionary's keys and values lie there
/// before they are put into it.
const MAX_STACK: usize = MAX_VALUES * 4;

/// Index into [`Machine::values`].
pub(super) type Id = usize;

/// Something that a pickle built.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A number, truth value, or anything else that no tensor needs.
    Nothing,
    /// A whole number.
    Int(i64),
    /// Text.
    Text(String),
    /// A tuple or a list.
    List(Vec<Id>),
    /// A dictionary, in the order of its entries.
    Dict(Vec<(Id, Id)>),
    /// A name.
    Global(Global),
    /// The bytes of tensors, by the archive's name for them.
    Storage(Element, String),
    /// A view of a storage.
    Tensor {
        /// Its storage.
        storage: Id,
        /// First element.
        offset: usize,
        /// Dimensions.
        shape: Vec<usize>,
        /// Elements from one to the next along each dimension.
        strides: Vec<usize>,
    },
}

/// The names that may occur.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    /// `collections.OrderedDict`
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2`
    Tensor,
    /// `torch._utils._rebuild_parameter`
    Parameter,
    /// `torch.FloatStorage` and the like.
    Storage(Element),
}

impl Global {
    fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::Tensor,
            ("torch._utils", "_rebuild_parameter") => Self::Parameter,
            ("torch", "DoubleStorage") => Self::Storage(Element::F64),
            ("torch", "FloatStorage") => Self::Storage(Element::F32),
            ("torch", "HalfStorage") => Self::Storage(Element::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Element::Bf16),
            (
                "torch",
                "LongStorage" | "IntStorage" | "ShortStorage" | "CharStorage" | "ByteStorage"
                | "BoolStorage",
            ) => Self::Storage(Element::Other),
            _ => return None,
        })
    }
}

/// All values of a pickle and the one that it is about.
pub(super) struct Unpickled {
    /// The arena.
    pub(super) values: Vec<Value>,
    /// The result.
    pub(super) root: Id,
}

/// Follows a pickle to its end.
pub(super) fn unpickle(bytes: &[u8]) -> Result<Unpickled, FormatError> {
    let mut machine = Machine { bytes, ..Machine::default() };
    loop {
        let byte = machine.at;
        let done = machine.step().map_err(|source| FormatError::Pickle { byte, source })?;
        // An instruction adds one value at most, so that neither grows far beyond its limit.
        if machine.values.len() > MAX_VALUES {
            return Err(FormatError::TooMany { what: "values in its pickle", limit: MAX_VALUES });
        }
        if machine.stack.len().max(machine.marks.len()) > MAX_STACK {
            let what = "values on its pickle's stack";
            return Err(FormatError::TooMany { what, limit: MAX_STACK });
        }
        if let Some(root) = done {
            return Ok(Unpickled { values: machine.values, root });
        }
    }
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

type Step<T> = Result<T, PickleError>;

impl<'a> Machine<'a> {
    /// One instruction; the result where it was the last.
    fn step(&mut self) -> Step<Option<Id>> {
        let [code] = self.take()?;
        match code {
            0x80 => drop(self.take::<1>()?),
            0x95 => drop(self.take::<8>()?),
            b'.' => return self.pop(code).map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop(code)?),
            b'c' => self.global()?,
            0x93 => self.stack_global(code)?,
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memory(code)?,
            b'R' => self.reduce(code)?,
            b'Q' => self.storage(code)?,
            b'b' => self.build(code)?,
            b'a' | b'e' | b's' | b'u' => self.extend(code)?,
            b')' | b']' | b't' | b'l' | 0x85..=0x87 => self.list(code)?,
            b'}' => self.push(Value::Dict(Vec::new())),
            _ => self.constant(code)?,
        }
        Ok(None)
    }

    /// Instructions that push a value which they hold.
    fn constant(&mut self, code: u8) -> Step<()> {
        let value = match code {
            b'N' | 0x88 | 0x89 => Value::Nothing,
            b'G' => self.take::<8>().map(|_| Value::Nothing)?,
            b'J' => Value::Int(i32::from_le_bytes(self.take()?).into()),
            b'K' => Value::Int(self.take::<1>()?[0].into()),
            b'M' => Value::Int(u16::from_le_bytes(self.take()?).into()),
            0x8a => {
                let [length] = self.take()?;
                let digits = self.slice(length.into())?;
                // Longer ones occur in no state dict's shapes.
                let sign = digits.last().is_some_and(|top| top & 0x80 != 0);
                let mut wide = [if sign { 0xff } else { 0 }; 8];
                let place = wide.get_mut(..digits.len()).ok_or(PickleError::Operand(code))?;
                place.copy_from_slice(digits);
                Value::Int(i64::from_le_bytes(wide))
            }
            b'X' | b'T' => {
                let length = u32::from_le_bytes(self.take()?);
                self.text(length as usize, code)?
            }
            0x8c | b'U' => {
                let [length] = self.take()?;
                self.text(length.into(), code)?
            }
            _ => return Err(PickleError::Instruction(code)),
        };
        self.push(value);
        Ok(())
    }

    fn text(&mut self, length: usize, code: u8) -> Step<Value> {
        let text = str::from_utf8(self.slice(length)?).map_err(|_| PickleError::Operand(code))?;
        Ok(Value::Text(text.to_owned()))
    }

    fn global(&mut self) -> Step<()> {
        let module = self.line()?;
        let name = self.line()?;
        self.push_global(module, name)
    }

    fn stack_global(&mut self, code: u8) -> Step<()> {
        let (name, module) = (self.pop(code)?, self.pop(code)?);
        match (&self.values[module], &self.values[name]) {
            (Value::Text(module), Value::Text(name)) => {
                let (module, name) = (module.clone(), name.clone());
                self.push_global(&module, &name)
            }
            _ => Err(PickleError::Operand(code)),
        }
    }

    fn push_global(&mut self, module: &str, name: &str) -> Step<()> {
        let unknown =
            || PickleError::Global(format!("{module}.{name}").chars().take(MAX_NAME_LEN).collect());
        let global = Global::named(module, name).ok_or_else(unknown)?;
        self.push(Value::Global(global));
        Ok(())
    }

    /// Puts the top of the stack into the memo, or something of the memo on the stack.
    fn memory(&mut self, code: u8) -> Step<()> {
        let key = match code {
            b'q' | b'h' => self.take::<1>()?[0].into(),
            b'r' | b'j' => u32::from_le_bytes(self.take()?),
            // As many as there are, which is how MEMOIZE counts.
            _ => self.memo.len() as u32,
        };
        if matches!(code, b'h' | b'j') {
            let id = *self.memo.get(&key).ok_or(PickleError::Operand(code))?;
            self.stack.push(id);
        } else {
            let top = *self.stack.last().ok_or(PickleError::Operand(code))?;
            self.memo.insert(key, top);
        }
        Ok(())
    }

    /// Tuples and lists of what is on the stack.
    fn list(&mut self, code: u8) -> Step<()> {
        let items = match code {
            b')' | b']' => Vec::new(),
            b't' | b'l' => self.since_mark(code)?,
            _ => {
                let count = usize::from(code - 0x84);
                let start =
                    self.stack.len().checked_sub(count).ok_or(PickleError::Operand(code))?;
                self.stack.split_off(start)
            }
        };
        self.push(Value::List(items));
        Ok(())
    }

    /// Appends to a list or a dictionary.
    fn extend(&mut self, code: u8) -> Step<()> {
        let items = match code {
            b'a' => vec![self.pop(code)?],
            b's' => {
                let value = self.pop(code)?;
                vec![self.pop(code)?, value]
            }
            _ => self.since_mark(code)?,
        };
        let into = *self.stack.last().ok_or(PickleError::Operand(code))?;
        match (code, &mut self.values[into]) {
            (b'a' | b'e', Value::List(list)) => list.extend(items),
            (b's' | b'u', Value::Dict(dict)) if items.len().is_multiple_of(2) => {
                dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => return Err(PickleError::Operand(code)),
        }
        Ok(())
    }

    /// A "call" of one of the known names.
    fn reduce(&mut self, code: u8) -> Step<()> {
        let (arguments, function) = (self.pop(code)?, self.pop(code)?);
        let (Value::Global(global), Value::List(arguments)) =
            (&self.values[function], &self.values[arguments])
        else {
            return Err(PickleError::Operand(code));
        };
        let value = match (global, arguments.as_slice()) {
            (Global::OrderedDict, []) => Value::Dict(Vec::new()),
            (Global::Parameter, [data, ..]) => {
                let data = *data;
                self.stack.push(data);
                return Ok(());
            }
            (Global::Tensor, [storage, offset, shape, strides, ..]) => {
                let (storage, offset) = (*storage, self.size(*offset, code)?);
                let (shape, strides) = (self.sizes(*shape, code)?, self.sizes(*strides, code)?);
                Value::Tensor { storage, offset, shape, strides }
            }
            _ => return Err(PickleError::Operand(code)),
        };
        self.push(value);
        Ok(())
    }

    /// `('storage', type, key, device, count)`
    fn storage(&mut self, code: u8) -> Step<()> {
        let id = self.pop(code)?;
        let Value::List(parts) = &self.values[id] else { return Err(PickleError::Operand(code)) };
        let [_, element, key, ..] = parts.as_slice() else {
            return Err(PickleError::Operand(code));
        };
        let value = match (&self.values[*element], &self.values[*key]) {
            (Value::Global(Global::Storage(element)), Value::Text(key))
                if key.len() <= MAX_NAME_LEN =>
            {
                Value::Storage(*element, key.clone())
            }
            _ => return Err(PickleError::Operand(code)),
        };
        self.push(value);
        Ok(())
    }

    /// The attributes of an ordered dictionary (a state dict's versions), which no weight needs.
    fn build(&mut self, code: u8) -> Step<()> {
        self.pop(code)?;
        match self.stack.last().and_then(|&id| self.values.get(id)) {
            Some(Value::Dict(_)) => Ok(()),
            _ => Err(PickleError::Operand(code)),
        }
    }

    fn size(&self, id: Id, code: u8) -> Step<usize> {
        match self.values[id] {
            Value::Int(n) => usize::try_from(n).map_err(|_| PickleError::Operand(code)),
            _ => Err(PickleError::Operand(code)),
        }
    }

    fn sizes(&self, id: Id, code: u8) -> Step<Vec<usize>> {
        match &self.values[id] {
            // Longer ones would make memory grow faster than the pickle.
            Value::List(ids) if ids.len() <= MAX_RANK => {
                ids.iter().map(|&id| self.size(id, code)).collect()
            }
            _ => Err(PickleError::Operand(code)),
        }
    }

    fn push(&mut self, value: Value) {
        self.values.push(value);
        self.stack.push(self.values.len() - 1);
    }

    /// The top of the stack, which a mark may not be above.
    fn pop(&mut self, code: u8) -> Step<Id> {
        if self.marks.last().is_some_and(|&mark| mark >= self.stack.len()) {
            return Err(PickleError::Operand(code));
        }
        self.stack.pop().ok_or(PickleError::Operand(code))
    }

    fn since_mark(&mut self, code: u8) -> Step<Vec<Id>> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len());
        Ok(self.stack.split_off(mark.ok_or(PickleError::Operand(code))?))
    }

    fn take<const N: usize>(&mut self) -> Step<[u8; N]> {
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk());
        self.at += N;
        bytes.copied().ok_or(PickleError::End)
    }

    fn slice(&mut self, length: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(length).ok_or(PickleError::End)?;
        let slice = self.bytes.get(self.at..end).ok_or(PickleError::End)?;
        self.at = end;
        Ok(slice)
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|&b| b == b'\n').ok_or(PickleError::End)?;
        let line = self.slice(length)?;
        self.at += 1;
        str::from_utf8(line).map_err(|_| PickleError::Operand(b'c'))
    }
}
