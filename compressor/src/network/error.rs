//! What can be wrong with a network, in a job file's terms.

use thiserror::Error;

use super::{MAX_ACTIVATIONS, MAX_DIM, MAX_LAYERS, MAX_WEIGHTS};
use crate::numbers::Shape;

/// Why a network can't be. `layer` counts from 0, as in `network.layers[0]`.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum NetworkError {
    /// A preset and a list of layers.
    #[error("both `preset` and `layers` are given; delete one of them")]
    PresetAndLayers,
    /// A factor on a preset's layers, but no preset.
    #[error(
        "`width` is a factor on a preset's layers, but there is no `preset`; name one, or leave it out"
    )]
    WidthOfNothing,
    /// A model file and something else that says what the network is.
    #[error("`model` is a whole network; delete `preset`, `layers` and `weights`")]
    ModelAndOthers,
    /// An order of an input's dimensions, but no model that has one.
    #[error("`input_layout` is of an ONNX file's input, but there is no `model`; leave it out")]
    LayoutOfNothing,
    /// Names, but nothing that has them.
    #[error("`names` says what layers are called in a file, but there is no `weights`; add it")]
    NamesOfNothing,
    /// More layers than 256.
    #[error("{found} layers are more than the {MAX_LAYERS} that are supported")]
    TooManyLayers {
        /// How many.
        found: usize,
    },
    /// The data have no values.
    #[error("the input is {}, which holds no value", show(*.input))]
    EmptyInput {
        /// The data's shape.
        input: Shape,
    },
    /// A dense layer meets an image.
    #[error(
        "layer {layer} (dense) needs flat features, but gets {}; put a layer \
         {{ type = \"flatten\" }} before it", show(*.arrives)
    )]
    NeedsFlat {
        /// Which layer.
        layer: usize,
        /// What arrives.
        arrives: Shape,
    },
    /// A convolution or pooling meets flat features.
    #[error(
        "layer {layer} ({kind}) needs an image, but gets {}; put it before the flatten layer, or \
         state the image with `data.shape = [height, width, channels]`", show(*.arrives)
    )]
    NeedsImage {
        /// Which layer.
        layer: usize,
        /// Its type.
        kind: &'static str,
        /// What arrives.
        arrives: Shape,
    },
    /// No whole window fits.
    #[error(
        "layer {layer} ({kind}) looks through a window of {} × {}, but gets only {}; make the \
         window smaller, use padding = \"same\", or pool less before", window[0], window[1],
        show(*.arrives)
    )]
    WindowTooLarge {
        /// Which layer.
        layer: usize,
        /// Its type.
        kind: &'static str,
        /// Height and width.
        window: [usize; 2],
        /// What arrives.
        arrives: Shape,
    },
    /// A window that would see mostly padding.
    #[error(
        "layer {layer} ({kind}) looks through a window of {} × {}, but gets only {}; whatever the \
         padding, a window is at most twice as high and twice as wide as the image: make it smaller \
         (two numbers are height and width), or pool less before", window[0], window[1],
        show(*.arrives)
    )]
    MostlyPadding {
        /// Which layer.
        layer: usize,
        /// Its type.
        kind: &'static str,
        /// Height and width.
        window: [usize; 2],
        /// What arrives.
        arrives: Shape,
    },
    /// A size that must be at least 1.
    #[error("layer {layer} ({kind}) has `{key}` = 0; it must be at least 1")]
    Zero {
        /// Which layer.
        layer: usize,
        /// Its type.
        kind: &'static str,
        /// Which key.
        key: &'static str,
    },
    /// More activations than 2²⁴.
    #[error(
        "layer {layer} ({kind}) would make {} with more than {MAX_ACTIVATIONS} values; use fewer \
         filters or units, or a larger stride", show(*.makes)
    )]
    TooManyActivations {
        /// Which layer.
        layer: usize,
        /// Its type.
        kind: &'static str,
        /// What it would make.
        makes: Shape,
    },
    /// The data are larger than a model's input can be.
    #[error(
        "the input is {}, but a model's sizes are at most {MAX_DIM} each; give smaller inputs",
        show(*.input)
    )]
    InputTooWide {
        /// The data's shape.
        input: Shape,
    },
    /// A size beyond what the format can hold.
    #[error(
        "layer {layer} ({kind}) makes {}, but a model's sizes are at most {MAX_DIM} each; use fewer \
         filters or units, or pool before it", show(*.makes)
    )]
    TooWide {
        /// Which layer.
        layer: usize,
        /// Its type.
        kind: &'static str,
        /// What it would make.
        makes: Shape,
    },
    /// More weights than 2²⁶.
    #[error(
        "layer {layer} ({kind}) would have more than {MAX_WEIGHTS} weights; use fewer filters or \
         units, or pool before it"
    )]
    TooManyWeights {
        /// Which layer.
        layer: usize,
        /// Its type.
        kind: &'static str,
    },
    /// A dense layer without units that isn't the last.
    #[error(
        "layer {layer} (dense) has no `units`; only the last dense layer may leave them out \
         (it gets one per class)"
    )]
    UnitsMissing {
        /// Which layer.
        layer: usize,
    },
    /// Batch normalisation that could not be folded.
    #[error(
        "layer {layer} (batch-norm) must stand right after a dense layer or a convolution, into \
         which it is folded"
    )]
    BatchNormPlace {
        /// Which layer.
        layer: usize,
    },
    /// A rate outside (0, 1).
    #[error("layer {layer} (dropout) has rate = {rate}; it must lie between 0 and 1, exclusive")]
    DropoutRate {
        /// Which layer.
        layer: usize,
        /// What it is.
        rate: f32,
    },
    /// A slope outside (0, 1).
    #[error(
        "layer {layer} (leaky-relu) has slope = {slope}; it must lie between 0 and 1, exclusive"
    )]
    Slope {
        /// Which layer.
        layer: usize,
        /// What it is.
        slope: f32,
    },
    /// A name that no mark has.
    #[error(
        "layer {layer} ({kind}) names \"{name}\", but no layer before it is \
         {{ type = \"mark\", name = \"{name}\" }}; add it where the value is"
    )]
    NoMark {
        /// Which layer.
        layer: usize,
        /// Its type.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A name that two marks have.
    #[error("layer {layer} (mark) has the name \"{name}\" of a mark before; choose another")]
    MarkTwice {
        /// Which layer.
        layer: usize,
        /// The name.
        name: String,
    },
    /// A sum of different shapes.
    #[error(
        "layer {layer} (add) gets {}, but \"{name}\" is {}; both must be equal", show(*.arrives),
        show(*.named)
    )]
    SumShapes {
        /// Which layer.
        layer: usize,
        /// The name.
        name: String,
        /// What arrives.
        arrives: Shape,
        /// What the name stands for.
        named: Shape,
    },
    /// What arrives at a `from` is read by nothing.
    #[error(
        "layer {layer} (from) drops what the layers before it compute; put a mark right before it, \
         and use that"
    )]
    Dropped {
        /// Which layer.
        layer: usize,
    },
    /// A product of shapes that don't fit.
    #[error(
        "layer {layer} (mul) gets {}, but \"{name}\" is {}; both must be equal, or one of them one \
         value per channel of the other", show(*.arrives), show(*.named)
    )]
    ProductShapes {
        /// Which layer.
        layer: usize,
        /// The name.
        name: String,
        /// What arrives.
        arrives: Shape,
        /// What the name stands for.
        named: Shape,
    },
    /// A join of images of different sizes, or of an image and features.
    #[error(
        "layer {layer} (concat) gets {}, but \"{name}\" is {}; height and width must be equal",
        show(*.arrives), show(*.named)
    )]
    ConcatShapes {
        /// Which layer.
        layer: usize,
        /// The name.
        name: String,
        /// What arrives.
        arrives: Shape,
        /// What the name stands for.
        named: Shape,
    },
    /// A part that there isn't.
    #[error(
        "layer {layer} ({kind}): `{key}` must lie within what arrives, {}, with a number for each \
         dimension", show(*.arrives)
    )]
    Part {
        /// Which layer.
        layer: usize,
        /// Its type.
        kind: &'static str,
        /// What is wrong.
        key: &'static str,
        /// What arrives.
        arrives: Shape,
    },
    /// Nothing to learn.
    #[error("no layer has weights; add a dense layer or a convolution")]
    NoWeights,
    /// The scores would be changed.
    #[error(
        "layer {layer} ({kind}) is the last and would clip, bend or zero the scores; end with a dense \
         layer"
    )]
    EndsBadly {
        /// Which layer.
        layer: usize,
        /// Its type.
        kind: &'static str,
    },
    /// The last shape isn't one value per class.
    #[error(
        "the network ends in {}, but the data have {classes} classes; end with a dense layer \
         without `units`", show(*.ends)
    )]
    NotClasses {
        /// The last shape.
        ends: Shape,
        /// Classes of the data.
        classes: usize,
    },
}

