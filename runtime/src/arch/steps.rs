//! What vectors of sixteen bytes go through: four rows at once, sixteen bytes of each a step.
//!
//! A step takes 16, 32 or 64 columns of 8, 4 or 2 bits. Columns that are left over get a step of their
//! own: of each row's last sixteen bytes, over inputs that are 0 where another step was before.

use super::kernels;
use super::{BLOCK_ROWS, Matrix};
use crate::format::{Layout, row_len};

/// Bytes of a row that a step takes.
pub(super) const STEP: usize = 16;
/// Most columns of a step: those of 2 bits.
pub(super) const STEP_COLUMNS: usize = 4 * STEP;

/// What a row's last step multiplies; vectors find it aligned.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub(super) struct Last(pub(super) [i8; STEP_COLUMNS]);

/// Room for the last step's inputs.
pub(crate) struct Lanes {
    x: Last,
    mask: Last,
}

/// Inputs of a layer, and what is added to each.
pub(crate) struct Inputs<'a> {
    pub(super) x: &'a [i8],
    pub(super) offset: i16,
    /// Columns of a step; 0 where these kernels don't take the width.
    pub(super) step_columns: usize,
    /// What lies in the last step, if the columns are no whole steps; 0 beside that.
    pub(super) last: Option<&'a Last>,
    /// −1 for what lies in the last step and 0 beside that; only of use where there is an offset.
    pub(super) mask: &'a Last,
}

impl kernels::Inputs for Inputs<'_> {
    #[inline(always)]
    fn plain(&self) -> (&[i8], i16) {
        (self.x, self.offset)
    }
}

impl kernels::Lanes for Lanes {
    type Inputs<'a> = Inputs<'a>;

    #[inline(always)]
    fn new() -> Self {
        Self { x: Last([0; STEP_COLUMNS]), mask: Last([0; STEP_COLUMNS]) }
    }

    fn prepare<'a>(&'a mut self, matrix: &Matrix<'_>, x: &'a [i8], offset: i16) -> Inputs<'a> {
        let fields = match matrix.bits() {
            8 => 1,
            4 => 2,
            2 => 4,
            _ => 0,
        };
        let step_columns = fields * STEP;
        let rest = x.len().checked_rem(step_columns).unwrap_or(0);
        if rest == 0 || matrix.layout() != Layout::RowMajor {
            return Inputs { x, offset, step_columns, last: None, mask: &self.mask };
        }
        let whole = x.len().wrapping_sub(rest);
        let begin = matrix.row_len.saturating_sub(STEP).wrapping_mul(fields);
        let place = whole.wrapping_sub(begin);
        let (x_last, mask) = (&mut self.x.0, &mut self.mask.0);
        *x_last = [0; STEP_COLUMNS];
        let values = x.get(whole..).unwrap_or_default();
        for (to, &from) in x_last.iter_mut().skip(place).zip(values) {
            *to = from;
        }
        if offset != 0 {
            *mask = [0; STEP_COLUMNS];
            mask.iter_mut().skip(place).take(rest).for_each(|value| *value = -1);
        }
        Inputs { x, offset, step_columns, last: Some(&self.x), mask: &self.mask }
    }
}

/// Four rows from `first` on, the last one again where there are fewer, each of the bytes that its
/// columns take and of one step at least. `None` for other widths and layouts, and where the weight
/// section ends before.
pub(super) fn four_rows<'a>(
    matrix: &Matrix<'a>,
    first: usize,
    inputs: &Inputs<'_>,
) -> Option<[&'a [u8]; BLOCK_ROWS]> {
    let len = matrix.row_len;
    let fits = len == row_len(matrix.bits(), inputs.x.len());
    if !fits || inputs.step_columns == 0 || matrix.layout() != Layout::RowMajor {
        return None;
    }
    let last = matrix.rows.wrapping_sub(first).checked_sub(1)?;
    let bytes = matrix.bytes.get(first.wrapping_mul(len)..)?;
    let row = |number: usize| {
        let (_, from) = bytes.split_at_checked(number.min(last).wrapping_mul(len))?;
        from.get(..len.max(STEP))
    };
    Some([row(0)?, row(1)?, row(2)?, row(3)?])
}
