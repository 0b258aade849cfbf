//! Training: deterministic pre-training, variational training, fine-tuning.

mod config;

pub use config::*;
