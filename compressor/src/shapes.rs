//! Shape inference: which shape lies between the layers of a [`Topology`], or which layer is wrong.
//!
//! A *boundary* is what lies between two layers; boundary 0 is the network's input and boundary
//! `i + 1` the output of layer `i`.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::network::{Layer, Padding, Shape, Topology};

/// Most values of one activation: a device addresses its arena with 32 bits, and nothing near this
/// fits a microcontroller.
pub const MAX_ACTIVATION_LEN: usize = 1 << 24;

/// A layer that does not fit what comes before it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// The input has no values.
    #[error("the network's input has no values; give every dimension at least 1")]
    EmptyInput,
    /// The network has no dense layer and no convolution.
    #[error("the network has no dense layer and no convolution; add at least one")]
    NoAffineLayer,
    /// A dense layer or a selection meets an image.
    #[error(
        "layer {layer} ({kind}) needs flat features but gets an image; put a flatten before it"
    )]
    NeedsFlat {
        /// Position among the layers, from 0.
        layer: usize,
        /// Kind of the layer.
        kind: &'static str,
    },
    /// A convolution or pooling meets flat features.
    #[error(
        "layer {layer} ({kind}) needs an image but gets flat features; put it before the flatten"
    )]
    NeedsImage {
        /// Position among the layers, from 0.
        layer: usize,
        /// Kind of the layer.
        kind: &'static str,
    },
    /// A layer states another number of inputs than it gets.
    #[error("layer {layer} ({kind}) is made for {stated} inputs or channels but gets {found}")]
    WidthMismatch {
        /// Position among the layers, from 0.
        layer: usize,
        /// Kind of the layer.
        kind: &'static str,
        /// What the layer says.
        stated: usize,
        /// What comes.
        found: usize,
    },
    /// A window, a stride or a number of outputs is zero, or a whole window does not fit.
    #[error(
        "layer {layer} ({kind}): a window of {window:?} with stride {stride:?} gives no output on \
         {height}x{width}; make it smaller, or pad with `same`"
    )]
    NoOutput {
        /// Position among the layers, from 0.
        layer: usize,
        /// Kind of the layer.
        kind: &'static str,
        /// Window height and width.
        window: [usize; 2],
        /// Stride.
        stride: [usize; 2],
        /// Rows of the input.
        height: usize,
        /// Columns of the input.
        width: usize,
    },
    /// A layer makes more values than [`MAX_ACTIVATION_LEN`], or none.
    #[error("layer {layer} ({kind}) gives {len} values; allowed are 1 to {MAX_ACTIVATION_LEN}")]
    Size {
        /// Position among the layers, from 0.
        layer: usize,
        /// Kind of the layer.
        kind: &'static str,
        /// Number of values, saturated.
        len: usize,
    },
    /// A name that no layer before has given.
    #[error("layer {layer} ({kind}) names \"{name}\", but no mark before it does")]
    NoMark {
        /// Position among the layers, from 0.
        layer: usize,
        /// Kind of the layer.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A sum of values of different shapes.
    #[error("layer {layer} (add) gets a value of another shape than \"{name}\"")]
    Sum {
        /// Position among the layers, from 0.
        layer: usize,
        /// The name.
        name: String,
    },
    /// A crop that isn't the first layer, or not within the image.
    #[error(
        "layer {layer} (crop): {}x{} must lie within the input image of {height}x{width}, and be \
         the first layer", size[0], size[1]
    )]
    Crop {
        /// Position among the layers, from 0.
        layer: usize,
        /// Height and width.
        size: [usize; 2],
        /// Rows of what arrives.
        height: usize,
        /// Columns of what arrives.
        width: usize,
    },
    /// A selection is not ascending or points outside its input.
    #[error("layer {layer} (select): indices must ascend and lie below {features}")]
    Selection {
        /// Position among the layers, from 0.
        layer: usize,
        /// Features that come in.
        features: usize,
    },
}

