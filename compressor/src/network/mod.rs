//! Networks as job files describe them, and their way into a graph.
//!
//! A job lists layers one after the other, and branches are written down that way, too: `mark` gives
//! what arrives there a name, `from` goes on from a named value, and `add`, `mul` and `concat` join
//! one. [`NetworkConfig::infer`] makes a [`Graph`](crate::graph::Graph) of it, with every size known.

mod build;
mod config;
mod error;
mod presets;

pub(crate) use build::{MAX_ACTIVATIONS, MAX_DIM, MAX_LAYERS, MAX_WEIGHTS};
pub use config::{LayerConfig, NetworkConfig, Output};
pub use error::NetworkError;
pub use presets::Preset;
