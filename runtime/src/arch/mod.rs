//! The micro-kernels that operators are made of, one module per instruction set.
//!
//! Every module exports the same names and returns the same bits; `portable` is complete, and an
//! instruction set's module starts with `pub use super::portable::*` and names its own versions.
//! Kernels read weights as stored: `row` is one packed row, `start` the field where they begin.
//! Sums wrap; `Model::parse` has shown that those of a parsed model don't.

mod portable;

pub(crate) use portable::{dot, dot_strided, is_direct, row_sum};

#[cfg(test)]
mod suite;
