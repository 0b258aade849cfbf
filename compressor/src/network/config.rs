//! `[network]`: a network as a job file describes it, before any size is inferred.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Preset, build};
use crate::data::Layout;
use crate::graph::{Graph, Padding};
use crate::numbers::Shape;

/// `[network]`: either a preset or a list of layers, and what the model answers with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// What the model answers with.
    pub output: Output,
    /// A named network; excludes `layers`. With neither, it is `lenet-300-100`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Factor on the preset's filters and hidden neurons; unset: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<f64>,
    /// An ONNX file with the whole network, its weights included; excludes everything else but
    /// `output`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// The order of the dimensions of an ONNX model's input, where its operators don't prove one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_layout: Option<Layout>,
    /// Trained weights to start from, instead of pre-training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// What layers, or single tensors of them, are called in the file of weights.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
    /// Layers, first to last; excludes `preset`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerConfig>,
}

/// What a model answers with. It is no layer: training always works on the logits; lowering appends
/// the operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// One int8 score per class, with its scale.
    #[default]
    Logits,
    /// One int8 probability per class.
    Softmax,
    /// The index of the best class.
    Argmax,
}

/// One entry of `[[network.layers]]`; sizes that follow from the layers before are not stated.
///
/// The empty braces matter: without them serde would let unknown keys pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LayerConfig {
    /// Fully connected.
    Dense {
        /// Neurons; the last dense layer may leave it out and gets one per class.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        units: Option<usize>,
    },
    /// Two-dimensional convolution.
    Conv2d {
        /// Output channels.
        filters: usize,
        /// Kernel height and width; one number means a square.
        #[serde(with = "pair")]
        kernel: [usize; 2],
        /// Vertical and horizontal stride; one number means both.
        #[serde(with = "pair", default = "one")]
        stride: [usize; 2],
        /// Vertical and horizontal distance of the kernel's taps; one number means both.
        #[serde(with = "pair", default = "one")]
        dilation: [usize; 2],
        /// Border rule.
        #[serde(default)]
        padding: Padding,
    },
    /// Convolution of each channel with a kernel of its own.
    DepthwiseConv2d {
        /// Kernel height and width; one number means a square.
        #[serde(with = "pair")]
        kernel: [usize; 2],
        /// Vertical and horizontal stride; one number means both.
        #[serde(with = "pair", default = "one")]
        stride: [usize; 2],
        /// Vertical and horizontal distance of the kernel's taps; one number means both.
        #[serde(with = "pair", default = "one")]
        dilation: [usize; 2],
        /// Border rule.
        #[serde(default)]
        padding: Padding,
    },
    /// Batch normalisation, right after a dense layer or a convolution; folded into it later.
    BatchNorm {},
    /// Largest value of each window.
    MaxPool {
        /// Window height and width; one number means a square.
        #[serde(with = "pair")]
        size: [usize; 2],
        /// Stride; the window's size when left out.
        #[serde(with = "optional_pair", default, skip_serializing_if = "Option::is_none")]
        stride: Option<[usize; 2]>,
        /// Border rule.
        #[serde(default)]
        padding: Padding,
    },
    /// Mean of each window.
    AvgPool {
        /// Window height and width; one number means a square.
        #[serde(with = "pair")]
        size: [usize; 2],
        /// Stride; the window's size when left out.
        #[serde(with = "optional_pair", default, skip_serializing_if = "Option::is_none")]
        stride: Option<[usize; 2]>,
        /// Border rule.
        #[serde(default)]
        padding: Padding,
    },
    /// Mean over the whole image, per channel.
    GlobalAvgPool {},
    /// The middle of an image; of the input, where only windows follow that stay within it, at no cost.
    Crop {
        /// Height and width; one number means a square.
        #[serde(with = "pair")]
        size: [usize; 2],
    },
    /// Some of what arrives, at equal distances along each dimension: rows, columns and channels of an
    /// image, or features.
    Slice {
        /// First position, of each dimension; 0 when left out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        begin: Vec<usize>,
        /// Positions, of each dimension; as many as there are when left out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        size: Vec<usize>,
        /// From a position to the next, of each dimension; 1 when left out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        stride: Vec<usize>,
    },
    /// A larger image, each of whose pixels is the nearest one.
    Upsample {
        /// Rows and columns for each that there is; one number means both.
        #[serde(with = "pair")]
        factor: [usize; 2],
    },
    /// max(x, 0).
    Relu {},
    /// min(max(x, 0), 6).
    Relu6 {},
    /// x where that is positive, else `slope` times x.
    LeakyRelu {
        /// Slope below 0, 0 < slope < 1.
        #[serde(default = "slope")]
        slope: f32,
    },
    /// min(max(x + 3, 0), 6)/6.
    HardSigmoid {},
    /// x·min(max(x + 3, 0), 6)/6.
    HardSwish {},
    /// 1/(1 + exp(−x)).
    Logistic {},
    /// The hyperbolic tangent.
    Tanh {},
    /// Image to features.
    Flatten {},
    /// Random zeroing in pre-training.
    Dropout {
        /// Probability of zeroing, 0 < rate < 1.
        rate: f32,
    },
    /// Names what arrives.
    Mark {
        /// The name.
        name: String,
    },
    /// Goes on from a named value.
    From {
        /// The name of a mark before.
        name: String,
    },
    /// Adds a named value.
    Add {
        /// The name of a mark before.
        name: String,
    },
    /// Multiplies with a named value.
    Mul {
        /// The name of a mark before.
        name: String,
    },
    /// Puts the channels of a named value behind those that arrive.
    Concat {
        /// The name of a mark before.
        name: String,
    },
}

