//! What is supported of ONNX: the table that importing goes by and that `bitsback supported-ops`
//! prints.

use serde::Serialize;

use super::convert::Converter;
use super::site::Site;
use crate::graph::exporter::{nearest_pixel, resized_from};
use crate::graph::ops::{
    Clip, HardSwish, LeakyRelu, LogSoftmax, Logistic, ResizeNearest, Softmax, Tanh,
};
use crate::import::ImportError;

/// How an operator of an ONNX file is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Import {
    Gemm,
    MatMul,
    Conv,
    BatchNormalization,
    MaxPool,
    AveragePool,
    GlobalAveragePool,
    GlobalMaxPool,
    ReduceMean,
    ReduceMax,
    Extreme,
    HardSigmoid,
    HardSwish,
    Resize,
    Add,
    Sub,
    Mul,
    Div,
    Relu,
    Clip,
    LeakyRelu,
    Sigmoid,
    Tanh,
    Softmax,
    LogSoftmax,
    Concat,
    Pad,
    Flatten,
    Reshape,
    Squeeze,
    Unsqueeze,
    Transpose,
    Same,
    Constant,
    Shape,
    Gather,
    Slice,
    Cast,
    ConstantOfShape,
    Expand,
    Range,
    Where,
    Product,
    BinaryConstant,
    UnaryConstant,
    QuantizeLinear,
    DequantizeLinear,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SupportedOperator {
    /// Its name in the standard.
    pub name: &'static str,
    /// The runtime's operator that it becomes.
    pub becomes: &'static str,
    /// What has to hold.
    pub conditions: &'static str,
    #[serde(skip)]
    pub(super) import: Import,
}

const fn line(
    name: &'static str,
    import: Import,
    becomes: &'static str,
    conditions: &'static str,
) -> SupportedOperator {
    SupportedOperator { name, becomes, conditions, import }
}

const FOLDED: &str = "nothing, or depthwise_conv2d";
const FOLD: &str = "by a constant: one number, or one per channel; folded into the layer before";
const VIEW: &str = "the batch stays first, or becomes a part of the first dimension";
const SHAPES: &str = "of shapes and constants, which are known when the model is read";
const BROADCAST: &str = "any shapes that can be broadcast; one operand may be a constant";
const LIMIT: &str = "of a value and a number, or of constants";
const TOGETHER: &str =
    "over dimensions that lie together in memory: rows and columns, channels, steps";

