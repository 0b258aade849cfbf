//! The rate: what a layer's integers cost in bits, and its pull on the weights.
//!
//! A geometric code with a probability of its own for zero, P(0) = p₀,
//! P(±k) = (1 − p₀)/2 · (1 − r)·r^(k − 1), fitted to the layer as it is. With [`Code::Place`] p₀
//! depends on where a weight is, as in the coded stream: on how much its column is used by the other
//! rows, and on the weight before it in its row. So a weight that stands alone in its column costs
//! more than one among others, and columns empty as a whole: the group prior's work, carried on by
//! the code.
//!
//! The loss gets λ·ln 2/N · bits, so that λ = 1 weighs a bit of the file as a bit of the labels'
//! description (the two-part code behind bits-back: Hinton and van Camp 1993), and a weight is drawn
//! to zero by the slope of the code's length between the two integers around it.

use serde::{Deserialize, Serialize};

/// Least probability of a zero: below, a layer without zeros would repel its first one.
const LEAST_ZERO: f64 = 0.4;
/// Most of it in one place, where few weights may be.
const MOST_ZERO: f64 = 0.999;
/// Borders between the steps of a column's use, in mean magnitudes of the other rows' weights, as the
/// coded stream has them.
const USES: [f32; 6] = [0.05, 0.15, 0.3, 0.5, 0.8, 1.2];
/// Places that are told apart: steps of use, times the magnitude before, up to 2.
const PLACES: usize = (USES.len() + 1) * 3;
/// As many weights of the layer as a whole count with each place's own.
const PRIOR_WEIGHTS: f64 = 6.0;
/// Magnitudes count in a column's use up to this one.
const MOST_USE: u16 = 3;

/// How a layer's weights lie, for its code.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Weights of a row.
    pub columns: usize,
    /// Distance in a row to the weight before: the channels of a convolution's input, else 1.
    pub lag: usize,
}

/// What a weight's code depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Code {
    /// Its layer.
    #[default]
    Layer,
    /// Its layer, how much its column is used, and the weight before it.
    Place,
}

/// A layer's code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Place of each weight; empty where all have one code.
    places: Vec<u8>,
    /// By place: bits of ±k, for k from 0 to the largest integer plus one.
    bits: Vec<Vec<f32>>,
}

impl Rate {
    /// Fitted to `values`, none of which is beyond ±`most`.
    pub fn fit(values: &[i16], rows: Rows, most: i16, code: Code) -> Self {
        let n = values.len().max(1) as f64;
        let nonzero = values.iter().filter(|&&v| v != 0).count() as f64;
        let sum: f64 = values.iter().map(|&v| f64::from(v.unsigned_abs())).sum();
        let zero = (n - nonzero + 0.5) / (n + 1.0);
        // The mean magnitude of a geometric variable is 1/(1 − r).
        let ratio = (1.0 - (nonzero + 1.0) / (sum + 2.0)).clamp(0.01, 0.99);
        if code == Code::Layer {
            return Self { places: Vec::new(), bits: vec![lengths(zero, ratio, most)] };
        }
        let places = places(values, rows);
        let mut counts = [[0u32; 2]; PLACES];
        for (&value, &place) in values.iter().zip(&places) {
            counts[usize::from(place)][usize::from(value != 0)] += 1;
        }
        let bits = counts.map(|count| {
            let [zeros, others] = count.map(f64::from);
            let zero = (zeros + PRIOR_WEIGHTS * zero) / (zeros + others + PRIOR_WEIGHTS);
            lengths(zero.min(MOST_ZERO), ratio, most)
        });
        Self { places, bits: bits.to_vec() }
    }

    /// Bits of all `values`, which it was fitted to.
    pub fn of(&self, values: &[i16]) -> f64 {
        let levels = values.iter().map(|v| usize::from(v.unsigned_abs()));
        levels.enumerate().map(|(at, level)| f64::from(self.at(at, level))).sum()
    }

    /// Slope of the length of weight number `at` at so many steps, in bits per step.
    pub fn slope(&self, at: usize, steps: f32) -> f32 {
        let below = steps.abs().floor() as usize;
        (self.at(at, below + 1) - self.at(at, below)) * steps.signum()
    }

    /// Bits of weight number `at`, if it is ±`level`.
    fn at(&self, at: usize, level: usize) -> f32 {
        let place = self.places.get(at).copied().unwrap_or_default();
        let bits = self.bits.get(usize::from(place)).map(Vec::as_slice).unwrap_or_default();
        bits.get(level).or(bits.last()).copied().unwrap_or(0.0)
    }
}

