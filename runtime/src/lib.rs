//! Integer inference for compressed neural networks: `no_std`, no allocation, no float on the
//! inference path, no panic, no recursion.
//!
//! A `.bbk` file is an allegation until [`Model::parse`] has returned: it checks every length,
//! bound, shape, width, offset, overlap and multiplier once, and afterwards nothing that the
//! model's bytes say can make inference fail. [`Interpreter`] then runs it on an arena of `i8`
//! that the caller owns and that [`arena_len`] sizes at compile time.
//!
//! ```
//! use bitsback_runtime::{Interpreter, Model, arena_len, include_model};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! static MODEL: &[u8] = include_model!(concat!(
//!     env!("CARGO_MANIFEST_DIR"),
//!     "/tests/fixtures/v1/convolutional.bbk"
//! ));
//! let mut arena = [0; arena_len(MODEL)];
//! let model = Model::parse(MODEL)?;
//! let mut interpreter = Interpreter::new(&model, &mut arena)?;
//! interpreter.input_mut().fill(5); // or set_input_bytes(&pixels)?
//! interpreter.invoke();
//! println!("class {}: {:?}", interpreter.class(), interpreter.output());
//! # Ok(())
//! # }
//! ```
//!
//! # What a program needs
//!
//! | | |
//! |---|---|
//! | [`include_model!`], [`arena_len`], [`input_len`], [`output_len`] | the file and its lengths, at compile time |
//! | [`Interpreter::with_weights`], [`weights_len`] | packed and coded weights unpacked once, where there is RAM for it |
//! | [`Model::parse`], [`Limits`] | the one check of all bytes; what a device allows of a model's work |
//! | [`Model::parse_only`], [`op_kinds`] | the same, linking no operator that the model hasn't |
//! | [`Interpreter`] | inputs (int8, raw bytes or features), [`invoke`](Interpreter::invoke), outputs, the class |
//! | [`Decision`] | the class, or that the model isn't sure: [`decision`](Interpreter::decision) |
//! | [`Error`] | any error of this crate |
//! | [`sentinel`] | whether the field still looks like the examples that the model was checked with |
//! | [`Profiler`] | what each operator read and wrote, and how long it took |
//! | [`Op`] | the operators that there are |
//! | [`ISA`] | the kernels of this build |
//!
//! [`format`](mod@format) has the file's records and what a checked model grants, [`requantize`] the
//! arithmetic, and [`ops`] the operators' parameters, for those who look inside of models. From C, use the
//! crate `bitsback-c`.
//!
//! # Features
//!
//! `widths`, `pairs` and `per-channel` are on by default, and a model that needs one that is left out is
//! refused: see [`Features`]. With `defmt`, errors can be logged by it on a device. `writer` is for hosts
//! that write files, and `std` gives hosts `Engine`, which runs batches with the machine's vectors and all of its
//! cores. No feature changes a result.
//!
//! A release build (`opt-level` 2, 3, "s" or "z", with link-time optimisation) holds no panic path
//! of this crate.
#![no_std]
#![deny(unsafe_code)]

#[cfg(any(test, feature = "writer"))]
extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

#[allow(unsafe_code)] // each block with its proof
mod arch;
#[doc(hidden)] // for those who write files, or take them apart
pub mod coding;
mod decision;
#[cfg(any(test, feature = "std"))]
mod engine;
mod error;
mod features;
pub mod format;
mod interpreter;
mod model;
pub mod ops;
pub mod requantize;
pub mod sentinel;
mod unpacked;
#[cfg(any(test, feature = "writer"))]
pub mod writer;

#[cfg(any(test, feature = "std"))]
pub use arch::host::KernelSet;
pub use decision::{Decision, lead};
#[cfg(any(test, feature = "std"))]
pub use engine::{BatchError, Engine};
pub use error::Error;
pub use features::Features;
pub use format::{
    Header, Meta, ParseError, Source, Tensor, arena_len, input_len, op_kinds, output_len,
    weights_len,
};
pub use interpreter::{ArenaTooSmall, InputError, Interpreter, Profiler, Running, quantize};
pub use model::{Limits, Model, Ops, Step};
pub use ops::{ALL_KINDS, Op, OpKind, Parameters};
#[cfg(any(test, feature = "std"))]
pub use unpacked::UnpackedOp;
pub use unpacked::{Stored, Unpacked, Weights};

/// The kernels that this crate was built with: `dsp`, `mve`, `neon`, `x86_64`, `thumb1`, `thumb2`,
/// `armv5te`, `rv32im` or `portable`. Which it is changes no result.
pub const ISA: &str = <arch::Isa as arch::Kernels>::NAME;

/// Bytes aligned to 16, so that any kernel can load any word of a model.
#[doc(hidden)]
#[repr(C, align(16))]
pub struct Aligned<T: ?Sized>(pub T);

/// The bytes of a `.bbk` file as a `&'static [u8]`, aligned to 16; the path is relative to the
/// source file. A file that isn't a model is a compile error.
#[macro_export]
macro_rules! include_model {
    ($path:expr $(,)?) => {{
        const FILE: &$crate::Aligned<[u8]> = &$crate::Aligned(*include_bytes!($path));
        const _: () = assert!($crate::Header::read(&FILE.0).is_some(), "not a .bbk model");
        let bytes: &'static [u8] = &FILE.0;
        bytes
    }};
}
