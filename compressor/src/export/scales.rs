//! Scales of values, as far as a model's factors tell them.
//!
//! Every factor is a product of powers of scales, so that their logarithms are in linear equations. Each
//! equation settles one value in terms of others, or says again what is known, or contradicts it.

use std::collections::BTreeMap;

/// What a scale or a factor that was rounded to 0 is taken for: too small to show beside another.
const NOTHING: f64 = 1.0 / (1u128 << 64) as f64;
/// How far two equations may be apart, in powers of two: factors are rounded to 15 bits or more.
const TOLERANCE: f64 = 1e-3;
/// Powers below this are 0, up to rounding.
const NO_POWER: f64 = 1e-9;
/// Most open values that a scale may depend on.
const MAX_TERMS: usize = 64;
/// Why an operator is refused whose factors don't fit those before it.
const CONTRADICTS: &str = "its factors contradict the scales that other operators prove";
/// Why an operator is refused whose scale too much else decides.
const TANGLED: &str = "its scale depends on too many others";

/// Nothing, or why an equation is refused.
pub(super) type Settled = Result<(), &'static str>;

/// A logarithm, to base 2: a known part, and multiples of those of other values.
#[derive(Clone, Debug, Default)]
struct Logarithm {
    known: f64,
    terms: BTreeMap<usize, f64>,
}

impl Logarithm {
    /// Adds `times` another one.
    fn add(&mut self, other: &Self, times: f64) {
        self.known += times * other.known;
        for (&value, power) in &other.terms {
            *self.terms.entry(value).or_default() += times * power;
        }
        self.terms.retain(|_, power| power.abs() > NO_POWER);
    }
}

/// The scales of a model's values.
#[derive(Debug, Default)]
pub(super) struct Scales {
    /// For each value that isn't open: as which one it was settled, and its logarithm in terms of values
    /// that were open then.
    settled: Vec<Option<(usize, Logarithm)>>,
    count: usize,
}

impl Scales {
    /// Another value, whose scale is not known.
    pub(super) fn push(&mut self) -> usize {
        self.settled.push(None);
        self.settled.len() - 1
    }

    /// `a` has `ratio` times the scale of `b`.
    pub(super) fn relate(&mut self, a: usize, b: usize, ratio: f64) -> Settled {
        self.settle(&[(a, 1.0), (b, -1.0)], ratio)
    }

    /// The product of the scales of `a` and `b` is `factor` times that of `output`.
    pub(super) fn multiply(&mut self, [a, b]: [usize; 2], output: usize, factor: f64) -> Settled {
        self.settle(&[(a, 1.0), (b, 1.0), (output, -1.0)], factor)
    }

    /// A value has this scale.
    pub(super) fn fix(&mut self, value: usize, scale: f64) -> Settled {
        self.settle(&[(value, 1.0)], scale)
    }

    /// Gives a value this scale, if nothing has settled which it has.
    pub(super) fn choose(&mut self, value: usize, scale: f64) {
        let logarithm = self.resolved(&[(value, 1.0)]);
        if !logarithm.terms.is_empty() {
            self.equate(logarithm, scale);
        }
    }

    pub(super) fn get(&self, value: usize) -> Option<f64> {
        let logarithm = self.resolved(&[(value, 1.0)]);
        logarithm.terms.is_empty().then(|| logarithm.known.exp2())
    }

    /// A product of powers in terms of values that are still open. What was settled first is in terms of
    /// what was settled later, never the other way round.
    fn resolved(&self, powers: &[(usize, f64)]) -> Logarithm {
        let mut sum = Logarithm::default();
        for &(value, power) in powers {
            let term = Logarithm { known: 0.0, terms: BTreeMap::from([(value, 1.0)]) };
            sum.add(&term, power);
        }
        while let Some((value, logarithm)) = self.first_settled(&sum) {
            let power = sum.terms.remove(&value).unwrap_or_default();
            sum.add(logarithm, power);
        }
        sum
    }

