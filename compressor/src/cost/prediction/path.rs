//! The paths that layers take through a core's kernels.

use bitsback_runtime::OpKind;
use bitsback_runtime::format::{Affine, Layout};

/// How weights are stored, as kernels tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// 8 bits, row after row.
    Bytes,
    /// 8 bits, in pairs of rows.
    Pairs,
    /// 4 bits.
    Nibbles,
    /// 2 bits.
    Crumbs,
    /// 16 bits.
    Halves,
    /// Other widths, read field by field.
    Fields,
    /// A coded stream.
    Coded,
    /// What was coded, unpacked: filters of which some may be lists.
    Listed,
}

impl Form {
    /// All of them.
    const ALL: [Self; 8] = [
        Self::Bytes,
        Self::Pairs,
        Self::Nibbles,
        Self::Crumbs,
        Self::Halves,
        Self::Fields,
        Self::Coded,
        Self::Listed,
    ];

    pub(super) fn of(affine: &Affine) -> Self {
        match (affine.weights.layout, affine.weights.bits) {
            (Layout::Pairs, _) => Self::Pairs,
            (Layout::RowMajor, 8) => Self::Bytes,
            (Layout::RowMajor, 4) => Self::Nibbles,
            (Layout::RowMajor, 2) => Self::Crumbs,
            (Layout::RowMajor, 16) => Self::Halves,
            (Layout::RowMajor, _) => Self::Fields,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Pairs => "pairs",
            Self::Nibbles => "nibbles",
            Self::Crumbs => "crumbs",
            Self::Halves => "halves",
            Self::Fields => "fields",
            Self::Coded => "coded",
            Self::Listed => "listed",
        }
    }
}

/// The way that a layer with weights takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A matrix and a vector.
    Dense,
    /// Windows are gathered for all filters at once.
    Conv,
    /// The same with filters that are longer than `FILTER_MAX`.
    LongConv,
    /// A convolution and the largest of its outputs.
    ConvPool,
    /// The same of one channel, 5 × 5 taps and squares of two by two.
    Squares,
    /// A convolution of each channel by itself, some channels at a time,
    Depthwise,
    /// and by 3 × 3 taps.
    Threes,
    /// The same one channel at a time.
    Channels,
}

impl Way {
    /// All of them.
    const ALL: [Self; 8] = [
        Self::Dense,
        Self::Conv,
        Self::LongConv,
        Self::ConvPool,
        Self::Squares,
        Self::Depthwise,
        Self::Threes,
        Self::Channels,
    ];

    /// Whether such layers can be stored so.
    fn takes(self, form: Form) -> bool {
        match self {
            Self::Conv => true,
            Self::Dense => form != Form::Listed,
            Self::LongConv | Self::Depthwise => {
                !matches!(form, Form::Pairs | Form::Coded | Form::Listed)
            }
            Self::ConvPool => form != Form::Halves,
            Self::Squares => matches!(form, Form::Bytes | Form::Coded),
            Self::Threes => form == Form::Bytes,
            Self::Channels => !matches!(form, Form::Pairs | Form::Listed),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Conv => "conv",
            Self::LongConv => "long-conv",
            Self::ConvPool => "conv-pool",
            Self::Squares => "squares",
            Self::Depthwise => "depthwise",
            Self::Threes => "threes",
            Self::Channels => "channels",
        }
    }
}

/// The path that a layer takes through a core's kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// Of a layer with weights.
    Weights(Way, Form),
    /// Of any other operator.
    Other(OpKind),
}

impl Path {
    /// All paths that a layer can take.
    #[allow(dead_code)] // `cargo xtask bench cost` draws layers of them, and tests look at them
    pub(crate) fn all() -> Vec<Self> {
        let with_weights = [
            OpKind::Dense,
            OpKind::Conv2d,
            OpKind::DepthwiseConv2d,
            OpKind::Conv2dMaxPool2d,
            OpKind::CodedDense,
            OpKind::CodedConv2d,
            OpKind::CodedDepthwiseConv2d,
        ];
        let forms = Way::ALL.into_iter().flat_map(|way| Form::ALL.map(|form| (way, form)));
        let weights = forms.filter(|(way, form)| way.takes(*form));
        let others = OpKind::ALL.iter().filter(|kind| !with_weights.contains(kind));
        let weights = weights.map(|(way, form)| Self::Weights(way, form));
        weights.chain(others.map(|&kind| Self::Other(kind))).collect()
    }

    /// The path whose costs it has: filters that are decoded meet the kernels that bytes meet.
    pub(crate) fn costs(self) -> Self {
        match self {
            Self::Weights(
                way @ (Way::Conv | Way::ConvPool | Way::Squares),
                Form::Coded | Form::Listed,
            ) => Self::Weights(way, Form::Bytes),
            other => other,
        }
    }

    /// As the table of constants has it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Weights(way, form) => format!("{}-{}", way.name(), form.name()),
            Self::Other(kind) => kind.name().to_owned(),
        }
    }
}
