//! Which decisions a weight is made of, and what their probabilities depend on.

use super::decoder::Decoder;
use super::encoder::Encoder;
use super::probability::{Coder, Probability, adaptive, even};

/// Columns that a stream remembers, one `i8` and one `u8` each: 5 × 5 × 20, as long as the filters
/// that coded convolutions hold. Longer rows share them, column c with c + 512.
pub const MEMORY: usize = 512;
/// Most that a coded bias may be in magnitude, before its shift.
pub const CODED_BIAS_MAX: i16 = i16::MAX;
/// Magnitudes up to this are counted in decisions with a probability each; what is above it is
/// written as a number.
const COUNTED: u8 = 14;
/// How much a column has been used, in as many steps.
const ACTIVITIES: usize = 7;
/// A weight of magnitude 1, 2, 3 or more, as a column's activity counts it.
const ACTIVITY_UNIT: u16 = 80;

/// The greatest magnitude of coded weights of a width.
pub const fn coded_limit(bits: u8) -> i8 {
    match bits {
        0 | 1 => 0,
        2..=7 => ((1u8 << (bits - 1)) - 1) as i8,
        _ => i8::MAX,
    }
}

/// What a weight is predicted from; the first decisions of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// The weight before it in the row.
    pub neighbour: bool,
    /// The weights above it in the column.
    pub column: bool,
    /// Its sign, from that of the weight before.
    pub sign: bool,
}

impl Prediction {
    /// All there are.
    pub const ALL: [Self; 8] = {
        let mut all = [Self { neighbour: false, column: false, sign: false }; 8];
        let mut i = 0;
        while i < 8 {
            all[i] = Self { neighbour: i & 1 != 0, column: i & 2 != 0, sign: i & 4 != 0 };
            i += 1;
        }
        all
    };
}

/// One row as it is written.
#[derive(Clone, Copy, Debug)]
pub struct CodedRow<'a> {
    /// Bias before its shift, where biases are coded.
    pub bias: Option<i16>,
    /// Weights.
    pub weights: &'a [i8],
}

/// What is remembered of columns, number c in place c mod [`MEMORY`].
#[derive(Clone, Debug)]
pub struct Memory {
    /// Weights of the present row.
    row: [i8; MEMORY],
    /// Activity of each column in the rows before.
    activity: [u8; MEMORY],
}

impl Memory {
    /// As a layer begins with it.
    pub const NEW: Self = Self { row: [0; MEMORY], activity: [0; MEMORY] };
}

/// Everything that has been learnt while going through a layer's rows.
#[derive(Debug)]
pub struct Contexts<'m> {
    prediction: Prediction,
    limit: u8,
    lag: usize,
    zero: [[Probability; 3]; ACTIVITIES],
    negative: [Probability; 3],
    more: [Probability; COUNTED as usize],
    escape: Number,
    bias: Number,
    bias_sign: Probability,
    memory: &'m mut Memory,
    /// Rows so far, up to [`WARM`].
    rows: u8,
}

/// Rows after which a column's activity is an average over the last rows instead of all.
const WARM: u8 = 14;

impl<'m> Contexts<'m> {
    fn new<C: Coder>(
        coder: &mut C,
        memory: &'m mut Memory,
        wanted: Prediction,
        bits: u8,
        lag: usize,
    ) -> Self {
        let prediction = Prediction {
            neighbour: even(coder, wanted.neighbour),
            column: even(coder, wanted.column),
            sign: even(coder, wanted.sign),
        };
        Self {
            prediction,
            limit: coded_limit(bits) as u8,
            lag: lag.clamp(1, MEMORY - 1),
            zero: [[Probability::EVEN; 3]; ACTIVITIES],
            negative: [Probability::EVEN; 3],
            more: [Probability::EVEN; COUNTED as usize],
            escape: Number::NEW,
            bias: Number::NEW,
            bias_sign: Probability::EVEN,
            memory,
            rows: 0,
        }
    }

    /// Begins reading a layer of this width with a [`Memory::NEW`]. `lag` is the distance in a row
    /// to the weight before: the channels of a convolution, else 1.
    pub fn read(decoder: &mut Decoder<'_>, memory: &'m mut Memory, bits: u8, lag: usize) -> Self {
        let any = Prediction { neighbour: false, column: false, sign: false };
        Self::new(decoder, memory, any, bits, lag)
    }

    /// Begins writing a layer; see [`Self::read`].
    pub fn write(
        encoder: &mut Encoder<'_>,
        memory: &'m mut Memory,
        wanted: Prediction,
        bits: u8,
        lag: usize,
    ) -> Self {
        Self::new(encoder, memory, wanted, bits, lag)
    }

    /// Writes one row, or returns `None` when a value is beyond the width.
    pub fn write_row(&mut self, encoder: &mut Encoder<'_>, row: &CodedRow<'_>) -> Option<()> {
        if let Some(bias) = row.bias {
            if bias.unsigned_abs() > CODED_BIAS_MAX.unsigned_abs() {
                return None;
            }
            self.bias(encoder, bias);
        }
        for (column, &weight) in row.weights.iter().enumerate() {
            if weight.unsigned_abs() > self.limit {
                return None;
            }
            self.weight(encoder, column, weight);
        }
        self.end_row();
        Some(())
    }

    /// The bias of the row that begins.
    pub fn read_bias(&mut self, decoder: &mut Decoder<'_>) -> i16 {
        self.bias(decoder, 0)
    }