impl LayerConfig {
    /// The layer's `type` in a job file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dense { .. } => "dense",
            Self::Conv2d { .. } => "conv2d",
            Self::DepthwiseConv2d { .. } => "depthwise-conv2d",
            Self::BatchNorm {} => "batch-norm",
            Self::MaxPool { .. } => "max-pool",
            Self::AvgPool { .. } => "avg-pool",
            Self::GlobalAvgPool {} => "global-avg-pool",
            Self::Crop { .. } => "crop",
            Self::Slice { .. } => "slice",
            Self::Upsample { .. } => "upsample",
            Self::Relu {} => "relu",
            Self::Relu6 {} => "relu6",
            Self::LeakyRelu { .. } => "leaky-relu",
            Self::HardSigmoid {} => "hard-sigmoid",
            Self::HardSwish {} => "hard-swish",
            Self::Logistic {} => "logistic",
            Self::Tanh {} => "tanh",
            Self::Flatten {} => "flatten",
            Self::Dropout { .. } => "dropout",
            Self::Mark { .. } => "mark",
            Self::From { .. } => "from",
            Self::Add { .. } => "add",
            Self::Mul { .. } => "mul",
            Self::Concat { .. } => "concat",
        }
    }

    /// Whether the scores of a network can come out of it: what clips, bends or zeroes them can't be the
    /// last.
    pub(super) fn can_end(&self) -> bool {
        !matches!(
            self,
            Self::Relu {}
                | Self::Relu6 {}
                | Self::LeakyRelu { .. }
                | Self::HardSigmoid {}
                | Self::HardSwish {}
                | Self::Logistic {}
                | Self::Tanh {}
                | Self::Dropout { .. }
                | Self::From { .. }
        )
    }

    /// Whether the layer has weights.
    pub(super) fn is_affine(&self) -> bool {
        matches!(self, Self::Dense { .. } | Self::Conv2d { .. } | Self::DepthwiseConv2d { .. })
    }
}

impl NetworkConfig {
    /// Whether its weights come from a file.
    pub fn is_given(&self) -> bool {
        self.model.is_some() || self.weights.is_some()
    }

