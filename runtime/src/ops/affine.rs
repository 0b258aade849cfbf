//! What weight layers share: finding their parameters, proving them sound, finishing outputs.

use super::Parameters;
use super::filter::Filter;
use crate::arch::{self, BLOCK_ROWS, Ends, Lanes, Matrix};
use crate::format::{
    Affine, Bias, BiasWidth, CHANNEL_MULTIPLIER_LEN, Clamp, Layout, MAX_BIAS_SHIFT, OpFault,
    PAIRED_SUM_MAX, Requantization, StoredBias, is_width, matrix_len, row_len,
};
use crate::requantize::{Multiplier, requantize};

/// Parameters of a layer, found in the weight section.
pub(crate) struct Layer<'a> {
    /// Weights.
    pub(crate) matrix: Matrix<'a>,
    /// Whether the biases hold −zero point·Σ w.
    pub(crate) folded: bool,
    bias: Option<(BiasWidth, u8, &'a [u8])>,
    multipliers: Multipliers<'a>,
    zero_point: i8,
    clamp: Clamp,
}

#[derive(Clone, Copy)]
enum Multipliers<'a> {
    PerTensor(Multiplier),
    PerChannel(&'a [[u8; CHANNEL_MULTIPLIER_LEN]]),
}

/// `len` bytes from `offset` on.
pub(crate) fn part(section: &[u8], offset: u32, len: usize) -> Option<&[u8]> {
    let start = offset as usize;
    section.get(start..start.checked_add(len)?)
}

impl<'a> Layer<'a> {
    /// Finds everything, or `None` when a part lies outside the section.
    pub(crate) fn find(
        affine: &Affine,
        section: &'a [u8],
        rows: usize,
        columns: usize,
        zero_point: i8,
    ) -> Option<Self> {
        let bits = affine.weights.bits;
        let row_len = row_len(bits, columns);
        let layout = affine.weights.layout;
        part(section, affine.weights.offset, matrix_len(layout, bits, rows, columns))?;
        let bytes = section.get(affine.weights.offset as usize..)?;
        let matrix = Matrix { bytes, layout, bits, rows, columns, row_len };
        let bias = match stored(affine.bias) {
            None => None,
            Some(bias) => {
                let bytes = part(section, bias.offset, rows.checked_mul(bias.width.bytes())?)?;
                Some((bias.width, bias.shift, bytes))
            }
        };
        let multipliers = match affine.requantization {
            Requantization::PerTensor(multiplier) => Multipliers::PerTensor(multiplier),
            Requantization::PerChannel { offset } => {
                let len = rows.checked_mul(CHANNEL_MULTIPLIER_LEN)?;
                Multipliers::PerChannel(part(section, offset, len)?.as_chunks().0)
            }
        };
        let folded = matches!(affine.bias, Bias::Folded(_));
        Some(Self { matrix, folded, bias, multipliers, zero_point, clamp: affine.clamp })
    }

    /// The bias of a row, as stored.
    pub(crate) fn bias(&self, row: usize) -> i32 {
        let Some((width, shift, bytes)) = self.bias else { return 0 };
        let tail = bytes.get(row.wrapping_mul(width.bytes())..).unwrap_or_default();
        let value = match width {
            BiasWidth::I8 => tail.first().map(|&byte| i32::from(byte as i8)),
            BiasWidth::I16 => tail.first_chunk().map(|&b| i32::from(i16::from_le_bytes(b))),
            BiasWidth::I32 => tail.first_chunk().map(|&b| i32::from_le_bytes(b)),
        };
        value.unwrap_or_default().wrapping_shl(u32::from(shift))
    }

    /// The bias of a row without the zero point's part, which is taken out again: once for each
    /// filter, not once for each product.
    pub(crate) fn unfolded_bias(
        &self,
        row: usize,
        filter: &Filter<'_>,
        columns: usize,
        zero_point: i8,
    ) -> i32 {
        let bias = self.bias(row);
        if !self.folded {
            return bias;
        }
        let sum = arch::row_sum(filter.bits, filter.row, 0, columns);
        bias.wrapping_add(sum.wrapping_mul(i32::from(zero_point)))
    }

    /// The multiplier of a row.
    fn multiplier(&self, row: usize) -> Multiplier {
        match self.multipliers {
            Multipliers::PerTensor(multiplier) => multiplier,
            Multipliers::PerChannel(table) => match table.get(row) {
                Some(entry) => stored_multiplier(entry),
                None => Multiplier::default(),
            },
        }
    }

