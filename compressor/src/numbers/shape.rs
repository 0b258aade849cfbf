//! Shapes of examples.

use serde::{Deserialize, Serialize};

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
