//! Standard normal noise, reproducible from (seed, stream).

use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

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
        StandardNormal.sample_iter(&mut self.rng).take(n).collect()
    }

    /// A tensor of N(0, 1).
    pub fn tensor<const D: usize>(&mut self, shape: [usize; D], device: &Device) -> Tensor<D> {
        let n = shape.iter().product();
        Tensor::from_data(TensorData::new(self.vector(n), shape), device)
    }

    /// The generator itself, for shuffles and masks.
    pub fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.rng
    }
}
