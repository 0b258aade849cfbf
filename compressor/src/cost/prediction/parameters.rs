//! What layers with weights have in common: how their rows are stored, and what finishes them.

use bitsback_runtime::Step;
use bitsback_runtime::format::{
    Affine, Bias, BiasWidth, CHANNEL_MULTIPLIER_LEN, Requantization, StoredBias,
};
use bitsback_runtime::ops::CodedAffine;
use bitsback_runtime::requantize::Multiplier;

use super::lists::Lists;
use super::path::Form;

/// The parameters of a layer with weights.
#[derive(Clone, Copy)]
pub(super) enum Stored<'a> {
    Plain(&'a Affine),
    Coded(&'a CodedAffine),
}

/// A layer's rows.
#[derive(Clone, Debug)]
pub(super) struct Parameters {
    pub(super) form: Form,
    /// Whether filters are decoded some at a time, rather than all at once.
    pub(super) in_batches: bool,
    /// Where decoded filters may be lists, which are.
    pub(super) lists: Option<Lists>,
    /// Of a weight; coded ones are decoded to 8.
    pub(super) bits: usize,
    pub(super) rows: usize,
    /// Bytes of the section from the first weight on.
    pub(super) room: usize,
    /// Whether biases hold what the input's zero point adds.
    pub(super) folded: bool,
    /// The input's zero point.
    pub(super) zero_point: i8,
    pub(super) bias: Option<(BiasWidth, u8)>,
    pub(super) per_channel: bool,
    /// Of each row.
    pub(super) multipliers: Vec<Multiplier>,
}

impl Parameters {
    pub(super) fn of(step: &Step, stored: Stored<'_>, section: &[u8], zero_point: i8) -> Self {
        let rows = step.output().shape.channels();
        let requantization = match stored {
            Stored::Plain(affine) => affine.requantization,
            Stored::Coded(affine) => affine.requantization,
        };
        let multipliers = multipliers(requantization, section, rows);
        let per_channel = matches!(requantization, Requantization::PerChannel { .. });
        let (form, bits, room, folded, bias) = match stored {
            Stored::Plain(affine) => {
                let start = affine.weights.offset as usize;
                let bias = match affine.bias {
                    Bias::None => None,
                    Bias::Plain(bias) | Bias::Folded(bias) => Some(bias),
                };
                let room = section.len().saturating_sub(start);
                let folded = matches!(affine.bias, Bias::Folded(_));
                (Form::of(affine), affine.weights.bits.into(), room, folded, bias)
            }
            // Decoded rows lie by themselves, with a bias each.
            Stored::Coded(_) => {
                let bias = StoredBias { offset: 0, width: BiasWidth::I32, shift: 0 };
                (Form::Coded, 8, usize::MAX, true, Some(bias))
            }
        };
        let bias = bias.map(|bias| (bias.width, bias.shift));
        Self {
            form,
            in_batches: form == Form::Coded,
            lists: None,
            bits,
            rows,
            room,
            folded,
            zero_point,
            bias,
            per_channel,
            multipliers,
        }
    }

    /// As a layer of 8-bit weights is likely to be compiled.
    #[cfg(test)]
    pub(super) fn plain(rows: usize, layout: bitsback_runtime::format::Layout) -> Self {
        use bitsback_runtime::format::Layout;
        let form = if layout == Layout::Pairs { Form::Pairs } else { Form::Bytes };
        let usual = Multiplier { value: 1 << 30, shift: -8 };
        Self {
            form,
            in_batches: false,
            lists: None,
            bits: 8,
            rows,
            room: usize::MAX,
            folded: true,
            zero_point: -128,
            bias: Some((BiasWidth::I32, 0)),
            per_channel: true,
            multipliers: vec![usual; rows],
        }
    }

    /// Whether an offset is added to inputs.
    pub(super) fn has_offset(&self) -> bool {
        self.zero_point != 0 && !self.folded
    }

    /// Whether a filter is a row, and no list.
    pub(super) fn is_row(&self, filter: usize) -> bool {
        self.lists.as_ref().is_none_or(|lists| lists.is_row(filter))
    }

    /// Rows in blocks of pairs.
    pub(super) fn paired_rows(&self) -> usize {
        if self.form == Form::Pairs { self.rows & !3 } else { 0 }
    }

    /// Bytes of a row of so many weights.
    pub(super) fn row_len(&self, columns: usize) -> usize {
        (self.bits * columns).div_ceil(8)
    }
}

/// The multiplier of each row.
fn multipliers(requantization: Requantization, section: &[u8], rows: usize) -> Vec<Multiplier> {
    match requantization {
        Requantization::PerTensor(multiplier) => vec![multiplier; rows],
        Requantization::PerChannel { offset } => {
            let bytes = section.get(offset as usize..).unwrap_or_default();
            let (entries, _) = bytes.as_chunks::<CHANNEL_MULTIPLIER_LEN>();
            let of = |&[a, b, c, d, shift]: &[u8; CHANNEL_MULTIPLIER_LEN]| Multiplier {
                value: i32::from_le_bytes([a, b, c, d]),
                shift: shift as i8,
            };
            entries.iter().take(rows).map(of).collect()
        }
    }
}
