//! From posteriors to numbers: Ŵ = mask ∘ E\[z\] ∘ W_μ (Louizos et al. 2017, section 3.3).

use crate::network::{Affine, FloatNetwork};
use crate::posterior::{LayerPosterior, Posterior};

use super::liveness::{AffineShape, affine_shapes};
use super::shrinkage::check_layer_count;
use super::{PruneError, Shrinkage};

/// The network of posterior means: E\[z\] multiplies the columns of a dense layer's weights, or a
/// convolution's filters *and* their biases.
///
/// # Errors
/// When a vector has another length than its layer needs, or holds a number that isn't finite.
pub fn posterior_mean(posterior: &Posterior) -> Result<FloatNetwork, PruneError> {
    let shapes = checked(posterior)?;
    let affine = shapes.iter().zip(&posterior.layers).map(|(shape, layer)| {
        let weight = layer.weight_mean.iter().enumerate();
        let scaled = weight.map(|(index, mean)| mean * layer.scale_mean[group(shape, index)]);
        Affine { weight: scaled.collect(), bias: bias(shape, layer) }
    });
    Ok(FloatNetwork {
        topology: posterior.topology.clone(),
        affine: affine.collect(),
        norms: Vec::new(),
    })
}

/// The posterior variance of every final weight: V\[w\] = V\[z\]·(σ² + μ²) + σ²·E\[z\]², one vector per
/// affine layer in the order of its weights.
///
/// # Errors
/// As [`posterior_mean`].
pub fn posterior_variance(posterior: &Posterior) -> Result<Vec<Vec<f32>>, PruneError> {
    let shapes = checked(posterior)?;
    let variances = shapes.iter().zip(&posterior.layers).map(|(shape, layer)| {
        let weights = layer.weight_mean.iter().zip(&layer.weight_variance).enumerate();
        let variance = weights.map(|(index, (mean, variance))| {
            let group = group(shape, index);
            let (scale, spread) = (layer.scale_mean[group], layer.scale_variance[group]);
            spread * (variance + mean * mean) + variance * scale * scale
        });
        variance.collect()
    });
    Ok(variances.collect())
}

/// The same posterior without what a shrinking step removes.
///
/// # Errors
/// When the step was not planned for this posterior.
pub fn shrink_posterior(posterior: &Posterior, step: &Shrinkage) -> Result<Posterior, PruneError> {
    check_layer_count("posteriors", step.layer_count(), posterior.layers.len())?;
    let slice = |(layer, p): (usize, &LayerPosterior)| {
        Ok(LayerPosterior {
            weight_mean: step.slice_weight(layer, &p.weight_mean)?,
            weight_variance: step.slice_weight(layer, &p.weight_variance)?,
            bias_mean: step.slice_bias(layer, &p.bias_mean)?,
            bias_variance: step.slice_bias(layer, &p.bias_variance)?,
            scale_mean: step.slice_groups(layer, &p.scale_mean)?,
            scale_variance: step.slice_groups(layer, &p.scale_variance)?,
            unimportance: step.slice_groups(layer, &p.unimportance)?,
            description_length_nats: p.description_length_nats,
        })
    };
    let layers: Result<_, PruneError> = posterior.layers.iter().enumerate().map(slice).collect();
    Ok(Posterior {
        prior: posterior.prior,
        topology: step.topology().clone(),
        layers: layers?,
        description_length_nats: posterior.description_length_nats,
    })
}

/// Mean square of the weights of every group, one vector per affine layer.
pub(super) fn group_squares(network: &FloatNetwork) -> Vec<Vec<f32>> {
    let layers = affine_shapes(&network.topology).into_iter().zip(&network.affine);
    let squares = layers.map(|(shape, affine)| {
        let mut sums = vec![0.0; shape.groups()];
        for (index, weight) in affine.weight.iter().enumerate() {
            sums[group(&shape, index)] += weight * weight;
        }
        let each = (affine.weight.len() / sums.len().max(1)).max(1) as f32;
        sums.iter().map(|sum| sum / each).collect()
    });
    squares.collect()
}

/// The group that the `index`-th weight of a layer belongs to.
fn group(shape: &AffineShape, index: usize) -> usize {
    if shape.dense { index % shape.inputs } else { index / (shape.area * shape.inputs) }
}

fn bias(shape: &AffineShape, layer: &LayerPosterior) -> Vec<f32> {
    if shape.dense {
        return layer.bias_mean.clone();
    }
    layer.bias_mean.iter().zip(&layer.scale_mean).map(|(bias, scale)| bias * scale).collect()
}