    /// Of the values in a logarithm the one that was settled first, and in which terms.
    fn first_settled(&self, sum: &Logarithm) -> Option<(usize, &Logarithm)> {
        let settled =
            sum.terms.keys().filter_map(|&value| Some((value, self.settled[value].as_ref()?)));
        let first = settled.min_by_key(|(_, (place, _))| *place)?;
        Some((first.0, &first.1.1))
    }

    /// The powers of these values' scales multiply to `product`.
    fn settle(&mut self, powers: &[(usize, f64)], product: f64) -> Settled {
        let sum = self.resolved(powers);
        if sum.terms.len() > MAX_TERMS {
            return Err(TANGLED);
        }
        let apart = self.equate(sum, product).abs();
        if apart > TOLERANCE { Err(CONTRADICTS) } else { Ok(()) }
    }

    /// Makes a logarithm of open values that of `product`, and tells how far it is off if it has none.
    fn equate(&mut self, mut sum: Logarithm, product: f64) -> f64 {
        let product = if product > 0.0 { product.min(f64::MAX) } else { NOTHING };
        sum.known -= product.log2();
        // The newest value: those before it are then known without it.
        let Some((value, power)) = sum.terms.pop_last() else { return sum.known };
        let mut logarithm = Logarithm::default();
        logarithm.add(&sum, -1.0 / power);
        self.settled[value] = Some((self.count, logarithm));
        self.count += 1;
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_scale(scales: &Scales, value: usize, expected: f64) {
        let found = scales.get(value).unwrap();
        assert!((found / expected - 1.0).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn ratios_carry_a_scale_to_all_that_are_related() {
        let mut scales = Scales::default();
        let [a, b, c, d] = [0; 4].map(|_| scales.push());
        scales.relate(a, b, 2.0).unwrap();
        scales.relate(c, d, 10.0).unwrap();
        scales.fix(d, 1.0).unwrap();
        assert_eq!(scales.get(a), None);
        assert_scale(&scales, c, 10.0);
        scales.relate(b, c, 0.5).unwrap();
        assert_scale(&scales, a, 10.0);
        assert_scale(&scales, b, 5.0);
        scales.choose(a, 99.0);
        assert_scale(&scales, a, 10.0);
        scales.fix(a, 10.0001).unwrap();
        assert_eq!(scales.fix(a, 11.0), Err(CONTRADICTS));
    }

    #[test]
    fn products_are_solved_in_every_direction() {
        let mut scales = Scales::default();
        let [a, gate, gated, square] = [0; 4].map(|_| scales.push());
        scales.multiply([a, gate], gated, 3.0).unwrap();
        scales.multiply([a, a], square, 5.0).unwrap();
        scales.fix(gated, 2.0).unwrap();
        assert_eq!([a, gate, square].map(|value| scales.get(value)), [None; 3]);
        scales.fix(square, 20.0).unwrap();
        assert_scale(&scales, a, 10.0);
        assert_scale(&scales, gate, 0.6);
        assert_eq!(scales.relate(gate, a, 1.0), Err(CONTRADICTS));
    }

    #[test]
    fn a_factor_of_zero_leaves_nothing() {
        let mut scales = Scales::default();
        let [a, b] = [0; 2].map(|_| scales.push());
        scales.relate(a, b, 0.0).unwrap();
        scales.fix(b, 1.0).unwrap();
        assert_scale(&scales, a, NOTHING);
    }

    #[test]
    fn a_scale_of_too_many_open_ones_is_refused() {
        let mut scales = Scales::default();
        let mut product = scales.push();
        let mut settled = Ok(());
        for _ in 0..=MAX_TERMS {
            let [factor, next] = [0; 2].map(|_| scales.push());
            settled = settled.and(scales.multiply([product, factor], next, 1.0));
            product = next;
        }
        assert_eq!(settled, Err(TANGLED));
    }
}
