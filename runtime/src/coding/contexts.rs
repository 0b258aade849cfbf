//! A layer's rows, value by value, and what has been learnt on the way.

use core::cell::Cell;

use super::decoder::Decoder;
#[cfg(any(test, feature = "writer"))]
use super::encoder::Encoder;
use super::probability::{Coder, Probability, adaptive, even};
use super::weights::{Number, Prediction, Weights};
use crate::arch::{HAS_CODED, clear};

/// Columns that a stream remembers, and weights of the longest filter of a coded convolution: 5 × 5 ×
/// 20. Longer rows share them, column c with c + 512.
pub const MEMORY: usize = 512;
/// Most that a coded bias may be in magnitude, before its shift.
pub const CODED_BIAS_MAX: i16 = i16::MAX;
/// One row as it is written.
#[cfg(any(test, feature = "writer"))]
#[derive(Clone, Copy, Debug)]
pub struct CodedRow<'a> {
    /// Bias before its shift, where biases are coded.
    pub bias: Option<i16>,
    /// Weights.
    pub weights: &'a [i8],
}

/// Activity of each column in the rows before, of number c in place c mod [`MEMORY`].
#[derive(Clone, Debug)]
pub struct Memory([u8; MEMORY]);

impl Memory {
    /// As a layer begins with it.
    pub const NEW: Self = Self([0; MEMORY]);
}

/// Everything that has been learnt while going through a layer's rows.
#[derive(Debug)]
pub struct Contexts<'m> {
    lag: usize,
    weights: Weights,
    bias: Number,
    bias_sign: Probability,
    memory: &'m mut Memory,
    /// Rows so far, up to [`WARM`].
    rows: u8,
}

/// Rows after which a column's activity is an average over the last rows instead of all.
const WARM: u8 = 14;