    /// The outputs of all rows for one input, in order.
    pub(crate) fn apply(&self, x: &[i8], offset: i16, lanes: &mut Lanes, output: &mut [i8]) {
        let ends = Ends {
            biases: |first| self.block_biases(first).unwrap_or_default(),
            multipliers: |first| self.block_multipliers(first),
            zero_point: self.zero_point,
            clamp: self.clamp,
        };
        if lanes.finish(&self.matrix, x, offset, &ends, output).is_some() {
            return;
        }
        let inputs = lanes.prepare(&self.matrix, x, offset);
        let mut first = 0usize;
        for outputs in output.chunks_mut(BLOCK_ROWS) {
            let mut sums = arch::dot_block(&self.matrix, first, &inputs);
            self.add_biases(first, &mut sums);
            self.finish_block(first, &sums, outputs);
            first = first.wrapping_add(BLOCK_ROWS);
        }
    }

    /// The biases of a block of rows, if there are any and none is missing.
    #[inline(always)]
    fn block_biases(&self, first: usize) -> Option<[i32; BLOCK_ROWS]> {
        let (width, shift, bytes) = self.bias?;
        let tail = bytes.get(first.wrapping_mul(width.bytes())..)?;
        let biases = match width {
            BiasWidth::I8 => tail.first_chunk()?.map(|b| i32::from(b as i8)),
            BiasWidth::I16 => {
                tail.as_chunks().0.first_chunk()?.map(|b| i16::from_le_bytes(b).into())
            }
            BiasWidth::I32 => tail.as_chunks().0.first_chunk()?.map(i32::from_le_bytes),
        };
        Some(biases.map(|bias| bias.wrapping_shl(u32::from(shift))))
    }

    /// Fractions and shifts of a block of rows, as long as none is missing.
    #[inline(always)]
    fn block_multipliers(&self, first: usize) -> ([i32; BLOCK_ROWS], [i32; BLOCK_ROWS]) {
        let multipliers = match self.multipliers {
            Multipliers::PerTensor(multiplier) => [multiplier; BLOCK_ROWS],
            Multipliers::PerChannel(table) => {
                let entries = table.get(first..).and_then(<[_]>::first_chunk::<BLOCK_ROWS>);
                entries.map(|entries| entries.each_ref().map(stored_multiplier)).unwrap_or_default()
            }
        };
        (multipliers.map(|m| m.value), multipliers.map(|m| m.shift.into()))
    }

    /// Adds the biases of a block of rows. Not inlined, as [`Self::finish_block`]: these loops are
    /// short, but need the registers that a long function around them hasn't.
    #[inline(never)]
    fn add_biases(&self, first: usize, sums: &mut [i32; BLOCK_ROWS]) {
        let Some((width, shift, bytes)) = self.bias else { return };
        let tail = bytes.get(first.wrapping_mul(width.bytes())..).unwrap_or_default();
        let add = |(sum, bias): (&mut i32, i32)| {
            *sum = sum.wrapping_add(bias.wrapping_shl(u32::from(shift)));
        };
        match width {
            BiasWidth::I8 => {
                sums.iter_mut().zip(tail.iter().map(|&b| i32::from(b as i8))).for_each(add);
            }
            BiasWidth::I16 => {
                let biases = tail.as_chunks().0.iter().map(|&b| i32::from(i16::from_le_bytes(b)));
                sums.iter_mut().zip(biases).for_each(add);
            }
            BiasWidth::I32 => {
                let biases = tail.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b));
                sums.iter_mut().zip(biases).for_each(add);
            }
        }
    }

    /// The outputs of a block of rows whose accumulators are complete.
    #[inline(never)]
    fn finish_block(&self, first: usize, sums: &[i32; BLOCK_ROWS], outputs: &mut [i8]) {
        let finish = |y: &mut i8, acc: i32, multiplier: Multiplier| {
            *y = self.clamp.apply(requantize(acc, multiplier, self.zero_point));
        };
        let outputs = outputs.iter_mut().zip(sums);
        match self.multipliers {
            Multipliers::PerTensor(multiplier) => {
                outputs.for_each(|(y, &acc)| finish(y, acc, multiplier));
            }
            Multipliers::PerChannel(table) => {
                let table = table.get(first..).unwrap_or_default();
                outputs
                    .zip(table)
                    .for_each(|((y, &acc), entry)| finish(y, acc, stored_multiplier(entry)));
            }
        }
    }

    /// The output of a row whose accumulator is complete.
    pub(crate) fn finish(&self, row: usize, acc: i32) -> i8 {
        self.clamp.apply(requantize(acc, self.multiplier(row), self.zero_point))
    }
}

