//! From the layers that a job file lists to a graph with every size known.
//!
//! After [`build`] returned, every size is at least 1, every whole window fits, batch normalisation
//! stands where it can be folded, and the network ends in one value per class. Marks are gone: nodes
//! read the values that they stood for.

use std::collections::BTreeMap;

use super::{LayerConfig, NetworkError};
use crate::graph::ops::{
    Add, AvgPool2d, BatchNorm, Clip, Concat, Conv2d, Dense, DepthwiseConv2d, Dropout, HardSigmoid,
    HardSwish, LeakyRelu, Logistic, MaxPool2d, Mul, Op, Reshape, ResizeNearest, Slice, Tanh,
};
use crate::graph::{Graph, Padding, ValueId, Window};
use crate::numbers::Shape;

/// Most layers of one network: far beyond what a microcontroller runs, small enough that a mistyped
/// list fails here.
pub(crate) const MAX_LAYERS: usize = 256;

/// Most activations between two layers: nothing near this fits a microcontroller.
pub(crate) const MAX_ACTIVATIONS: usize = 1 << 24;

/// Most weights of one layer (64 Mi): its float weights, gradients, variances and optimiser moments
/// already take two gigabytes.
pub(crate) const MAX_WEIGHTS: usize = 1 << 26;

/// Most of anything that the format counts in 16 bits: features, rows, columns, channels.
pub(crate) const MAX_DIM: usize = u16::MAX as usize;

/// As [`super::NetworkConfig::infer`], on a plain list.
pub(super) fn build(
    configs: &[LayerConfig],
    input: Shape,
    classes: usize,
) -> Result<Graph<()>, NetworkError> {
    if configs.len() > MAX_LAYERS {
        return Err(NetworkError::TooManyLayers { found: configs.len() });
    }
    if values(input).is_none_or(|n| n == 0) {
        return Err(NetworkError::EmptyInput { input });
    }
    if too_wide(input) {
        return Err(NetworkError::InputTooWide { input });
    }
    let is_dense = |c: &LayerConfig| matches!(c, LayerConfig::Dense { .. });
    let last_dense = configs.iter().rposition(is_dense);
    let mut graph = Graph::of_input(input.dims());
    let mut arrives = Known { value: graph.input, shape: input };
    let mut marks = BTreeMap::new();
    for (layer, config) in configs.iter().enumerate() {
        let before = layer.checked_sub(1).map(|i| &configs[i]);
        let default_units = (Some(layer) == last_dense).then_some(classes);
        let place = Place { layer, config, arrives, marks: &marks, before, default_units };
        let step = place.step()?;
        let makes = step.makes(arrives.shape);
        let kind = config.kind();
        if values(makes).is_none_or(|n| n > MAX_ACTIVATIONS) {
            return Err(NetworkError::TooManyActivations { layer, kind, makes });
        }
        if too_wide(makes) {
            return Err(NetworkError::TooWide { layer, kind, makes });
        }
        match step {
            Step::Nothing => {}
            Step::Mark(name) => {
                marks.insert(name, arrives);
            }
            Step::From(named) => arrives = named,
            Step::Node(op, operands, shape) => {
                arrives = Known { value: push(&mut graph, op, operands, shape), shape };
            }
        }
    }
    check_end(configs, arrives.shape, classes)?;
    graph.output = arrives.value;
    graph.number_nodes();
    Ok(graph)
}

/// Appends a node, with parameters if its operator has some.
fn push(graph: &mut Graph<()>, op: Op, operands: Vec<ValueId>, shape: Shape) -> ValueId {
    let value = graph.push("", op, operands, shape.dims(), None);
    if let Some(node) = graph.nodes.last() {
        let parameters = node.op.parameters(&graph.site(node)).map(|_| ());
        let last = graph.nodes.len() - 1;
        graph.nodes[last].parameters = parameters;
    }
    value
}

