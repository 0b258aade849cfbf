//! Building a model: tensors are placed one after the other, weights are random.

use std::fmt;

use bitsback_runtime::coding::{CodedRow, coded_limit, encode};
use bitsback_runtime::format::{
    Affine, Bias, BiasWidth, CHANNEL_MULTIPLIER_LEN, Clamp, Layout, Meta, PAIR_BLOCK_ROWS,
    PAIRED_SUM_MAX, PackError, Requantization, Shape, StoredBias, Weights, pack_pairs, pack_row,
    pair_block_len, row_len,
};
use bitsback_runtime::ops::CodedAffine;
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::writer::{WriteError, model_len, write_model};
use bitsback_runtime::{ArenaTooSmall, Op, ParseError, Source, Tensor};

/// Why no model can be built: all of these are mistakes in the code that describes it.
#[derive(Debug)]
pub(crate) enum ModelBuilderError {
    Pack(PackError),
    Pairs,
    Coded,
    Fuse,
    NoLayer(String),
    Write(WriteError),
    Parse(ParseError),
    Arena(ArenaTooSmall),
}

impl fmt::Display for ModelBuilderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pack(error) => write!(f, "weights: {error:?}"),
            Self::Pairs => write!(f, "weights that have no half-word"),
            Self::Coded => write!(f, "weights beyond their width"),
            Self::Fuse => write!(f, "a convolution that can't be pooled at once"),
            Self::NoLayer(path) => write!(f, "no layer that takes the path {path} was drawn"),
            Self::Write(error) => write!(f, "{error}"),
            Self::Parse(error) => write!(f, "{error}"),
            Self::Arena(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ModelBuilderError {}

/// Xorshift: the same sequence everywhere and for ever, which no crate's generator promises.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From `low` to `high`, each size as likely as the next larger one.
    pub(crate) fn sized(&mut self, low: usize, high: usize) -> usize {
        let part = f64::from(self.between(0, 1 << 20)) / f64::from(1 << 20);
        let (low, above) = (low as f64, high as f64 + 1.0);
        let size = low * (above / low).powf(part);
        (size as usize).clamp(low as usize, high)
    }

    /// One of the values.
    pub(crate) fn choice<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.between(0, of.len() as i32) as usize]
    }

    /// Whether one of so many chances came true.
    pub(crate) fn one_in(&mut self, chances: i32) -> bool {
        self.between(0, chances) == 0
    }

    /// Uniform in `low..high`.
    pub(crate) fn between(&mut self, low: i32, high: i32) -> i32 {
        let span = u64::from(high.abs_diff(low)).max(1);
        low.wrapping_add((self.next() % span) as i32)
    }

    pub(crate) fn int8(&mut self) -> i8 {
        self.next() as i8
    }
}

/// What varies between weight layers.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) bits: u8,
    pub(crate) bias: Option<BiasWidth>,
    /// Positions that biases are shifted left.
    pub(crate) bias_shift: u8,
    pub(crate) folded: bool,
    pub(crate) per_channel: bool,
    pub(crate) layout: Layout,
}

impl Kind {
    fn alignment(self) -> usize {
        match self.layout {
            Layout::RowMajor => 1,
            Layout::Pairs => 4,
        }
    }
}

/// What varies between coded layers.
#[derive(Clone, Copy)]
pub(crate) struct Coded {
    pub(crate) bits: u8,
    /// One weight in so many may be other than 0.
    pub(crate) one_in: i32,
    /// Distance to the weight before: channels of a convolution, else 1.
    pub(crate) lag: usize,
    /// Shift of the biases, if there are any.
    pub(crate) bias: Option<u8>,
    pub(crate) per_channel: bool,
}

/// A model in the making.
pub(crate) struct ModelBuilder {
    name: &'static str,
    random: Random,
    section: Vec<u8>,
    ops: Vec<Op>,
    input: Tensor,
    arena: u32,
}

impl ModelBuilder {
    pub(crate) fn new(name: &'static str, seed: u64) -> Self {
        let input = Tensor::default();
        Self { name, random: Random::new(seed), section: vec![], ops: vec![], input, arena: 0 }
    }

    /// The model's input.
    pub(crate) fn input(&mut self, dims: &[u16], zero_point: i8) {
        self.input = self.tensor(dims, zero_point);
    }

    /// A tensor after all others.
    pub(crate) fn tensor(&mut self, dims: &[u16], zero_point: i8) -> Tensor {
        let tensor = Tensor { offset: self.arena, shape: Shape::new(dims), zero_point };
        self.arena += tensor.len() as u32;
        tensor
    }

    /// Leaves so many bytes of the arena between tensors.
    pub(crate) fn leave(&mut self, bytes: usize) {
        self.arena += bytes as u32;
    }

