//! Where the rows of a weight layer come from: from the weight section as they are, decoded, or from
//! where they were unpacked.

#[cfg(any(test, feature = "std"))]
use super::Expanded;
use super::Parameters;
use super::affine::Layer;
use crate::features::Features;
use crate::format::{Clamp, Layout, OpFault};

/// Rows of a layer, one an output.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    /// How many.
    pub(crate) count: usize,
    /// Weights of a row.
    pub(crate) columns: usize,
    /// Distance in a row to the weight before: the channels of a convolution, else 1.
    pub(crate) lag: usize,
    /// Whether they meet so many positions that lists of what isn't 0 may pay.
    pub(crate) listed: bool,
}

/// What hands the rows of a layer over while it runs.
pub(crate) trait Feed {
    /// Whether all rows are there at once. Else some filters come at a time.
    const IS_WHOLE: bool;
    /// Whether filters are of bytes and no longer than a patch.
    const ARE_SHORT: bool;

    /// The outputs of all rows for one input; zero points are the input's and the output's.
    fn multiply(&self, section: &[u8], x: &[i8], zero_points: [i8; 2], outputs: &mut [i8]);

    /// Hands over all filters, or some at a time: a layer of those, and the number of the first.
    fn filters(
        &self,
        section: &[u8],
        rows: Rows,
        zero_points: [i8; 2],
        take: impl FnMut(&Layer<'_>, usize),
    );
}

/// Parameters of a weight layer, which say where its rows come from.
pub(crate) trait RowSource: Feed {
    /// The features that they need.
    fn features(&self) -> Features;

    /// Whether filters of so many weights can be moved over an image.
    fn has_filters(&self, columns: usize) -> bool;

    /// Whether filters of one channel, of so many weights, can be.
    fn has_kernels(&self, columns: usize) -> bool;

    /// Proves that the parameters of a layer lie in the section, have a known width and sound
    /// multipliers, and can't make an accumulator leave 32 bits.
    fn check(&self, section: &[u8], rows: usize, columns: usize) -> Result<(), OpFault>;

    /// Bytes of each part, for reports.
    fn parameters(&self, rows: usize, columns: usize, macs: u64) -> Parameters;

    /// Elementary steps of one inference.
    fn steps(&self, parameters: &Parameters) -> u64 {
        parameters.macs
    }

    /// Whether biases are unpacked with the weights; `None`: nothing is, as it is plain already.
    fn unpacks_biases(&self) -> Option<bool>;

    /// Whether rows may be in pairs: Σ w·x of each stays below
    /// [`PAIRED_SUM_MAX`](crate::format::PAIRED_SUM_MAX), whatever the inputs.
    fn may_pair(&self, columns: usize) -> bool;

    /// Whether the largest output of some is the output of the largest sum, also when it is then limited
    /// by `clamp`.
    fn pools(&self, section: &[u8], rows: usize, columns: usize, clamp: Clamp) -> bool;

    /// Unpacks biases and weights of a layer.
    fn unpack(&self, section: &[u8], rows: Rows, zero_point: i8, layout: Layout, to: &mut [u8]);

    /// The layer whose biases and weights `bytes` begin with, or `None` when a part lies outside.
    fn unpacked<'a>(
        &self,
        section: &'a [u8],
        bytes: &'a [u8],
        rows: Rows,
        layout: Layout,
        zero_point: i8,
    ) -> Option<Layer<'a>>;

    /// All of a layer's weights and what finishes its outputs, or `None` when a part lies outside the
    /// section. Zero points are the input's and the output's.
    #[cfg(any(test, feature = "std"))]
    fn expand(&self, section: &[u8], rows: Rows, zero_points: [i8; 2]) -> Option<Expanded>;
}
