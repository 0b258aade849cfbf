//! What of a layer costs instructions: counts that its kernels' loops follow.
//!
//! Every count is computed for every layer; `constants.tsv` says which of them a kernel
//! path takes instructions for, and how many. Those were solved for, and a kernel that changes its
//! loops finds others.

/// Declares the features with their names.
macro_rules! features {
    ($($(#[doc = $text:literal])* $feature:ident $name:literal),* $(,)?) => {
        /// A count of a layer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Feature {
            $($(#[doc = $text])* $feature),*
        }

        impl Feature {
            /// All of them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$feature),*];

            /// As the table of constants has it.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$feature => $name),* }
            }
        }
    };
}

features! {
    /// The layer itself: its record, its set-up.
    Layer "layer",
    /// Values that it reads.
    Input "input",
    /// Values that it writes.
    Output "output",
    /// Rows of the weight matrix, or channels.
    Row "row",
    /// Weights of a row.
    Column "column",
    /// Weights.
    Weight "weight",
    /// Positions that rows are multiplied at.
    Position "position",
    /// Gathers of positions: one at a time, or four, in pieces of a patch.
    Gather "gather",
    /// Those among them that are done pixel by pixel, since a window leaves the image or taps are apart,
    EdgeGather "edge-gather",
    /// with all rows of their windows, or pixels where taps are apart,
    EdgeRow "edge-row",
    /// and with all values.
    EdgeValue "edge-value",
    /// Rows of windows that are copied, or pixels where taps are apart.
    WindowRow "window-row",
    /// Values under the windows of all positions.
    Gathered "gathered",
    /// The same in vectors of sixteen, row of a window by row.
    GatheredVector "gathered-vector",
    /// Chunks of 64 rows, at each position.
    Chunk "chunk",
    /// Blocks of four rows, at each position.
    Block "block",
    /// Rows that are left of those, at each position.
    RestRow "rest-row",
    /// Multiply-accumulates.
    Product "product",
    /// The same in words of four columns,
    ProductWord "product-word",
    /// in vectors of sixteen,
    ProductVector "product-vector",
    /// in blocks of four rows: columns,
    BlockColumn "block-column",
    /// words of them,
    BlockWord "block-word",
    /// and vectors of them,
    BlockVector "block-vector",
    /// and of the rows that are left.
    RestProduct "rest-product",
    /// The rest's words.
    RestWord "rest-word",
    /// Columns beyond the last whole word, of every row at every position.
    OddColumn "odd-column",
    /// Fours of positions,
    Four "four",
    /// with all columns under their windows,
    FourColumn "four-column",
    /// with all rows,
    FourRow "four-row",
    /// with all blocks of rows,
    FourBlock "four-block",
    /// with all words of all rows,
    FourRowWord "four-row-word",
    /// and with all words of all blocks.
    FourBlockWord "four-block-word",
    /// Bytes of packed weights, at all positions,
    PackedByte "packed-byte",
    /// and once.
    WeightByte "weight-byte",
    /// Products of fewer rows than a block has,
    FewProduct "few-product",
    /// and their outputs.
    FewOutput "few-output",
    /// Products of inputs with an offset, which no bias holds.
    OffsetProduct "offset-product",
    /// Rows of such inputs, with their weights.
    OffsetWeight "offset-weight",
    /// Rows of such inputs.
    OffsetRow "offset-row",
    /// Weights of rows whose biases hold what the offset adds, where kernels take it out again.
    FoldedWeight "folded-weight",
    /// Rows of those.
    FoldedRow "folded-row",
    /// Products of a dense layer with more inputs than are spread.
    BeyondProduct "beyond-product",
    /// Rows of one.
    BeyondRow "beyond-row",
    /// Outputs with a multiplier of their channel's own.
    ChannelOutput "channel-output",
    /// Rows with one.
    ChannelRow "channel-row",
    /// Outputs with a bias of 8 or 16 bits.
    NarrowBias "narrow-bias",
    /// Rows whose multiplier is none that the kernels take.
    RareRow "rare-row",
    /// Their outputs.
    RareOutput "rare-output",
    /// Outputs of a layer with such a row.
    RareLayerOutput "rare-layer-output",
    /// Products of one.
    RareLayerProduct "rare-layer-product",
    /// Taps inside the image, of all windows and channels.
    Tap "tap",
    /// Rows of taps inside, of all windows and channels.
    TapRow "tap-row",
    /// Taps inside of weights that begin within a byte, of all windows and channels.
    UnalignedTap "unaligned-tap",
    /// Rows of taps inside, of all windows.
    PixelRow "pixel-row",
    /// Taps inside, of all windows.
    Pixel "pixel",
    /// Groups of neighbouring channels,
    Group "group",
    /// with stretches of rows of positions that have the same taps inside,
    GroupRun "group-run",
    /// with the taps of those,
    GroupRunTap "group-run-tap",
    /// with all stretches of both rows and columns of positions,
    GroupRuns "group-runs",
    /// with the taps of those,
    GroupRunsTap "group-runs-tap",
    /// with stretches of positions in all rows,
    GroupRow "group-row",
    /// with positions,
    GroupPosition "group-position",
    /// and with all taps inside.
    GroupTap "group-tap",
    /// Stretches of values that are copied.
    Stretch "stretch",
    /// Values that are copied one by one.
    Apart "apart",
    /// Words of what is copied,
    StretchWord "stretch-word",
    /// and bytes beyond them.
    StretchRest "stretch-rest",
    /// Pixels that are found by their centres.
    Centre "centre",
    /// Outputs of operands of different shapes.
    Broadcast "broadcast",
    /// Outputs of operands of one shape that are too short for tables.
    Untabled "untabled",
    /// Sums of tensors of one shape that are long enough for tables,
    Tabled "tabled",
    /// and their outputs.
    TabledOutput "tabled-output",
    /// Bytes of a coded stream.
    Byte "byte",
    /// Its weights other than 0,
    Used "used",
    /// the steps that their magnitudes are told in,
    Step "step",
    /// and those whose magnitude is told as a number.
    Large "large",
}

/// All counts of a layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Features([f64; Feature::ALL.len()]);

impl Features {
    /// One layer, and nothing of it yet.
    pub(super) fn new() -> Self {
        let mut features = Self([0.0; Feature::ALL.len()]);
        features.set(Feature::Layer, 1.0);
        features
    }

    /// Sets one.
    pub(super) fn set(&mut self, feature: Feature, count: f64) {
        self.0[feature as usize] = count;
    }

    /// How many there are.
    pub(crate) fn get(&self, feature: Feature) -> f64 {
        self.0[feature as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different() {
        let mut names: Vec<&str> = Feature::ALL.iter().map(|feature| feature.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Feature::ALL.len());
        for (index, &feature) in Feature::ALL.iter().enumerate() {
            assert_eq!(feature as usize, index);
        }
    }

    #[test]
    fn a_layer_is_one_layer() {
        let mut features = Features::new();
        features.set(Feature::Product, 7.0);
        assert_eq!((features.get(Feature::Layer), features.get(Feature::Product)), (1.0, 7.0));
    }
}