/// Bits of ±k by the probability of a zero and the ratio of the others'.
fn lengths(zero: f64, ratio: f64, most: i16) -> Vec<f32> {
    let zero = zero.max(LEAST_ZERO);
    let first = -((1.0 - zero) / 2.0 * (1.0 - ratio)).log2();
    let step = -ratio.log2();
    let levels = 1..=i32::from(most) + 1;
    let of_level = levels.map(|k| (first + step * f64::from(k - 1)) as f32);
    std::iter::once(-zero.log2() as f32).chain(of_level).collect()
}

/// The place of each weight.
fn places(values: &[i16], Rows { columns, lag }: Rows) -> Vec<u8> {
    let columns = columns.max(1);
    let use_of = |value: i16| value.unsigned_abs().min(MOST_USE);
    let mut used = vec![0u32; columns];
    for row in values.chunks(columns) {
        used.iter_mut().zip(row).for_each(|(used, &value)| *used += u32::from(use_of(value)));
    }
    let others = (values.len() / columns).saturating_sub(1).max(1) as f32;
    let mut places = Vec::with_capacity(values.len());
    for row in values.chunks(columns) {
        for (column, &value) in row.iter().enumerate() {
            let before = column.checked_sub(lag.max(1)).map_or(0, |c| row[c].unsigned_abs().min(2));
            let mean = (used[column] - u32::from(use_of(value))) as f32 / others;
            let step = USES.iter().filter(|&&border| mean >= border).count();
            places.push(step as u8 * 3 + before as u8);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_ROW: Rows = Rows { columns: 10, lag: 1 };

    #[test]
    fn probabilities_sum_to_one() {
        let rate = Rate::fit(&[0, 0, 0, 0, 1, -1, 2, 0, 0, -3], ONE_ROW, 200, Code::Place);
        let p = |bits: f32| 2f64.powf(-f64::from(bits));
        for at in 0..10 {
            let others: f64 = (1..=201).map(|level| 2.0 * p(rate.at(at, level))).sum();
            let sum = p(rate.at(at, 0)) + others;
            assert!((sum - 1.0).abs() < 1e-3, "{at}: {sum}");
        }
    }

    #[test]
    fn zeros_are_cheapest_and_attract() {
        let rate = Rate::fit(&[0, 0, 0, 1, -1, 0, 2], Rows { columns: 7, lag: 1 }, 3, Code::Layer);
        assert!(rate.slope(0, 0.4) > 0.0 && rate.slope(0, -0.4) < 0.0);
        assert!(rate.at(0, 0) < rate.at(0, 1) && rate.at(0, 1) < rate.at(0, 2));
    }

    #[test]
    fn a_weight_alone_in_its_column_is_pulled_harder() {
        // Forty rows: the first two columns are in use, one row uses the third.
        let mut values = [1i16, -1, 0, 0].repeat(40);
        values[6] = 1;
        let rate = Rate::fit(&values, Rows { columns: 4, lag: 1 }, 3, Code::Place);
        assert!(rate.slope(6, 0.5) > 2.0 * rate.slope(4, 0.5), "{rate:?}");
    }

    #[test]
    fn the_weight_before_is_the_one_of_its_channel() {
        // Columns are taps of two channels: 0 1 0 1; a weight follows where one of its channel was.
        let values = [1i16, 0, 1, 0].repeat(30);
        let by_channel = Rate::fit(&values, Rows { columns: 4, lag: 2 }, 3, Code::Place);
        assert_eq!((by_channel.places[2] % 3, by_channel.places[3] % 3), (1, 0));
        let by_neighbour = Rate::fit(&values, Rows { columns: 4, lag: 1 }, 3, Code::Place);
        assert_eq!((by_neighbour.places[2] % 3, by_neighbour.places[3] % 3), (0, 1));
    }

    #[test]
    fn a_layer_without_zeros_has_a_finite_code() {
        for (values, code) in
            [(&[3; 50][..], Code::Layer), (&[3; 50], Code::Place), (&[], Code::Place)]
        {
            let rate = Rate::fit(values, ONE_ROW, 3, code);
            assert!(rate.bits.iter().flatten().all(|bits| bits.is_finite() && *bits > 0.0));
        }
    }
}
