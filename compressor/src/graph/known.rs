//! What is known of integers before anything is computed: the bytes that a unit of a value (a channel
//! of an image, or a feature) can be, and which units of a node's values stay or leave together.
//!
//! Spans are exact bounds by the runtime's own arithmetic: whatever bytes the model is given, no value
//! is outside of its unit's span.

use std::ops::Range;

use bitsback_runtime::format::Clamp;
use bitsback_runtime::requantize::{Multiplier, requantize};

use super::inside::Inside;
use super::{IntegerValue, Matrix, Site, Units, Value, Window};

/// The least and the greatest byte that something can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Least.
    pub low: i8,
    /// Greatest, not below the least.
    pub high: i8,
}

impl Span {
    /// Any byte.
    pub const ALL: Self = Self { low: i8::MIN, high: i8::MAX };

    /// One byte alone.
    pub const fn of(byte: i8) -> Self {
        Self { low: byte, high: byte }
    }

    /// The byte that it always is, if it is one.
    pub fn constant(self) -> Option<i8> {
        (self.low == self.high).then_some(self.low)
    }

    /// What is in one of both, and all between.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// What a clamp makes of it; anything where the clamp is none.
    #[must_use]
    pub fn clamped(self, clamp: Clamp) -> Self {
        if clamp.min > clamp.max {
            return Self::ALL;
        }
        let [low, high] = [self.low, self.high].map(|byte| clamp.apply(byte.into()));
        Self { low, high }
    }

    /// The ends less a zero point.
    pub fn about(self, zero_point: i8) -> [i64; 2] {
        [self.low, self.high].map(|byte| i64::from(byte) - i64::from(zero_point))
    }

    /// What is in one of all; anything if there is none.
    fn of_all(spans: impl IntoIterator<Item = Self>) -> Self {
        spans.into_iter().reduce(Self::or).unwrap_or(Self::ALL)
    }
}

/// The outputs of all sums between two: requantising never turns two of them round, unless a shift to the
/// left wraps.
pub(crate) fn requantized(
    sums: [i64; 2],
    multiplier: Multiplier,
    zero_point: i8,
    clamp: Clamp,
) -> Span {
    let up = multiplier.shift.clamp(0, Multiplier::MAX_SHIFT);
    let fits = |&sum: &i64| {
        i32::try_from(sum).is_ok_and(|sum| i32::try_from(i64::from(sum) << up).is_ok())
    };
    if !multiplier.is_sound() || !sums.iter().all(fits) {
        return Span::ALL.clamped(clamp);
    }
    let [low, high] = sums.map(|sum| requantize(sum as i32, multiplier, zero_point));
    Span { low: saturated(low), high: saturated(high) }.clamped(clamp)
}

/// The nearest byte, as every clamp gives.
fn saturated(value: i32) -> i8 {
    Clamp::NONE.apply(value)
}

/// An operand, and what is known of it.
#[derive(Clone, Debug)]
pub struct Operand<'g> {
    /// The value that is read.
    pub value: &'g IntegerValue,
    /// Spans of its values, which repeat from the first to the last: one a unit, or one for all.
    spans: Vec<Span>,
}

impl<'g> Operand<'g> {
    /// An operand whose value number i is within span number i, modulo their count.
    pub fn new(value: &'g IntegerValue, spans: Vec<Span>) -> Self {
        let spans = if spans.is_empty() { vec![Span::ALL] } else { spans };
        Self { value, spans }
    }

    /// The span of a unit, or of a single value.
    pub fn at(&self, unit: usize) -> Span {
        self.spans.get(unit % self.spans.len().max(1)).copied().unwrap_or(Span::ALL)
    }

    /// Spans for so many units of another value that has the same values in the same order.
    fn alike(&self, units: usize) -> Vec<Span> {
        if units.is_multiple_of(self.spans.len()) {
            return (0..units).map(|unit| self.at(unit)).collect();
        }
        vec![Span::of_all(self.spans.iter().copied()); units]
    }
}