impl NetworkError {
    /// The layer it speaks of, counted from 0.
    pub fn layer(&self) -> Option<usize> {
        match *self {
            Self::NeedsFlat { layer, .. }
            | Self::NeedsImage { layer, .. }
            | Self::WindowTooLarge { layer, .. }
            | Self::MostlyPadding { layer, .. }
            | Self::Zero { layer, .. }
            | Self::TooManyActivations { layer, .. }
            | Self::TooWide { layer, .. }
            | Self::TooManyWeights { layer, .. }
            | Self::UnitsMissing { layer }
            | Self::BatchNormPlace { layer }
            | Self::DropoutRate { layer, .. }
            | Self::NoMark { layer, .. }
            | Self::MarkTwice { layer, .. }
            | Self::SumShapes { layer, .. }
            | Self::Dropped { layer }
            | Self::ProductShapes { layer, .. }
            | Self::ConcatShapes { layer, .. }
            | Self::Slope { layer, .. }
            | Self::Part { layer, .. }
            | Self::EndsBadly { layer, .. } => Some(layer),
            Self::InputTooWide { .. }
            | Self::PresetAndLayers
            | Self::WidthOfNothing
            | Self::LayoutOfNothing
            | Self::NamesOfNothing
            | Self::ModelAndOthers
            | Self::TooManyLayers { .. }
            | Self::EmptyInput { .. }
            | Self::NoWeights
            | Self::NotClasses { .. } => None,
        }
    }

    /// The key of that layer, if one is to blame.
    pub fn key(&self) -> Option<&'static str> {
        match *self {
            Self::Zero { key, .. } | Self::Part { key, .. } => Some(key),
            Self::DropoutRate { .. } => Some("rate"),
            Self::Slope { .. } => Some("slope"),
            Self::NoMark { .. }
            | Self::MarkTwice { .. }
            | Self::SumShapes { .. }
            | Self::ProductShapes { .. }
            | Self::ConcatShapes { .. } => Some("name"),
            _ => None,
        }
    }
}

/// A shape in words.
fn show(shape: Shape) -> String {
    match shape {
        Shape::Flat(n) => format!("{n} features"),
        Shape::Image { height, width, channels } => {
            format!("an image of {height} × {width} × {channels}")
        }
    }
}
