//! Shape inference for job files: from what a job file states to layers with every size known.
//!
//! After [`infer`] returned, every size is at least 1, every whole window fits, batch normalisation
//! stands where it can be folded, and the network ends in one value per class. (What holds between
//! layers that already have sizes is [`crate::shapes`]'s.)

use std::collections::BTreeMap;

use super::{Layer, LayerConfig, NetworkError, Padding, Shape, Topology};
use crate::shapes::{MAX_ACTIVATION_LEN, window_outputs};

/// Most layers of one network: far beyond what a microcontroller runs, small enough that a mistyped
/// list fails here.
pub const MAX_LAYERS: usize = 256;

/// Most activations between two layers.
pub const MAX_ACTIVATIONS: usize = MAX_ACTIVATION_LEN;

/// Most weights of one layer (64 Mi): its float weights, gradients, variances and optimiser moments
/// already take two gigabytes.
pub const MAX_WEIGHTS: usize = 1 << 26;

/// Most of anything that the format counts in 16 bits: features, rows, columns, channels.
pub const MAX_DIM: usize = u16::MAX as usize;

/// As [`super::NetworkConfig::infer`], on a plain list.
pub(super) fn infer(
    configs: &[LayerConfig],
    input: Shape,
    classes: usize,
) -> Result<Topology, NetworkError> {
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
    let mut layers = Vec::with_capacity(configs.len());
    let mut shape = input;
    let mut marks = BTreeMap::new();
    for (index, config) in configs.iter().enumerate() {
        let before = index.checked_sub(1).map(|i| &configs[i]);
        let after = configs.get(index + 1);
        let at = Place { index, config, arrives: shape, before, after };
        let units = (Some(index) == last_dense).then_some(classes);
        let (layer, makes) = match at.branch(&mut marks)? {
            Some((layer, makes)) => (Some(layer), makes),
            None => at.step(units)?,
        };
        if values(makes).is_none_or(|n| n > MAX_ACTIVATIONS) {
            return Err(NetworkError::TooManyActivations {
                layer: index,
                kind: config.kind(),
                makes,
            });
        }
        if too_wide(makes) {
            return Err(NetworkError::TooWide { layer: index, kind: config.kind(), makes });
        }
        shape = makes;
        layers.extend(layer);
    }
    check_end(configs, shape, classes)?;
    Ok(Topology { input, layers })
}

fn check_end(configs: &[LayerConfig], ends: Shape, classes: usize) -> Result<(), NetworkError> {
    if !configs.iter().any(LayerConfig::is_affine) {
        return Err(NetworkError::NoWeights);
    }
    if let Some(
        last @ (LayerConfig::Relu {}
        | LayerConfig::Relu6 {}
        | LayerConfig::Dropout { .. }
        | LayerConfig::From { .. }),
    ) = configs.last()
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

/// A layer in its place.
struct Place<'a> {
    index: usize,
    config: &'a LayerConfig,
    arrives: Shape,
    before: Option<&'a LayerConfig>,
    after: Option<&'a LayerConfig>,
}

