//! Layers to stages: what one operator of the runtime computes.
//!
//! An activation is monotone and acts on each value alone, so it commutes, exactly, with
//! max-pooling, selection and flattening: it moves forward to the affine layer or average pooling
//! that it then becomes part of. Quantising the affine layer's output *behind* its activation is
//! also finer, since half of the range is gone.

use crate::network::{Layer, Padding, Topology};
use crate::shapes::kind;

use super::LowerError;

/// A fused activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
}

impl Activation {
    /// This one, then another.
    fn then(self, next: Self) -> Self {
        match (self, next) {
            (Self::Relu6, _) | (_, Self::Relu6) => Self::Relu6,
            (Self::Relu, _) | (_, Self::Relu) => Self::Relu,
            (Self::Identity, Self::Identity) => Self::Identity,
        }
    }
}

/// A dense layer or convolution with its activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffineStage {
    /// Which affine layer, from 0.
    pub index: usize,
    /// Position among the layers.
    pub layer: usize,
    /// Fused activation.
    pub activation: Activation,
    /// Boundary with the same values as the stage's output; `None` if there is none.
    pub boundary: Option<usize>,
    /// Boundary whose range the output's quantisation follows: the last one that only activations,
    /// max-pooling, selection and reshaping lie before.
    pub range: usize,
}

/// A sum of what arrives and a named value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddStage {
    /// Which sum, from 0.
    pub index: usize,
    /// Position among the layers.
    pub layer: usize,
    /// The other value's name.
    pub name: String,
    /// Fused activation.
    pub activation: Activation,
    /// Boundary with the same values as the stage's output; `None` if there is none.
    pub boundary: Option<usize>,
    /// Boundary whose range the output's quantisation follows, as for affine stages.
    pub range: usize,
}

/// A convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvStage {
    /// What all affine layers have.
    pub affine: AffineStage,
    /// Kernel, stride and padding.
    pub window: WindowStage,
}

/// A sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowStage {
    /// Height and width.
    pub size: [usize; 2],
    /// Steps down and right.
    pub stride: [usize; 2],
    /// Border rule.
    pub padding: Padding,
}

/// A pooling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolStage {
    /// Position among the layers.
    pub layer: usize,
    /// Window.
    pub window: WindowStage,
    /// Fused activation.
    pub activation: Activation,
    /// Boundary with the same values as the stage's output; `None` if there is none.
    pub boundary: Option<usize>,
}

/// A selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectStage {
    /// Position among the layers.
    pub layer: usize,
    /// Ascending features that stay.
    pub keep: Vec<u32>,
    /// Boundary with the same values as the stage's output; `None` if there is none.
    pub boundary: Option<usize>,
}

/// What becomes one operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// y = activation(W·x + b).
    Dense(AffineStage),
    /// y = activation(W ⋆ x + b).
    Conv2d(ConvStage),
    /// y = activation(w ⋆ x + b), channel by channel.
    Depthwise(ConvStage),
    /// y = activation(x + named).
    Add(AddStage),
    /// No operator: gives the value a name.
    Mark(String),
    /// No operator: goes on from a named value.
    From(String),
    /// Largest of each window.
    MaxPool(PoolStage),
    /// Mean of each window.
    AvgPool(PoolStage),
    /// Some of the features.
    Select(SelectStage),
    /// No operator: the part of the input that is read.
    Crop {
        /// Rows and columns before it.
        before: [usize; 2],
        /// Its height and width.
        size: [usize; 2],
    },
}

impl Stage {
    /// Where an affine stage's or a sum's range is watched; other stages keep the quantisation they
    /// get.
    pub fn range_boundary(&self) -> Option<usize> {
        match self {
            Self::Dense(affine)
            | Self::Conv2d(ConvStage { affine, .. })
            | Self::Depthwise(ConvStage { affine, .. }) => Some(affine.range),
            Self::Add(add) => Some(add.range),
            Self::MaxPool(_)
            | Self::AvgPool(_)
            | Self::Select(_)
            | Self::Crop { .. }
            | Self::Mark(_)
            | Self::From(_) => None,
        }
    }

    /// Whether an activation behind this stage may move before it.
    fn commutes(&self) -> bool {
        match self {
            Self::MaxPool(_) | Self::Select(_) => true,
            Self::Dense(_)
            | Self::Conv2d(_)
            | Self::Depthwise(_)
            | Self::Add(_)
            | Self::AvgPool(_)
            | Self::Crop { .. }
            | Self::Mark(_)
            | Self::From(_) => false,
        }
    }