/// Kind of a layer as the job file and the messages call it.
pub fn kind(layer: &Layer) -> &'static str {
    match layer {
        Layer::Dense { .. } => "dense",
        Layer::Conv2d { .. } => "conv2d",
        Layer::DepthwiseConv2d { .. } => "depthwise_conv2d",
        Layer::BatchNorm { .. } => "batch_norm",
        Layer::MaxPool2d { .. } => "max_pool2d",
        Layer::AvgPool2d { .. } => "avg_pool2d",
        Layer::Crop { .. } => "crop",
        Layer::Relu => "relu",
        Layer::Relu6 => "relu6",
        Layer::Flatten => "flatten",
        Layer::Select { .. } => "select",
        Layer::Dropout { .. } => "dropout",
        Layer::Mark { .. } => "mark",
        Layer::From { .. } => "from",
        Layer::Add { .. } => "add",
    }
}

/// Outputs along one axis; `None` where no window fits.
pub fn window_outputs(
    input: usize,
    window: usize,
    stride: usize,
    padding: Padding,
) -> Option<usize> {
    if window == 0 || stride == 0 || input == 0 {
        return None;
    }
    match padding {
        Padding::Valid => (input >= window).then(|| (input - window) / stride + 1),
        Padding::Same => Some(input.div_ceil(stride)),
        Padding::Around => {
            let padded = input.saturating_add(window / 2 * 2);
            (padded >= window).then(|| (padded - window) / stride + 1)
        }
    }
}

/// Zeros before the first value along one axis (the odd zero of `same` goes behind the last).
pub fn padding_before(input: usize, window: usize, stride: usize, padding: Padding) -> usize {
    match padding {
        Padding::Valid => 0,
        Padding::Around => window / 2,
        Padding::Same => {
            let outputs = input.div_ceil(stride.max(1));
            let reach = outputs.saturating_sub(1) * stride + window;
            reach.saturating_sub(input) / 2
        }
    }
}

/// Shapes of all boundaries: one more than there are layers.
///
/// # Errors
/// The first layer that does not fit.
pub fn infer(topology: &Topology) -> Result<Vec<Shape>, ShapeError> {
    if topology.input.is_empty() {
        return Err(ShapeError::EmptyInput);
    }
    if topology.affine_layers().next().is_none() {
        return Err(ShapeError::NoAffineLayer);
    }
    walk(topology)
}

/// As [`infer`], also for a network in the making that has no affine layer yet.
pub(crate) fn walk(topology: &Topology) -> Result<Vec<Shape>, ShapeError> {
    let mut shapes = Vec::with_capacity(topology.layers.len() + 1);
    let mut current = topology.input;
    let mut marks = BTreeMap::new();
    shapes.push(current);
    for (index, layer) in topology.layers.iter().enumerate() {
        current = match layer {
            Layer::Mark { name } => {
                marks.insert(name, current);
                current
            }
            Layer::From { name } | Layer::Add { name } => {
                let missing =
                    || ShapeError::NoMark { layer: index, kind: kind(layer), name: name.clone() };
                let named = *marks.get(name).ok_or_else(missing)?;
                if matches!(layer, Layer::Add { .. }) && named != current {
                    return Err(ShapeError::Sum { layer: index, name: name.clone() });
                }
                named
            }
            layer => output_shape(index, layer, current)?,
        };
        let len = checked_len(current);
        if len == 0 || len > MAX_ACTIVATION_LEN {
            return Err(ShapeError::Size { layer: index, kind: kind(layer), len });
        }
        shapes.push(current);
    }
    Ok(shapes)
}

fn checked_len(shape: Shape) -> usize {
    match shape {
        Shape::Flat(n) => n,
        Shape::Image { height, width, channels } => {
            height.saturating_mul(width).saturating_mul(channels)
        }
    }
}

