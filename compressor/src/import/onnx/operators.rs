//! What is supported of ONNX: the table that importing goes by and that `bitsback supported-ops`
//! prints.

use serde::Serialize;

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
const VIEW: &str = "the batch stays first";
const SHAPES: &str = "of shapes that are known when the model is read";

/// Every operator that is supported, by name.
#[rustfmt::skip]
pub static SUPPORTED: [SupportedOperator; 37] = [
    line("Add", Import::Add, "add", "shapes equal, or one operand is a constant"),
    line("AveragePool", Import::AveragePool, "avg_pool2d", "no dilation"),
    line("BatchNormalization", Import::BatchNormalization, FOLDED, "of inference; folded into the layer before"),
    line("Cast", Import::Cast, "nothing", "between types of floats, or of constants"),
    line("Clip", Import::Clip, "a limit, or rescale", "constant limits"),
    line("Concat", Import::Concat, "concat", "not along the batch"),
    line("Constant", Import::Constant, "nothing", ""),
    line("Conv", Import::Conv, "conv2d or depthwise_conv2d", "1 or 2 dimensions; other groups than depthwise ones are filled up with zeros"),
    line("DequantizeLinear", Import::DequantizeLinear, "nothing", "8 bits per tensor; of weights also 4 bits and per channel"),
    line("Div", Import::Div, FOLDED, FOLD),
    line("Dropout", Import::Same, "nothing", "of inference"),
    line("Flatten", Import::Flatten, "nothing", "axis 1"),
    line("Gather", Import::Gather, "nothing", SHAPES),
    line("Gemm", Import::Gemm, "dense", "constant weights, any of the transpositions of them"),
    line("GlobalAveragePool", Import::GlobalAveragePool, "mean", ""),
    line("GlobalMaxPool", Import::GlobalMaxPool, "max_pool2d", ""),
    line("Identity", Import::Same, "nothing", ""),
    line("LeakyRelu", Import::LeakyRelu, "leaky_relu", ""),
    line("LogSoftmax", Import::LogSoftmax, "nothing when quantised", "the model then gives its inputs; the largest stays the largest"),
    line("MatMul", Import::MatMul, "dense, or conv2d for several rows", "one operand is a constant matrix on the right"),
    line("MaxPool", Import::MaxPool, "max_pool2d", "no dilation"),
    line("Mul", Import::Mul, "mul, nothing, or depthwise_conv2d", "shapes equal, or one operand is a constant"),
    line("Pad", Import::Pad, "pad", "of constants, not of the batch"),
    line("QuantizeLinear", Import::QuantizeLinear, "nothing", "8 bits per tensor"),
    line("ReduceMean", Import::ReduceMean, "mean", "over rows and columns, or over all but the last dimension of what isn't an image"),
    line("Relu", Import::Relu, "a limit, or rescale", ""),
    line("Reshape", Import::Reshape, "nothing", VIEW),
    line("Shape", Import::Shape, "nothing", SHAPES),
    line("Sigmoid", Import::Sigmoid, "logistic", ""),
    line("Slice", Import::Slice, "nothing", SHAPES),
    line("Softmax", Import::Softmax, "softmax", "over channels or features"),
    line("Squeeze", Import::Squeeze, "nothing", VIEW),
    line("Sub", Import::Sub, "nothing, or depthwise_conv2d and add", "as Add"),
    line("Tanh", Import::Tanh, "tanh", ""),
    line("Transpose", Import::Transpose, "nothing", "only where weights or shapes can take it up"),
    line("Unsqueeze", Import::Unsqueeze, "nothing", VIEW),
    line("com.microsoft.DequantizeLinear", Import::DequantizeLinear, "nothing", "as DequantizeLinear"),
];

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
