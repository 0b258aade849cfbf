//! What is supported of TensorFlow Lite: the table that importing goes by and that
//! `bitsback supported-ops` prints.

use serde::Serialize;

use super::convert::{Converter, Site, integers};
use super::floats::{FIRST, LAST, Writer, ints, text};
use super::schema::Tensor;
use crate::graph::ops::IntegerResizeNearest;
use crate::import::ImportError;

/// How an operator of a model of integers is imported; the last argument are the tensors at the
/// model's ends.
type Integers = for<'a> fn(&mut Converter<'a>, &Site<'a>, &mut Ends) -> Result<(), ImportError>;
/// How an operator of a model of floats is written down for the importer of ONNX.
type Floats = for<'a> fn(&mut Writer<'a>, &Site<'a>) -> Result<(), ImportError>;
/// The first and the last tensor that are kept.
pub(super) type Ends = (usize, usize);

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
    pub(super) integers: Integers,
    #[serde(skip)]
    pub(super) floats: Floats,
}

const fn line(
    code: i32,
    name: &'static str,
    max_version: i32,
    (integers, floats): (Integers, Floats),
    becomes: &'static str,
    conditions: &'static str,
) -> SupportedOperator {
    SupportedOperator { name, code, max_version, becomes, conditions, integers, floats }
}

/// Every operator that is supported, by name.
#[rustfmt::skip]
pub static SUPPORTED: [SupportedOperator; 36] = [
    line(0, "ADD", 5, (|c, s, _| c.add(s), |w, s| w.binary(s, "Add")), "add", "any shapes that can be broadcast; constants allowed"),
    line(56, "ARG_MAX", 3, (|c, s, _| c.arg_max(s), |w, s| w.unary(s, "Identity")), "argmax", "the last operator, over the last dimension"),
    line(1, "AVERAGE_POOL_2D", 3, (|c, s, _| c.pool(s, false), |w, s| w.pool(s, "AveragePool")), "avg_pool2d", ""),
    line(37, "BATCH_TO_SPACE_ND", 4, (|c, s, _| c.batch_to_space(s), |_, s| Err(batched(s))), "nothing", "behind SPACE_TO_BATCH_ND and a convolution"),
    line(2, "CONCATENATION", 4, (|c, s, _| c.concatenation(s), |w, s| w.concatenation(s)), "concat", "any number of operands, not along the batch"),
    line(3, "CONV_2D", 8, (|c, s, _| c.convolution(s, None), |w, s| w.convolution(s, false)), "conv2d", "weights int8 or int4, per tensor or per channel; groups are filled up with zeros"),
    line(4, "DEPTHWISE_CONV_2D", 7, (|c, s, _| c.convolution(s, None), |w, s| w.convolution(s, true)), "depthwise_conv2d", "weights int8 or int4, per tensor or per channel"),
    line(6, "DEQUANTIZE", 6, (|c, s, ends| c.dequantize(s, ends), |w, s| w.unary(s, "Identity")), "nothing", "int8 to float, as the last operator: the model gives int8 and its scale"),
    line(70, "EXPAND_DIMS", 1, (|c, s, _| c.view(s), |w, s| w.view(s)), "nothing", ""),
    line(9, "FULLY_CONNECTED", 14, (|c, s, _| c.fully_connected(s), |w, s| w.fully_connected(s)), "dense or conv2d", "weights int8 or int4, per tensor or per channel; more than one row of inputs becomes a 1×1 convolution"),
    line(36, "GATHER", 4, (|c, s, _| c.sizes(s), |_, s| Err(sizes(s))), "nothing", "of sizes, for a RESHAPE"),
    line(117, "HARD_SWISH", 1, (|c, s, _| c.hard_swish(s), |w, s| w.unary(s, "HardSwish")), "hard_swish", ""),
    line(98, "LEAKY_RELU", 2, (|c, s, _| c.leaky_relu(s), |w, s| w.leaky_relu(s)), "leaky_relu", ""),
    line(14, "LOGISTIC", 3, (|c, s, _| c.logistic(s), |w, s| w.unary(s, "Sigmoid")), "logistic", ""),
    line(17, "MAX_POOL_2D", 3, (|c, s, _| c.pool(s, true), |w, s| w.pool(s, "MaxPool")), "max_pool2d", ""),
    line(40, "MEAN", 3, (|c, s, _| c.mean(s), |w, s| w.reduce(s, "ReduceMean")), "mean or depthwise_conv2d", "over any dimensions that are neighbours, not the batch"),
    line(18, "MUL", 7, (|c, s, _| c.mul(s), |w, s| w.binary(s, "Mul")), "mul or depthwise_conv2d", "as ADD; a constant becomes a 1×1 depthwise convolution"),
    line(83, "PACK", 4, (|c, s, _| c.sizes(s), |_, s| Err(sizes(s))), "nothing", "of sizes, for a RESHAPE"),
    line(34, "PAD", 4, (|c, s, _| c.pad(s), |w, s| w.pad(s)), "pad", "not of the batch"),
    line(60, "PADV2", 4, (|c, s, _| c.pad(s), |w, s| w.pad(s)), "pad", "not of the batch"),
    line(114, "QUANTIZE", 4, (|c, s, ends| c.quantize(s, ends), |w, s| w.unary(s, "Identity")), "rescale or nothing", "int8 to int8; at the model's ends also from float or uint8 and to uint8"),
    line(82, "REDUCE_MAX", 3, (|c, s, _| c.reduce_max(s), |w, s| w.reduce(s, "ReduceMax")), "max_pool2d", "as MEAN"),
    line(81, "REDUCE_PROD", 2, (|c, s, _| c.sizes(s), |_, s| Err(sizes(s))), "nothing", "of sizes, for a RESHAPE"),
    line(19, "RELU", 3, (|c, s, _| c.relu(s), |w, s| w.rectified(s, 1)), "rescale", ""),
    line(21, "RELU6", 3, (|c, s, _| c.relu6(s), |w, s| w.rectified(s, 3)), "rescale", ""),
    line(22, "RESHAPE", 1, (|c, s, _| c.view(s), |w, s| w.view(s)), "nothing", "the batch stays 1"),
    line(97, "RESIZE_NEAREST_NEIGHBOR", 4, (|c, s, _| c.resize_nearest(s), |w, s| w.resize_nearest(s)), "resize_nearest", "without align_corners"),
    line(77, "SHAPE", 1, (|c, s, _| c.sizes(s), |_, s| Err(sizes(s))), "nothing", "for a RESHAPE"),
    line(65, "SLICE", 5, (|c, s, _| c.slice(s), |w, s| w.slice(s)), "slice", "along any dimension but the batch; of sizes nothing"),
    line(25, "SOFTMAX", 3, (|c, s, _| c.softmax(s), |w, s| w.softmax(s)), "softmax", "over at most 4095 values"),
    line(38, "SPACE_TO_BATCH_ND", 4, (|c, s, _| c.space_to_batch(s), |_, s| Err(batched(s))), "nothing", "before a convolution and BATCH_TO_SPACE_ND: these become one with a dilation"),
    line(43, "SQUEEZE", 2, (|c, s, _| c.view(s), |w, s| w.view(s)), "nothing", ""),
    line(45, "STRIDED_SLICE", 8, (|c, s, _| c.slice(s), |w, s| w.slice(s)), "slice", "forwards along any dimension but the batch; of sizes nothing"),
    line(41, "SUB", 5, (|c, s, _| c.sub(s), |w, s| w.binary(s, "Sub")), "add, or depthwise_conv2d and add", "as ADD"),
    line(28, "TANH", 3, (|c, s, _| c.tanh(s), |w, s| w.unary(s, "Tanh")), "tanh", ""),
    line(39, "TRANSPOSE", 6, (|c, s, _| c.transpose(s), |w, s| w.transpose(s)), "nothing", "only dimensions of 1 change their places"),
];