fn output_shape(index: usize, layer: &Layer, input: Shape) -> Result<Shape, ShapeError> {
    let kind = kind(layer);
    let mismatch = |stated, found| ShapeError::WidthMismatch { layer: index, kind, stated, found };
    match (layer, input) {
        (Layer::Dense { inputs, outputs }, Shape::Flat(n)) => {
            if *inputs != n {
                return Err(mismatch(*inputs, n));
            }
            Ok(Shape::Flat(*outputs))
        }
        (Layer::Select { keep }, Shape::Flat(n)) => {
            let ascending = keep.windows(2).all(|pair| pair[0] < pair[1]);
            if !ascending || keep.last().is_some_and(|&last| last as usize >= n) {
                return Err(ShapeError::Selection { layer: index, features: n });
            }
            Ok(Shape::Flat(keep.len()))
        }
        (Layer::Dense { .. } | Layer::Select { .. }, Shape::Image { .. }) => {
            Err(ShapeError::NeedsFlat { layer: index, kind })
        }
        (Layer::Conv2d { channels, filters, kernel, stride, padding }, image) => {
            let made = windowed(index, kind, image, *kernel, *stride, *padding)?;
            let Shape::Image { height, width, channels: found } = made else { return Ok(made) };
            if *channels != found {
                return Err(mismatch(*channels, found));
            }
            Ok(Shape::Image { height, width, channels: *filters })
        }
        (Layer::DepthwiseConv2d { channels, kernel, stride, padding }, image) => {
            let made = windowed(index, kind, image, *kernel, *stride, *padding)?;
            match made {
                Shape::Image { channels: found, .. } if *channels != found => {
                    Err(mismatch(*channels, found))
                }
                made => Ok(made),
            }
        }
        (
            Layer::MaxPool2d { size, stride, padding } | Layer::AvgPool2d { size, stride, padding },
            image,
        ) => windowed(index, kind, image, *size, *stride, *padding),
        (Layer::Crop { before, size }, Shape::Image { height, width, channels }) => {
            let fits = |axis: usize, len| before[axis].saturating_add(size[axis]) <= len;
            if index != 0 || !fits(0, height) || !fits(1, width) {
                return Err(ShapeError::Crop { layer: index, size: *size, height, width });
            }
            Ok(Shape::Image { height: size[0], width: size[1], channels })
        }
        (Layer::Crop { .. }, Shape::Flat(_)) => Err(ShapeError::NeedsImage { layer: index, kind }),
        (Layer::BatchNorm { channels }, any) => {
            let found = match any {
                Shape::Flat(n) => n,
                Shape::Image { channels, .. } => channels,
            };
            if *channels != found { Err(mismatch(*channels, found)) } else { Ok(any) }
        }
        (
            Layer::Relu
            | Layer::Relu6
            | Layer::Dropout { .. }
            | Layer::Mark { .. }
            | Layer::From { .. }
            | Layer::Add { .. },
            any,
        ) => Ok(any),
        (Layer::Flatten, any) => Ok(Shape::Flat(checked_len(any))),
    }
}

fn windowed(
    index: usize,
    kind: &'static str,
    input: Shape,
    window: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
) -> Result<Shape, ShapeError> {
    let Shape::Image { height, width, channels } = input else {
        return Err(ShapeError::NeedsImage { layer: index, kind });
    };
    let rows = window_outputs(height, window[0], stride[0], padding);
    let columns = window_outputs(width, window[1], stride[1], padding);
    match (rows, columns) {
        (Some(rows), Some(columns)) => Ok(Shape::Image { height: rows, width: columns, channels }),
        _ => Err(ShapeError::NoOutput { layer: index, kind, window, stride, height, width }),
    }
}

/// The shape of a layer's weights, outputs first; empty without any.
pub fn weight_shape(layer: &Layer) -> Vec<usize> {
    match layer {
        Layer::Dense { inputs, outputs } => vec![*outputs, *inputs],
        Layer::Conv2d { channels, filters, kernel, .. } => {
            vec![*filters, kernel[0], kernel[1], *channels]
        }
        Layer::DepthwiseConv2d { channels, kernel, .. } => vec![*channels, kernel[0], kernel[1]],
        _ => Vec::new(),
    }
}

/// Weights of all affine layers.
pub fn weights(topology: &Topology) -> usize {
    topology.affine_layers().map(|layer| weight_shape(layer).iter().product::<usize>()).sum()
}