impl Place<'_> {
    /// Names and what is done with named values, whose shapes are in `marks`; `None` for the layers
    /// that compute with what arrives alone.
    fn branch(
        &self,
        marks: &mut BTreeMap<String, Shape>,
    ) -> Result<Option<(Layer, Shape)>, NetworkError> {
        let (layer, kind, arrives) = (self.index, self.config.kind(), self.arrives);
        let find = |name: &String| {
            let missing = || NetworkError::NoMark { layer, kind, name: name.clone() };
            marks.get(name).copied().ok_or_else(missing)
        };
        Ok(Some(match self.config {
            LayerConfig::Mark { name } => {
                if marks.insert(name.clone(), arrives).is_some() {
                    return Err(NetworkError::MarkTwice { layer, name: name.clone() });
                }
                (Layer::Mark { name: name.clone() }, arrives)
            }
            LayerConfig::From { name } => {
                if !matches!(self.before, Some(LayerConfig::Mark { .. })) {
                    return Err(NetworkError::Dropped { layer });
                }
                (Layer::From { name: name.clone() }, find(name)?)
            }
            LayerConfig::Add { name } => {
                let named = find(name)?;
                if named != arrives {
                    let name = name.clone();
                    return Err(NetworkError::SumShapes { layer, name, arrives, named });
                }
                (Layer::Add { name: name.clone() }, arrives)
            }
            LayerConfig::Relu {} | LayerConfig::Relu6 {}
                if matches!(
                    self.before,
                    Some(LayerConfig::Mark { .. } | LayerConfig::From { .. })
                ) =>
            {
                return Err(NetworkError::ActivationPlace { layer, kind });
            }
            _ => return Ok(None),
        }))
    }

    /// The layer (none where there is nothing to compute) and the shape that it makes.
    fn step(&self, default_units: Option<usize>) -> Result<(Option<Layer>, Shape), NetworkError> {
        let (layer, shape) = match *self.config {
            LayerConfig::Dense { units } => self.dense(units.or(default_units))?,
            LayerConfig::Conv2d { filters, kernel, stride, padding } => {
                self.conv2d(filters, kernel, stride, padding)?
            }
            LayerConfig::DepthwiseConv2d { kernel, stride, padding } => {
                let (shape, channels) = self.window("kernel", kernel, stride, padding)?;
                self.check_weights(&[kernel[0], kernel[1], channels])?;
                (Layer::DepthwiseConv2d { channels, kernel, stride, padding }, shape)
            }
            LayerConfig::GlobalAvgPool {} => {
                let Shape::Image { height, width, .. } = self.arrives else {
                    let (layer, kind, arrives) = (self.index, self.config.kind(), self.arrives);
                    return Err(NetworkError::NeedsImage { layer, kind, arrives });
                };
                let (size, padding) = ([height, width], Padding::Valid);
                let (shape, _) = self.window("size", size, size, padding)?;
                (Layer::AvgPool2d { size, stride: size, padding }, shape)
            }
            LayerConfig::MaxPool { size, stride, padding } => {
                let stride = stride.unwrap_or(size);
                let (shape, _) = self.window("size", size, stride, padding)?;
                (Layer::MaxPool2d { size, stride, padding }, shape)
            }
            LayerConfig::AvgPool { size, stride, padding } => {
                let stride = stride.unwrap_or(size);
                let (shape, _) = self.window("size", size, stride, padding)?;
                (Layer::AvgPool2d { size, stride, padding }, shape)
            }
            LayerConfig::BatchNorm {} => match self.before {
                Some(before) if before.is_affine() => {
                    (Layer::BatchNorm { channels: channels(self.arrives) }, self.arrives)
                }
                _ => return Err(NetworkError::BatchNormPlace { layer: self.index }),
            },
            LayerConfig::Relu {} => (Layer::Relu, self.arrives),
            LayerConfig::Relu6 {} => (Layer::Relu6, self.arrives),
            LayerConfig::Flatten {} => match self.arrives {
                // Already flat: nothing to compute, so that one list of layers fits images and
                // feature tables alike.
                Shape::Flat(_) => return Ok((None, self.arrives)),
                Shape::Image { .. } => (Layer::Flatten, Shape::Flat(self.arrives.len())),
            },
            LayerConfig::Crop { size } => self.crop(size)?,
            LayerConfig::Dropout { rate } => {
                if !(rate > 0.0 && rate < 1.0) {
                    return Err(NetworkError::DropoutRate { layer: self.index, rate });
                }
                (Layer::Dropout { rate }, self.arrives)
            }
            // Done by `branch`.
            LayerConfig::Mark { .. } | LayerConfig::From { .. } | LayerConfig::Add { .. } => {
                return Ok((None, self.arrives));
            }
        };
        Ok((Some(layer), shape))
    }

    fn dense(&self, units: Option<usize>) -> Result<(Layer, Shape), NetworkError> {
        let Shape::Flat(inputs) = self.arrives else {
            return Err(NetworkError::NeedsFlat { layer: self.index, arrives: self.arrives });
        };
        let Some(outputs) = units else {
            return Err(NetworkError::UnitsMissing { layer: self.index });
        };
        self.at_least_one("units", outputs)?;
        self.check_weights(&[inputs, outputs])?;
        Ok((Layer::Dense { inputs, outputs }, Shape::Flat(outputs)))
    }

    fn conv2d(
        &self,
        filters: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: Padding,
    ) -> Result<(Layer, Shape), NetworkError> {
        self.at_least_one("filters", filters)?;
        let (shape, channels) = self.window("kernel", kernel, stride, padding)?;
        self.check_weights(&[filters, kernel[0], kernel[1], channels])?;
        let shape = match shape {
            Shape::Image { height, width, .. } => Shape::Image { height, width, channels: filters },
            flat => flat,
        };
        Ok((Layer::Conv2d { channels, filters, kernel, stride, padding }, shape))
    }

    /// The middle of the input image, with the odd row or column left out behind it.
    fn crop(&self, size: [usize; 2]) -> Result<(Layer, Shape), NetworkError> {
        let (layer, kind, arrives) = (self.index, self.config.kind(), self.arrives);
        let Shape::Image { height, width, channels } = arrives else {
            return Err(NetworkError::NeedsImage { layer, kind, arrives });
        };
        size.iter().try_for_each(|&size| self.at_least_one("size", size))?;
        let wrong = NetworkError::Crop { layer, size, arrives };
        let (Some(rows), Some(columns)) = (height.checked_sub(size[0]), width.checked_sub(size[1]))
        else {
            return Err(wrong);
        };
        // Rows are read from where the part begins: one must be left behind it.
        let is_inside = rows > 0 || columns == 0;
        if layer != 0 || !is_inside || !self.after.is_some_and(LayerConfig::is_valid_window) {
            return Err(wrong);
        }
        let [height, width] = size;
        let crop = Layer::Crop { before: [rows / 2, columns / 2], size };
        Ok((crop, Shape::Image { height, width, channels }))
    }

    /// The image that a window of `size` leaves, and its channels.
    fn window(
        &self,
        key: &'static str,
        size: [usize; 2],
        stride: [usize; 2],
        padding: Padding,
    ) -> Result<(Shape, usize), NetworkError> {
        let (layer, kind, arrives) = (self.index, self.config.kind(), self.arrives);
        let Shape::Image { height, width, channels } = arrives else {
            return Err(NetworkError::NeedsImage { layer, kind, arrives });
        };
        for axis in 0..2 {
            self.at_least_one(key, size[axis])?;
            self.at_least_one("stride", stride[axis])?;
        }
        let too_large = NetworkError::WindowTooLarge { layer, kind, window: size, arrives };
        // A padded window more than twice the image would see mostly padding: a mistake.
        if size[0] > 2 * height || size[1] > 2 * width {
            return Err(too_large);
        }
        let rows = window_outputs(height, size[0], stride[0], padding);
        let columns = window_outputs(width, size[1], stride[1], padding);
        match (rows, columns) {
            (Some(height), Some(width)) => Ok((Shape::Image { height, width, channels }, channels)),
            _ => Err(too_large),
        }
    }

    fn at_least_one(&self, key: &'static str, value: usize) -> Result<(), NetworkError> {
        if value == 0 {
            return Err(NetworkError::Zero { layer: self.index, kind: self.config.kind(), key });
        }
        Ok(())
    }

    fn check_weights(&self, sizes: &[usize]) -> Result<(), NetworkError> {
        let weights = sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
        if weights.is_none_or(|n| n > MAX_WEIGHTS) {
            return Err(NetworkError::TooManyWeights {
                layer: self.index,
                kind: self.config.kind(),
            });
        }
        Ok(())
    }
}

fn channels(shape: Shape) -> usize {
    match shape {
        Shape::Flat(n) => n,
        Shape::Image { channels, .. } => channels,
    }
}

#[cfg(test)]
mod tests;
