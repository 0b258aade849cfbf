//! What is supported of TensorFlow Lite: the table that importing goes by and that
//! `bitsback supported-ops` prints.

use serde::Serialize;

/// How an operator of a `.tflite` file is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Import {
    FullyConnected,
    Conv2d,
    DepthwiseConv2d,
    SpaceToBatch,
    BatchToSpace,
    MaxPool2d,
    AveragePool2d,
    Add,
    Sub,
    Mul,
    Concatenation,
    Pad,
    Mean,
    View,
    Transpose,
    ReduceMax,
    Sizes,
    Slice,
    HardSwish,
    Relu,
    Relu6,
    LeakyRelu,
    Logistic,
    Tanh,
    Softmax,
    ArgMax,
    Quantize,
    Dequantize,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SupportedOperator {
    /// Its name in the schema.
    pub name: &'static str,
    /// Its number in the schema.
    pub code: i32,
    /// Newest version that is read.
    pub max_version: i32,
    /// The runtime's operator that it becomes.
    pub becomes: &'static str,
    /// What has to hold.
    pub conditions: &'static str,
    #[serde(skip)]
    pub(super) import: Import,
}

const fn line(
    code: i32,
    name: &'static str,
    max_version: i32,
    import: Import,
    becomes: &'static str,
    conditions: &'static str,
) -> SupportedOperator {
    SupportedOperator { name, code, max_version, becomes, conditions, import }
}

/// Every operator that is supported, by name.
#[rustfmt::skip]
pub static SUPPORTED: [SupportedOperator; 35] = [
    line(0, "ADD", 5, Import::Add, "add", "any shapes that can be broadcast; constants allowed"),
    line(56, "ARG_MAX", 3, Import::ArgMax, "argmax", "the last operator, over the last dimension"),
    line(1, "AVERAGE_POOL_2D", 3, Import::AveragePool2d, "avg_pool2d", ""),
    line(37, "BATCH_TO_SPACE_ND", 4, Import::BatchToSpace, "nothing", "behind SPACE_TO_BATCH_ND and a convolution"),
    line(2, "CONCATENATION", 4, Import::Concatenation, "concat", "any number of operands, not along the batch"),
    line(3, "CONV_2D", 8, Import::Conv2d, "conv2d", "weights int8 or int4, per tensor or per channel; groups are filled up with zeros"),
    line(4, "DEPTHWISE_CONV_2D", 7, Import::DepthwiseConv2d, "depthwise_conv2d", "weights int8 or int4, per tensor or per channel"),
    line(6, "DEQUANTIZE", 6, Import::Dequantize, "nothing", "int8 to float, as the last operator: the model gives int8 and its scale"),
    line(70, "EXPAND_DIMS", 1, Import::View, "nothing", ""),
    line(9, "FULLY_CONNECTED", 14, Import::FullyConnected, "dense or conv2d", "weights int8 or int4, per tensor or per channel; more than one row of inputs becomes a 1×1 convolution"),
    line(36, "GATHER", 4, Import::Sizes, "nothing", "of sizes, for a RESHAPE"),
    line(117, "HARD_SWISH", 1, Import::HardSwish, "hard_swish", ""),
    line(98, "LEAKY_RELU", 2, Import::LeakyRelu, "leaky_relu", ""),
    line(14, "LOGISTIC", 3, Import::Logistic, "logistic", ""),
    line(17, "MAX_POOL_2D", 3, Import::MaxPool2d, "max_pool2d", ""),
    line(40, "MEAN", 3, Import::Mean, "mean or depthwise_conv2d", "over any dimensions that are neighbours, not the batch"),
    line(18, "MUL", 7, Import::Mul, "mul or depthwise_conv2d", "as ADD; a constant becomes a 1×1 depthwise convolution"),
    line(83, "PACK", 4, Import::Sizes, "nothing", "of sizes, for a RESHAPE"),
    line(34, "PAD", 4, Import::Pad, "pad", "not of the batch"),
    line(60, "PADV2", 4, Import::Pad, "pad", "not of the batch"),
    line(114, "QUANTIZE", 4, Import::Quantize, "rescale or nothing", "int8 to int8; at the model's ends also from float or uint8 and to uint8"),
    line(82, "REDUCE_MAX", 3, Import::ReduceMax, "max_pool2d", "as MEAN"),
    line(81, "REDUCE_PROD", 2, Import::Sizes, "nothing", "of sizes, for a RESHAPE"),
    line(19, "RELU", 3, Import::Relu, "rescale", ""),
    line(21, "RELU6", 3, Import::Relu6, "rescale", ""),
    line(22, "RESHAPE", 1, Import::View, "nothing", "the batch stays 1"),
    line(77, "SHAPE", 1, Import::Sizes, "nothing", "for a RESHAPE"),
    line(65, "SLICE", 5, Import::Slice, "depthwise_conv2d", "along any dimension but the batch; of sizes nothing"),
    line(25, "SOFTMAX", 3, Import::Softmax, "softmax", "over at most 4095 values"),
    line(38, "SPACE_TO_BATCH_ND", 4, Import::SpaceToBatch, "nothing", "before a convolution and BATCH_TO_SPACE_ND: these become one with a dilation"),
    line(43, "SQUEEZE", 2, Import::View, "nothing", ""),
    line(45, "STRIDED_SLICE", 8, Import::Slice, "depthwise_conv2d", "forwards along any dimension but the batch; of sizes nothing"),
    line(41, "SUB", 5, Import::Sub, "add, or depthwise_conv2d and add", "as ADD"),
    line(28, "TANH", 3, Import::Tanh, "tanh", ""),
    line(39, "TRANSPOSE", 6, Import::Transpose, "nothing", "only dimensions of 1 change their places"),
];