/// Every operator that is supported, by name.
#[rustfmt::skip]
pub static SUPPORTED: [SupportedOperator; 54] = [
    line("Add", Import::Add, "add", BROADCAST),
    line("AveragePool", Import::AveragePool, "avg_pool2d", "no dilation"),
    line("BatchNormalization", Import::BatchNormalization, FOLDED, "of inference; folded into the layer before"),
    line("Cast", Import::Cast, "nothing", "between types of floats, or of constants"),
    line("Ceil", Import::UnaryConstant, "nothing", SHAPES),
    line("Clip", Import::Clip, "a limit, or rescale", "constant limits"),
    line("Concat", Import::Concat, "concat", "not along the batch"),
    line("Constant", Import::Constant, "nothing", ""),
    line("ConstantOfShape", Import::ConstantOfShape, "nothing", SHAPES),
    line("Conv", Import::Conv, "conv2d or depthwise_conv2d", "1 or 2 dimensions; other groups than depthwise ones are filled up with zeros"),
    line("DequantizeLinear", Import::DequantizeLinear, "nothing", "8 bits per tensor; of weights also 4 bits and per channel"),
    line("Div", Import::Div, FOLDED, FOLD),
    line("Dropout", Import::Same, "nothing", "of inference"),
    line("Equal", Import::BinaryConstant, "nothing", SHAPES),
    line("Expand", Import::Expand, "nothing", SHAPES),
    line("Flatten", Import::Flatten, "nothing", VIEW),
    line("Floor", Import::UnaryConstant, "nothing", SHAPES),
    line("Gather", Import::Gather, "nothing", SHAPES),
    line("Gemm", Import::Gemm, "dense", "constant weights, any of the transpositions of them"),
    line("GlobalAveragePool", Import::GlobalAveragePool, "mean", ""),
    line("GlobalMaxPool", Import::GlobalMaxPool, "max_pool2d", ""),
    line("HardSigmoid", Import::HardSigmoid, "rescale", "with another beta than ½ depthwise_conv2d, or a limit of the layer before"),
    line("HardSwish", Import::HardSwish, "hard_swish", ""),
    line("Identity", Import::Same, "nothing", ""),
    line("LeakyRelu", Import::LeakyRelu, "leaky_relu", ""),
    line("LogSoftmax", Import::LogSoftmax, "nothing when quantised", "the model then gives its inputs; the largest stays the largest"),
    line("MatMul", Import::MatMul, "dense, or conv2d for several rows", "a constant matrix on the right"),
    line("Max", Import::Extreme, "a limit, or rescale", LIMIT),
    line("MaxPool", Import::MaxPool, "max_pool2d", "no dilation"),
    line("Min", Import::Extreme, "a limit, or rescale", LIMIT),
    line("Mod", Import::BinaryConstant, "nothing", SHAPES),
    line("Mul", Import::Mul, "mul, nothing, or depthwise_conv2d", BROADCAST),
    line("Neg", Import::UnaryConstant, "nothing", SHAPES),
    line("Pad", Import::Pad, "pad", "of constants, not of the batch"),
    line("QuantizeLinear", Import::QuantizeLinear, "nothing", "8 bits per tensor"),
    line("Range", Import::Range, "nothing", SHAPES),
    line("ReduceMax", Import::ReduceMax, "max_pool2d", TOGETHER),
    line("ReduceMean", Import::ReduceMean, "mean", TOGETHER),
    line("ReduceProd", Import::Product, "nothing", SHAPES),
    line("Relu", Import::Relu, "a limit, or rescale", ""),
    line("Reshape", Import::Reshape, "nothing", VIEW),
    line("Resize", Import::Resize, "resize_nearest", "nearest, with the pixels of TensorFlow Lite: asymmetric and floor, or half_pixel and round_prefer_ceil, or whatever gives the same"),
    line("Shape", Import::Shape, "nothing", SHAPES),
    line("Sigmoid", Import::Sigmoid, "logistic", ""),
    line("Slice", Import::Slice, "nothing, or slice", "of constants, or forwards along any dimension but the batch"),
    line("Softmax", Import::Softmax, "softmax", "over dimensions that lie together in memory, as channels and features do"),
    line("Squeeze", Import::Squeeze, "nothing", VIEW),
    line("Sub", Import::Sub, "nothing, or depthwise_conv2d and add", "as Add"),
    line("Tanh", Import::Tanh, "tanh", ""),
    line("Transpose", Import::Transpose, "nothing", "only where weights or shapes can take it up"),
    line("Unsqueeze", Import::Unsqueeze, "nothing", VIEW),
    line("Upsample", Import::Resize, "resize_nearest", "nearest"),
    line("Where", Import::Where, "nothing", SHAPES),
    line("com.microsoft.DequantizeLinear", Import::DequantizeLinear, "nothing", "as DequantizeLinear"),
];

