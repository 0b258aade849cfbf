//! A layer's weights as kernels see them.

/// Weights of a layer, one row per output.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    /// From the first weight to the weight section's end. What follows the matrix counts for
    /// nothing, but lets a kernel load the whole word that a row ends within.
    pub(crate) bytes: &'a [u8],
    /// Width of a weight.
    pub(crate) bits: u8,
    /// Rows.
    pub(crate) rows: usize,
    /// Bytes of a packed row.
    pub(crate) row_len: usize,
}

impl<'a> Matrix<'a> {
    /// The packed rows, in order.
    pub(crate) fn packed(&self) -> core::slice::ChunksExact<'a, u8> {
        let len = self.row_len.wrapping_mul(self.rows);
        // `max(1)`: rows aren't empty, but the compiler can't know.
        self.bytes.get(..len).unwrap_or_default().chunks_exact(self.row_len.max(1))
    }
}
