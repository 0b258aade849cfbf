//! The crate `microflow`, which compiles models of TensorFlow Lite: a function for each.
//!
//! It has no max pooling, and none of the operators that Keras computes a shape with, which are in
//! our files of convolutions. The path is from the folder that cargo compiles in, this workspace's.

use microflow::buffer::Buffer2D;
use microflow::model;

#[model("../../tests/fixtures/tflite/lenet300_784_300_100_10_ptfc_int8.tflite")]
struct Lenet300;

/// LeNet-300-100.
pub(crate) fn lenet_300(x: &[i8]) -> Buffer2D<f32, 1, 10> {
    let value = |column: usize| x.get(column).copied().unwrap_or_default();
    Lenet300::predict_quantized(Buffer2D::from_fn(|_, column| value(column)))
}
