//! The micro-kernels that operators are made of.
//!
//! [`Kernels`] is what an instruction set has to offer. What it does by itself is portable Rust, and the
//! reference: each instruction set's module has a type that overrides what the core can do better, and
//! all give the same bits. This file chooses one, [`Isa`]; nothing else knows which.
//!
//! Kernels read weights as stored: `row` is one packed row, `start` the field where they begin. Sums
//! wrap; `Model::parse` has shown that those of a parsed model don't. What else it has shown is listed
//! in [`crate::format`], and is all that a kernel may rely on: weights, biases, multipliers, inputs and
//! outputs lie at any address. Loads of words are for addresses that were looked at, or by
//! instructions that take any: LDR and STR on Cortex-M3 and up (unless a program sets
//! `CCR.UNALIGN_TRP`), loads of bytes into vectors on the others. What a kernel has laid out itself is
//! aligned by its type.
//!
//! | file | what |
//! |---|---|
//! | `kernels` | the trait, and how inputs are made ready for it |
//! | `portable` | its provided methods |
//! | `patches` | what a convolution gathers and multiplies: [`GatherPatches`] |
//! | `blocks` | that, a position at a time, by [`Kernels::dot_rows`] |
//! | `bets` | what a sentinel does with its evidence |
//! | `matrix`, `finish`, `addition`, `depthwise` | what kernels are told of a layer |
//! | `decode`, `undecoded` | coded weights, where all of Thumb-2 is there, and that they have no kernel |
//! | `steps`, `quads` | what vectors of several instruction sets have in common |
//! | `host` | what the engine for hosts multiplies with, by another order of weights |
//! | `suite` | the tests that all pass, against an oracle that calls no kernel |

mod addition;
mod bets;
mod depthwise;
mod finish;
#[cfg(any(test, feature = "std"))]
pub(crate) mod host;
mod kernels;
mod matrix;
mod patches;
mod portable;
#[cfg(test)]
mod suite;

use crate::features::Features;

// The choice, which `build.rs` makes by the target, and what several of them share.
#[cfg(not(bitsback_isa = "dsp"))]
mod blocks;
#[cfg(any(bitsback_isa = "dsp", bitsback_isa = "mve", bitsback_isa = "thumb2"))]
mod decode;
#[cfg(bitsback_isa = "dsp")]
mod dsp;
#[cfg(bitsback_isa = "mve")]
mod mve;
#[cfg(bitsback_isa = "neon")]
mod neon;
#[cfg(bitsback_isa = "neon")]
mod quads;
#[cfg(any(
    test,
    bitsback_isa = "thumb1",
    bitsback_isa = "thumb2",
    bitsback_isa = "armv5te",
    bitsback_isa = "rv32im"
))]
mod scalar;
#[cfg(any(bitsback_isa = "neon", bitsback_isa = "x86_64"))]
mod steps;
#[cfg(not(any(bitsback_isa = "dsp", bitsback_isa = "mve", bitsback_isa = "thumb2")))]
mod undecoded;
#[cfg(bitsback_isa = "x86_64")]
mod x86_64;

#[cfg(not(bitsback_isa = "dsp"))]
pub(crate) use blocks::{Patches, Place};
#[cfg(bitsback_isa = "dsp")]
pub(crate) use dsp::{Dsp as Isa, Patches, Place};
#[cfg(bitsback_isa = "mve")]
pub(crate) use mve::Mve as Isa;
#[cfg(bitsback_isa = "neon")]
pub(crate) use neon::Neon as Isa;
#[cfg(bitsback_isa = "portable")]
pub(crate) use portable::Portable as Isa;
#[cfg(any(
    bitsback_isa = "thumb1",
    bitsback_isa = "thumb2",
    bitsback_isa = "armv5te",
    bitsback_isa = "rv32im"
))]
pub(crate) use scalar::Scalar as Isa;
#[cfg(bitsback_isa = "x86_64")]
pub(crate) use x86_64::X86 as Isa;

#[cfg(any(bitsback_isa = "dsp", bitsback_isa = "mve", bitsback_isa = "thumb2"))]
pub(crate) use decode::{HAS_CODED, Stretch, read_coded};
#[cfg(not(any(bitsback_isa = "dsp", bitsback_isa = "mve", bitsback_isa = "thumb2")))]
pub(crate) use undecoded::{HAS_CODED, Stretch, read_coded};

pub(crate) use addition::Addition;
pub(crate) use depthwise::{Group, LANES, SPANS_MAX, Sight, Span, Steps};
pub(crate) use finish::{Finish, Multipliers};
pub(crate) use kernels::{Kernels, Lanes};
pub(crate) use matrix::{DotListed, Matrix, Row};
pub(crate) use patches::{GatherPatches, MakeWorkspace, Stretches, Workspace};

/// Values as bytes.
pub(crate) fn bytes_of(values: &mut [i8]) -> &mut [u8] {
    let (data, len) = (values.as_mut_ptr().cast(), values.len());
    // SAFETY: as many bytes as there are values, which have the same size, alignment and bits, borrowed for
    // as long.
    unsafe { core::slice::from_raw_parts_mut(data, len) }
}

/// Makes all bytes 0.
pub(crate) fn clear(bytes: &mut [u8]) {
    let (data, len) = (bytes.as_mut_ptr().cast(), bytes.len());
    // SAFETY: as in `bytes_of`, the other way round.
    Isa::fill(unsafe { core::slice::from_raw_parts_mut(data, len) }, 0);
}

/// Rows that kernels go through at once: as many as a block of pairs has.
pub(crate) const BLOCK_ROWS: usize = crate::format::PAIR_BLOCK_ROWS;
/// Rows whose sums are held at once, so that their outputs are made in one go: 256 bytes a position.
pub(crate) const CHUNK_ROWS: usize = 64;
/// Sums of a chunk of rows.
pub(crate) type Sums = [i32; CHUNK_ROWS];

/// Whether kernels take all dense layers and convolutions that the crate was built for, so that nothing else is
/// linked: see [`Kernels::TAKES_ROWS`].
pub(crate) const TAKES_ALL: bool =
    Isa::TAKES_ROWS && !Features::BUILT.widths && !Features::BUILT.pairs;
/// See [`Kernels::POSITIONS`].
pub(crate) const POSITIONS: usize = Isa::POSITIONS;
/// See [`Kernels::PATCH_MAX`].
pub(crate) const PATCH_MAX: usize = Isa::PATCH_MAX;
/// See [`Kernels::OUTPUTS_MAX`].
pub(crate) const OUTPUTS_MAX: usize = Isa::OUTPUTS_MAX;
