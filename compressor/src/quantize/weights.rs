pub use crate::numbers::{Rows, largest};