/// The line of an operator.
pub(super) fn find(code: i32) -> Option<&'static SupportedOperator> {
    SUPPORTED.iter().find(|operator| operator.code == code)
}

/// Names of all that is supported, for messages.
pub(super) fn names() -> String {
    SUPPORTED.iter().map(|operator| operator.name).collect::<Vec<_>>().join(", ")
}

/// Number of custom operators.
const CUSTOM: i32 = 32;

/// Names of operators that are not supported, by number, so that messages can name them.
#[rustfmt::skip]
static OTHERS: [(i32, &str); 55] = [
    (5, "DEPTH_TO_SPACE"), (7, "EMBEDDING_LOOKUP"), (8, "FLOOR"), (11, "L2_NORMALIZATION"),
    (12, "L2_POOL_2D"), (13, "LOCAL_RESPONSE_NORMALIZATION"), (16, "LSTM"), (20, "RELU_N1_TO_1"),
    (23, "RESIZE_BILINEAR"), (24, "RNN"), (26, "SPACE_TO_DEPTH"), (27, "SVDF"),
    (35, "UNIDIRECTIONAL_SEQUENCE_RNN"), (42, "DIV"),
    (44, "UNIDIRECTIONAL_SEQUENCE_LSTM"), (47, "EXP"), (48, "TOPK_V2"),
    (49, "SPLIT"), (50, "LOG_SOFTMAX"), (51, "DELEGATE"), (53, "CAST"), (54, "PRELU"),
    (55, "MAXIMUM"), (57, "MINIMUM"), (58, "LESS"), (59, "NEG"), (61, "GREATER"),
    (62, "GREATER_EQUAL"), (63, "LESS_EQUAL"), (64, "SELECT"), (66, "SIN"),
    (67, "TRANSPOSE_CONV"), (69, "TILE"), (71, "EQUAL"), (72, "NOT_EQUAL"), (73, "LOG"),
    (74, "SUM"), (75, "SQRT"), (76, "RSQRT"), (78, "POW"), (79, "ARG_MIN"),
    (88, "UNPACK"), (89, "REDUCE_MIN"), (92, "SQUARE"),
    (94, "FILL"), (97, "RESIZE_NEAREST_NEIGHBOR"), (99, "SQUARED_DIFFERENCE"),
    (100, "MIRROR_PAD"), (101, "ABS"), (111, "ELU"), (126, "BATCH_MATMUL"), (90, "FLOOR_DIV"), (93, "ZEROS_LIKE"), (96, "RANGE"), (150, "GELU"),
];

/// What an operator is called.
pub(super) fn name(code: i32, custom: &str) -> String {
    if let Some(operator) = find(code) {
        return operator.name.to_owned();
    }
    if code == CUSTOM {
        return format!("the custom operator `{}`", custom.chars().take(40).collect::<String>());
    }
    match OTHERS.iter().find(|(number, _)| *number == code) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("builtin operator number {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_names_no_number_twice() {
        assert!(SUPPORTED.is_sorted_by_key(|operator| operator.name));
        let mut codes: Vec<i32> = SUPPORTED.iter().map(|operator| operator.code).collect();
        codes.extend(OTHERS.iter().map(|(code, _)| code));
        codes.sort_unstable();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
        assert_eq!(name(42, ""), "DIV");
        assert_eq!(name(32, "Detect"), "the custom operator `Detect`");
        assert_eq!(name(500, ""), "builtin operator number 500");
        assert!(names().starts_with("ADD, ARG_MAX"));
    }
}