fn check_end(configs: &[LayerConfig], ends: Shape, classes: usize) -> Result<(), NetworkError> {
    if !configs.iter().any(LayerConfig::is_affine) {
        return Err(NetworkError::NoWeights);
    }
    if let Some(last) = configs.last()
        && !last.can_end()
    {
        return Err(NetworkError::EndsBadly { layer: configs.len() - 1, kind: last.kind() });
    }
    if ends != Shape::Flat(classes) {
        return Err(NetworkError::NotClasses { ends, classes });
    }
    Ok(())
}

/// Whether a model couldn't hold a tensor's sizes. (What is flattened counts, too: each of its values is
/// an input of the layer behind, and a group.)
fn too_wide(shape: Shape) -> bool {
    match shape {
        Shape::Flat(n) => n > MAX_DIM,
        Shape::Image { height, width, channels } => height.max(width).max(channels) > MAX_DIM,
    }
}

/// Number of values, unless it overflows.
fn values(shape: Shape) -> Option<usize> {
    match shape {
        Shape::Flat(n) => Some(n),
        Shape::Image { height, width, channels } => {
            height.checked_mul(width)?.checked_mul(channels)
        }
    }
}

/// A value of the graph, and its shape.
#[derive(Clone, Copy, Debug)]
struct Known {
    value: ValueId,
    shape: Shape,
}

/// What a layer of the list comes to.
enum Step {
    /// There is nothing to compute.
    Nothing,
    /// What arrives gets this name.
    Mark(String),
    /// The list goes on from another value.
    From(Known),
    /// A node, what it reads, and the shape that it makes.
    Node(Op, Vec<ValueId>, Shape),
}

impl Step {
    /// The shape behind it, where `arrives` is the one before.
    fn makes(&self, arrives: Shape) -> Shape {
        match self {
            Self::Nothing | Self::Mark(_) => arrives,
            Self::From(named) => named.shape,
            Self::Node(_, _, shape) => *shape,
        }
    }
}

/// A layer in its place.
struct Place<'a> {
    layer: usize,
    config: &'a LayerConfig,
    arrives: Known,
    marks: &'a BTreeMap<String, Known>,
    before: Option<&'a LayerConfig>,
    /// Neurons of a dense layer that states none.
    default_units: Option<usize>,
}