    fn set_boundary(&mut self, boundary: Option<usize>) {
        match self {
            Self::Dense(affine)
            | Self::Conv2d(ConvStage { affine, .. })
            | Self::Depthwise(ConvStage { affine, .. }) => affine.boundary = boundary,
            Self::Add(add) => add.boundary = boundary,
            Self::MaxPool(pool) | Self::AvgPool(pool) => pool.boundary = boundary,
            Self::Select(select) => select.boundary = boundary,
            Self::Mark(_) | Self::From(_) | Self::Crop { .. } => {}
        }
    }

    /// Takes an activation in; `false` where the operator has none.
    fn activate(&mut self, activation: Activation) -> bool {
        let own = match self {
            Self::Dense(affine)
            | Self::Conv2d(ConvStage { affine, .. })
            | Self::Depthwise(ConvStage { affine, .. }) => &mut affine.activation,
            Self::Add(add) => &mut add.activation,
            Self::MaxPool(pool) | Self::AvgPool(pool) => &mut pool.activation,
            Self::Select(_) | Self::Crop { .. } | Self::Mark(_) | Self::From(_) => return false,
        };
        *own = own.then(activation);
        true
    }
}

/// The stages of a topology, in order.
///
/// # Errors
/// When a batch normalisation is left, or an activation has nothing before it.
pub fn fuse(topology: &Topology) -> Result<Vec<Stage>, LowerError> {
    let mut stages: Vec<Stage> = Vec::new();
    let (mut index, mut sums) = (0, 0);
    for (layer, what) in topology.layers.iter().enumerate() {
        let window = |size: &[usize; 2], stride: &[usize; 2], padding: &Padding| WindowStage {
            size: *size,
            stride: *stride,
            padding: *padding,
        };
        let boundary = Some(layer + 1);
        let pool = |window| PoolStage { layer, window, activation: Activation::Identity, boundary };
        let mut affine = || {
            index += 1;
            AffineStage {
                index: index - 1,
                layer,
                activation: Activation::Identity,
                boundary,
                range: range_boundary(topology, layer),
            }
        };
        match what {
            Layer::Dense { .. } => stages.push(Stage::Dense(affine())),
            Layer::Conv2d { kernel, stride, padding, .. } => {
                stages.push(Stage::Conv2d(ConvStage {
                    affine: affine(),
                    window: window(kernel, stride, padding),
                }))
            }
            Layer::DepthwiseConv2d { kernel, stride, padding, .. } => {
                stages.push(Stage::Depthwise(ConvStage {
                    affine: affine(),
                    window: window(kernel, stride, padding),
                }))
            }
            Layer::Add { name } => {
                sums += 1;
                let (index, name, activation) = (sums - 1, name.clone(), Activation::Identity);
                let range = range_boundary(topology, layer);
                let add = AddStage { index, layer, name, activation, boundary, range };
                stages.push(Stage::Add(add));
            }
            Layer::Mark { name } => stages.push(Stage::Mark(name.clone())),
            Layer::From { name } => stages.push(Stage::From(name.clone())),
            Layer::MaxPool2d { size, stride, padding } => {
                stages.push(Stage::MaxPool(pool(window(size, stride, padding))));
            }
            Layer::AvgPool2d { size, stride, padding } => {
                stages.push(Stage::AvgPool(pool(window(size, stride, padding))));
            }
            Layer::Select { keep } => {
                stages.push(Stage::Select(SelectStage { layer, keep: keep.clone(), boundary }));
            }
            Layer::Crop { before, size } => {
                stages.push(crop(topology, layer, *before, *size)?);
            }
            Layer::Relu => activate(&mut stages, layer, what, Activation::Relu)?,
            Layer::Relu6 => activate(&mut stages, layer, what, Activation::Relu6)?,
            // The same values at another boundary.
            Layer::Flatten | Layer::Dropout { .. } => {
                if let Some(last) = stages.last_mut() {
                    last.set_boundary(boundary);
                }
            }
            Layer::BatchNorm { .. } => return Err(LowerError::BatchNormNotFolded { layer }),
        }
    }
    Ok(stages)
}

/// A crop, behind which a window must stay within its input.
fn crop(
    topology: &Topology,
    layer: usize,
    before: [usize; 2],
    size: [usize; 2],
) -> Result<Stage, LowerError> {
    match topology.layers.get(layer + 1) {
        Some(
            Layer::Conv2d { padding: Padding::Valid, .. }
            | Layer::DepthwiseConv2d { padding: Padding::Valid, .. }
            | Layer::MaxPool2d { padding: Padding::Valid, .. }
            | Layer::AvgPool2d { padding: Padding::Valid, .. },
        ) => Ok(Stage::Crop { before, size }),
        _ => Err(LowerError::Crop { layer }),
    }
}