fn checked(posterior: &Posterior) -> Result<Vec<AffineShape>, PruneError> {
    let shapes = affine_shapes(&posterior.topology);
    check_layer_count("posteriors", shapes.len(), posterior.layers.len())?;
    for (index, (shape, layer)) in shapes.iter().zip(&posterior.layers).enumerate() {
        let sizes = [
            ("the weights' means", shape.weights(), &layer.weight_mean),
            ("the weights' variances", shape.weights(), &layer.weight_variance),
            ("the biases' means", shape.outputs, &layer.bias_mean),
            ("the biases' variances", shape.outputs, &layer.bias_variance),
            ("the scales' means", shape.groups(), &layer.scale_mean),
            ("the scales' variances", shape.groups(), &layer.scale_variance),
            ("the unimportances", shape.groups(), &layer.unimportance),
        ];
        for (what, expected, values) in sizes {
            let found = values.len();
            if expected != found {
                let layer = posterior.topology.affine_name(index);
                return Err(PruneError::Length { layer, what, expected, found });
            }
            if values.iter().any(|v| !v.is_finite()) {
                let layer = posterior.topology.affine_name(index);
                return Err(PruneError::NotFinite { layer, what });
            }
        }
    }
    Ok(shapes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Layer, Padding, Shape, Topology};
    use crate::posterior::Prior;

    fn posterior() -> Posterior {
        let layers = vec![
            Layer::Conv2d {
                channels: 1,
                filters: 2,
                kernel: [1, 1],
                stride: [1, 1],
                padding: Padding::Valid,
            },
            Layer::Flatten,
            Layer::Dense { inputs: 2, outputs: 1 },
        ];
        let layer = |outputs: usize, weight: [f32; 2]| LayerPosterior {
            weight_mean: weight.to_vec(),
            weight_variance: vec![0.25; 2],
            bias_mean: vec![1.0; outputs],
            bias_variance: vec![0.1; outputs],
            scale_mean: vec![2.0, 3.0],
            scale_variance: vec![0.5, 0.0],
            unimportance: vec![0.0, 1.0],
            description_length_nats: 0.0,
        };
        Posterior {
            prior: Prior::NormalJeffreys,
            topology: Topology { input: Shape::Image { height: 1, width: 1, channels: 1 }, layers },
            layers: vec![layer(2, [1.0, -1.0]), layer(1, [0.5, 4.0])],
            description_length_nats: 0.0,
        }
    }

    #[test]
    fn scales_go_into_filters_with_bias_and_into_columns_without() {
        let net = posterior_mean(&posterior()).unwrap();
        assert_eq!(net.affine[0], Affine { weight: vec![2.0, -3.0], bias: vec![2.0, 3.0] });
        assert_eq!(net.affine[1], Affine { weight: vec![1.0, 12.0], bias: vec![1.0] });
    }

    #[test]
    fn variance_of_a_product() {
        let variance = posterior_variance(&posterior()).unwrap();
        // 0.5·(0.25 + 1) + 0.25·4 and 0 + 0.25·9.
        assert_eq!(variance[0], vec![1.625, 2.25]);
    }

    #[test]
    fn wrong_lengths_and_numbers_are_named() {
        let mut short = posterior();
        short.layers[1].scale_mean.pop();
        let error = posterior_mean(&short).unwrap_err();
        assert!(matches!(&error, PruneError::Length { layer, .. } if layer == "dense_1"));
        let mut broken = posterior();
        broken.layers[0].weight_mean[0] = f32::NAN;
        assert!(matches!(posterior_mean(&broken), Err(PruneError::NotFinite { .. })));
        let mut missing = posterior();
        missing.layers.pop();
        assert!(matches!(posterior_mean(&missing), Err(PruneError::LayerCount { .. })));
    }

    #[test]
    fn shrinking_slices_every_vector() {
        let p = posterior();
        let dead = [vec![true, false], vec![false, false]];
        let step = Shrinkage::plan(&p.topology, &dead).unwrap();
        let small = shrink_posterior(&p, &step).unwrap();
        assert_eq!(small.layers[0].weight_mean, vec![-1.0]);
        assert_eq!(small.layers[1].weight_mean, vec![4.0]);
        assert_eq!(small.layers[1].scale_mean, vec![3.0]);
        assert_eq!(small.layers[0].bias_mean, vec![1.0]);
    }
}
