//! Batch normalisation folded into the layer before it.

use crate::network::{Affine, FloatNetwork, Layer, Topology};
use crate::shapes::kind;

use super::PruneError;
use super::liveness::affine_shapes;
use super::shrinkage::check_parameters;

/// ε of every batch normalisation: y = γ·(x − mean)/√(var + ε) + β (burn's and PyTorch's default).
pub const NORM_EPSILON: f32 = 1e-5;

/// Folds every batch normalisation into the dense layer or convolution directly before it (a
/// dropout between them does not matter): W ← s·W, b ← s·(b − mean) + β with s = γ/√(var + ε).
///
/// # Errors
/// When one follows anything else (nonlinearities and pooling don't commute with a shift by
/// channel, nor with a negative scale), or parameters have the wrong size.
pub fn fold_batch_norm(network: FloatNetwork) -> Result<FloatNetwork, PruneError> {
    check_parameters(&network)?;
    let areas: Vec<_> =
        affine_shapes(&network.topology).iter().map(|a| a.area * a.inputs).collect();
    let mut affine = network.affine;
    let mut norms = network.norms.iter();
    let mut layers = Vec::with_capacity(network.topology.layers.len());
    let mut seen = 0;
    let mut before = "the network's input";
    let mut foldable = false;
    for (index, layer) in network.topology.layers.into_iter().enumerate() {
        let this = kind(&layer);
        match &layer {
            Layer::Dense { .. } | Layer::Conv2d { .. } | Layer::DepthwiseConv2d { .. } => {
                seen += 1;
                foldable = true;
            }
            Layer::Dropout { .. } => {
                layers.push(layer);
                continue;
            }
            Layer::BatchNorm { channels } => {
                if !foldable {
                    return Err(PruneError::BatchNormPlace { layer: index, before });
                }
                let scales = norms.next().map(|norm| scale_shift(norm, *channels));
                let (scale, shift) = scales.flatten().ok_or_else(|| PruneError::Length {
                    layer: format!("layer {index} (batch_norm)"),
                    what: "the parameter vector",
                    expected: *channels,
                    found: 0,
                })?;
                fold(&mut affine[seen - 1], areas[seen - 1], &scale, &shift);
                continue;
            }
            Layer::MaxPool2d { .. }
            | Layer::AvgPool2d { .. }
            | Layer::Crop { .. }
            | Layer::Relu
            | Layer::Relu6
            | Layer::Flatten
            | Layer::Select { .. }
            | Layer::Mark { .. }
            | Layer::From { .. }
            | Layer::Add { .. } => foldable = false,
        }
        before = this;
        layers.push(layer);
    }
    let topology = Topology { input: network.topology.input, layers };
    Ok(FloatNetwork { topology, affine, norms: Vec::new() })
}

fn scale_shift(norm: &crate::network::Norm, channels: usize) -> Option<(Vec<f32>, Vec<f32>)> {
    let all = [&norm.gamma, &norm.beta, &norm.mean, &norm.variance];
    if all.iter().any(|v| v.len() != channels) {
        return None;
    }
    let scale = norm.gamma.iter().zip(&norm.variance);
    let scale: Vec<f32> = scale.map(|(gamma, var)| gamma / (var + NORM_EPSILON).sqrt()).collect();
    let shift = norm.beta.iter().zip(&norm.mean).zip(&scale);
    Some((scale.clone(), shift.map(|((beta, mean), s)| beta - mean * s).collect()))
}

fn fold(affine: &mut Affine, row: usize, scale: &[f32], shift: &[f32]) {
    for (row, scale) in affine.weight.chunks_exact_mut(row.max(1)).zip(scale) {
        row.iter_mut().for_each(|w| *w *= scale);
    }
    for ((bias, scale), shift) in affine.bias.iter_mut().zip(scale).zip(shift) {
        *bias = *bias * scale + shift;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Norm, Padding, Shape};
    use crate::reference::Reference;

    fn network(layers: Vec<Layer>) -> FloatNetwork {
        let weight = (0..18).map(|i| (i as f32 * 0.37).sin()).collect();
        let norm = Norm {
            gamma: vec![-1.5, 0.5],
            beta: vec![0.1, -0.2],
            mean: vec![0.3, 0.4],
            variance: vec![2.0, 0.01],
        };
        FloatNetwork {
            topology: Topology { input: Shape::Image { height: 5, width: 4, channels: 1 }, layers },
            affine: vec![Affine { weight, bias: vec![0.5, -0.5] }],
            norms: vec![norm],
        }
    }

    fn conv() -> Layer {
        Layer::Conv2d {
            channels: 1,
            filters: 2,
            kernel: [3, 3],
            stride: [1, 1],
            padding: Padding::Same,
        }
    }

    #[test]
    fn a_folded_network_computes_the_same() {
        let dropout = Layer::Dropout { rate: 0.1 };
        let net = network(vec![conv(), dropout, Layer::BatchNorm { channels: 2 }, Layer::Relu]);
        let folded = fold_batch_norm(net.clone()).unwrap();
        assert_eq!(folded.topology.layers.len(), 3);
        let x: Vec<f32> = (0..20).map(|i| (i as f32).cos()).collect();
        let before = Reference::new(&net).unwrap().logits(&x).unwrap();
        let after = Reference::new(&folded).unwrap().logits(&x).unwrap();
        for (a, b) in before.iter().zip(&after) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn behind_pooling_it_is_refused_by_place() {
        let pool = Layer::MaxPool2d { size: [2, 2], stride: [2, 2], padding: Padding::Valid };
        let net = network(vec![conv(), pool, Layer::BatchNorm { channels: 2 }]);
        let error = fold_batch_norm(net).unwrap_err();
        assert_eq!(error, PruneError::BatchNormPlace { layer: 2, before: "max_pool2d" });
    }

    #[test]
    fn missing_parameters_are_an_error() {
        let mut net = network(vec![conv(), Layer::BatchNorm { channels: 2 }]);
        net.norms.clear();
        assert!(matches!(fold_batch_norm(net), Err(PruneError::Length { .. })));
    }
}