/// A node's values, and what is known of its operands.
#[derive(Clone, Debug)]
pub struct Known<'g> {
    /// What it reads.
    pub inputs: Vec<Operand<'g>>,
    /// What it writes.
    pub output: &'g IntegerValue,
    /// What it holds, if it is a layer.
    pub matrix: Option<&'g Matrix>,
}

impl Known<'_> {
    /// Units of the output.
    pub fn units(&self) -> usize {
        self.output.units()
    }

    /// Nothing: any byte for every unit of the output.
    pub fn nothing(&self) -> Vec<Span> {
        vec![Span::ALL; self.units()]
    }

    /// Of each unit of the output what `rule` makes of the same unit of an operand.
    pub fn alike(&self, operand: usize, rule: impl Fn(Span) -> Span) -> Vec<Span> {
        let Some(operand) = self.inputs.get(operand) else { return self.nothing() };
        operand.alike(self.units()).into_iter().map(rule).collect()
    }

    /// Of each unit of the output what `rule` makes of those of two operands.
    pub fn pairs(&self, rule: impl Fn(Span, Span) -> Span) -> Vec<Span> {
        let [first, second] = [0, 1].map(|operand| self.alike(operand, |span| span));
        first.into_iter().zip(second).map(|(a, b)| rule(a, b)).collect()
    }

    /// What the layer's rows make of the first operand, over whose image `window` moves if there is one;
    /// `reads` says which of its units a row and column meet.
    pub fn rows(&self, window: Option<Window>, reads: impl Fn(usize, usize) -> usize) -> Vec<Span> {
        let (Some(matrix), Some(x)) = (self.matrix, self.inputs.first()) else {
            return self.nothing();
        };
        let units = self.units();
        if !matrix.is_whole() || !matrix.rows.is_multiple_of(units) {
            return self.nothing();
        }
        let insides = window.map_or_else(|| vec![Inside::All], |window| self.insides(window));
        let taps = window.map_or(1, |window| window.taps());
        let in_tap = (matrix.columns / taps.max(1)).max(1);
        let [from, to] = [x.value, self.output].map(|value| value.quantization.zero_point);
        let mut spans: Vec<Option<Span>> = vec![None; units];
        for (row, weights) in matrix.values.chunks_exact(matrix.columns).enumerate() {
            let bias = matrix.bias.get(row).map_or(0, |&bias| i64::from(bias));
            let mut all = vec![[bias; 2]; insides.len()];
            for (column, &weight) in weights.iter().enumerate().filter(|(_, w)| **w != 0) {
                let ends = x.at(reads(row, column)).about(from).map(|x| x * i64::from(weight));
                let ends = [ends[0].min(ends[1]), ends[0].max(ends[1])];
                for (sums, inside) in all.iter_mut().zip(&insides) {
                    let [low, high] = inside.product(column / in_tap, ends);
                    *sums = [sums[0].saturating_add(low), sums[1].saturating_add(high)];
                }
            }
            let multiplier = matrix.multiplier(row);
            let span = all.into_iter().map(|sums| requantized(sums, multiplier, to, matrix.clamp));
            let slot = &mut spans[row % units];
            *slot = span.chain(*slot).reduce(Span::or);
        }
        spans.into_iter().map(|span| span.unwrap_or(Span::ALL)).collect()
    }

    /// Which taps of a window lie inside of the first operand's image: each way that there is.
    fn insides(&self, window: Window) -> Vec<Inside> {
        let from = self.inputs.first().map(|operand| operand.value.dims.as_slice());
        match (from, self.output.dims.as_slice()) {
            (Some(&[height, width, _]), &[rows, columns, _]) => {
                Inside::of(window, [height, width], [rows, columns])
            }
            _ => vec![Inside::Any],
        }
    }

    /// What an operator of floats says of values of these dimensions.
    pub fn on_floats<T>(&self, ask: impl FnOnce(&Site<'_>) -> T) -> T {
        let value = |value: &IntegerValue| Value {
            name: String::new(),
            dims: value.dims.clone(),
            constant: None,
        };
        let inputs: Vec<Value> = self.inputs.iter().map(|input| value(input.value)).collect();
        let output = value(self.output);
        ask(&Site { inputs: inputs.iter().collect(), output: &output })
    }

    /// Whether a window that moves over the first operand's image reaches beyond it.
    pub fn is_left_by(&self, window: Window) -> bool {
        let from = self.inputs.first().map(|operand| operand.value.dims.as_slice());
        match (from, self.output.dims.as_slice()) {
            (Some(&[height, width, _]), &[rows, columns, _]) => {
                !window.stays_inside([height, width], [rows, columns])
            }
            _ => true,
        }
    }
}

