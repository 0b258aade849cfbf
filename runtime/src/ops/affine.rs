//! What weight layers share: finding their parameters, proving them sound, finishing outputs.

#[cfg(any(test, feature = "std"))]
use super::Expanded;
use super::Parameters;
use super::filter::{FILTER_MAX, Filter};
use super::rows::{Feed, RowSource, Rows};
use super::unpacked::Places;
use crate::arch::{CHUNK_ROWS, Finish, Isa, Kernels, Lanes, Matrix, Multipliers, TAKES_ALL};
use crate::features::Features;
use crate::format::{
    Affine, Bias, CHANNEL_MULTIPLIER_LEN, Clamp, Fields, Layout, MAX_BIAS_SHIFT, OpFault,
    PAIRED_SUM_MAX, Requantization, StoredBias, Weights, is_width, matrix_len, row_len,
};

/// Parameters of a layer, found in the weight section.
pub(crate) struct Layer<'a> {
    /// Weights.
    pub(crate) matrix: Matrix<'a>,
    /// Whether the biases hold −zero point·Σ w.
    pub(crate) folded: bool,
    /// From sums to outputs.
    pub(crate) finish: Finish<'a>,
}

/// `len` bytes from `offset` on.
pub(crate) fn part(section: &[u8], offset: u32, len: usize) -> Option<&[u8]> {
    section.get(offset as usize..)?.get(..len)
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
        let Weights { bits, layout, .. } = affine.weights;
        let bits = if Features::BUILT.widths { bits } else { 8 };
        let layout = if Features::BUILT.pairs { layout } else { Layout::RowMajor };
        let row_len = row_len(bits, columns);
        let bytes = section.get(affine.weights.offset as usize..)?;
        if bytes.len() < matrix_len(layout, bits, rows, columns) {
            return None;
        }
        let matrix = Matrix {
            bytes,
            arrangement: layout,
            width: bits,
            rows,
            columns,
            row_len,
            listed: None,
        };
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
        let finish = Finish { bias, multipliers, zero_point, clamp: affine.clamp };
        Some(Self { matrix, folded, finish })
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
        let bias = self.finish.bias(row);
        if !self.folded {
            return bias;
        }
        let sum = Isa::row_sum(filter.bits, filter.row, 0, columns);
        bias.wrapping_add(sum.wrapping_mul(i32::from(zero_point)))
    }

    /// The outputs of all rows for one input, in order.
    pub(crate) fn apply(&self, x: &[i8], offset: i16, output: &mut [i8]) {
        let mut lanes = <Isa as Kernels>::Lanes::new();
        let finished = Isa::finish(&mut lanes, &self.matrix, x, offset, &self.finish, output);
        if finished.is_some() || TAKES_ALL {
            return;
        }
        let inputs = lanes.prepare(&self.matrix, x, offset);
        let mut sums = [0; CHUNK_ROWS];
        let mut first = 0usize;
        for outputs in output.chunks_mut(CHUNK_ROWS) {
            Isa::dot_rows(&self.matrix, first, &inputs, &mut sums);
            Isa::finish_rows(&self.finish, first, &sums, outputs);
            first = first.wrapping_add(CHUNK_ROWS);
        }
    }
}

/// The stored biases, folded or not.
fn stored(bias: Bias) -> Option<StoredBias> {
    match bias {
        Bias::None => None,
        Bias::Plain(bias) | Bias::Folded(bias) => Some(bias),
    }
}

impl Requantization {
    /// The features that it needs.
    pub(crate) fn features(&self) -> Features {
        Features { per_channel: matches!(self, Self::PerChannel { .. }), ..Features::default() }
    }
}

impl RowSource for Affine {
    fn features(&self) -> Features {
        Features {
            widths: self.weights.bits != 8,
            pairs: self.weights.layout == Layout::Pairs,
            ..self.requantization.features()
        }
    }

    fn has_filters(&self, columns: usize) -> bool {
        self.weights.layout == Layout::RowMajor || columns <= FILTER_MAX
    }

    fn has_kernels(&self, _columns: usize) -> bool {
        self.weights.layout == Layout::RowMajor
    }