impl<'m> Contexts<'m> {
    #[inline(always)] // else it is made elsewhere and copied
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
            lag: lag.clamp(1, MEMORY - 1),
            weights: Weights::new(prediction, bits),
            bias: Number::NEW,
            bias_sign: Probability::EVEN,
            memory,
            rows: 0,
        }
    }

    /// Begins reading a layer of this width with a [`Memory::NEW`]. `lag` is the distance in a row
    /// to the weight before: the channels of a convolution, else 1.
    #[inline(always)]
    pub fn read(decoder: &mut Decoder<'_>, memory: &'m mut Memory, bits: u8, lag: usize) -> Self {
        let any = Prediction { neighbour: false, column: false, sign: false };
        Self::new(decoder, memory, any, bits, lag)
    }

    /// Begins writing a layer; see [`Self::read`].
    #[cfg(any(test, feature = "writer"))]
    pub(super) fn write(
        encoder: &mut Encoder<'_>,
        memory: &'m mut Memory,
        wanted: Prediction,
        bits: u8,
        lag: usize,
    ) -> Self {
        Self::new(encoder, memory, wanted, bits, lag)
    }

    /// Writes one row, or returns `None` when a value is beyond the width.
    #[cfg(any(test, feature = "writer"))]
    pub(super) fn write_row(
        &mut self,
        encoder: &mut Encoder<'_>,
        row: &CodedRow<'_>,
    ) -> Option<()> {
        if let Some(bias) = row.bias {
            if bias.unsigned_abs() > CODED_BIAS_MAX.unsigned_abs() {
                return None;
            }
            self.bias(encoder, bias);
        }
        let share = self.share();
        for (column, &weight) in row.weights.iter().enumerate() {
            if weight.unsigned_abs() > self.weights.limit {
                return None;
            }
            let before = row.weights.get(column.wrapping_sub(self.lag)).copied();
            let activity = self.memory.0.get_mut(column % MEMORY)?;
            let before = before.unwrap_or_default();
            self.weights.weight(encoder, before, activity, share, weight);
        }
        self.end_row();
        Some(())
    }

    /// The bias of the row that begins.
    pub fn read_bias(&mut self, decoder: &mut Decoder<'_>) -> i16 {
        self.bias(decoder, 0)
    }

    /// Reads the weights of a row, as many as there are places.
    pub fn read_row(&mut self, decoder: &mut Decoder<'_>, row: &mut [u8]) {
        self.read_and_multiply(decoder, row, &[], 0);
    }

    /// As [`Self::read_row`]; gives Σ w·(x − zero point), in which inputs that aren't there are 0.
    pub(crate) fn read_and_multiply(
        &mut self,
        decoder: &mut Decoder<'_>,
        row: &mut [u8],
        x: &[i8],
        zero_point: i8,
    ) -> i32 {
        // The first weights have none before them: they see themselves, who are 0 still. Kernels write no
        // zeros.
        let zeros = if HAS_CODED { row.len() } else { self.lag.min(row.len()) };
        clear(row.get_mut(..zeros).unwrap_or_default());
        let row = Cell::from_mut(row).as_slice_of_cells();
        let (mut sum, mut column) = (0i32, 0);
        while column < row.len() {
            let (back, end) = if column < self.lag { (0, self.lag) } else { (self.lag, row.len()) };
            let before = row.get(column.wrapping_sub(back)..).unwrap_or_default();
            let places = row.get(column..end.min(row.len())).unwrap_or_default();
            let x = x.get(column..).unwrap_or_default();
            let len = self.read_some(decoder, column, before, places, x, zero_point, &mut sum);
            column = column.wrapping_add(len.max(1));
        }
        self.end_row();
        sum
    }

    /// Reads a row of as many weights as there are inputs, each of them seeing the one before, and
    /// gives Σ w·(x − zero point).
    pub(crate) fn read_product(
        &mut self,
        decoder: &mut Decoder<'_>,
        x: &[i8],
        zero_point: i8,
    ) -> i32 {
        let mut sum = 0i32;
        let mut window = Window::new();
        for (number, x) in x.chunks(WINDOW).enumerate() {
            let (before, places) = window.cells(x.len());
            let column = number.wrapping_mul(WINDOW);
            self.read_some(decoder, column, before, places, x, zero_point, &mut sum);
            window.end(x.len());
        }
        self.end_row();
        sum
    }

    /// Reads a row of so many weights, each of them seeing the one before, hands each to `put` with
    /// its column, and gives Σ w.
    pub(crate) fn read_each(
        &mut self,
        decoder: &mut Decoder<'_>,
        columns: usize,
        mut put: impl FnMut(usize, i8),
    ) -> i32 {
        let mut sum = 0i32;
        let mut window = Window::new();
        for column in (0..columns).step_by(WINDOW) {
            let len = columns.wrapping_sub(column).min(WINDOW);
            let (before, places) = window.cells(len);
            self.read_some(decoder, column, before, places, &[], -1, &mut sum);
            for (place, column) in places.iter().zip(column..) {
                put(column, place.get() as i8);
            }
            window.end(len);
        }
        self.end_row();
        sum
    }

    /// Reads weights from a column on into `places`, each of them seeing one of `before`, up to a
    /// multiple of [`MEMORY`]. Returns how many, and adds their products.
    #[inline(never)]
    #[allow(clippy::too_many_arguments)] // what is the same for a row, and where in it
    fn read_some(
        &mut self,
        decoder: &mut Decoder<'_>,
        column: usize,
        before: &[Cell<u8>],
        places: &[Cell<u8>],
        x: &[i8],
        zero_point: i8,
        sum: &mut i32,
    ) -> usize {
        let share = self.share();
        let activities = self.memory.0.get_mut(column % MEMORY..).unwrap_or_default();
        let count = activities.len().min(places.len());
        if HAS_CODED {
            let activities = activities.get_mut(..count).unwrap_or_default();
            let cells = [before, places];
            return self.weights.read_some(decoder, cells, activities, (x, zero_point), share, sum);
        }
        // By itself, so that it stays in registers.
        let mut own = decoder.clone();
        let mut products = 0i32;
        let columns = before.iter().zip(places).zip(activities);
        for (column, ((before, place), activity)) in columns.enumerate() {
            let weight = self.weights.weight(&mut own, before.get() as i8, activity, share, 0);
            place.set(weight as u8);
            if weight != 0 {
                let x = i32::from(x.get(column).copied().unwrap_or_default());
                let x = x.wrapping_sub(i32::from(zero_point));
                products = products.wrapping_add(i32::from(weight).wrapping_mul(x));
            }
        }
        *decoder = own;
        *sum = sum.wrapping_add(products);
        count
    }

    /// After a row's last weight.
    fn end_row(&mut self) {
        if self.rows < WARM {
            self.rows = self.rows.wrapping_add(1);
        }
    }

    /// The part of an error by which an activity moves, in 65,536ths: 1/(rows + 2) rounded up, which
    /// is exact for errors of a byte. 0 where nothing is predicted from columns.
    fn share(&self) -> u32 {
        let divisor = u32::from(self.rows).wrapping_add(2);
        let share = (1 << 16) / divisor + 1;
        if self.weights.prediction.column { share } else { 0 }
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
}

/// Inputs that a row of any length is multiplied with at once; [`MEMORY`] is a multiple of it.
const WINDOW: usize = 128;
const _: () = assert!(MEMORY.is_multiple_of(WINDOW));
/// The last weight of those before, and the next ones.
struct Window([u8; 1 + WINDOW]);

impl Window {
    const fn new() -> Self {
        Self([0; 1 + WINDOW])
    }

    /// What the next weights see, and where so many of them come.
    fn cells(&mut self, len: usize) -> (&[Cell<u8>], &[Cell<u8>]) {
        if HAS_CODED {
            clear(self.0.get_mut(1..=len).unwrap_or_default());
        }
        let cells = Cell::from_mut(&mut self.0[..]).as_slice_of_cells();
        (cells, cells.get(1..=len).unwrap_or_default())
    }

    /// After so many.
    fn end(&mut self, len: usize) {
        self.0[0] = self.0.get(len).copied().unwrap_or_default();
    }
}