    /// The weight of a column; columns are read in order.
    pub fn read_weight(&mut self, decoder: &mut Decoder<'_>, column: usize) -> i8 {
        self.weight(decoder, column, 0)
    }

    /// The last row that was read, of at most [`MEMORY`] weights.
    pub fn row(&self, columns: usize) -> &[i8] {
        self.memory.row.get(..columns).unwrap_or_default()
    }

    /// After a row's last weight.
    pub fn end_row(&mut self) {
        if self.rows < WARM {
            self.rows = self.rows.wrapping_add(1);
        }
    }

    fn bias<C: Coder>(&mut self, coder: &mut C, value: i16) -> i16 {
        let magnitude = self.bias.code(coder, value.unsigned_abs(), CODED_BIAS_MAX as u16);
        if magnitude == 0 {
            return 0;
        }
        let magnitude = magnitude as i16;
        let negative = adaptive(coder, &mut self.bias_sign, value < 0);
        if negative { magnitude.wrapping_neg() } else { magnitude }
    }

    fn weight<C: Coder>(&mut self, coder: &mut C, column: usize, value: i8) -> i8 {
        let before = match column.checked_sub(self.lag) {
            Some(column) => self.memory.row.get(column % MEMORY).copied().unwrap_or_default(),
            None => 0,
        };
        let activity = self.memory.activity.get(column % MEMORY).copied().unwrap_or_default();
        let weight = self.given(coder, before, activity, value);
        if let Some(place) = self.memory.row.get_mut(column % MEMORY) {
            *place = weight;
        }
        if self.prediction.column
            && let Some(place) = self.memory.activity.get_mut(column % MEMORY)
        {
            let target = u16::from(weight.unsigned_abs().min(3)).wrapping_mul(ACTIVITY_UNIT);
            let error = i32::from(target).wrapping_sub(i32::from(activity));
            let share = i32::from(self.rows).wrapping_add(2);
            let moved = error.checked_div(share).unwrap_or_default();
            *place = i32::from(activity).wrapping_add(moved) as u8;
        }
        weight
    }

    /// A weight, given the one before and how much its column has been used.
    fn given<C: Coder>(&mut self, coder: &mut C, before: i8, activity: u8, value: i8) -> i8 {
        let size = if self.prediction.neighbour { before.unsigned_abs().min(2) } else { 0 };
        let used = if self.prediction.column { step(activity) } else { 0 };
        let zero = self.zero.get_mut(used).and_then(|row| row.get_mut(usize::from(size)));
        if let Some(zero) = zero
            && (self.limit == 0 || adaptive(coder, zero, value == 0))
        {
            return 0;
        }
        let same = if self.prediction.sign { before.signum().wrapping_add(1) as usize } else { 0 };
        let negative = match self.negative.get_mut(same) {
            Some(negative) if self.prediction.sign => adaptive(coder, negative, value < 0),
            _ => even(coder, value < 0),
        };
        let magnitude = self.magnitude(coder, value.unsigned_abs()) as i8;
        if negative { magnitude.wrapping_neg() } else { magnitude }
    }

    /// A magnitude from 1 to the limit.
    fn magnitude<C: Coder>(&mut self, coder: &mut C, value: u8) -> u8 {
        let mut found = 1u8;
        for more in &mut self.more {
            if found >= self.limit || !adaptive(coder, more, value > found) {
                return found;
            }
            found = found.wrapping_add(1);
        }
        let most = self.limit.saturating_sub(found);
        let rest = self.escape.code(coder, u16::from(value.saturating_sub(found)), most.into());
        found.wrapping_add(rest as u8)
    }
}

/// A column's activity in steps: about 1/16, 1/6, 1/3, 1/2, 4/5 and 1.2 of a weight of 1.
fn step(activity: u8) -> usize {
    match activity {
        0..=3 => 0,
        4..=11 => 1,
        12..=23 => 2,
        24..=39 => 3,
        40..=63 => 4,
        64..=95 => 5,
        _ => 6,
    }
}

/// Numbers of up to 16 bits: how many bits in decisions that learn, then the bits below the top.
#[derive(Clone, Debug)]
struct Number {
    longer: [Probability; 16],
    /// The bit after the top one, by length.
    second: [Probability; 16],
}

impl Number {
    const NEW: Self = Self { longer: [Probability::EVEN; 16], second: [Probability::EVEN; 16] };

    /// A number of at most `most`.
    fn code<C: Coder>(&mut self, coder: &mut C, value: u16, most: u16) -> u16 {
        let (wanted, longest) = (bit_len(value), bit_len(most));
        let mut len = 0u32;
        for longer in &mut self.longer {
            if len >= longest || !adaptive(coder, longer, wanted > len) {
                break;
            }
            len = len.wrapping_add(1);
        }
        let mut found = u32::from(len > 0);
        for at in (0..len.saturating_sub(1)).rev() {
            let bit = u32::from(value).wrapping_shr(at) & 1 == 1;
            let bit = match self.second.get_mut(at as usize) {
                Some(second) if found == 1 => adaptive(coder, second, bit),
                _ => even(coder, bit),
            };
            found = found << 1 | u32::from(bit);
        }
        found.min(u32::from(most)) as u16
    }
}

/// Bits of a number without leading zeros.
fn bit_len(value: u16) -> u32 {
    16u32.wrapping_sub(value.leading_zeros())
}
