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
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 2] = [Self::Lenet300, Self::Lenet5Caffe];

    /// Its name in a job file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lenet300 => "lenet-300-100",
            Self::Lenet5Caffe => "lenet-5-caffe",
        }
    }

    /// Its layers, as a job file could list them.
    pub fn layers(self) -> Vec<LayerConfig> {
        match self {
            Self::Lenet300 => vec![
                LayerConfig::Flatten {},
                LayerConfig::Dense { units: Some(300) },
                LayerConfig::Relu {},
                LayerConfig::Dense { units: Some(100) },
                LayerConfig::Relu {},
                LayerConfig::Dense { units: None },
            ],
            Self::Lenet5Caffe => {
                let mut layers = Vec::with_capacity(10);
                for filters in [20, 50] {
                    layers.push(LayerConfig::Conv2d {
                        filters,
                        kernel: [5, 5],
                        stride: [1, 1],
                        dilation: [1, 1],
                        padding: Padding::Valid,
                    });
                    layers.push(LayerConfig::MaxPool {
                        size: [2, 2],
                        stride: Some([2, 2]),
                        padding: Padding::Valid,
                    });
                    layers.push(LayerConfig::Relu {});
                }
                layers.extend([
                    LayerConfig::Flatten {},
                    LayerConfig::Dense { units: Some(500) },
                    LayerConfig::Relu {},
                    LayerConfig::Dense { units: None },
                ]);
                layers
            }
        }
    }
}
