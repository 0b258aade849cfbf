//! What vectors of sixteen bytes go through: four rows at once, sixteen columns a step.

use super::{BLOCK_ROWS, Matrix};

/// Columns of a step.
pub(super) const STEP: usize = 16;

/// Four rows from `first` on, the last one again where there are fewer, each with what follows it
/// up to a whole step; `None` where the weight section ends before.
pub(super) fn four_rows<'a>(
    matrix: &Matrix<'a>,
    first: usize,
    columns: usize,
) -> Option<[&'a [u8]; BLOCK_ROWS]> {
    let last = matrix.rows.checked_sub(1)?;
    let columns = columns.checked_next_multiple_of(STEP)?;
    let row = |number: usize| {
        let start = first.checked_add(number)?.min(last).checked_mul(matrix.row_len)?;
        matrix.bytes.get(start..start.checked_add(columns)?)
    };
    Some([row(0)?, row(1)?, row(2)?, row(3)?])
}
