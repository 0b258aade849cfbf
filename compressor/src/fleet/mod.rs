//! What devices report: their records read and merged, and what they say of each device and of all together.

mod betting;
mod readings;
mod testing;

pub(crate) use readings::{Readings, Skipped};
pub(crate) use testing::{DeviceResult, FleetResult, Pooled, judge};
