//! Augmentation: every image a little turned, scaled, sheared and shifted.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::batch::Examples;
use crate::bayes::Noise;
use crate::numbers::Shape;

/// `[augment]`: distorted copies of the training images, for pre-training and fine-tuning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Copies of the training set that the epochs go through in turn; the first is the original.
    /// 1 is no augmentation.
    pub copies: u32,
    /// Most degrees that an image is turned, either way.
    pub rotation: f32,
    /// Most that it is scaled, as a share, either way.
    pub scale: f32,
    /// Most that it is sheared, as a share of its height, either way.
    pub shear: f32,
    /// Most pixels that it is shifted along each axis, either way.
    pub shift: f32,
    /// Share of the last epochs that see the originals alone.
    pub clean: f32,
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self { copies: 1, rotation: 0.0, scale: 0.0, shear: 0.0, shift: 0.0, clean: 0.1 }
    }
}

impl AugmentConfig {
    /// Which copy an epoch sees.
    pub(crate) fn copy(&self, epoch: u64, epochs: u64) -> u32 {
        let last = (epochs as f32 * self.clean.clamp(0.0, 1.0)).ceil() as u64;
        if epoch >= epochs.saturating_sub(last) {
            return 0;
        }
        (epoch % u64::from(self.copies.max(1))) as u32
    }

    /// Copy number `copy`, always the same for a seed; `None` for the original.
    pub(crate) fn apply(&self, examples: &Examples, seed: u64, copy: u32) -> Option<Examples> {
        let Shape::Image { height, width, channels } = examples.shape else { return None };
        if copy == 0 {
            return None;
        }
        let size = height * width * channels;
        let mut inputs = vec![0.0; examples.inputs.len()];
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let part = examples.len().div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            let parts = inputs.chunks_mut(part * size).zip(examples.inputs.chunks(part * size));
            for (index, (to, from)) in parts.enumerate() {
                scope.spawn(move || {
                    let images = to.chunks_exact_mut(size).zip(from.chunks_exact(size));
                    for (at, (to, from)) in images.enumerate() {
                        let stream = (u64::from(copy) << 32) + (index * part + at) as u64;
                        self.draw(seed, stream).warp(from, [height, width, channels], to);
                    }
                });
            }
        });
        let labels = examples.labels.clone();
        Some(Examples { shape: examples.shape, inputs, labels, classes: examples.classes })
    }

    fn draw(&self, seed: u64, stream: u64) -> Warp {
        let mut noise = Noise::new(seed, stream);
        let rng = noise.rng();
        let mut within = |most: f32| (rng.random::<f32>() * 2.0 - 1.0) * most;
        let angle = within(self.rotation).to_radians();
        let scale = 1.0 + within(self.scale);
        let shear = within(self.shear);
        let (sin, cos) = (angle.sin() / scale, angle.cos() / scale);
        Warp {
            down: [cos, sin],
            right: [-sin + shear * cos, cos + shear * sin],
            shift: [within(self.shift), within(self.shift)],
        }
    }
}

/// Where the pixels of an image come from: an affine map about its centre.
struct Warp {
    /// Source (y, x) per output row.
    down: [f32; 2],
    /// Source (y, x) per output column.
    right: [f32; 2],
    shift: [f32; 2],
}

impl Warp {
    /// Bilinear; what lies beyond the border is as the border.
    fn warp(&self, from: &[f32], [height, width, channels]: [usize; 3], to: &mut [f32]) {
        let centre = [(height - 1) as f32 / 2.0, (width - 1) as f32 / 2.0];
        for (at, pixel) in to.chunks_exact_mut(channels).enumerate() {
            let y = (at / width) as f32 - centre[0];
            let x = (at % width) as f32 - centre[1];
            let source = |axis: usize, n: usize| {
                let s =
                    centre[axis] + y * self.down[axis] + x * self.right[axis] + self.shift[axis];
                let s = s.clamp(0.0, (n - 1) as f32);
                let low = s.floor();
                (low as usize, (low as usize + 1).min(n - 1), s - low)
            };
            let (top, bottom, v) = source(0, height);
            let (left, right, u) = source(1, width);
            for (channel, value) in pixel.iter_mut().enumerate() {
                let get = |y: usize, x: usize| from[(y * width + x) * channels + channel];
                let above = get(top, left) * (1.0 - u) + get(top, right) * u;
                let below = get(bottom, left) * (1.0 - u) + get(bottom, right) * u;
                *value = above * (1.0 - v) + below * v;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Examples {
        let shape = Shape::Image { height: 4, width: 5, channels: 2 };
        let inputs = (0..80).map(|i| i as f32).collect();
        Examples { shape, inputs, labels: vec![0, 1], classes: 2 }
    }

    #[test]
    fn no_distortion_changes_nothing() {
        let config = AugmentConfig { copies: 2, ..AugmentConfig::default() };
        let examples = ramp();
        assert!(config.apply(&examples, 1, 0).is_none());
        let copy = config.apply(&examples, 1, 1).unwrap();
        assert_eq!(copy.inputs, examples.inputs);
    }

    #[test]
    fn a_whole_pixel_moves_the_image() {
        let warp = Warp { down: [1.0, 0.0], right: [0.0, 1.0], shift: [1.0, 0.0] };
        let from: Vec<f32> = (0..6).map(|i| i as f32).collect();
        let mut to = [0.0; 6];
        warp.warp(&from, [3, 2, 1], &mut to);
        assert_eq!(to, [2.0, 3.0, 4.0, 5.0, 4.0, 5.0]);
    }

    #[test]
    fn copies_differ_and_repeat() {
        let config = AugmentConfig { copies: 3, rotation: 10.0, shift: 1.0, ..Default::default() };
        let examples = ramp();
        let copy = |seed, n| config.apply(&examples, seed, n).unwrap().inputs;
        assert_eq!(copy(1, 1), copy(1, 1));
        assert_ne!(copy(1, 1), copy(1, 2));
        assert_ne!(copy(1, 1), copy(2, 1));
        assert!(copy(1, 1).iter().all(|v| (0.0..=79.0).contains(v)));
    }

    #[test]
    fn the_last_epochs_are_clean() {
        let config = AugmentConfig { copies: 3, clean: 0.2, ..AugmentConfig::default() };
        let copies: Vec<u32> = (0..10).map(|epoch| config.copy(epoch, 10)).collect();
        assert_eq!(copies, [0, 1, 2, 0, 1, 2, 0, 1, 0, 0]);
    }
}