    fn check(&self, section: &[u8], rows: usize, columns: usize) -> Result<(), OpFault> {
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
        let sound = match layer.finish.multipliers {
            Multipliers::PerTensor(multiplier) => multiplier.is_sound(),
            Multipliers::PerChannel(_) => {
                (0..rows).all(|row| layer.finish.multiplier(row).is_sound())
            }
        };
        if !sound {
            return Err(OpFault::Multiplier);
        }
        layer.check_accumulators(columns)
    }

    fn parameters(&self, rows: usize, columns: usize, macs: u64) -> Parameters {
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

    fn unpacks_biases(&self) -> Option<bool> {
        (self.weights.bits < 8).then_some(false)
    }

    fn may_pair(&self, columns: usize) -> bool {
        let weights =
            (columns as u64).saturating_mul(1 << self.weights.bits.wrapping_sub(1).min(15));
        weights.saturating_mul(255) <= PAIRED_SUM_MAX
    }

    fn pools(&self, section: &[u8], rows: usize, columns: usize, clamp: Clamp) -> bool {
        self.clamp.and(clamp).is_some() && !self.shifts_left(section, rows, columns)
    }

    fn unpack(&self, section: &[u8], rows: Rows, _zero_point: i8, layout: Layout, to: &mut [u8]) {
        let Rows { count, columns, .. } = rows;
        let Some(layer) = Layer::find(self, section, count, columns, 0) else { return };
        let mut places = Places { bytes: to, layout, rows: count, columns };
        for (row, packed) in layer.matrix.packed().enumerate() {
            let mut fields = Fields::new(packed, layer.matrix.bits(), 0);
            for column in 0..columns {
                places.put(row, column, fields.take() as i8);
            }
        }
    }

    fn unpacked<'a>(
        &self,
        section: &'a [u8],
        bytes: &'a [u8],
        rows: Rows,
        layout: Layout,
        zero_point: i8,
    ) -> Option<Layer<'a>> {
        let Rows { count, columns, .. } = rows;
        bytes.get(..matrix_len(layout, 8, count, columns))?;
        let mut layer = Layer::find(self, section, count, columns, zero_point)?;
        layer.matrix =
            Matrix { bytes, arrangement: layout, width: 8, row_len: columns, ..layer.matrix };
        Some(layer)
    }

    #[cfg(any(test, feature = "std"))]
    fn expand(
        &self,
        section: &[u8],
        Rows { count, columns, .. }: Rows,
        [zero_point, output]: [i8; 2],
    ) -> Option<Expanded> {
        let layer = Layer::find(self, section, count, columns, output)?;
        Some(Expanded::of_layer(&layer, zero_point))
    }
}

impl Feed for Affine {
    const IS_WHOLE: bool = true;
    const ARE_SHORT: bool = false;

    fn multiply(
        &self,
        section: &[u8],
        x: &[i8],
        [zero_point, output]: [i8; 2],
        outputs: &mut [i8],
    ) {
        // Borrowed, as it would be copied otherwise.
        let Some(layer) = &Layer::find(self, section, outputs.len(), x.len(), output) else {
            return;
        };
        let offset = if layer.folded { 0 } else { -i16::from(zero_point) };
        layer.apply(x, offset, outputs);
    }

    #[inline(always)]
    fn filters(
        &self,
        section: &[u8],
        Rows { count, columns, .. }: Rows,
        [_, output]: [i8; 2],
        mut take: impl FnMut(&Layer<'_>, usize),
    ) {
        if let Some(layer) = &Layer::find(self, section, count, columns, output) {
            take(layer, 0);
        }
    }
}

impl Affine {
    /// Whether a row's multiplier shifts to the left, where large sums wrap.
    pub(crate) fn shifts_left(&self, section: &[u8], rows: usize, columns: usize) -> bool {
        Layer::find(self, section, rows, columns, 0)
            .is_none_or(|layer| (0..rows).any(|row| layer.finish.multiplier(row).shift > 0))
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
        let widest =
            (columns as u64).saturating_mul(1 << self.matrix.bits().wrapping_sub(1).min(15));
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
        let Some((width, shift, bytes)) = self.finish.bias else { return Some(0) };
        let shifted = self.finish.bias(row);
        let unshifted = Finish { bias: Some((width, 0, bytes)), ..self.finish }.bias(row);
        (i64::from(unshifted) << shift.min(31) == i64::from(shifted)).then_some(shifted)
    }
}