impl Converter<'_> {
    /// A node of the file, by how its operator is imported.
    pub(super) fn import(&mut self, site: &Site<'_>, import: Import) -> Result<(), ImportError> {
        match import {
            Import::Gemm => self.gemm(site),
            Import::MatMul => self.mat_mul(site),
            Import::Conv => self.conv(site),
            Import::BatchNormalization => self.batch_normalization(site),
            Import::MaxPool => self.pool(site, true),
            Import::AveragePool => self.pool(site, false),
            Import::GlobalAveragePool => self.global_pool(site, false),
            Import::GlobalMaxPool => self.global_pool(site, true),
            Import::ReduceMean => self.reduce(site, false),
            Import::ReduceMax => self.reduce(site, true),
            Import::Add => self.add(site),
            Import::Sub => self.sub(site),
            Import::Mul => self.mul(site),
            Import::Div => self.div(site),
            Import::Relu => self.unary(site, Clip::RELU),
            Import::Clip => self.clip(site),
            Import::Extreme => self.extreme(site),
            Import::LeakyRelu => self.unary(site, LeakyRelu { alpha: site.float("alpha", 0.01) }),
            Import::HardSigmoid => self.hard_sigmoid(site),
            Import::HardSwish => self.unary(site, HardSwish {}),
            Import::Resize => self.resize(site),
            Import::Sigmoid => self.unary(site, Logistic {}),
            Import::Tanh => self.unary(site, Tanh {}),
            Import::Softmax => self.softmax(site, Softmax {}),
            Import::LogSoftmax => self.softmax(site, LogSoftmax {}),
            Import::Concat => self.concat(site),
            Import::Pad => self.pad(site),
            Import::Flatten => self.flatten(site),
            Import::Reshape => self.reshape(site),
            Import::Squeeze => self.squeeze(site),
            Import::Unsqueeze => self.unsqueeze(site),
            Import::Transpose => self.transpose(site),
            Import::Same => self.same(site),
            Import::Constant => self.constant(site),
            Import::ConstantOfShape => self.constant_of_shape(site),
            Import::Expand => self.expand(site),
            Import::Range => self.range(site),
            Import::Where => self.choice(site),
            Import::Product => self.product(site),
            Import::BinaryConstant => self.binary_constant(site),
            Import::UnaryConstant => self.unary_constant(site),
            Import::Shape => self.shape(site),
            Import::Gather => self.gather(site),
            Import::Slice => self.slice(site),
            Import::Cast => self.cast(site),
            Import::QuantizeLinear => self.quantize_linear(site),
            Import::DequantizeLinear => self.dequantize_linear(site),
        }
    }
}

