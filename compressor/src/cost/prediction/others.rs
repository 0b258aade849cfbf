//! Operators without weights.

use bitsback_runtime::format::{Tensor, Window};
use bitsback_runtime::{Op, OpKind};

use super::features::{Feature, Features};
use super::layer::{Layer, Sight};
use super::path::Path;
use super::windows::Axis;

impl Sight<'_> {
    /// What operators copy that put values elsewhere: stretches, and values one by one.
    fn copies(&self, features: &mut Features) {
        let dims = |tensor: Option<&Tensor>| -> Vec<usize> {
            let dims = tensor.map_or(&[][..], |tensor| tensor.shape.dims());
            dims.iter().map(|&side| usize::from(side)).collect()
        };
        let (from, to) = (dims(self.input()), dims(Some(self.step.output())));
        let mut length = to.iter().product::<usize>();
        let last = |dims: &[usize], from: usize| dims.iter().skip(from).product::<usize>();
        let stretch = match &self.step.op {
            Op::Concat(op) => last(&from, op.axis.into()),
            Op::Pad(_) => {
                let whole = from.last() == to.last();
                last(&from, from.len().saturating_sub(if whole { 2 } else { 1 }))
            }
            Op::Slice(op) => {
                // From the last dimension on, those that are taken whole join their stretches.
                let mut stretch = 1;
                let mut is_whole = true;
                for ((from, to), stride) in from.iter().zip(&to).zip(&op.stride).rev() {
                    if !is_whole || *stride != 1 {
                        break;
                    }
                    stretch *= to;
                    is_whole = from == to;
                }
                if op.stride.last().is_some_and(|&stride| stride != 1) {
                    let row = to.last().copied().unwrap_or(1).max(1);
                    features.set(Feature::Apart, length as f64);
                    features.set(Feature::Stretch, (length / row) as f64);
                    return;
                }
                stretch
            }
            Op::ResizeNearest(op) => {
                let stretch = to.last().copied().unwrap_or(1);
                // Rows that are like the one before are copied as a whole.
                let [rows, other] = [&to, &from].map(|dims| dims.first().copied().unwrap_or(1));
                let line = length / rows.max(1);
                let again = rows.saturating_sub(other);
                features.set(Feature::WindowRow, again as f64);
                features.set(Feature::Gathered, (again * line) as f64);
                let pixels = ((length - again * line) / stretch.max(1)) as f64;
                features.set(Feature::Centre, if op.half_pixel_centers { pixels } else { 0.0 });
                length -= again * line;
                stretch
            }
            _ => return,
        };
        let stretches = (length / stretch.max(1)) as f64;
        features.set(Feature::Stretch, stretches);
        features.set(Feature::StretchWord, stretches * (stretch / 4) as f64);
        features.set(Feature::StretchRest, stretches * (stretch % 4) as f64);
    }

    /// An operator without weights, of images that a window may move over.
    pub(super) fn other(&self, window: Option<&Window>) -> Layer {
        let [height, width, channels] = Self::image(self.input());
        let [down, right, _] = Self::image(Some(self.step.output()));
        let mut features = Features::new();
        features.set(Feature::Row, channels as f64);
        features.set(Feature::Position, (down * right) as f64);
        self.copies(&mut features);
        let lengths: Vec<usize> = self.step.inputs().map(Tensor::len).collect();
        let outputs = self.step.output().len();
        if lengths.iter().any(|&length| length != lengths[0]) {
            features.set(Feature::Broadcast, outputs as f64);
        } else if outputs >= self.kernels.tabled {
            features.set(Feature::Tabled, 1.0);
            features.set(Feature::TabledOutput, outputs as f64);
        } else {
            features.set(Feature::Untabled, outputs as f64);
        }
        if self.step.kind() == OpKind::Mean {
            let channels = self.step.output().len();
            let pixels = self.input().map_or(0, Tensor::len) / channels.max(1);
            for (feature, count) in [
                (Feature::Pixel, pixels),
                (Feature::Tap, pixels * channels),
                (Feature::GroupTap, pixels * channels.div_ceil(4)),
                (Feature::RestProduct, pixels * (channels % 4)),
                (Feature::Group, channels.div_ceil(4)),
            ] {
                features.set(feature, count as f64);
            }
        }
        if let Some(window) = window {
            let axes = Axis::both(window, [1; 2], [height, width], [down, right]);
            let [vertical, horizontal] = axes.map(|axis| axis.along());
            let (pixels, rows) =
                (vertical.taps * horizontal.taps, vertical.taps * horizontal.windows);
            let blocks = channels.div_ceil(4) as f64;
            features.set(Feature::Pixel, pixels);
            features.set(Feature::PixelRow, rows);
            features.set(Feature::Tap, pixels * channels as f64);
            features.set(Feature::TapRow, rows * channels as f64);
            features.set(Feature::GroupPosition, (down * right) as f64 * blocks);
            features.set(Feature::GroupTap, pixels * blocks);
            features.set(Feature::GroupRow, rows * blocks);
            let rest = (channels % 4) as f64;
            features.set(Feature::RestRow, (down * right) as f64 * rest);
            features.set(Feature::RestProduct, pixels * rest);
        }
        Layer { path: Path::Other(self.step.kind()), features }
    }
}
