//! Batch normalisation; folded into the layer before it once it is trained.

use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::exporter::{self, Attribute, Exported, Exporter};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units, unless};
use super::super::{Affine, Window};
use super::IntegerDepthwiseConv2d;
use super::unary;
#[cfg(feature = "training")]
use crate::graph::tensor::{Inputs, Pass, Value};

/// Added to variances before roots are taken, as in PyTorch's default.
pub const NORM_EPSILON: f32 = 1e-5;

/// y = γ·(x − mean)/√(variance + ε) + β, per channel; γ and β are the node's parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BatchNorm {
    /// Running mean.
    pub mean: Vec<f32>,
    /// Running variance.
    pub variance: Vec<f32>,
}

impl BatchNorm {
    /// Of so many channels, before any training: mean 0, variance 1.
    pub fn new(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], variance: vec![1.0; channels] }
    }

    /// The same as a factor and a summand per channel.
    pub fn factors(&self, parameters: &Affine) -> Affine {
        let Affine { weight: gamma, bias: beta } = parameters;
        let scale = gamma.iter().zip(&self.variance);
        let weight: Vec<f32> = scale.map(|(gamma, v)| gamma / (v + NORM_EPSILON).sqrt()).collect();
        let shift = beta.iter().zip(&self.mean).zip(&weight);
        let bias = shift.map(|((beta, mean), scale)| beta - mean * scale).collect();
        Affine { weight, bias }
    }
}

impl Operator for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        let channels = site.output.channels();
        let fits = self.mean.len() == channels && self.variance.len() == channels;
        unary::check(site).or_else(|| unless(fits, "means and variances must be one per channel"))
    }

    fn parameters(&self, site: &Site<'_>) -> Option<[usize; 2]> {
        Some([site.output.channels(); 2])
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, layer: Option<&Prepared<'_>>) -> Vec<f32> {
        let Some(layer) = layer else { return Vec::new() };
        let Affine { weight, bias } = self.factors(layer.affine);
        let mut y = x.all().to_vec();
        for pixel in y.chunks_exact_mut(site.output.channels().max(1)) {
            for ((v, scale), shift) in pixel.iter_mut().zip(&weight).zip(&bias) {
                *v = *v * scale + shift;
            }
        }
        y
    }

    #[cfg(feature = "training")]
    fn train(&self, _: &Site<'_>, x: Inputs, pass: &mut Pass<'_>) -> Value {
        pass.batch_norm(self, x.first)
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Alike
    }

    fn constant(&self, _operands: &[f32]) -> Option<f32> {
        None
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        // One that couldn't be folded: a factor and a summand per channel.
        let Some(parameters) = &lowering.node().parameters else { return lowering.pass() };
        let (matrix, to) = lowering.matrix(&self.factors(parameters))?;
        let (dims, first) = (lowering.output_image()?, lowering.operand(0)?);
        let input = lowering.as_image(first);
        let (window, dilation) = lowering.window(Window::ONE)?;
        let op = IntegerDepthwiseConv2d { window, dilation };
        lowering.write(op, vec![input], dims, to, Some(matrix));
        Ok(())
    }

    fn export(&self, site: &Site<'_>, layer: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        let Affine { weight: gamma, bias: beta } = exporter::parameters(layer)?;
        if ![1, 3].contains(&site.input().dims.len()) {
            return Err("a batch normalisation of something else than an image or a vector");
        }
        let (x, output) = (file.operand(0), file.output());
        let [gamma, beta, mean, variance] = [gamma, beta, &self.mean, &self.variance]
            .map(|numbers| file.floats(&[numbers.len()], numbers));
        let epsilon = vec![("epsilon", Attribute::Float(NORM_EPSILON))];
        let operands = [&*x, &gamma, &beta, &mean, &variance];
        file.emit("BatchNormalization", &operands, &output, epsilon);
        Ok(())
    }
}
