//! What the host engine multiplies with: kernels that are chosen when the program runs.
//!
//! The kernels of [`super::Isa`] read weights as files store them. A host has memory to lay them out
//! anew ([`Panel`]), and vectors that multiply sixteen outputs at once. One shape of loop serves all
//! weight layers: a [`Walk`] says where in an image of inputs the taps of each position lie, four
//! bytes of an input meet a [`Line`] of weights of sixteen outputs, and [`Panel`]'s tables finish
//! sums as [`crate::requantize`] does. Sums wrap, as everywhere.
//!
//! | file | what |
//! |---|---|
//! | `panel` | weights and finishing tables, sixteen rows a line |
//! | `walk` | where inputs are read and outputs written; [`Job`] is the proof that both exist |
//! | `bodies` | loops over bytes that compilers vectorise by themselves, whatever they compile for |
//! | `sum` | what a sum of two tensors is made of |
//! | `portable` | the reference |
//! | `avx2`, `avx512` | x86-64: pairs of 16-bit products; four 8-bit products (VNNI) |
//! | `neon` | AArch64: 16-bit products, or four 8-bit ones where there is SDOT |

#![allow(
    clippy::needless_range_loop,
    clippy::manual_memcpy,
    reason = "arrays of vectors stay in registers where every index is known, see `bodies`"
)]

#[cfg(bitsback_isa = "x86_64")]
mod avx2;
#[cfg(bitsback_isa = "x86_64")]
mod avx512;
mod bodies;
#[cfg(bitsback_isa = "neon")]
mod neon;
mod panel;
mod portable;
mod sum;
mod walk;

use std::vec::Vec;

pub(crate) use panel::{Elements, LANES, Panel};
pub(crate) use sum::Sum;
pub(crate) use walk::{Job, Walk};

/// Kernels for this machine. One that it can't run has no value of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelSet(Which);

/// Each but the first is made by [`KernelSet::available`] alone, after it was detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Portable,
    #[cfg(bitsback_isa = "x86_64")]
    Avx2,
    #[cfg(bitsback_isa = "x86_64")]
    Avx512,
    #[cfg(bitsback_isa = "neon")]
    Neon,
    #[cfg(bitsback_isa = "neon")]
    NeonDot,
}

/// Calls a function of the set's module.
macro_rules! call {
    ($set:expr, $name:ident($($argument:expr),*)) => {
        match $set.0 {
            Which::Portable => portable::$name($($argument),*),
            // SAFETY: AVX2 was detected, or there were no such value.
            #[cfg(bitsback_isa = "x86_64")]
            Which::Avx2 => unsafe { avx2::$name($($argument),*) },
            // SAFETY: AVX-512's F, BW, VL and VNNI were detected, and AVX2.
            #[cfg(bitsback_isa = "x86_64")]
            Which::Avx512 => unsafe { avx512::$name($($argument),*) },
            // SAFETY: NEON was detected.
            #[cfg(bitsback_isa = "neon")]
            Which::Neon => unsafe { neon::$name($($argument),*) },
            // SAFETY: NEON was detected.
            #[cfg(bitsback_isa = "neon")]
            Which::NeonDot => unsafe { neon::$name($($argument),*) },
        }
    };
}

impl KernelSet {
    /// All that this machine can run, the slowest first.
    pub fn available() -> Vec<Self> {
        let mut found = std::vec![Self(Which::Portable)];
        #[cfg(bitsback_isa = "x86_64")]
        if std::is_x86_feature_detected!("avx2") {
            found.push(Self(Which::Avx2));
            if std::is_x86_feature_detected!("avx512f")
                && std::is_x86_feature_detected!("avx512bw")
                && std::is_x86_feature_detected!("avx512vl")
                && std::is_x86_feature_detected!("avx512vnni")
            {
                found.push(Self(Which::Avx512));
            }
        }
        #[cfg(bitsback_isa = "neon")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            found.push(Self(Which::Neon));
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                found.push(Self(Which::NeonDot));
            }
        }
        found
    }

    /// The fastest one.
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self(Which::Portable))
    }

    /// Its name: `portable`, `avx2`, `avx512-vnni`, `neon` or `neon-dot`.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Which::Portable => "portable",
            #[cfg(bitsback_isa = "x86_64")]
            Which::Avx2 => "avx2",
            #[cfg(bitsback_isa = "x86_64")]
            Which::Avx512 => "avx512-vnni",
            #[cfg(bitsback_isa = "neon")]
            Which::Neon => "neon",
            #[cfg(bitsback_isa = "neon")]
            Which::NeonDot => "neon-dot",
        }
    }

    /// How inputs meet weights that fit 8 bits, or don't.
    pub(crate) const fn elements(self, are_bytes: bool) -> Elements {
        match self.0 {
            #[cfg(bitsback_isa = "x86_64")]
            Which::Avx512 if are_bytes => Elements::Flipped,
            #[cfg(bitsback_isa = "neon")]
            Which::NeonDot if are_bytes => Elements::Bytes,
            _ => Elements::Halves,
        }
    }

    /// The outputs of all rows at each position: each tap of a position meets all rows.
    pub(crate) fn multiply(self, job: &Job<'_>, outputs: &mut [i8]) {
        if job.covers(outputs) {
            call!(self, multiply(job, outputs));
        }
    }

    /// The outputs of each channel at each position: each tap has values for sixteen channels, which
    /// meet their own weights.
    pub(crate) fn channels(self, job: &Job<'_>, outputs: &mut [i8]) {
        if job.covers(outputs) {
            call!(self, channels(job, outputs));
        }
    }

    /// Inputs as the kernels of `elements` read them.
    pub(crate) fn prepare(self, elements: Elements, from: &[i8], to: &mut [u8]) {
        call!(self, prepare(elements, from, to));
    }

    /// Values of up to four rows, those of one position together.
    pub(crate) fn interleave(self, elements: Elements, rows: [&[i8]; 4], to: &mut [u8]) {
        call!(self, interleave(elements, rows, to));
    }

    /// The larger one of each pair of values.
    pub(crate) fn raise(self, most: &mut [i8], values: &[i8]) {
        call!(self, raise(most, values));
    }

    /// The largest value of each channel in each window over a line of pixels, for few channels: `sizes` are
    /// channels, pixels of a window, and values from a window to the next. There are as many windows as
    /// `most` has pixels. [`LANES`] values more than the line's must be there, whatever they are.
    pub(crate) fn raise_pixels(self, line: &[i8], sizes: [usize; 3], most: &mut [i8]) {
        call!(self, raise_pixels(line, sizes, most));
    }

    /// Limits values.
    pub(crate) fn limit(self, values: &mut [i8], clamp: crate::format::Clamp) {
        call!(self, limit(values, clamp));
    }

    /// Adds values to sums.
    pub(crate) fn accumulate(self, sums: &mut [i32], values: &[i8]) {
        call!(self, accumulate(sums, values));
    }

    /// Sums of two tensors.
    pub(crate) fn add(self, sum: &Sum, operands: [&[i8]; 2], outputs: &mut [i8]) {
        call!(self, add(sum, operands, outputs));
    }
}

#[cfg(test)]
mod tests;
