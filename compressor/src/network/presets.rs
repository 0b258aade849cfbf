//! Networks with a name.

use serde::{Deserialize, Serialize};

use super::LayerConfig;
use crate::graph::Padding;

/// A named network. The last layer has one neuron per class of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preset {
    /// The multilayer perceptron of LeCun et al. (1998): 300 and 100 hidden neurons.
    #[default]
    #[serde(rename = "lenet-300-100")]
    Lenet300,
    /// Caffe's LeNet-5: 20 and 50 filters of 5 × 5, 500 hidden neurons. Caffe has a ReLU after the
    /// hidden dense layer only; as in the training recipes followed here, ours has one after each
    /// pooling, too. It costs no weight and no byte, and a network that is pruned to a few filters
    /// needs the nonlinearity.
    #[serde(rename = "lenet-5-caffe")]
    Lenet5Caffe,
    /// The variant of VGG-16 (Simonyan and Zisserman, 2015, arXiv:1409.1556) for images of 32 × 32 that
    /// Louizos et al. (2017) compress: thirteen convolutions of 3 × 3 in five blocks, each of which ends in
    /// a pooling, and a hidden dense layer, all with batch normalisation.
    #[serde(rename = "vgg-16")]
    Vgg16,
}

/// Filters and convolutions of VGG-16's blocks.
const VGG_16_BLOCKS: [(usize, usize); 5] = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)];

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 3] = [Self::Lenet300, Self::Lenet5Caffe, Self::Vgg16];

    /// Its name in a job file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lenet300 => "lenet-300-100",
            Self::Lenet5Caffe => "lenet-5-caffe",
            Self::Vgg16 => "vgg-16",
        }
    }

    /// Its layers, as a job file could list them, with `width` times as many filters and hidden neurons,
    /// rounded, and at least one.
    pub fn layers(self, width: f64) -> Vec<LayerConfig> {
        let scaled = |count: usize| ((count as f64 * width).round() as usize).max(1);
        let hidden = |units| LayerConfig::Dense { units: Some(scaled(units)) };
        match self {
            Self::Lenet300 => vec![
                LayerConfig::Flatten {},
                hidden(300),
                LayerConfig::Relu {},
                hidden(100),
                LayerConfig::Relu {},
                LayerConfig::Dense { units: None },
            ],
            Self::Lenet5Caffe => {
                let mut layers = Vec::with_capacity(10);
                for filters in [20, 50] {
                    layers.push(convolution(scaled(filters), 5, Padding::Valid));
                    layers.push(halving());
                    layers.push(LayerConfig::Relu {});
                }
                layers.extend([
                    LayerConfig::Flatten {},
                    hidden(500),
                    LayerConfig::Relu {},
                    LayerConfig::Dense { units: None },
                ]);
                layers
            }
            Self::Vgg16 => {
                let mut layers = Vec::with_capacity(49);
                for (filters, convolutions) in VGG_16_BLOCKS {
                    for _ in 0..convolutions {
                        layers.push(convolution(scaled(filters), 3, Padding::Same));
                        layers.extend([LayerConfig::BatchNorm {}, LayerConfig::Relu {}]);
                    }
                    layers.push(halving());
                }
                layers.extend([
                    LayerConfig::Flatten {},
                    hidden(512),
                    LayerConfig::BatchNorm {},
                    LayerConfig::Relu {},
                    LayerConfig::Dense { units: None },
                ]);
                layers
            }
        }
    }
}

/// A convolution with a square kernel, at every position.
fn convolution(filters: usize, kernel: usize, padding: Padding) -> LayerConfig {
    LayerConfig::Conv2d { filters, kernel: [kernel; 2], stride: [1, 1], dilation: [1, 1], padding }
}

/// The largest of two by two.
fn halving() -> LayerConfig {
    LayerConfig::MaxPool { size: [2, 2], stride: Some([2, 2]), padding: Padding::Valid }
}
