//! From posteriors to numbers: Ŵ = mask ∘ E\[z\] ∘ W_μ (Louizos et al. 2017, section 3.3).

use super::parameters::{check_layer_count, check_vector};
use super::{PruneError, Shrinkage};
use crate::graph::{Affine, Graph, Groups, Weights};
use crate::posterior::{LayerPosterior, Posterior};

/// The network of posterior means: E\[z\] multiplies the columns of a dense layer's weights, or a
/// convolution's filters *and* their biases.
///
/// # Errors
/// When a vector has another length than its layer needs, or holds a number that isn't finite.
pub(crate) fn posterior_mean(posterior: &Posterior) -> Result<Graph<Affine>, PruneError> {
    let sizes = checked(posterior)?;
    Ok(posterior.graph.map(|layer, posterior| {
        let weight = posterior.weight_mean.iter().enumerate();
        let scaled =
            weight.map(|(index, mean)| mean * posterior.scale_mean[group(&sizes[layer], index)]);
        Affine { weight: scaled.collect(), bias: bias(&sizes[layer], posterior) }
    }))
}

/// The posterior variance of every final weight: V\[w\] = V\[z\]·(σ² + μ²) + σ²·E\[z\]², one vector per
/// layer in the order of its weights.
///
/// # Errors
/// As [`posterior_mean`].
pub(crate) fn posterior_variance(posterior: &Posterior) -> Result<Vec<Vec<f32>>, PruneError> {
    let sizes = checked(posterior)?;
    let variances = sizes.iter().zip(posterior.graph.parameters()).map(|(sizes, layer)| {
        let weights = layer.weight_mean.iter().zip(&layer.weight_variance).enumerate();
        let variance = weights.map(|(index, (mean, variance))| {
            let group = group(sizes, index);
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
pub(crate) fn shrink_posterior(
    posterior: &Posterior,
    step: &Shrinkage,
) -> Result<Posterior, PruneError> {
    Ok(Posterior { graph: step.apply(&posterior.graph)?, ..*posterior })
}

/// Mean square of the weights of every group, one vector per layer.
pub(super) fn group_squares(graph: &Graph<Affine>) -> Vec<Vec<f32>> {
    let layers = graph.weights().into_iter().zip(graph.parameters());
    let squares = layers.map(|(sizes, affine)| {
        let mut sums = vec![0.0; sizes.group_count()];
        for (index, weight) in affine.weight.iter().enumerate() {
            sums[group(&sizes, index)] += weight * weight;
        }
        let each = (affine.weight.len() / sums.len().max(1)).max(1) as f32;
        sums.iter().map(|sum| sum / each).collect()
    });
    squares.collect()
}

/// The group that the `index`-th weight of a layer belongs to.
fn group(sizes: &Weights, index: usize) -> usize {
    match sizes.groups {
        Groups::Inputs => index % sizes.inputs,
        Groups::Filters | Groups::Channels => index / sizes.columns(),
    }
}

fn bias(sizes: &Weights, layer: &LayerPosterior) -> Vec<f32> {
    if sizes.groups == Groups::Inputs {
        return layer.bias_mean.clone();
    }
    layer.bias_mean.iter().zip(&layer.scale_mean).map(|(bias, scale)| bias * scale).collect()
}

/// Sizes of the layers, which the posterior's vectors have.
fn checked(posterior: &Posterior) -> Result<Vec<Weights>, PruneError> {
    let graph = &posterior.graph;
    let sizes = graph.weights();
    check_layer_count("posteriors", sizes.len(), graph.parameters().count())?;
    for ((node, sizes), layer) in graph.layers().zip(&sizes).zip(graph.parameters()) {
        let groups = sizes.group_count();
        let vectors = [
            ("the weights' means", sizes.len(), &layer.weight_mean),
            ("the weights' variances", sizes.len(), &layer.weight_variance),
            ("the biases' means", sizes.outputs, &layer.bias_mean),
            ("the biases' variances", sizes.outputs, &layer.bias_variance),
            ("the scales' means", groups, &layer.scale_mean),
            ("the scales' variances", groups, &layer.scale_variance),
            ("the prune scores", groups, &layer.prune_score),
        ];
        for (what, expected, values) in vectors {
            check_vector(&node.name, what, expected, values)?;
        }
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Window;
    use crate::graph::ops::{Conv2d, Dense, Reshape};
    use crate::posterior::Prior;

    fn posterior() -> Posterior {
        let layer = |outputs: usize, weight: [f32; 2]| LayerPosterior {
            weight_mean: weight.to_vec(),
            weight_variance: vec![0.25; 2],
            bias_mean: vec![1.0; outputs],
            bias_variance: vec![0.1; outputs],
            scale_mean: vec![2.0, 3.0],
            scale_variance: vec![0.5, 0.0],
            prune_score: vec![0.0, 1.0],
            description_length_nats: 0.0,
        };
        let mut graph = Graph::of_input(vec![1, 1, 1]);
        let (conv, first) = (Conv2d { window: Window::ONE }, layer(2, [1.0, -1.0]));
        let x = graph.push("conv2d_1", conv, vec![0], vec![1, 1, 2], Some(first));
        let x = graph.push("flatten_1", Reshape {}, vec![x], vec![2], None);
        graph.push("dense_1", Dense {}, vec![x], vec![1], Some(layer(1, [0.5, 4.0])));
        Posterior { prior: Prior::NormalJeffreys, graph, description_length_nats: 0.0 }
    }

    fn layers(posterior: &mut Posterior) -> Vec<&mut LayerPosterior> {
        posterior.graph.parameters_mut().collect()
    }

    #[test]
    fn scales_go_into_filters_with_bias_and_into_columns_without() {
        let net = posterior_mean(&posterior()).unwrap();
        let affine: Vec<_> = net.parameters().collect();
        assert_eq!(*affine[0], Affine { weight: vec![2.0, -3.0], bias: vec![2.0, 3.0] });
        assert_eq!(*affine[1], Affine { weight: vec![1.0, 12.0], bias: vec![1.0] });
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
        layers(&mut short)[1].scale_mean.pop();
        let error = posterior_mean(&short).unwrap_err();
        assert!(matches!(&error, PruneError::Length { layer, .. } if layer == "dense_1"));
        let mut broken = posterior();
        layers(&mut broken)[0].weight_mean[0] = f32::NAN;
        assert!(matches!(posterior_mean(&broken), Err(PruneError::NotFinite { .. })));
        let mut missing = posterior();
        missing.graph.nodes[2].parameters = None;
        assert!(matches!(posterior_mean(&missing), Err(PruneError::LayerCount { .. })));
    }

    #[test]
    fn shrinking_slices_every_vector() {
        let p = posterior();
        let dead = [vec![true, false], vec![false, false]];
        let step = Shrinkage::plan(&p.graph, &dead).unwrap();
        let mut small = shrink_posterior(&p, &step).unwrap();
        let small = layers(&mut small);
        assert_eq!(small[0].weight_mean, vec![-1.0]);
        assert_eq!(small[1].weight_mean, vec![4.0]);
        assert_eq!(small[1].scale_mean, vec![3.0]);
        assert_eq!(small[0].bias_mean, vec![1.0]);
    }
}
