//! Bayesian compression of neural networks to fixed-point models.
//!
//! The way of the data: [`data`] → [`train`] (on burn) → [`posterior`] → [`prune`] → [`bit_width`]
//! → [`calibrate`] → [`lower`] → [`serialize`] → [`verify`]. Everything before [`posterior`] is
//! float and seeded; from [`lower`] on it is deterministic to the byte.
#![forbid(unsafe_code)]

#[cfg(feature = "training")]
pub mod bayes;
#[cfg(feature = "training")]
pub mod cli;
pub mod compile;
pub mod cost;
pub mod data;
#[cfg(feature = "training")]
pub mod device;
#[cfg(feature = "training")]
pub mod error;
pub mod export;
pub mod files;
pub mod golden;
pub mod graph;
pub mod import;
#[cfg(feature = "training")]
pub mod job;
pub mod ledger;
pub mod metrics;
pub mod network;
pub mod numbers;
#[cfg(feature = "training")]
pub mod pipeline;
pub mod posterior;
#[cfg(feature = "training")]
pub mod progress;
pub mod prune;
pub mod quantize;
#[cfg(feature = "training")]
pub mod report;
pub mod select;
#[cfg(feature = "training")]
pub mod summary;
pub mod task;
pub mod text;
#[cfg(feature = "training")]
pub mod train;
pub mod verify;
pub mod weights;
