//! Networks as job files describe them, and their way into a graph.
//!
//! A job lists layers one after the other, and branches are written down that way, too: `mark` gives
//! what arrives there a name, `from` goes on from a named value, and `add`, `mul` and `concat` join
//! one. [`NetworkConfig::infer`] makes a [`Graph`](crate::graph::Graph) of it, with every size known.

mod build;
mod config;
mod error;
mod presets;

use serde::{Deserialize, Serialize};

pub use build::{MAX_ACTIVATIONS, MAX_DIM, MAX_LAYERS, MAX_WEIGHTS};
pub use config::{LayerConfig, NetworkConfig, Output};
pub use error::NetworkError;
pub use presets::Preset;

/// Shape of one example of the data, without the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// `n` features.
    Flat(usize),
    /// Height × width × channels.
    Image {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Channels, the fastest-moving index.
        channels: usize,
    },
}

impl Shape {
    /// The shape of a graph's value of the dimensions `dims`; images of fewer than three dimensions have
    /// height 1, and those of more have their first ones taken together.
    pub fn of(dims: &[usize]) -> Self {
        match *dims {
            [] => Self::Flat(1),
            [features] => Self::Flat(features),
            [ref rows @ .., width, channels] => {
                let height = rows.iter().fold(1, |height: usize, &dim| height.saturating_mul(dim));
                Self::Image { height, width, channels }
            }
        }
    }

    /// Its dimensions, slowest first.
    pub fn dims(self) -> Vec<usize> {
        match self {
            Self::Flat(n) => vec![n],
            Self::Image { height, width, channels } => vec![height, width, channels],
        }
    }

    /// Number of values.
    pub fn len(self) -> usize {
        match self {
            Self::Flat(n) => n,
            Self::Image { height, width, channels } => height * width * channels,
        }
    }

    /// Whether there are no values.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Channels of an image, or features.
    pub fn channels(self) -> usize {
        match self {
            Self::Flat(n) => n,
            Self::Image { channels, .. } => channels,
        }
    }
}
