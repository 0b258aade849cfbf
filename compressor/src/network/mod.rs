//! Networks as data: what layers there are, in which order, of which shapes.
//!
//! A [`Topology`] says what is computed; parameters live beside it in plain vectors, one entry per
//! *affine* layer (dense, convolution or depthwise convolution) in the order of the layers.
//! Everything is laid out as the device sees it: activations as height × width × channels, weights as
//! outputs × kernel height × kernel width × inputs.
//!
//! Layers follow each other, and graphs with branches are written down that way, too:
//! [`Layer::Mark`] gives what arrives there a name, [`Layer::From`] goes on from a named value, and
//! [`Layer::Add`] adds one. As names aren't positions, layers can be taken out or put in between.

mod config;
mod error;
mod presets;
mod shape;

use serde::{Deserialize, Serialize};

pub use crate::graph::Affine;
pub use config::{LayerConfig, NetworkConfig, Output};
pub use error::NetworkError;
pub use presets::Preset;
pub use shape::{MAX_ACTIVATIONS, MAX_DIM, MAX_LAYERS, MAX_WEIGHTS};

/// Shape of one example's activations, without the batch.
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

/// How a window meets the border.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// Only whole windows: out = ⌊(in − kernel)/stride⌋ + 1.
    #[default]
    Valid,
    /// out = ⌈in/stride⌉; zeros are added, the odd one at the bottom and the right.
    Same,
    /// ⌊kernel/2⌋ zeros on every side, as PyTorch's `padding=1` around a kernel of 3:
    /// out = ⌊(in + 2·⌊kernel/2⌋ − kernel)/stride⌋ + 1.
    Around,
}

/// One layer, with every size known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Layer {
    /// h = W·x + b; weights `outputs × inputs`.
    Dense {
        /// Features read.
        inputs: usize,
        /// Neurons.
        outputs: usize,
    },
    /// Cross-correlation; weights `filters × kernel[0] × kernel[1] × channels`.
    Conv2d {
        /// Input channels.
        channels: usize,
        /// Output channels.
        filters: usize,
        /// Kernel height and width.
        kernel: [usize; 2],
        /// Vertical and horizontal stride.
        stride: [usize; 2],
        /// Border rule.
        padding: Padding,
    },
    /// Each channel is cross-correlated with a kernel of its own; weights
    /// `channels × kernel[0] × kernel[1]`.
    DepthwiseConv2d {
        /// Channels, in and out.
        channels: usize,
        /// Kernel height and width.
        kernel: [usize; 2],
        /// Vertical and horizontal stride.
        stride: [usize; 2],
        /// Border rule.
        padding: Padding,
    },
    /// Batch normalisation over the last axis; parameters in [`Norm`].
    BatchNorm {
        /// Channels (or features).
        channels: usize,
    },
    /// Largest value of each window.
    MaxPool2d {
        /// Window height and width.
        size: [usize; 2],
        /// Vertical and horizontal stride.
        stride: [usize; 2],
        /// Border rule; padding never wins.
        padding: Padding,
    },
    /// Mean of each window; padding is not counted.
    AvgPool2d {
        /// Window height and width.
        size: [usize; 2],
        /// Vertical and horizontal stride.
        stride: [usize; 2],
        /// Border rule.
        padding: Padding,
    },
    /// The part of the input image that is read; always the first layer.
    Crop {
        /// Rows and columns left out before it.
        before: [usize; 2],
        /// Its height and width.
        size: [usize; 2],
    },
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// Image to features, height-major, channels fastest.
    Flatten,
    /// Keeps the listed features of a flat input, in ascending order: what pruning leaves of the
    /// inputs of a dense layer when the layer before it can't shrink to match.
    Select {
        /// Ascending indices into the incoming features.
        keep: Vec<u32>,
    },
    /// Random zeroing while pre-training; nothing at inference.
    Dropout {
        /// Probability of zeroing.
        rate: f32,
    },
    /// Names what arrives, and passes it on.
    Mark {
        /// The name.
        name: String,
    },
    /// Goes on from a named value instead of what arrives.
    From {
        /// The name of a mark before.
        name: String,
    },
    /// Adds a named value to what arrives.
    Add {
        /// The name of a mark before.
        name: String,
    },
}

impl Layer {
    /// Whether the layer has weights: dense, convolution or depthwise convolution.
    pub fn is_affine(&self) -> bool {
        matches!(self, Self::Dense { .. } | Self::Conv2d { .. } | Self::DepthwiseConv2d { .. })
    }
}

/// What is computed, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// Shape of one input.
    pub input: Shape,
    /// Layers, first to last.
    pub layers: Vec<Layer>,
}

/// Parameters of one batch normalisation: y = γ·(x − mean)/√(var + ε) + β.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Norm {
    /// Scale γ.
    pub gamma: Vec<f32>,
    /// Shift β.
    pub beta: Vec<f32>,
    /// Running mean.
    pub mean: Vec<f32>,
    /// Running variance.
    pub variance: Vec<f32>,
}

/// A deterministic float network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FloatNetwork {
    /// What is computed.
    pub topology: Topology,
    /// One entry per layer that [`Layer::is_affine`], in order.
    pub affine: Vec<Affine>,
    /// One entry per [`Layer::BatchNorm`], in order.
    pub norms: Vec<Norm>,
}

impl Topology {
    /// Name of the `index`-th affine layer, counted from 0, as shown to people: `conv2d_1`,
    /// `depthwise_1`, `dense_1`, … counted from 1 within each kind.
    pub fn affine_name(&self, index: usize) -> String {
        let (mut conv, mut depthwise, mut dense) = (0, 0, 0);
        for (i, layer) in self.affine_layers().enumerate() {
            let name = match layer {
                Layer::Conv2d { .. } => {
                    conv += 1;
                    format!("conv2d_{conv}")
                }
                Layer::DepthwiseConv2d { .. } => {
                    depthwise += 1;
                    format!("depthwise_{depthwise}")
                }
                _ => {
                    dense += 1;
                    format!("dense_{dense}")
                }
            };
            if i == index {
                return name;
            }
        }
        format!("affine_{}", index + 1)
    }

    /// The layers with weights, in order.
    pub fn affine_layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| layer.is_affine())
    }
}