impl Place<'_> {
    fn step(&self) -> Result<Step, NetworkError> {
        let shape = self.arrives.shape;
        Ok(match self.config {
            LayerConfig::Dense { units } => self.dense(units.or(self.default_units))?,
            LayerConfig::Conv2d { filters, kernel, stride, dilation, padding } => {
                self.at_least_one("filters", *filters)?;
                let (window, [height, width]) =
                    self.window("kernel", *kernel, *stride, *dilation, *padding)?;
                self.check_weights(&[*filters, kernel[0], kernel[1], shape.channels()])?;
                let makes = Shape::Image { height, width, channels: *filters };
                self.node(Conv2d { window }, makes)
            }
            LayerConfig::DepthwiseConv2d { kernel, stride, dilation, padding } => {
                let (window, makes) =
                    self.within("kernel", *kernel, *stride, *dilation, *padding)?;
                self.check_weights(&[kernel[0], kernel[1], shape.channels()])?;
                self.node(DepthwiseConv2d { window }, makes)
            }
            LayerConfig::MaxPool { size, stride, padding } => {
                let stride = stride.unwrap_or(*size);
                let (window, makes) = self.within("size", *size, stride, [1; 2], *padding)?;
                self.node(MaxPool2d { window }, makes)
            }
            LayerConfig::AvgPool { size, stride, padding } => {
                let stride = stride.unwrap_or(*size);
                let (window, makes) = self.within("size", *size, stride, [1; 2], *padding)?;
                self.node(AvgPool2d { window }, makes)
            }
            LayerConfig::GlobalAvgPool {} => {
                let [height, width, _] = self.image()?;
                let size = [height, width];
                let (window, makes) = self.within("size", size, size, [1; 2], Padding::Valid)?;
                self.node(AvgPool2d { window }, makes)
            }
            LayerConfig::BatchNorm {} if self.before.is_some_and(LayerConfig::is_affine) => {
                self.node(BatchNorm::new(shape.channels()), shape)
            }
            LayerConfig::BatchNorm {} => {
                return Err(NetworkError::BatchNormPlace { layer: self.layer });
            }
            LayerConfig::Crop { size } => self.crop(*size)?,
            LayerConfig::Slice { begin, size, stride } => self.slice(begin, size, stride)?,
            LayerConfig::Upsample { factor } => self.upsample(*factor)?,
            LayerConfig::Relu {} => self.node(Clip::RELU, shape),
            LayerConfig::Relu6 {} => self.node(Clip::RELU6, shape),
            LayerConfig::LeakyRelu { slope } => self.leaky_relu(*slope)?,
            LayerConfig::HardSigmoid {} => self.node(HardSigmoid::SIXTH, shape),
            LayerConfig::HardSwish {} => self.node(HardSwish {}, shape),
            LayerConfig::Logistic {} => self.node(Logistic {}, shape),
            LayerConfig::Tanh {} => self.node(Tanh {}, shape),
            LayerConfig::Flatten {} => match shape {
                // Already flat: nothing to compute, so that one list of layers fits images and
                // feature tables alike.
                Shape::Flat(_) => Step::Nothing,
                Shape::Image { .. } => self.node(Reshape {}, Shape::Flat(shape.len())),
            },
            LayerConfig::Dropout { rate } => self.dropout(*rate)?,
            LayerConfig::Mark { name } => self.mark(name)?,
            LayerConfig::From { name } => self.from(name)?,
            LayerConfig::Add { name } => self.add(name)?,
            LayerConfig::Mul { name } => self.mul(name)?,
            LayerConfig::Concat { name } => self.concat(name)?,
        })
    }

    /// A node that reads what arrives.
    fn node(&self, op: impl Into<Op>, makes: Shape) -> Step {
        Step::Node(op.into(), vec![self.arrives.value], makes)
    }

    fn dense(&self, units: Option<usize>) -> Result<Step, NetworkError> {
        let layer = self.layer;
        let Shape::Flat(inputs) = self.arrives.shape else {
            return Err(NetworkError::NeedsFlat { layer, arrives: self.arrives.shape });
        };
        let Some(outputs) = units else { return Err(NetworkError::UnitsMissing { layer }) };
        self.at_least_one("units", outputs)?;
        self.check_weights(&[inputs, outputs])?;
        Ok(self.node(Dense {}, Shape::Flat(outputs)))
    }

    fn leaky_relu(&self, slope: f32) -> Result<Step, NetworkError> {
        if !(slope > 0.0 && slope < 1.0) {
            return Err(NetworkError::Slope { layer: self.layer, slope });
        }
        Ok(self.node(LeakyRelu { alpha: slope }, self.arrives.shape))
    }

    fn dropout(&self, rate: f32) -> Result<Step, NetworkError> {
        if !(rate > 0.0 && rate < 1.0) {
            return Err(NetworkError::DropoutRate { layer: self.layer, rate });
        }
        Ok(self.node(Dropout { rate }, self.arrives.shape))
    }

    /// The middle of an image, with the odd row or column left out behind it.
    fn crop(&self, size: [usize; 2]) -> Result<Step, NetworkError> {
        let (layer, arrives) = (self.layer, self.arrives.shape);
        let [height, width, channels] = self.image()?;
        size.iter().try_for_each(|&size| self.at_least_one("size", size))?;
        let (Some(rows), Some(columns)) = (height.checked_sub(size[0]), width.checked_sub(size[1]))
        else {
            return Err(NetworkError::Part { layer, kind: "crop", key: "size", arrives });
        };
        let [height, width] = size;
        let before = [rows / 2, columns / 2];
        Ok(self.node(Slice::crop(before), Shape::Image { height, width, channels }))
    }

    /// Some of what arrives.
    fn slice(
        &self,
        begin: &[usize],
        size: &[usize],
        stride: &[usize],
    ) -> Result<Step, NetworkError> {
        let (layer, arrives) = (self.layer, self.arrives.shape);
        let dims = arrives.dims();
        let wrong = |key| NetworkError::Part { layer, kind: "slice", key, arrives };
        let each = |key, given: &[usize], default: usize| match given.len() {
            0 => Ok(vec![default; dims.len()]),
            len if len == dims.len() => Ok(given.to_vec()),
            _ => Err(wrong(key)),
        };
        let (begin, stride) = (each("begin", begin, 0)?, each("stride", stride, 1)?);
        stride.iter().try_for_each(|&stride| self.at_least_one("stride", stride))?;
        let mut sizes = each("size", size, 0)?;
        for (axis, &dim) in dims.iter().enumerate() {
            let most = dim.saturating_sub(begin[axis]).div_ceil(stride[axis]);
            if most == 0 {
                return Err(wrong("begin"));
            }
            if size.is_empty() {
                sizes[axis] = most;
            }
            self.at_least_one("size", sizes[axis])?;
            if sizes[axis] > most {
                return Err(wrong("size"));
            }
        }
        Ok(self.node(Slice { begin, stride }, Shape::of(&sizes)))
    }

    fn upsample(&self, factor: [usize; 2]) -> Result<Step, NetworkError> {
        let [height, width, channels] = self.image()?;
        factor.iter().try_for_each(|&factor| self.at_least_one("factor", factor))?;
        let (height, width) = (height.saturating_mul(factor[0]), width.saturating_mul(factor[1]));
        let op = ResizeNearest { half_pixel_centers: false };
        Ok(self.node(op, Shape::Image { height, width, channels }))
    }

    fn mark(&self, name: &str) -> Result<Step, NetworkError> {
        if self.marks.contains_key(name) {
            return Err(NetworkError::MarkTwice { layer: self.layer, name: name.to_owned() });
        }
        Ok(Step::Mark(name.to_owned()))
    }

    fn from(&self, name: &str) -> Result<Step, NetworkError> {
        if !matches!(self.before, Some(LayerConfig::Mark { .. })) {
            return Err(NetworkError::Dropped { layer: self.layer });
        }
        Ok(Step::From(self.named(name)?))
    }

    fn add(&self, name: &str) -> Result<Step, NetworkError> {
        let (arrives, named) = (self.arrives, self.named(name)?);
        if named.shape != arrives.shape {
            let (layer, name) = (self.layer, name.to_owned());
            let (arrives, named) = (arrives.shape, named.shape);
            return Err(NetworkError::SumShapes { layer, name, arrives, named });
        }
        Ok(Step::Node(Add {}.into(), vec![arrives.value, named.value], arrives.shape))
    }

    /// Either of the two may be one value per channel of the other: what arrives, too, because a gate
    /// is computed last.
    fn mul(&self, name: &str) -> Result<Step, NetworkError> {
        let (arrives, named) = (self.arrives, self.named(name)?);
        let is_gate = |gate: Shape, of: Shape| {
            let per_channel = gate.len() == of.channels() && gate.channels() == of.channels();
            per_channel && matches!(of, Shape::Image { .. })
        };
        let (whole, other) = if arrives.shape == named.shape || is_gate(named.shape, arrives.shape)
        {
            (arrives, named)
        } else if is_gate(arrives.shape, named.shape) {
            (named, arrives)
        } else {
            let (layer, name) = (self.layer, name.to_owned());
            let (arrives, named) = (arrives.shape, named.shape);
            return Err(NetworkError::ProductShapes { layer, name, arrives, named });
        };
        Ok(Step::Node(Mul {}.into(), vec![whole.value, other.value], whole.shape))
    }

    fn concat(&self, name: &str) -> Result<Step, NetworkError> {
        let (arrives, named) = (self.arrives, self.named(name)?);
        let mut makes = arrives.shape;
        let fits = match (&mut makes, named.shape) {
            (Shape::Flat(n), Shape::Flat(more)) => {
                *n = n.saturating_add(more);
                true
            }
            (
                Shape::Image { height, width, channels },
                Shape::Image { height: rows, width: columns, channels: more },
            ) => {
                *channels = channels.saturating_add(more);
                *height == rows && *width == columns
            }
            (Shape::Flat(_), Shape::Image { .. }) | (Shape::Image { .. }, Shape::Flat(_)) => false,
        };
        if !fits {
            let (layer, name) = (self.layer, name.to_owned());
            let (arrives, named) = (arrives.shape, named.shape);
            return Err(NetworkError::ConcatShapes { layer, name, arrives, named });
        }
        let axis = makes.dims().len() - 1;
        Ok(Step::Node(Concat { axis }.into(), vec![arrives.value, named.value], makes))
    }

    /// The value of a mark before.
    fn named(&self, name: &str) -> Result<Known, NetworkError> {
        let (layer, kind) = (self.layer, self.config.kind());
        let missing = || NetworkError::NoMark { layer, kind, name: name.to_owned() };
        self.marks.get(name).copied().ok_or_else(missing)
    }

    /// The image that arrives.
    fn image(&self) -> Result<[usize; 3], NetworkError> {
        let (layer, kind, arrives) = (self.layer, self.config.kind(), self.arrives.shape);
        match arrives {
            Shape::Image { height, width, channels } => Ok([height, width, channels]),
            Shape::Flat(_) => Err(NetworkError::NeedsImage { layer, kind, arrives }),
        }
    }

    /// A window, and the image that it leaves of the one that arrives, with the same channels.
    fn within(
        &self,
        key: &'static str,
        size: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
        padding: Padding,
    ) -> Result<(Window, Shape), NetworkError> {
        let (window, [height, width]) = self.window(key, size, stride, dilation, padding)?;
        Ok((window, Shape::Image { height, width, channels: self.arrives.shape.channels() }))
    }

    /// A window, and the rows and columns that it leaves.
    fn window(
        &self,
        key: &'static str,
        size: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
        padding: Padding,
    ) -> Result<(Window, [usize; 2]), NetworkError> {
        let [height, width, _] = self.image()?;
        for axis in 0..2 {
            self.at_least_one(key, size[axis])?;
            self.at_least_one("stride", stride[axis])?;
            self.at_least_one("dilation", dilation[axis])?;
        }
        let extent = Window { size, stride, dilation, padding: [0; 2] }.extent();
        let (layer, kind, arrives) = (self.layer, self.config.kind(), self.arrives.shape);
        // A mistake.
        if extent[0] > 2 * height || extent[1] > 2 * width {
            return Err(NetworkError::MostlyPadding { layer, kind, window: extent, arrives });
        }
        let too_large = NetworkError::WindowTooLarge { layer, kind, window: extent, arrives };
        Window::with_rule(size, stride, dilation, padding, [height, width]).ok_or(too_large)
    }

    fn at_least_one(&self, key: &'static str, value: usize) -> Result<(), NetworkError> {
        if value == 0 {
            return Err(NetworkError::Zero { layer: self.layer, kind: self.config.kind(), key });
        }
        Ok(())
    }

    fn check_weights(&self, sizes: &[usize]) -> Result<(), NetworkError> {
        let weights = sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
        if weights.is_none_or(|n| n > MAX_WEIGHTS) {
            let (layer, kind) = (self.layer, self.config.kind());
            return Err(NetworkError::TooManyWeights { layer, kind });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
