//! How many frames apart inferences must be to be fed.
//!
//! The promise is for inferences whose law, given all before, is within the tolerance of the reference's. How far
//! the law of the d-th frame after one is from the law of any frame is estimated from a recording, statistic by
//! statistic, as the mean distance in total variation given the first frame's symbol; half of the tolerance is left
//! for everything else. An estimate, and no proof: a frame's past is more than its predecessor's symbol, and a recording
//! is one of many.

use bitsback_runtime::sentinel::ORDINALS;

use super::bins::Bins;
use super::bounds::ONE;
use super::reference::Seen;

/// Fewest frames of a recording.
pub(super) const LEAST_FRAMES: usize = 1_000;
/// Distances beyond a quarter of the recording: what they show is how far estimates are from 0 by chance alone,
/// in a recording that shows each scene as long as this one.
const FAR: usize = 20;
/// Symbols of a statistic, at most.
const SYMBOLS: usize = 12;

/// The least number of frames apart, of at most 255, at which no statistic's distance is above half of the
/// tolerance (in 4096ths); `None` if there is none, or if nothing ever changes in the recording.
pub(super) fn apart(bins: &Bins, frames: &[Seen], tolerance: u16) -> Option<u8> {
    let symbols: Vec<_> = frames.iter().map(|seen| bins.symbols(seen)).collect();
    let of = |statistic: usize| {
        let symbols: Option<Vec<usize>> = symbols.iter().map(|of| of[statistic]).collect();
        symbols.filter(|symbols| symbols.iter().any(|symbol| Some(symbol) != symbols.first()))
    };
    let statistics: Vec<(Vec<usize>, f64)> = (0..=ORDINALS)
        .filter_map(of)
        .map(|symbols| {
            let chance = by_chance(&symbols);
            (symbols, chance)
        })
        .collect();
    let enough = f64::from(tolerance) / f64::from(ONE) / 2.0;
    let all_are_far = |apart: usize| {
        let is_far = |(symbols, chance): &(Vec<usize>, f64)| {
            distance(symbols, symbols.iter().skip(apart)) - chance <= enough
        };
        statistics.iter().all(is_far)
    };
    let apart = (1..=u8::MAX).find(|&apart| all_are_far(apart.into()));
    apart.filter(|_| !statistics.is_empty())
}

/// The mean distance, in total variation, of the law of what comes after a symbol from the law of all: 0 to 1, and
/// by chance above 0.
fn distance<'a>(symbols: &[usize], after: impl Iterator<Item = &'a usize>) -> f64 {
    let mut pairs = [[0u32; SYMBOLS]; SYMBOLS];
    for (&before, &after) in symbols.iter().zip(after) {
        pairs[before][after] += 1;
    }
    let mut all = [0u32; SYMBOLS];
    symbols.iter().for_each(|&symbol| all[symbol] += 1);
    let law = all.map(|count| f64::from(count) / symbols.len() as f64);
    let (mut sum, mut counted) = (0.0, 0.0);
    for row in &pairs {
        let given = f64::from(row.iter().sum::<u32>());
        counted += given;
        sum +=
            row.iter().zip(law).map(|(&pair, p)| (f64::from(pair) - given * p).abs()).sum::<f64>();
    }
    0.5 * sum / counted
}

/// The mean of that where what comes after has nothing to do with the symbol: it is far away, around the end of
/// the recording if need be.
fn by_chance(symbols: &[usize]) -> f64 {
    let far = |at: usize| symbols.len() / 4 + at * symbols.len() / (2 * FAR);
    let sum: f64 = (0..FAR).map(|at| distance(symbols, symbols.iter().cycle().skip(far(at)))).sum();
    sum / FAR as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Brightness in four bins.
    fn bins() -> Bins {
        let edges = [None, Some([1, 2, 3, 100, 101, 102, 103]), None];
        Bins { shift: 0, values: false, edges, classes: Vec::new(), map: None }
    }

    /// Frames that stay as the one before with a probability.
    fn held(stays: f64, count: usize) -> Vec<Seen> {
        let mut noise = ChaCha8Rng::seed_from_u64(3);
        let mut frame = 0;
        let mut next = || {
            if noise.random::<f64>() >= stays {
                frame = noise.random_range(0..4);
            }
            Seen { values: [0, frame, 0], class: 0 }
        };
        (0..count).map(|_| next()).collect()
    }

    /// Given a frame, the d-th after it is that one with probability ρᵈ and any of four else: 0.75 · ρᵈ from the law
    /// of all, and that is to be 0.01.
    #[test]
    fn frames_are_as_far_apart_as_the_law_says() {
        assert_eq!(apart(&bins(), &held(0.0, 20_000), 82), Some(1));
        for (stays, law) in [(0.5, 7.0), (0.8, 20.0), (0.9, 41.0)] {
            let found = f64::from(apart(&bins(), &held(stays, 60_000), 82).unwrap());
            assert!((0.7 * law..1.3 * law).contains(&found), "{stays}: {found}, {law}");
        }
        assert!(apart(&bins(), &held(0.9, 60_000), 400).unwrap() < 30, "more is tolerated");
    }

    #[test]
    fn some_recordings_say_nothing() {
        assert_eq!(apart(&bins(), &held(0.999, 5_000), 82), None, "they depend at any distance");
        assert_eq!(apart(&bins(), &held(1.0, 5_000), 82), None, "one scene alone");
    }
}
