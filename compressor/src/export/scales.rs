//! Scales of values that stand in known ratios.

/// Sets of values whose scales are known relative to each other, some of them absolutely.
#[derive(Debug, Default)]
pub(super) struct Scales {
    /// For each value another one of its set, and its scale in units of that one's.
    parents: Vec<(usize, f64)>,
    /// Scale of a set, by the value that stands for it.
    known: Vec<Option<f64>>,
}

impl Scales {
    /// Another value, whose scale is not known.
    pub(super) fn push(&mut self) -> usize {
        self.parents.push((self.parents.len(), 1.0));
        self.known.push(None);
        self.parents.len() - 1
    }

    /// The value that stands for a set, and the scale of `value` in units of that one's.
    fn root(&self, value: usize) -> (usize, f64) {
        let (mut at, mut factor) = (value, 1.0);
        while self.parents[at].0 != at {
            factor *= self.parents[at].1;
            at = self.parents[at].0;
        }
        (at, factor)
    }

    /// `a` has `ratio` times the scale of `b`. What is known already stays.
    pub(super) fn relate(&mut self, a: usize, b: usize, ratio: f64) {
        let ((root_a, of_a), (root_b, of_b)) = (self.root(a), self.root(b));
        if root_a == root_b {
            return;
        }
        // scale(a) = of_a · scale(root a) = ratio · of_b · scale(root b).
        let factor = ratio * of_b / of_a;
        self.parents[root_a] = (root_b, factor);
        if let (Some(scale), None) = (self.known[root_a], self.known[root_b]) {
            self.known[root_b] = Some(scale / factor);
        }
    }

    /// Sets a scale, unless it is known already.
    pub(super) fn fix(&mut self, value: usize, scale: f64) {
        let (root, factor) = self.root(value);
        self.known[root].get_or_insert(scale / factor);
    }

    pub(super) fn get(&self, value: usize) -> Option<f64> {
        let (root, factor) = self.root(value);
        self.known[root].map(|scale| scale * factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_carry_a_scale_to_all_that_are_related() {
        let mut scales = Scales::default();
        let [a, b, c, d] = [0; 4].map(|_| scales.push());
        scales.relate(a, b, 2.0);
        scales.relate(c, d, 10.0);
        scales.fix(d, 1.0);
        assert_eq!((scales.get(a), scales.get(c)), (None, Some(10.0)));
        scales.relate(b, c, 0.5);
        assert_eq!((scales.get(a), scales.get(b)), (Some(10.0), Some(5.0)));
        scales.fix(a, 99.0);
        assert_eq!(scales.get(a), Some(10.0));
    }
}