/// A channel's multiplier from its bytes.
#[inline(always)]
fn stored_multiplier(&[b0, b1, b2, b3, shift]: &[u8; CHANNEL_MULTIPLIER_LEN]) -> Multiplier {
    Multiplier { value: i32::from_le_bytes([b0, b1, b2, b3]), shift: shift as i8 }
}

/// The stored biases, folded or not.
fn stored(bias: Bias) -> Option<StoredBias> {
    match bias {
        Bias::None => None,
        Bias::Plain(bias) | Bias::Folded(bias) => Some(bias),
    }
}

impl Affine {
    /// Proves that the parameters of a `rows` × `columns` layer lie in the section, have a known
    /// width and sound multipliers, and can't make an accumulator leave 32 bits.
    pub(crate) fn check(&self, section: &[u8], rows: usize, columns: usize) -> Result<(), OpFault> {
        if !is_width(self.weights.bits) {
            return Err(OpFault::WeightBits);
        }
        if self.weights.layout == Layout::Pairs && self.weights.bits != 8 {
            return Err(OpFault::Layout);
        }
        if self.clamp.min > self.clamp.max {
            return Err(OpFault::Clamp);
        }
        if stored(self.bias).is_some_and(|bias| bias.shift > MAX_BIAS_SHIFT) {
            return Err(OpFault::BiasShift);
        }
        let layer = Layer::find(self, section, rows, columns, 0).ok_or(OpFault::Section)?;
        let sound = match layer.multipliers {
            Multipliers::PerTensor(multiplier) => multiplier.is_sound(),
            Multipliers::PerChannel(_) => (0..rows).all(|row| layer.multiplier(row).is_sound()),
        };
        if !sound {
            return Err(OpFault::Multiplier);
        }
        layer.check_accumulators(columns)
    }

    /// Bytes of each part, for reports.
    pub(crate) fn parameters(&self, rows: usize, columns: usize, macs: u64) -> Parameters {
        let bias = stored(self.bias).map_or(0, |bias| bias.width.bytes());
        let requantization = match self.requantization {
            Requantization::PerTensor(_) => 0,
            Requantization::PerChannel { .. } => CHANNEL_MULTIPLIER_LEN,
        };
        Parameters {
            bits: Some(self.weights.bits),
            weights: rows.saturating_mul(columns),
            weight_bytes: matrix_len(self.weights.layout, self.weights.bits, rows, columns),
            bias_bytes: rows.saturating_mul(bias),
            requantization_bytes: rows.saturating_mul(requantization),
            mask_bytes: 0,
            macs,
        }
    }
}

impl Layer<'_> {
    /// Proves that no sum of products and bias can leave 32 bits, whatever the inputs: by the
    /// width alone where that suffices, else by each row's own Σ |w|.
    fn check_accumulators(&self, columns: usize) -> Result<(), OpFault> {
        // |x − zero point| ≤ 255; where the bias is folded, |x| ≤ 128 and the zero point's part
        // is in the bias.
        let input_most: u64 = if self.folded { 128 } else { 255 };
        let fits = |weights: u64, bias: i64| {
            let sum = weights.saturating_mul(input_most).saturating_add(bias.unsigned_abs());
            sum <= i32::MAX as u64
        };
        let widest = (columns as u64).saturating_mul(1 << self.matrix.bits.wrapping_sub(1).min(15));
        for row in 0..self.matrix.rows {
            let bias = self.exact_bias(row).ok_or(OpFault::Accumulator)?;
            let most = if self.matrix.is_high(row) { PAIRED_SUM_MAX } else { u64::MAX };
            let sound = |weights: u64| {
                fits(weights, i64::from(bias)) && weights.saturating_mul(input_most) <= most
            };
            // A weight of a pair may be 128, which is no more than the widest.
            if !sound(widest) && !sound(self.matrix.magnitude(row)) {
                return Err(OpFault::Accumulator);
            }
        }
        Ok(())
    }

    /// The bias of a row, unless its shift leaves 32 bits.
    fn exact_bias(&self, row: usize) -> Option<i32> {
        let shifted = self.bias(row);
        let shift = self.bias.map_or(0, |(_, shift, _)| u32::from(shift));
        let unshifted = Layer { bias: self.bias.map(|(w, _, b)| (w, 0, b)), ..*self }.bias(row);
        (i64::from(unshifted) << shift.min(31) == i64::from(shifted)).then_some(shifted)
    }
}
