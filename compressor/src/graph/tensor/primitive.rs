//! A backend's tensors as plain numbers, for the operations that enter below burn's own.
//!
//! The buffers of a tensor that nothing else holds are moved, not copied.

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;
use burn::tensor::TensorData;

/// The numbers of a tensor; `slice` and `slice_mut` look at them in place.
pub(crate) fn data<B: Backend>(x: FloatTensor<B>) -> TensorData {
    let data = burn::tensor::try_read_sync(B::float_into_data(x));
    // CPU backends are synchronous and never fail to read.
    data.and_then(Result::ok).unwrap_or_else(|| TensorData::new(Vec::<f32>::new(), [0]))
}

/// The numbers of a tensor as a vector.
pub(crate) fn read<B: Backend>(x: FloatTensor<B>) -> Vec<f32> {
    // Every tensor of this crate is f32, the only way for the conversion to fail.
    data::<B>(x).try_into_vec().unwrap_or_default()
}

/// A tensor of `values`.
pub(crate) fn write<B: Backend>(values: Vec<f32>, dims: &[usize]) -> FloatTensor<B> {
    from_data::<B>(TensorData::new(values, dims.to_vec()))
}

/// A tensor of `data`.
pub(crate) fn from_data<B: Backend>(data: TensorData) -> FloatTensor<B> {
    B::float_from_data(data, &B::Device::default())
}

/// The numbers in row-major order.
pub(crate) fn slice(data: &TensorData) -> &[f32] {
    // burn's own kernels make this very cast of the same buffers.
    data.as_slice().unwrap_or(&[])
}

/// The numbers in row-major order, to be changed in place.
pub(crate) fn slice_mut(data: &mut TensorData) -> &mut [f32] {
    data.as_mut_slice().unwrap_or(&mut [])
}
