//! The micro-kernels that operators are made of, one module per instruction set.
//!
//! Every module exports the same names and returns the same bits; `portable` is complete, and an
//! instruction set's module starts with `pub use super::portable::*` and names its own versions.
//! Kernels read weights as stored: `row` is one packed row, `start` the field where they begin.
//! Sums wrap; `Model::parse` has shown that those of a parsed model don't.

mod addition;
#[cfg(bitsback_isa = "dsp")]
mod dsp;
mod matrix;
#[cfg(bitsback_isa = "mve")]
mod mve;
#[cfg_attr(bitsback_isa, allow(dead_code))] // some of it is replaced
mod portable;
#[cfg(bitsback_isa = "x86_64")]
mod x86_64;

pub(crate) use addition::{Addition, Places};
pub(crate) use matrix::{Ends, Matrix, Row};

#[cfg(bitsback_isa = "dsp")]
pub(crate) use dsp::{Lanes, add, copy, dot, dot_block, dot_strided, is_direct, row_sum};
#[cfg(bitsback_isa = "mve")]
pub(crate) use mve::{Lanes, add, copy, dot, dot_block, dot_strided, is_direct, row_sum};
#[cfg(not(bitsback_isa))]
pub(crate) use portable::{Lanes, add, copy, dot, dot_block, dot_strided, is_direct, row_sum};
#[cfg(bitsback_isa = "x86_64")]
pub(crate) use x86_64::{Lanes, add, copy, dot, dot_block, dot_strided, is_direct, row_sum};

/// Rows that kernels go through at once: as many as a block of pairs has.
pub(crate) const BLOCK_ROWS: usize = crate::format::PAIR_BLOCK_ROWS;

/// Most values under a convolution's kernel that are gathered at each position.
#[cfg(not(bitsback_isa = "mve"))]
pub(crate) const PATCH_MAX: usize = 512; // 5 × 5 × 20
#[cfg(bitsback_isa = "mve")]
pub(crate) const PATCH_MAX: usize = 1152; // 3 × 3 × 128: such cores have the memory

#[cfg(test)]
mod suite;
