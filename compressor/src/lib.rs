//! Bayesian compression of neural networks to fixed-point models.
//!
//! It trains a network with its uncertainty, removes the groups that the posterior can do without, gives
//! every layer the bits that it needs, and writes integers that `bitsback-runtime` computes with the
//! same output bytes on every core. `pipeline::run` does all of that as a `job::Job` says. Networks
//! that are trained already are quantised without training:
//!
//! ```
//! use bitsback::compile::{CompileOptions, InputQuantization, ModelInfo};
//! use bitsback::graph::{Affine, Graph, Range, ops::Dense};
//! use bitsback::quantize::{RangeMethod, calibrate, plan, write};
//! use bitsback_runtime::{Interpreter, Model};
//!
//! // The sum and the difference of two numbers; files of other tools come from `import::floats`.
//! let mut graph = Graph::of_input(vec![2]);
//! let layer = Affine { weight: vec![1.0, 1.0, 1.0, -1.0], bias: vec![0.0, 0.0] };
//! graph.push("mix", Dense {}, vec![graph.input], vec![2], Some(layer));
//!
//! let examples = [-1.0, -1.0, 1.0, -1.0, -1.0, 1.0, 1.0, 1.0];
//! let input = InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None);
//! let scales = calibrate(&graph, &examples, &input, RangeMethod::MinMax)?;
//! let plan = plan(&graph, scales, &input);
//! let (bytes, _) = write(&graph, &plan, &input, &CompileOptions::default(), &ModelInfo::default())?;
//! # let temporary = tempfile::tempdir()?;
//! # let folder = temporary.path();
//! std::fs::write(folder.join("model.bbk"), &bytes)?;
//!
//! // What a microcontroller does with it.
//! let model = Model::parse(&bytes)?;
//! let mut arena = vec![0; model.arena_len()];
//! let mut interpreter = Interpreter::new(&model, &mut arena)?;
//! interpreter.set_input_features(&[0.5, -0.25])?;
//! interpreter.invoke();
//! let outputs: Vec<f32> = interpreter.dequantized_output().collect();
//! assert!((outputs[0] - 0.25).abs() < 0.03 && (outputs[1] - 0.75).abs() < 0.03);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | [`data`] | examples and labels out of files: IDX, CSV, NumPy, folders of images, bundled digits |
//! | [`graph`] | networks, of floats and of integers; their operators; a float executor |
//! | [`import`] | networks and quantised models of ONNX and TensorFlow Lite |
//! | [`quantize`] | scales and bit widths for a trained network, and how well it does then |
//! | [`compile`] | from a network of integers to the bytes of a `.bbk` model |
//! | [`verify`] | a model's outputs by the runtime, against labels and the float network |
//! | [`golden`] | test vectors for devices: inputs and the bytes that must come out |
//! | [`export`] | a `.bbk` model as a network again, and networks as ONNX files |
//! | `job` (`training`) | the job file: data, network, training, requirements |
//! | `pipeline` (`training`) | jobs from data to model and report, resumable |
//!
//! The way of a job: `data` → training on burn → posterior → pruning → fine-tuning → bit widths →
//! calibration → lowering → `compile` → `verify`. Everything before the bit widths is float and seeded;
//! from lowering on it is deterministic to the byte.
//!
//! # Features
//!
//! - `flex` (default): training, with burn's pure-Rust CPU backend.
//! - `ndarray`: training, with burn's former CPU backend; `DeviceName` chooses where both are built.
//! - `training`: what these two have in common: jobs, the pipeline and the program `bitsback`. It needs
//!   one of them to run on.
//!
//! Without any (`default-features = false`) the library imports, quantises, compiles, verifies and exports,
//! and burn isn't built.
#![forbid(unsafe_code)]

#[cfg(feature = "training")]
mod bayes;
#[cfg(feature = "training")]
mod cli;
pub mod compile;
mod cost;
pub mod data;
#[cfg(feature = "training")]
mod device;
#[cfg(feature = "training")]
mod error;
pub mod export;
mod files;
#[cfg(feature = "training")]
mod fleet;
pub mod golden;
pub mod graph;
pub mod import;
#[cfg(feature = "training")]
pub mod job;
#[cfg(feature = "training")]
mod ledger;
#[cfg(feature = "training")]
mod metrics;
#[cfg(feature = "training")]
mod network;
mod numbers;
#[cfg(feature = "training")]
mod package;
#[cfg(feature = "training")]
pub mod pipeline;
#[cfg(feature = "training")]
mod posterior;
#[cfg(feature = "training")]
mod progress;
#[cfg(feature = "training")]
mod prune;
pub mod quantize;
#[cfg(feature = "training")]
mod report;
#[cfg(feature = "training")]
mod select;
#[cfg(feature = "training")]
mod sentinel;
#[cfg(feature = "training")]
mod summary;
mod task;
#[cfg(feature = "training")]
mod text;
#[cfg(feature = "training")]
mod train;
pub mod verify;
mod weights;

/// What this workspace's own program, benchmark, tests and fuzz targets need beyond the public face:
/// single steps of what `pipeline` does as a whole. It may change at any time.
#[doc(hidden)]
pub mod internals {
    pub use crate::weights::{assign as assign_weights, parse as parse_weights};
    #[cfg(feature = "training")]
    pub use crate::{
        bayes::Noise,
        cli::{check, main},
        compile::widths::{at_width, choose, raise_until},
        ledger::BitRecord,
        sentinel::attach::watched,
        train::batch::{Examples, Material},
        train::costs::Target,
        train::initialize::{deterministic as initial_network, posterior as initial_posterior},
        train::variational::{Plan, State, train},
        train::{Observer, StepReport},
    };
}
