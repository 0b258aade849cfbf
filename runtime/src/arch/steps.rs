//! What vectors of sixteen bytes go through: four rows at once, sixteen columns a step.

use super::{BLOCK_ROWS, Matrix};
use crate::format::Layout;

/// Columns of a step.
pub(super) const STEP: usize = 16;

/// What is a byte of any bits.
pub(super) trait Byte {}
impl Byte for i8 {}
impl Byte for u8 {}

/// Four rows of bytes from `first` on, the last one again where there are fewer, each with what follows it
/// up to a whole step; `None` for other widths and layouts, and where the weight section ends before.
pub(super) fn four_rows<'a>(
    matrix: &Matrix<'a>,
    first: usize,
    columns: usize,
) -> Option<[&'a [u8]; BLOCK_ROWS]> {
    if matrix.bits() != 8 || matrix.layout() != Layout::RowMajor {
        return None;
    }
    let last = matrix.rows.checked_sub(1)?;
    let columns = columns.checked_next_multiple_of(STEP)?;
    let row = |number: usize| {
        let start = first.checked_add(number)?.min(last).checked_mul(matrix.row_len)?;
        matrix.bytes.get(start..start.checked_add(columns)?)
    };
    Some([row(0)?, row(1)?, row(2)?, row(3)?])
}