/// Fuses an activation into the stage that it moves to.
fn activate(
    stages: &mut [Stage],
    layer: usize,
    what: &Layer,
    activation: Activation,
) -> Result<(), LowerError> {
    let nothing = LowerError::NothingToFuse { layer, kind: kind(what) };
    let end = stages.len();
    let target = stages.iter().rposition(|stage| !stage.commutes());
    let named = |stage: usize| matches!(stages[stage], Stage::Mark(_) | Stage::From(_));
    let target = match target {
        Some(target) if !named(target) => target,
        // Only poolings come between it and the input, or a named value: the first of them takes it.
        before => {
            let pool = |stage: &Stage| matches!(stage, Stage::MaxPool(_));
            let from = before.map_or(0, |at| at + 1);
            from + stages[from..].iter().position(pool).ok_or(nothing.clone())?
        }
    };
    if !stages[target].activate(activation) {
        return Err(nothing);
    }
    // What lies between now holds activated values, which no boundary of the topology has.
    for stage in &mut stages[target..end] {
        stage.set_boundary(None);
    }
    if let Some(last) = stages.last_mut() {
        last.set_boundary(Some(layer + 1));
    }
    Ok(())
}

/// The last boundary behind an affine layer before something changes the values' quantisation.
fn range_boundary(topology: &Topology, affine: usize) -> usize {
    let keeps = |layer: &&Layer| match layer {
        Layer::Relu
        | Layer::Relu6
        | Layer::MaxPool2d { .. }
        | Layer::Flatten
        | Layer::Select { .. }
        | Layer::Dropout { .. } => true,
        Layer::Dense { .. }
        | Layer::Conv2d { .. }
        | Layer::DepthwiseConv2d { .. }
        | Layer::BatchNorm { .. }
        | Layer::AvgPool2d { .. }
        | Layer::Crop { .. }
        | Layer::Mark { .. }
        | Layer::From { .. }
        | Layer::Add { .. } => false,
    };
    affine + 1 + topology.layers[affine + 1..].iter().take_while(keeps).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Shape;

    fn conv() -> Layer {
        let (kernel, stride) = ([3, 3], [1, 1]);
        Layer::Conv2d { channels: 1, filters: 2, kernel, stride, padding: Padding::Valid }
    }

    fn max_pool() -> Layer {
        Layer::MaxPool2d { size: [2, 2], stride: [2, 2], padding: Padding::Valid }
    }

    fn avg_pool() -> Layer {
        Layer::AvgPool2d { size: [2, 2], stride: [2, 2], padding: Padding::Valid }
    }

    fn stages(layers: Vec<Layer>) -> Result<Vec<Stage>, LowerError> {
        fuse(&Topology { input: Shape::Image { height: 8, width: 8, channels: 1 }, layers })
    }

    #[test]
    fn a_relu_moves_before_max_pooling() {
        let got = stages(vec![conv(), max_pool(), Layer::Relu, Layer::Flatten]).unwrap();
        let Stage::Conv2d(ConvStage { affine, .. }) = &got[0] else { panic!("{got:?}") };
        assert_eq!((affine.activation, affine.boundary, affine.range), (Activation::Relu, None, 4));
        let Stage::MaxPool(pool) = &got[1] else { panic!("{got:?}") };
        assert_eq!((pool.activation, pool.boundary), (Activation::Identity, Some(4)));
    }

    #[test]
    fn a_relu_stays_behind_average_pooling() {
        let got = stages(vec![conv(), avg_pool(), Layer::Relu6]).unwrap();
        let Stage::Conv2d(ConvStage { affine, .. }) = &got[0] else { panic!("{got:?}") };
        assert_eq!((affine.activation, affine.range), (Activation::Identity, 1));
        let Stage::AvgPool(pool) = &got[1] else { panic!("{got:?}") };
        assert_eq!(pool.activation, Activation::Relu6);
    }

    #[test]
    fn activations_need_something_before_them() {
        let error = stages(vec![Layer::Flatten, Layer::Relu]).unwrap_err();
        assert_eq!(error, LowerError::NothingToFuse { layer: 1, kind: "relu" });
        let pooled = stages(vec![max_pool(), Layer::Relu, conv()]).unwrap();
        assert!(matches!(&pooled[0], Stage::MaxPool(p) if p.activation == Activation::Relu));
        let norm = stages(vec![Layer::BatchNorm { channels: 1 }]).unwrap_err();
        assert_eq!(norm, LowerError::BatchNormNotFolded { layer: 0 });
    }
}