/// Multiply-accumulates of one inference, per affine layer.
///
/// # Errors
/// As [`infer`].
pub fn macs(topology: &Topology) -> Result<Vec<u64>, ShapeError> {
    let shapes = infer(topology)?;
    let mut all = Vec::new();
    for (i, layer) in topology.layers.iter().enumerate() {
        match layer {
            Layer::Dense { inputs, outputs } => all.push((inputs * outputs) as u64),
            Layer::Conv2d { channels, kernel, .. } => {
                let window = kernel[0] * kernel[1] * channels;
                let outputs = shapes.get(i + 1).copied().map_or(0, Shape::len);
                all.push((window * outputs) as u64);
            }
            Layer::DepthwiseConv2d { kernel, .. } => {
                let outputs = shapes.get(i + 1).copied().map_or(0, Shape::len);
                all.push((kernel[0] * kernel[1] * outputs) as u64);
            }
            _ => {}
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(layers: Vec<Layer>) -> Result<Vec<Shape>, ShapeError> {
        infer(&Topology { input: Shape::Image { height: 8, width: 8, channels: 1 }, layers })
    }

    fn conv(kernel: usize, padding: Padding) -> Layer {
        let (kernel, stride) = ([kernel; 2], [1; 2]);
        Layer::Conv2d { channels: 1, filters: 3, kernel, stride, padding }
    }

    #[test]
    fn a_small_network_has_the_shapes_one_expects() {
        let shapes = image(vec![
            conv(3, Padding::Valid),
            Layer::MaxPool2d { size: [2, 2], stride: [2, 2], padding: Padding::Valid },
            Layer::Flatten,
            Layer::Dense { inputs: 27, outputs: 10 },
        ]);
        let lens: Vec<_> = shapes.unwrap().into_iter().map(Shape::len).collect();
        assert_eq!(lens, [64, 108, 27, 27, 10]);
    }

    #[test]
    fn a_convolution_multiplies_at_every_position() {
        let input = Shape::Image { height: 8, width: 8, channels: 1 };
        let layers = vec![
            conv(3, Padding::Valid),
            Layer::Flatten,
            Layer::Dense { inputs: 108, outputs: 10 },
        ];
        assert_eq!(macs(&Topology { input, layers }).unwrap(), [3 * 9 * 36, 1_080]);
    }

    #[test]
    fn same_padding_keeps_the_size_and_puts_the_odd_zero_behind() {
        assert_eq!(window_outputs(7, 2, 2, Padding::Same), Some(4));
        assert_eq!(padding_before(7, 2, 2, Padding::Same), 0);
        assert_eq!(padding_before(8, 3, 1, Padding::Same), 1);
        assert_eq!(padding_before(8, 5, 1, Padding::Valid), 0);
        // PyTorch's 3 × 3 with stride 2 and padding 1: on an even size `same` pads elsewhere.
        assert_eq!(window_outputs(28, 3, 2, Padding::Around), Some(14));
        assert_eq!(padding_before(28, 3, 2, Padding::Around), 1);
        assert_eq!(padding_before(28, 3, 2, Padding::Same), 0);
        assert_eq!(window_outputs(usize::MAX, 3, 1, Padding::Around), Some(usize::MAX - 2));
    }

    #[test]
    fn every_error_can_happen_and_names_its_layer() {
        let dense = |inputs| Layer::Dense { inputs, outputs: 2 };
        let empty = Topology { input: Shape::Flat(0), layers: vec![dense(0)] };
        assert_eq!(infer(&empty), Err(ShapeError::EmptyInput));
        assert_eq!(image(vec![Layer::Relu]), Err(ShapeError::NoAffineLayer));
        assert!(matches!(image(vec![dense(64)]), Err(ShapeError::NeedsFlat { layer: 0, .. })));
        let late = vec![Layer::Flatten, conv(3, Padding::Same)];
        assert!(matches!(image(late), Err(ShapeError::NeedsImage { layer: 1, .. })));
        let narrow = vec![Layer::Flatten, dense(63)];
        assert!(matches!(
            image(narrow),
            Err(ShapeError::WidthMismatch { stated: 63, found: 64, .. })
        ));
        let large = vec![conv(9, Padding::Valid)];
        assert!(matches!(image(large), Err(ShapeError::NoOutput { layer: 0, .. })));
        let none = vec![Layer::Flatten, Layer::Dense { inputs: 64, outputs: 0 }];
        assert!(matches!(image(none), Err(ShapeError::Size { layer: 1, len: 0, .. })));
        let add = Layer::Add { name: "a".into() };
        assert!(matches!(
            image(vec![add.clone(), conv(3, Padding::Same)]),
            Err(ShapeError::NoMark { layer: 0, .. })
        ));
        let mark = Layer::Mark { name: "a".into() };
        let sum = vec![mark, conv(3, Padding::Same), add];
        assert!(matches!(image(sum), Err(ShapeError::Sum { layer: 2, .. })));
        let select = vec![Layer::Flatten, Layer::Select { keep: vec![3, 3] }, dense(2)];
        assert!(matches!(image(select), Err(ShapeError::Selection { layer: 1, features: 64 })));
    }
}
