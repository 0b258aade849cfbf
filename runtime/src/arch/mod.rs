//! The micro-kernels that operators are made of, one module per instruction set.
//!
//! Every module exports the same names and returns the same bits; `portable` is complete, and an
//! instruction set's module takes from it what it has no version of its own for. Kernels read
//! weights as stored: `row` is one packed row, `start` the field where they begin. Sums wrap;
//! `Model::parse` has shown that those of a parsed model don't. What else it has shown is listed in
//! [`crate::format`], and is all that a kernel may rely on: weights, biases, multipliers, inputs and
//! outputs lie at any address. Loads of words are for addresses that were looked at, or by
//! instructions that take any: LDR and STR on Cortex-M3 and up (unless a program sets
//! `CCR.UNALIGN_TRP`), loads of bytes into vectors on the others. What a kernel has laid out itself is
//! aligned by its type.
//!
//! | name | what |
//! |---|---|
//! | `Lanes`, `Inputs`, `dot_rows` | a vector of inputs, made ready once; the sums of up to [`CHUNK_ROWS`] rows over it, or, where `Lanes::finish` can, all outputs |
//! | `Place` | makes a [`Workspace`] in place |
//! | `POSITIONS`, `Room`, `Patches`, `dot_patches` | what lies under a convolution's kernel at so many positions, or a piece of it; the sums of as many rows at each |
//! | `finish_rows` | outputs of rows from their sums |
//! | `copy_rows`, `fill` | gather a patch |
//! | `add` | the sum of two tensors, where it can |
//! | `depthwise` | outputs of a [`Group`] of channels of a depthwise convolution, where it can |
//! | `is_direct` | the widths of `dot_patches` |
//! | `dot`, `dot_strided`, `row_sum` | one row over inputs in a row or apart; the sum of its weights |
//!
//! A module whose kernels take four rows of one vector defines `dot_block` and `copy`, and takes the
//! second line of that table, `dot_rows` and `copy_rows` from `blocks`.

mod addition;
#[cfg(not(bitsback_isa = "dsp"))]
mod blocks;
mod depthwise;
#[cfg(bitsback_isa = "dsp")]
mod dsp;
mod finish;
mod matrix;
#[cfg(bitsback_isa = "mve")]
mod mve;
#[cfg(bitsback_isa = "neon")]
mod neon;
#[cfg_attr(bitsback_isa, allow(dead_code))] // some of it is replaced
mod portable;
#[cfg(bitsback_scalar)]
mod scalar;
#[cfg(any(bitsback_isa = "neon", bitsback_isa = "x86_64"))]
mod steps;
#[cfg(bitsback_isa = "x86_64")]
mod x86_64;

pub(crate) use addition::{Addition, LEFT_SHIFT, Places};
pub(crate) use depthwise::{Group, LANES, Steps};
pub(crate) use finish::{Finish, Multipliers};
pub(crate) use matrix::{Matrix, Row};

#[cfg(not(any(bitsback_isa = "dsp", bitsback_scalar)))]
pub(crate) use blocks::dot_rows;
#[cfg(not(bitsback_isa = "dsp"))]
pub(crate) use blocks::{POSITIONS, Patches, Place, Room, copy_rows, dot_patches, fill};
#[cfg(bitsback_isa = "dsp")]
pub(crate) use dsp::{
    Lanes, POSITIONS, Patches, Place, Room, add, copy_rows, depthwise, dot, dot_patches, dot_rows,
    dot_strided, fill, finish_rows, is_direct, row_sum,
};
#[cfg(bitsback_isa = "mve")]
pub(crate) use mve::{
    Inputs, Lanes, add, copy, depthwise, dot, dot_block, dot_strided, finish_rows, is_direct,
    row_sum,
};
#[cfg(bitsback_isa = "neon")]
pub(crate) use neon::{
    Inputs, Lanes, add, copy, depthwise, dot, dot_block, dot_strided, finish_rows, is_direct,
    row_sum,
};
#[cfg(not(bitsback_isa))]
pub(crate) use portable::{
    Inputs, Lanes, add, copy, depthwise, dot, dot_block, dot_strided, finish_rows, is_direct,
    row_sum,
};
#[cfg(bitsback_scalar)]
pub(crate) use scalar::{
    Lanes, add, copy, depthwise, dot, dot_rows, dot_strided, finish_rows, is_direct, row_sum,
};
#[cfg(bitsback_isa = "x86_64")]
pub(crate) use x86_64::{
    Inputs, Lanes, add, copy, depthwise, dot, dot_block, dot_strided, finish_rows, is_direct,
    row_sum,
};

/// Rows that kernels go through at once: as many as a block of pairs has.
pub(crate) const BLOCK_ROWS: usize = crate::format::PAIR_BLOCK_ROWS;
/// Rows whose sums are held at once, so that their outputs are made in one go: 256 bytes a position.
pub(crate) const CHUNK_ROWS: usize = 64;
/// Sums of a chunk of rows.
pub(crate) type Sums = [i32; CHUNK_ROWS];
/// Most values under a convolution's kernel that are gathered at each position, a multiple of four.
/// Larger filters are read again at each position.
pub(crate) const PATCH_MAX: usize = if cfg!(bitsback_isa = "mve") {
    1152 // 3 × 3 × 128: such cores have the memory
} else {
    576 // 3 × 3 × 64
};

/// Most outputs of a position that are held apart to be compared.
pub(crate) const OUTPUTS_MAX: usize = if cfg!(bitsback_isa = "dsp") {
    CHUNK_ROWS // which compares sums
} else {
    256
};

/// What a convolution works with.
pub(crate) struct Workspace {
    pub(crate) room: Room,
    /// Of a chunk of rows at each position.
    pub(crate) sums: [Sums; POSITIONS],
    /// Positions, down and right.
    pub(crate) places: [[usize; 2]; POSITIONS],
    /// Of a position, to be compared.
    pub(crate) outputs: [i8; OUTPUTS_MAX],
}

/// Values that lie in rows of an image: `rows` times `len`, the beginnings `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Stretches {
    pub(crate) rows: usize,
    pub(crate) len: usize,
    pub(crate) stride: usize,
}

#[cfg(test)]
mod suite;
