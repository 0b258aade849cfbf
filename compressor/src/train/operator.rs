//! What the operators' files ([`crate::graph::ops`]) need for training.

pub use burn::tensor::{Tensor, activation};

pub use super::forward::{Inputs, Pass};
pub use super::tensor::{
    Convolution, Elementwise, Pairwise, Value, avg_pool, columns, constant, max_pool,
    rows_and_columns,
};