    /// A tensor at a place of one's own choice.
    pub(crate) fn at(offset: u32, dims: &[u16], zero_point: i8) -> Tensor {
        Tensor { offset, shape: Shape::new(dims), zero_point }
    }

    /// The model's input at such a place.
    pub(crate) fn input_at(&mut self, input: Tensor) {
        self.input = input;
    }

    /// Adds an operator and returns its output as a source for later ones.
    pub(crate) fn op(&mut self, op: Op) -> Source {
        let output = Source::At(op.output().clone());
        self.ops.push(op);
        output
    }

    /// Bytes in the weight section; returns where.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> u32 {
        let offset = self.section.len() as u32;
        self.section.extend_from_slice(bytes);
        offset
    }

    /// Random parameters of a weight layer, scaled so that its outputs use the int8 range.
    pub(crate) fn affine(
        &mut self,
        rows: usize,
        columns: usize,
        kind: Kind,
    ) -> Result<Affine, ModelBuilderError> {
        let half = self.half(columns, kind);
        // Layouts of words begin at one; the others don't mind.
        self.section.resize(self.section.len().next_multiple_of(kind.alignment()), 0);
        let offset = self.section.len() as u32;
        // −128 has no place in a pair.
        let least = if kind.layout == Layout::Pairs { 1 - half } else { -half };
        let matrix: Vec<Vec<i16>> = (0..rows)
            .map(|_| (0..columns).map(|_| self.random.between(least, half) as i16).collect())
            .collect();
        let blocks = if kind.layout == Layout::Pairs { rows / PAIR_BLOCK_ROWS } else { 0 };
        let (paired, packed) = matrix.split_at(blocks * PAIR_BLOCK_ROWS);
        for block in paired.as_chunks::<PAIR_BLOCK_ROWS>().0 {
            let mut bytes = vec![0; pair_block_len(columns)];
            if !pack_pairs(block.each_ref().map(Vec::as_slice), &mut bytes) {
                return Err(ModelBuilderError::Pairs);
            }
            self.section.extend(bytes);
        }
        for weights in packed {
            let mut row = vec![0; row_len(kind.bits, columns)];
            pack_row(weights, kind.bits, &mut row).map_err(ModelBuilderError::Pack)?;
            self.section.extend(row);
        }
        let weights = Weights { offset, bits: kind.bits, layout: kind.layout };
        let bias = self.bias(rows, kind);
        // Typical accumulator: √columns · inputs of 74 (uniform int8) · weights of 0.58·half. The
        // outputs are to be as large again, so that a long chain neither dies nor saturates.
        let spread = f64::from(half).mul_add(0.58, 0.2) * 74.0 * (columns as f64).sqrt();
        let requantization = self.requantization(rows, 74.0 / spread, kind.per_channel);
        Ok(Affine { weights, bias, requantization, clamp: Clamp::NONE })
    }

    /// Random parameters of a coded layer: larger weights are rarer.
    pub(crate) fn coded(
        &mut self,
        rows: usize,
        columns: usize,
        kind: Coded,
    ) -> Result<CodedAffine, ModelBuilderError> {
        let limit = i32::from(coded_limit(kind.bits));
        let mut weights = Vec::with_capacity(rows * columns);
        for _ in 0..rows * columns {
            let is_used = self.random.between(0, kind.one_in) == kind.one_in - 1;
            let most = i32::from(is_used) * self.random.between(0, limit + 1);
            weights.push(self.random.between(-most, most + 1) as i8);
        }
        self.coded_of(&weights, columns, kind)
    }

    /// Parameters of a coded layer of these weights, with random biases.
    pub(crate) fn coded_of(
        &mut self,
        weights: &[i8],
        columns: usize,
        kind: Coded,
    ) -> Result<CodedAffine, ModelBuilderError> {
        let rows = weights.len() / columns.max(1);
        let biases: Vec<i16> = (0..rows).map(|_| self.random.between(-100, 100) as i16).collect();
        let rows_of = weights.chunks(columns).zip(&biases);
        let rows_of =
            rows_of.map(|(weights, &bias)| CodedRow { bias: kind.bias.map(|_| bias), weights });
        let mut stream = vec![0; weights.len() * 40 + 200];
        let len =
            encode(rows_of, kind.bits, kind.lag, &mut stream).ok_or(ModelBuilderError::Coded)?;
        let offset = self.bytes(&stream[..len]);
        let squares: f64 = weights.iter().map(|&w| f64::from(w).powi(2)).sum();
        let spread = 74.0 * (squares / rows as f64).sqrt().max(1.0);
        let requantization = self.requantization(rows, 74.0 / spread, kind.per_channel);
        let (bits, bias) = (kind.bits, kind.bias);
        Ok(CodedAffine { offset, len: len as u32, bits, bias, requantization, clamp: Clamp::NONE })
    }

    /// One more than the largest weight: what the width has, or less where sums of that many would leave
    /// what they may be.
    fn half(&self, columns: usize, kind: Kind) -> i32 {
        let most = if kind.layout == Layout::Pairs { PAIRED_SUM_MAX } else { i32::MAX as u64 / 2 };
        let each = most / (255 * columns.max(1) as u64);
        i32::try_from(each).unwrap_or(i32::MAX).clamp(1, 1 << (kind.bits - 1))
    }

    /// Puts other multipliers in the place of those of some rows.
    pub(crate) fn replace_multipliers(
        &mut self,
        requantization: &mut Requantization,
        rows: impl Iterator<Item = usize>,
        mut draw: impl FnMut() -> Multiplier,
    ) {
        match requantization {
            Requantization::PerTensor(multiplier) => *multiplier = draw(),
            Requantization::PerChannel { offset } => {
                for row in rows {
                    let one = draw();
                    let at = *offset as usize + row * CHANNEL_MULTIPLIER_LEN;
                    let entry = self.section.get_mut(at..).unwrap_or_default();
                    let bytes = one.value.to_le_bytes().into_iter().chain([one.shift as u8]);
                    entry.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
                }
            }
        }
    }

    fn bias(&mut self, rows: usize, kind: Kind) -> Bias {
        let Some(width) = kind.bias else { return Bias::None };
        let offset = self.section.len() as u32;
        for _ in 0..rows {
            let bias = self.random.between(-100, 100);
            self.section.extend_from_slice(&bias.to_le_bytes()[..width.bytes()]);
        }
        let stored = StoredBias { offset, width, shift: kind.bias_shift };
        if kind.folded { Bias::Folded(stored) } else { Bias::Plain(stored) }
    }

    fn requantization(&mut self, rows: usize, factor: f64, per_channel: bool) -> Requantization {
        if !per_channel {
            return Requantization::PerTensor(multiplier(factor));
        }
        let offset = self.section.len() as u32;
        for _ in 0..rows {
            let vary = f64::from(self.random.between(700, 1_300)) / 1_000.0;
            let one = multiplier(factor * vary);
            self.section.extend_from_slice(&one.value.to_le_bytes());
            self.section.push(one.shift as u8);
        }
        Requantization::PerChannel { offset }
    }

    /// Gives every third row that has a multiplier of its own another: shifts further to the right than a
    /// byte needs, to the left, small fractions, and none.
    pub(crate) fn vary_multipliers(&mut self, affine: &Affine, rows: usize) {
        let Requantization::PerChannel { offset } = affine.requantization else { return };
        let others = [(1_200_000_000, -23i8), (3 << 20, -1), (1_900_000_000, 1), (0, 9)];
        let table = self.section[offset as usize..].as_chunks_mut::<CHANNEL_MULTIPLIER_LEN>().0;
        let rare = table[..rows].iter_mut().step_by(3);
        for (entry, (value, shift)) in rare.zip(others.into_iter().cycle()) {
            entry[..4].copy_from_slice(&i32::to_le_bytes(value));
            entry[4] = shift as u8;
        }
    }

    /// Doubles all outputs of rows with multipliers of their own so many times.
    pub(crate) fn amplify(&mut self, affine: &Affine, rows: usize, times: u8) {
        let Requantization::PerChannel { offset } = affine.requantization else { return };
        let table = self.section[offset as usize..].as_chunks_mut::<CHANNEL_MULTIPLIER_LEN>().0;
        for [_, _, _, _, shift] in &mut table[..rows] {
            *shift = shift.wrapping_add(times);
        }
    }

    /// The file.
    pub(crate) fn finish(self) -> Result<Vec<u8>, ModelBuilderError> {
        // A softmax has the one scale that there is for it.
        let output_scale = match self.ops.last() {
            Some(Op::Softmax(_)) => 1.0 / 256.0,
            _ => 1.0,
        };
        let meta = Meta {
            name: self.name,
            input: self.input,
            input_scale: 1.0,
            output_scale,
            ..Meta::default()
        };
        let length =
            model_len(&meta, &self.ops, &self.section).map_err(ModelBuilderError::Write)?;
        let mut file = vec![0; length];
        write_model(&meta, &self.ops, &self.section, &mut file)
            .map_err(ModelBuilderError::Write)?;
        Ok(file)
    }
}

/// A positive real factor below 2³⁰ as the runtime keeps it, rounded to 31 bits.
pub(crate) fn multiplier(factor: f64) -> Multiplier {
    let shift = factor.log2().floor() as i32 + 1;
    let value = (factor / 2_f64.powi(shift) * 2_f64.powi(31)).round();
    Multiplier { value: value.min(f64::from(i32::MAX)) as i32, shift: shift as i8 }
}