/// Which units of a node's operands stay or leave with those of its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ties {
    /// None: each output is made of all units, by a row of weights; without an operand's unit, its column
    /// leaves.
    Mixed,
    /// The same ones of every operand.
    Alike,
    /// For each unit of the output one of an operand, (which operand, which of its units or, of one read
    /// as a vector, which value), or none.
    Taken(Vec<Option<(usize, usize)>>),
    /// All stay.
    Fixed,
}

impl From<Units> for Ties {
    fn from(units: Units) -> Self {
        match units {
            Units::Mixed => Self::Mixed,
            Units::Alike | Units::Product => Self::Alike,
            Units::Taken(from) => Self::Taken(from.into_iter().map(Some).collect()),
            Units::Fixed => Self::Fixed,
        }
    }
}

/// Which units stay: of the first operand, whose values they repeat over, and of the output.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// Of the operand.
    pub input: &'a [bool],
    /// Of the output.
    pub output: &'a [bool],
}

impl Kept<'_> {
    /// How many of some of the operand's values, or units, stay.
    pub fn inputs_within(&self, range: Range<usize>) -> usize {
        range.filter(|&at| stays(self.input, at)).count()
    }

    /// How many of some of the output's units stay.
    pub fn outputs_within(&self, range: Range<usize>) -> usize {
        range.filter(|&at| stays(self.output, at)).count()
    }

    /// Whether a value, or unit, of the output stays.
    pub fn output(&self, at: usize) -> bool {
        stays(self.output, at)
    }
}

/// Whether value number `at` stays, of units that repeat.
pub(crate) fn stays(kept: &[bool], at: usize) -> bool {
    kept.is_empty() || kept.get(at % kept.len()) == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_requantised_unless_they_wrap() {
        let half = Multiplier { value: 1 << 30, shift: 0 };
        let clamp = Clamp { min: -3, max: 100 };
        let span = requantized([-20, 50], half, 1, clamp);
        assert_eq!(span, Span { low: -3, high: 26 });
        assert_eq!(requantized([-200, -20], half, 1, clamp).constant(), Some(-3));
        assert_eq!(requantized([900, 1000], half, 1, Clamp::NONE).constant(), Some(127));
        let far = Multiplier { value: 1 << 30, shift: 30 };
        assert_eq!(requantized([1, 1], far, 0, Clamp::NONE).constant(), Some(127));
        assert_eq!(requantized([0, 4], far, 0, Clamp::NONE), Span::ALL);
        assert_eq!(requantized([0, 1 << 40], half, 0, clamp), Span { low: -3, high: 100 });
        let unsound = Multiplier { value: -1, shift: 0 };
        assert_eq!(requantized([0, 0], unsound, 0, Clamp::NONE), Span::ALL);
        assert_eq!(requantized([0, 0], half, 0, Clamp { min: 1, max: 0 }), Span::ALL);
    }

    #[test]
    fn any_sum_between_two_ends_is_requantised_between_theirs() {
        let clamp = Clamp { min: -120, max: 111 };
        for shift in -12..=4 {
            for value in [0, 1, 1 << 30, (1 << 30) + 12_345, i32::MAX] {
                let multiplier = Multiplier { value, shift };
                let span = requantized([-700, 900], multiplier, -7, clamp);
                for sum in -700..=900 {
                    let y = clamp.apply(requantize(sum, multiplier, -7));
                    assert!((span.low..=span.high).contains(&y), "{sum} {multiplier:?}");
                }
            }
        }
    }
}
