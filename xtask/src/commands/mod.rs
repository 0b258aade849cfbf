//! The commands, one file each.

pub(crate) mod bench;
pub(crate) mod c;
pub(crate) mod certify;
pub(crate) mod corpus;
mod cost;
pub(crate) mod data;
pub(crate) mod decision;
pub(crate) mod fuzz;
pub(crate) mod golden;
pub(crate) mod host;
pub(crate) mod onnx;
pub(crate) mod pytorch;
pub(crate) mod qemu;
pub(crate) mod results;
pub(crate) mod sentinel;
pub(crate) mod setup;
pub(crate) mod slots;
pub(crate) mod storage;
pub(crate) mod test;
pub(crate) mod training;
pub(crate) mod update;