impl Converter<'_> {
    /// `Resize` and `Upsample` by nearest pixels.
    fn resize(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let input = self.image(site)?;
        let is_old = self.opset < 11 || site.node.operator == "Upsample";
        let mode = site.text("mode").unwrap_or_else(|| "nearest".to_owned());
        if mode != "nearest" {
            return Err(site.unsupported("mode", mode, "nearest"));
        }
        let policy = site.text("keep_aspect_ratio_policy").unwrap_or_default();
        if !matches!(policy.as_str(), "" | "stretch") {
            return Err(site.unsupported("keep_aspect_ratio_policy", policy, "stretch"));
        }
        let whole = input.whole(self.batch);
        let mut dims = input.dims.clone();
        let mut axes = Vec::new();
        for (axis, size) in self.new_sizes(site, &whole, is_old)? {
            let from = whole[axis];
            let output = size.output(from).filter(|&to| (1..=usize::from(u16::MAX)).contains(&to));
            let to = output.ok_or_else(|| site.missing("sizes or factors from 1 to 65535"))?;
            match axis.checked_sub(1) {
                Some(at) if at > 0 => dims[at] = to,
                _ if from == to => continue,
                _ => {
                    return Err(
                        site.shape_error("the batch and channels can't be resized", &[&whole])
                    );
                }
            }
            axes.push((from, to, size.factor(from)));
        }
        let (of, rounding) = if is_old {
            ("asymmetric".to_owned(), "floor".to_owned())
        } else {
            let or = |name, default: &str| site.text(name).unwrap_or_else(|| default.to_owned());
            let of = or("coordinate_transformation_mode", "half_pixel");
            (of, or("nearest_mode", "round_prefer_floor"))
        };
        let ops = [false, true].map(|half_pixel_centers| ResizeNearest { half_pixel_centers });
        let fits = |op: &ResizeNearest| {
            axes.iter().all(|&(from, to, factor)| {
                // What ONNX Runtime does, where old versions of the standard say nothing.
                let rounding = if is_old && factor < 1.0 { "ceil" } else { &rounding };
                (0..to).all(|at| {
                    let place = resized_from(&of, at, [from, to], factor);
                    let pixel = place.and_then(|place| nearest_pixel(rounding, place, from));
                    pixel == Some(op.pixel(at, from, to))
                })
            })
        };
        let Some(op) = ops.into_iter().find(fits) else {
            let supported = "asymmetric and floor, half_pixel and round_prefer_ceil, or what gives \
                             the same pixels";
            let sizes = axes.iter().map(|(from, to, factor)| format!("{from} to {to} by {factor}"));
            let sizes = sizes.collect::<Vec<_>>().join(" and ");
            let found = format!("{of} and {rounding}, from {sizes}");
            return Err(site.unsupported("its pixels", found, supported));
        };
        self.push_image(site, op, input.value, dims).map(drop)
    }

    /// What the file says of each dimension, with the batch as 0.
    fn new_sizes(
        &self,
        site: &Site<'_>,
        whole: &[usize],
        is_old: bool,
    ) -> Result<Vec<(usize, Size)>, ImportError> {
        let scales = self.optional_parameter(site, if is_old { 1 } else { 2 })?;
        let scales = scales.map(|scales| scales.floats());
        let scales = scales.or_else(|| site.floats("scales").map(<[f32]>::to_vec));
        let scales = scales.filter(|scales| !scales.is_empty());
        let sizes: Vec<Size> = match scales {
            Some(scales) => scales.into_iter().map(Size::Factor).collect(),
            None => {
                let sizes = self.parameter(site, 3, "its sizes or factors")?;
                let sizes =
                    sizes.integers().ok_or_else(|| site.missing("integers as its sizes"))?;
                sizes.iter().map(|&size| Size::Pixels(size)).collect()
            }
        };
        let all: Vec<i64> = (0..whole.len() as i64).collect();
        let rank = whole.len() as i64;
        let axes = site.ints("axes").unwrap_or(&all).iter();
        let axes = axes.map(|&axis| if axis < 0 { axis.saturating_add(rank) } else { axis });
        let axes = axes.map(|axis| usize::try_from(axis).ok().filter(|&axis| axis < whole.len()));
        let axes: Option<Vec<usize>> = axes.collect();
        let axes = axes.filter(|axes| axes.len() == sizes.len());
        let axes = axes.ok_or_else(|| site.missing("a size or factor for each dimension"))?;
        Ok(axes.into_iter().zip(sizes).collect())
    }
}

/// A new size of a dimension, as a file states it.
#[derive(Clone, Copy, Debug)]
enum Size {
    Pixels(i64),
    Factor(f32),
}

impl Size {
    fn output(self, input: usize) -> Option<usize> {
        match self {
            Self::Pixels(pixels) => usize::try_from(pixels).ok(),
            Self::Factor(factor) if factor > 0.0 => Some((input as f32 * factor) as usize),
            Self::Factor(_) => None,
        }
    }

    fn factor(self, input: usize) -> f32 {
        match self {
            Self::Pixels(pixels) => pixels as f32 / input as f32,
            Self::Factor(factor) => factor,
        }
    }
}

/// The line of an operator.
pub(super) fn find(name: &str) -> Option<&'static SupportedOperator> {
    let name = if name == "com.microsoft.QuantizeLinear" { "QuantizeLinear" } else { name };
    SUPPORTED.iter().find(|operator| operator.name == name)
}

/// Names of all that is supported, for messages.
pub(super) fn names() -> String {
    SUPPORTED.iter().map(|operator| operator.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_names_nothing_twice() {
        assert!(SUPPORTED.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(names().starts_with("Add, AveragePool"));
        assert!(find("LSTM").is_none());
    }
}
