//! What a device sees and answers: images through a model, kept so that a stream is a draw from them.

use bitsback::verify::run_batch;
use bitsback_runtime::sentinel::Look;
use bitsback_runtime::{Interpreter, Model, lead};

use crate::chance::Chance;
use crate::images::{Change, PIXELS};

/// Images with their labels.
pub(crate) struct Images {
    pub(crate) pixels: Vec<u8>,
    pub(crate) labels: Vec<u32>,
}

impl Images {
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.pixels.chunks_exact(PIXELS)
    }

    /// So many of them, from the first.
    pub(crate) fn first(&self, count: usize) -> Self {
        let labels = self.labels[..count].to_vec();
        Self { pixels: self.pixels[..count * PIXELS].to_vec(), labels }
    }

    /// With a change of each.
    pub(crate) fn changed(&self, change: Change, chance: &mut Chance) -> Self {
        let pixels = self.each().flat_map(|image| change.apply(image, chance)).collect();
        Self { pixels, labels: self.labels.clone() }
    }
}

/// Inferences: what a sentinel is fed.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) inputs: Vec<i8>,
    pub(crate) outputs: Vec<i8>,
    pub(crate) looks: Vec<Look>,
    /// Lead, brightness and roughness.
    pub(crate) values: Vec<[f64; 3]>,
    /// Bytes of an output.
    pub(crate) width: usize,
    pub(crate) error_percent: f64,
}

impl Field {
    /// Shows the images to a model that takes pixels.
    pub(crate) fn of(model: &Model<'_>, bytes: &[u8], images: &Images) -> Result<Self, Failure> {
        let mut arena = vec![0; model.arena_len()];
        let mut interpreter = Interpreter::new(model, &mut arena)?;
        let (mut inputs, mut looks) = (Vec::new(), Vec::new());
        for image in images.each() {
            looks.push(interpreter.set_input_bytes_looking(image)?);
            inputs.extend_from_slice(interpreter.input_mut());
        }
        let outputs = run_batch(bytes, &inputs)?;
        let width = outputs.len() / images.len().max(1);
        let rows: Vec<(usize, u8)> = outputs.chunks_exact(width).map(lead).collect();
        let wrong =
            rows.iter().zip(&images.labels).filter(|((class, _), label)| *class as u32 != **label);
        let error_percent = 100.0 * wrong.count() as f64 / images.len() as f64;
        let values = rows.iter().zip(&looks).map(|((_, lead), look)| {
            [f64::from(*lead), f64::from(look.brightness), f64::from(look.roughness)]
        });
        let values = values.collect();
        Ok(Self { inputs, outputs, looks, values, width, error_percent })
    }

    pub(crate) fn len(&self) -> usize {
        self.looks.len()
    }

    pub(crate) fn output(&self, at: usize) -> &[i8] {
        &self.outputs[at * self.width..(at + 1) * self.width]
    }

    /// Some of the inferences.
    pub(crate) fn pick(&self, places: &[usize]) -> Self {
        let size = self.inputs.len() / self.len();
        Self {
            inputs: places
                .iter()
                .flat_map(|&at| &self.inputs[at * size..(at + 1) * size])
                .copied()
                .collect(),
            outputs: places.iter().flat_map(|&at| self.output(at)).copied().collect(),
            looks: places.iter().map(|&at| self.looks[at]).collect(),
            values: places.iter().map(|&at| self.values[at]).collect(),
            width: self.width,
            error_percent: self.error_percent,
        }
    }

    /// Means and standard deviations of the three values.
    pub(crate) fn moments(&self) -> [(f64, f64); 3] {
        let count = self.len() as f64;
        [0, 1, 2].map(|statistic| {
            let sum: f64 = self.values.iter().map(|values| values[statistic]).sum();
            let mean = sum / count;
            let square: f64 = self.values.iter().map(|v| (v[statistic] - mean).powi(2)).sum();
            (mean, (square / count).sqrt().max(1e-9))
        })
    }
}

/// Why a set can't be measured.
pub(crate) type Failure = Box<dyn std::error::Error>;
