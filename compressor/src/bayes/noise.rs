//! Standard normal noise, reproducible from (seed, stream).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::elementary::normal_pair;

/// Samples that are made at once: the random words of a block fit the first-level cache.
const BLOCK: usize = 512;

/// A stream of random numbers for one shard of one training step.
#[derive(Clone, Debug)]
pub struct Noise {
    rng: ChaCha8Rng,
}

impl Noise {
    /// Stream `stream` of `seed`: the same pair gives the same numbers on every machine.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self { rng }
    }

    /// `n` samples of N(0, 1).
    pub fn vector(&mut self, n: usize) -> Vec<f32> {
        let mut samples = vec![0.0; n];
        let mut words = [0_u32; BLOCK];
        let mut block = [0.0; BLOCK];
        for samples in samples.chunks_mut(BLOCK) {
            self.rng.fill(&mut words[..]);
            let (radii, angles) = words.split_at(BLOCK / 2);
            let (first, second) = block.split_at_mut(BLOCK / 2);
            let pairs = radii.iter().zip(angles).zip(first.iter_mut().zip(second));
            pairs.for_each(|((r, a), (x, y))| (*x, *y) = normal_pair(*r, *a));
            samples.copy_from_slice(&block[..samples.len()]);
        }
        samples
    }

    /// The generator itself, for shuffles and masks.
    pub fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.rng
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_the_moments_of_the_standard_normal() {
        let samples = Noise::new(5, 6).vector(1_000_000);
        let moment = |power: i32| {
            samples.iter().map(|e| f64::from(*e).powi(power)).sum::<f64>() / samples.len() as f64
        };
        for (power, expected, tolerance) in
            [(1, 0.0, 0.005), (2, 1.0, 0.007), (3, 0.0, 0.02), (4, 3.0, 0.05), (6, 15.0, 0.7)]
        {
            let found = moment(power);
            assert!((found - expected).abs() < tolerance, "moment {power}: {found}");
        }
        let beyond = samples.iter().filter(|e| e.abs() > 3.0).count() as f64;
        assert!((beyond / 2_699.8 - 1.0).abs() < 0.1, "{beyond} beyond three deviations");
    }

    /// Neighbours and the two halves of a block have nothing to do with each other.
    #[test]
    fn samples_are_uncorrelated() {
        let samples = Noise::new(8, 1).vector(400_000);
        for lag in [1, BLOCK / 2, BLOCK] {
            let pairs = samples.iter().zip(samples.iter().skip(lag));
            let sum: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert!((sum / samples.len() as f64).abs() < 0.008, "lag {lag}: {sum}");
        }
    }

    #[test]
    fn a_longer_vector_begins_as_a_shorter_one() {
        let long = Noise::new(1, 2).vector(1500);
        assert_eq!(Noise::new(1, 2).vector(700), long[..700]);
        assert_ne!(Noise::new(1, 3).vector(700), long[..700]);
    }
}
