//! Bayesian compression of neural networks to fixed-point models.
//!
//! The way of the data: [`data`] → [`train`] (on burn) → [`posterior`] → [`prune`] → [`bit_width`]
//! → [`calibrate`] → [`lower`] → [`serialize`] → [`verify`]. Everything before [`posterior`] is
//! float and seeded; from [`lower`] on it is deterministic to the byte.
#![forbid(unsafe_code)]

pub mod bayes;
pub mod bit_width;
pub mod calibrate;
pub mod cli;
pub mod coding;
pub mod data;
pub mod device;
pub mod error;
pub mod files;
pub mod float_graph;
pub mod golden;
pub mod import;
pub mod integer_graph;
pub mod job;
pub mod ledger;
pub mod lower;
pub mod memory_plan;
pub mod metrics;
pub mod network;
pub mod pipeline;
pub mod posterior;
pub mod progress;
pub mod prune;
pub mod quantize;
pub mod reference;
pub mod report;
pub mod serialize;
pub mod shapes;
pub mod summary;
pub mod train;
pub mod verify;
pub mod weights;
