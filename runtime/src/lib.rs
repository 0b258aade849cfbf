//! Integer inference for compressed neural networks: `no_std`, no allocation, no float on the
//! inference path, no panic, no recursion.
//!
//! A `.bbk` file is an allegation until [`Model::parse`] has returned: it checks every length,
//! bound, shape, width, offset, overlap and multiplier once, and afterwards nothing that the
//! model's bytes say can make inference fail. [`Interpreter`] then runs it on an arena of `i8`
//! that the caller owns and that [`arena_len`] sizes at compile time.
//!
//! ```ignore
//! use bitsback_runtime::{Interpreter, Model, arena_len, include_model};
//!
//! static MODEL: &[u8] = include_model!("../model.bbk");
//! let mut arena = [0; arena_len(MODEL)];
//! let model = Model::parse(MODEL)?;
//! let mut interpreter = Interpreter::new(&model, &mut arena)?;
//! interpreter.set_input_bytes(&pixels)?;
//! interpreter.invoke();
//! let class = interpreter.class();
//! ```
#![no_std]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod format;
pub mod ops;
pub mod requantize;

pub use format::{Header, Meta, Source, Tensor, arena_len, input_len, op_kinds, output_len};
pub use ops::{Op, OpKind};