    /// The layers of the list, the preset, or the default preset.
    ///
    /// # Errors
    /// [`super::NetworkError::PresetAndLayers`] when both are given,
    /// [`super::NetworkError::WidthOfNothing`] when there is a width and no preset,
    /// [`super::NetworkError::ModelAndOthers`] when there is a model beside others (alone it has no
    /// layers here: they are in its file),
    /// [`super::NetworkError::LayoutOfNothing`] when there is an order of an input and no model,
    /// [`super::NetworkError::NamesOfNothing`] when there are names and no weights.
    pub fn layers(&self) -> Result<Vec<LayerConfig>, super::NetworkError> {
        if self.width.is_some() && self.preset.is_none() {
            return Err(super::NetworkError::WidthOfNothing);
        }
        if self.model.is_some() {
            let alone = self.preset.is_none() && self.layers.is_empty() && self.weights.is_none();
            return if alone { Ok(Vec::new()) } else { Err(super::NetworkError::ModelAndOthers) };
        }
        if self.input_layout.is_some() {
            return Err(super::NetworkError::LayoutOfNothing);
        }
        if self.weights.is_none() && !self.names.is_empty() {
            return Err(super::NetworkError::NamesOfNothing);
        }
        match self.preset {
            Some(_) if !self.layers.is_empty() => Err(super::NetworkError::PresetAndLayers),
            Some(preset) => Ok(preset.layers(self.width.unwrap_or(1.0))),
            None if self.layers.is_empty() => Ok(Preset::default().layers(1.0)),
            None => Ok(self.layers.clone()),
        }
    }

    /// Its files.
    #[cfg(feature = "training")]
    pub(crate) fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [&mut self.model, &mut self.weights].into_iter().flatten()
    }

    /// The layers as a graph with every size known, from the shape of one example and the number of
    /// classes.
    ///
    /// The result ends in one value per class; [`NetworkConfig::output`] is not part of it.
    ///
    /// # Errors
    /// The first layer that can't be, with what arrives there and what it needs.
    pub fn infer(&self, input: Shape, classes: usize) -> Result<Graph<()>, super::NetworkError> {
        build::build(&self.layers()?, input, classes)
    }

    /// The same network with nothing left to default: layers instead of a preset, units and strides
    /// stated.
    ///
    /// # Errors
    /// As [`NetworkConfig::layers`].
    pub fn resolve(&self, classes: usize) -> Result<Self, super::NetworkError> {
        let mut layers = self.layers()?;
        for layer in &mut layers {
            match layer {
                LayerConfig::Dense { units } => {
                    units.get_or_insert(classes);
                }
                LayerConfig::MaxPool { size, stride, .. }
                | LayerConfig::AvgPool { size, stride, .. } => {
                    stride.get_or_insert(*size);
                }
                _ => {}
            }
        }
        Ok(Self { preset: None, width: None, layers, ..self.clone() })
    }
}

fn one() -> [usize; 2] {
    [1, 1]
}

/// PyTorch's default.
fn slope() -> f32 {
    0.01
}

/// One number or two.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a whole number such as 5, or two: [rows, columns]")]
enum OneOrTwo {
    One(usize),
    Two([usize; 2]),
}

impl From<OneOrTwo> for [usize; 2] {
    fn from(given: OneOrTwo) -> Self {
        match given {
            OneOrTwo::One(n) => [n, n],
            OneOrTwo::Two(pair) => pair,
        }
    }
}

/// `kernel = 5` is read as `[5, 5]`; `[5, 5]` is written.
mod pair {
    use super::{Deserialize, Deserializer, OneOrTwo, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &[usize; 2], to: S) -> Result<S::Ok, S::Error> {
        value.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[usize; 2], D::Error> {
        OneOrTwo::deserialize(from).map(Into::into)
    }
}

/// As [`pair`], where nothing may be given.
mod optional_pair {
    use super::{Deserialize, Deserializer, OneOrTwo, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<[usize; 2]>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<[usize; 2]>, D::Error> {
        OneOrTwo::deserialize(from).map(|given| Some(given.into()))
    }
}