/// The new rows and columns of `RESIZE_NEAREST_NEIGHBOR`, and whether pixels are found by their centres.
fn resized<'a>(site: &Site<'a>, sizes: &Tensor<'a>) -> Result<([i64; 2], bool), ImportError> {
    let flag = |index| site.operator.options.map_or(Ok(0), |options| options.i8(index, 0));
    if flag(0)? != 0 {
        let (what, found) = ("align_corners", "true".to_owned());
        return Err(ImportError::Attribute { at: site.at(), what, found, supported: "false" });
    }
    let sizes = integers(site, sizes)?;
    let pair = <[i64; 2]>::try_from(sizes).map_err(|_| site.missing("its rows and columns"))?;
    Ok((pair, flag(1)? != 0))
}

impl<'a> Converter<'a> {
    fn resize_nearest(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let input = self.operand(site, 0, "its input")?;
        let (_, sizes) = self.input(site, 1, "its rows and columns")?;
        let ([rows, columns], half_pixel_centers) = resized(site, sizes)?;
        let output = self.result(site)?;
        let (from, to) = (self.of(input), self.of(output));
        let [.., channels] = from.dims[..] else {
            return Err(site.shape_error("it resizes images", &[&from.dims]));
        };
        let expected = [rows, columns, channels as i64];
        if from.dims.len() != 3 || !to.dims.iter().map(|&dim| dim as i64).eq(expected) {
            let problem = "the output's size doesn't follow from the rows and columns";
            return Err(site.shape_error(problem, &[&from.dims, &to.dims]));
        }
        if from.quantization != to.quantization {
            let tensor = &self.model.tensors[self.output(site).0];
            return Err(site.quantization(tensor, "has another scale than the input"));
        }
        self.push(site, IntegerResizeNearest { half_pixel_centers }, vec![input], output);
        Ok(())
    }
}

impl<'m> Writer<'m> {
    fn resize_nearest(&mut self, site: &Site<'m>) -> Result<(), ImportError> {
        let (size, half_pixel_centers) = resized(site, self.tensor(site, 1)?)?;
        let (x, output) = (self.operand(site, 0)?, self.output(site)?);
        let x = self.transposed(site, &x, &FIRST)?;
        let size = self.longs(&size);
        let of = if half_pixel_centers { "tf_half_pixel_for_nn" } else { "asymmetric" };
        let attributes = vec![
            ints("axes", &[2, 3]),
            text("coordinate_transformation_mode", of),
            text("nearest_mode", "floor"),
        ];
        let written = self.step(site, "Resize", &[&x, "", "", &size], attributes)?;
        self.node(site, "Transpose", &[&written], &output, vec![ints("perm", &LAST)])
    }
}

/// Batches are no dimension of a model of floats.
fn batched(site: &Site<'_>) -> ImportError {
    let problem = "isn't supported in a model of floats; convert it with a batch of 1, so that the \
                   convolution keeps its dilation, or to int8";
    ImportError::Numbers { at: site.at(), problem }
}

/// Sizes that depend on values.
fn sizes(site: &Site<'_>) -> ImportError {
    let problem = "isn't supported of the input's values, only of sizes for a RESHAPE";
    ImportError::Numbers { at: site.at(), problem }
}

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
static OTHERS: [(i32, &str); 54] = [
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
    (94, "FILL"), (99, "SQUARED_DIFFERENCE"),
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
