//! Which channels of floats a model of integers has, where it computes fewer: a file doesn't say which
//! ones it leaves out, but their order stays.

/// Most values of a channel that are looked at.
const MAX_VALUES: usize = 4096;
/// Least mean of the cosines of channels that are taken for the same: rounding alone leaves more than 0.9,
/// weights that were trained anew don't.
const MIN_COSINE: f64 = 0.5;

/// Several channels' values, position after position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channels<'a> {
    pub(super) values: &'a [f32],
    pub(super) count: usize,
}

impl Channels<'_> {
    fn channel(&self, channel: usize) -> Vec<f64> {
        let positions = self.values.len() / self.count.max(1);
        let step = positions.div_ceil(MAX_VALUES).max(1) * self.count.max(1);
        let values = self.values.get(channel..).unwrap_or_default();
        values.iter().step_by(step).map(|&x| f64::from(x)).collect()
    }

    fn all(&self) -> Vec<Vec<f64>> {
        (0..self.count).map(|channel| self.channel(channel)).collect()
    }

    /// The values of some channels.
    pub(super) fn some(&self, channels: &[usize]) -> Vec<f32> {
        let positions = self.values.chunks_exact(self.count.max(1));
        positions.flat_map(|position| channels.iter().map(|&at| position[at])).collect()
    }
}

/// The channel of `all` that each of `few` fits best, ascending: of all ways to keep the order, the one
/// with the greatest sum of cosines. None where none fits well.
pub(super) fn matching(all: Channels<'_>, few: Channels<'_>) -> Option<Vec<usize>> {
    let (all, few) = (all.all(), few.all());
    let width = all.len() + 1;
    // At `i·width + j`: the best sum of the first i of the few among the first j of all.
    let mut best = vec![f64::NEG_INFINITY; (few.len() + 1) * width];
    best[..width].fill(0.0);
    for (i, one) in few.iter().enumerate() {
        for (j, other) in all.iter().enumerate().skip(i) {
            let with = best[i * width + j] + cosine(one, other);
            let without = best[(i + 1) * width + j];
            best[(i + 1) * width + j + 1] = with.max(without);
        }
    }
    let mut chosen = Vec::with_capacity(few.len());
    let mut end = all.len();
    for i in (1..=few.len()).rev() {
        while end > i && best[i * width + end] == best[i * width + end - 1] {
            end -= 1;
        }
        end = end.saturating_sub(1);
        chosen.push(end);
    }
    chosen.reverse();
    let sum = best.last().copied().unwrap_or_default();
    (sum >= MIN_COSINE * few.len() as f64).then_some(chosen)
}

/// How alike two channels are, whatever their scales: 1 of two that are zero everywhere.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let squares = product(a, a) * product(b, b);
    let both = product(a, a) + product(b, b);
    if both == 0.0 {
        return 1.0;
    }
    if squares > 0.0 { product(a, b) / squares.sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Channels of 50 positions; the third is 0.
    fn value(position: usize, channel: usize) -> f32 {
        if channel == 2 { 0.0 } else { ((position * (channel + 3)) as f32 * 0.61).sin() }
    }

    #[test]
    fn channels_are_found_again_in_other_steps() {
        let all: Vec<f32> = (0..50).flat_map(|p| (0..6).map(move |c| value(p, c))).collect();
        for left in [vec![0, 1, 2, 3, 4, 5], vec![1, 4], vec![0, 2, 5], vec![5], vec![0, 1, 3, 4]] {
            let some = Channels { values: &all, count: 6 }.some(&left);
            let rounded: Vec<f32> = some.iter().map(|x| (x * 40.0).round()).collect();
            let few = Channels { values: &rounded, count: left.len() };
            assert_eq!(matching(Channels { values: &all, count: 6 }, few), Some(left));
        }
    }

    #[test]
    fn others_are_not_taken_for_them() {
        let all: Vec<f32> = (0..50).flat_map(|p| (0..4).map(move |c| value(p, c))).collect();
        let other: Vec<f32> = (0..100).map(|at| (at as f32 * 1.93).cos()).collect();
        let few = Channels { values: &other, count: 2 };
        assert_eq!(matching(Channels { values: &all, count: 4 }, few), None);
    }
}
