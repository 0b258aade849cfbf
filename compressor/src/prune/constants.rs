//! Outputs that no longer depend on the input, folded into the next bias; weights that are all
//! zero, removed.
//!
//! A neuron or filter whose weights are all zero gives a constant: its bias, through the
//! activation. Pooling passes a constant unchanged. The next dense layer or unpadded convolution
//! takes it into its bias. A convolution with real `same` padding can't: at the border it reads
//! zeros instead of the constant. There the filter stays ([`Folded::stuck`]), unless the constant
//! is zero.

use crate::ledger::{GroupKind, GroupRecord, Reason};
use crate::graph::{Affine, Graph};

use super::liveness::{Chain, Producers};
use super::shrinkage::{GroupId, check_parameters, no_batch_norm};
use super::{Decision, Lineage, PruneError, Shrinkage};

/// A network without constants, and how it came about.
#[derive(Clone, Debug)]
pub struct Folded {
    /// What is left.
    pub graph: Graph<Affine>,
    /// The shrinking steps, first to last; a [`Lineage`] follows them in this order.
    pub steps: Vec<FoldStep>,
    /// Constant filters that had to stay in front of a padded convolution, in indices of `graph`.
    pub stuck: Vec<GroupId>,
}

/// One shrinking step of the folding.
#[derive(Clone, Debug)]
pub struct FoldStep {
    /// What went.
    pub shrinkage: Shrinkage,
    /// Outputs that were constant, per affine layer, in indices before the step.
    constant: Vec<Vec<bool>>,
    /// Inputs whose weights were all zero though their source was alive.
    unread: Vec<Vec<bool>>,
}

impl FoldStep {
    /// The ledger's entries of this step; call it before the lineage follows the step.
    pub fn records(&self, lineage: &Lineage) -> Vec<GroupRecord> {
        let decision = Decision {
            dead: &self.unread,
            prune_score: &[],
            thresholds: &[],
            effects: &[],
            reason: Reason::NoConsumer,
            stage: "folding",
            step: 0,
        };
        let mut records = lineage.removed(&self.shrinkage, &decision);
        for record in &mut records {
            let layers = 0..self.shrinkage.layer_count();
            let layer = layers.into_iter().find(|&l| self.shrinkage.layer_name(l) == record.layer);
            let Some(layer) = layer.filter(|_| record.kind == GroupKind::Filter) else { continue };
            let filter = lineage.groups(layer).binary_search(&record.group);
            if record.reason == Reason::NoConsumer
                && filter.is_ok_and(|filter| self.constant[layer][filter])
            {
                record.reason = Reason::Constant;
            }
        }
        records
    }
}

/// Folds constants and removes what only multiplies zeros, until nothing changes.
///
/// # Errors
/// When the network is inconsistent or batch normalisation isn't folded yet.
pub fn fold_constants(graph: Graph<Affine>) -> Result<Folded, PruneError> {
    no_batch_norm(&network.topology)?;
    check_parameters(&network)?;
    let mut network = network;
    let mut steps = Vec::new();
    loop {
        let topology = network.topology.clone();
        let chain = Chain::new(&topology)?;
        let (constant, stuck) = fold_once(&mut network, &chain);
        let mut dead = chain.nothing_dead();
        let dense_or_conv = chain.affine.iter().enumerate().filter(|(_, shape)| !shape.depthwise);
        for (layer, shape) in dense_or_conv {
            let weight = &network.affine[layer].weight;
            for (input, dead) in dead.inputs[layer].iter_mut().enumerate() {
                *dead = weight[input..].iter().step_by(shape.inputs).all(|&w| w == 0.0);
            }
        }
        let unread = unread(&chain, &dead.inputs, &constant);
        let shrinkage = Shrinkage::from_masks(&chain, dead, &[]);
        if shrinkage.is_identity() {
            return Ok(Folded { network, steps, stuck });
        }
        network = shrinkage.apply(&network)?;
        steps.push(FoldStep { shrinkage, constant, unread });
    }
}

/// Moves every constant into the next bias, first layer to last, and zeroes the weights that read
/// it. Returns which outputs are constant, and which constants could not move.
fn fold_once(network: &mut FloatNetwork, chain: &Chain) -> (Vec<Vec<bool>>, Vec<GroupId>) {
    let mut constant: Vec<Vec<bool>> = Vec::with_capacity(chain.affine.len());
    let mut stuck = Vec::new();
    for (layer, reader) in chain.affine.iter().enumerate() {
        for input in 0..if reader.depthwise { 0 } else { reader.inputs } {
            let value = match arriving(network, chain, &constant, layer, input) {
                Arriving::Varies => continue,
                Arriving::Stuck(id) => {
                    stuck.push(id);
                    continue;
                }
                Arriving::Constant(value) => value,
            };
            let affine = &mut network.affine[layer];
            let rows = affine.weight.chunks_exact_mut(reader.area * reader.inputs);
            for (row, bias) in rows.zip(&mut affine.bias) {
                let taps = row[input..].iter_mut().step_by(reader.inputs);
                let sum: f64 = taps.map(|w| f64::from(std::mem::take(w))).sum();
                *bias = (f64::from(*bias) + sum * f64::from(value)) as f32;
            }
        }
        let rows = network.affine[layer].weight.chunks_exact(reader.area * reader.inputs);
        constant.push(rows.map(|row| row.iter().all(|&w| w == 0.0)).collect());
    }
    (constant, stuck)
}

/// What an input of a layer gets.
enum Arriving {
    /// Something that depends on the network's input.
    Varies,
    /// A constant that the layer can take into its bias.
    Constant(f32),
    /// A constant that it can't.
    Stuck(GroupId),
}

/// Behind an addition, or on several ways, only zeros are taken for constants.
fn arriving(
    network: &FloatNetwork,
    chain: &Chain,
    constant: &[Vec<bool>],
    layer: usize,
    input: usize,
) -> Arriving {
    let position = chain.affine[layer].position;
    let Producers { layers: producers, others, straight } = chain.producers(position, input);
    let is_constant = |&(producer, output): &(usize, usize)| {
        // A depthwise kernel makes a constant of a constant, whatever its weights.
        chain.affine[producer].depthwise
            || constant.get(producer).is_some_and(|outputs| outputs[output])
    };
    let Some(&(group_layer, group)) = producers.first() else { return Arriving::Varies };
    if others || !producers.iter().all(is_constant) {
        return Arriving::Varies;
    }
    let id = GroupId { layer: group_layer, group };
    if straight && producers.len() == 1 && constant[group_layer][group] {
        let bias = network.affine[group_layer].bias[group];
        let value = activated(chain, chain.affine[group_layer].position, position, bias);
        let fits = value == 0.0 || !padded(chain, position);
        return if fits { Arriving::Constant(value) } else { Arriving::Stuck(id) };
    }
    let zero = |&(producer, output): &(usize, usize)| network.affine[producer].bias[output] == 0.0;
    if producers.iter().all(zero) { Arriving::Constant(0.0) } else { Arriving::Stuck(id) }
}

/// What the layers from behind `position` to before `reader` make of a constant.
fn activated(chain: &Chain, position: usize, reader: usize, value: f32) -> f32 {
    chain.topology.layers[position + 1..reader].iter().fold(value, |value, layer| match layer {
        Layer::Relu => value.max(0.0),
        Layer::Relu6 => value.clamp(0.0, 6.0),
        Layer::Dense { .. }
        | Layer::Conv2d { .. }
        | Layer::BatchNorm { .. }
        | Layer::MaxPool2d { .. }
        | Layer::AvgPool2d { .. }
        | Layer::Crop { .. }
        | Layer::Flatten
        | Layer::Select { .. }
        | Layer::Dropout { .. }
        | Layer::DepthwiseConv2d { .. }
        | Layer::Mark { .. }
        | Layer::From { .. }
        | Layer::Add { .. } => value,
    })
}

/// Whether a convolution reads zeros beyond the border.
fn padded(chain: &Chain, position: usize) -> bool {
    let Layer::Conv2d { kernel, stride, padding, .. } = &chain.topology.layers[position] else {
        return false;
    };
    let Shape::Image { height, width, .. } = chain.shapes[position] else { return false };
    [(height, 0), (width, 1)].into_iter().any(|(size, axis)| {
        let before = padding_before(size, kernel[axis], stride[axis], *padding);
        let outputs = window_outputs(size, kernel[axis], stride[axis], *padding).unwrap_or(1);
        before > 0 || (outputs - 1) * stride[axis] + kernel[axis] > size
    })
}

/// Zero columns whose source is alive: a matter of the reader alone.
fn unread(chain: &Chain, zero: &[Vec<bool>], constant: &[Vec<bool>]) -> Vec<Vec<bool>> {
    let of_layer = |(layer, zero): (usize, &Vec<bool>)| {
        let reader = chain.affine[layer];
        if !reader.dense {
            return vec![false; reader.outputs];
        }
        let source_is_constant = |input| {
            let producers = chain.producers(reader.position, input);
            let constant = |&(producer, output): &(usize, usize)| constant[producer][output];
            !producers.layers.is_empty() && producers.layers.iter().all(constant)
        };
        let inputs = zero.iter().enumerate();
        inputs.map(|(input, &zero)| zero && !source_is_constant(input)).collect()
    };
    zero.iter().enumerate().map(of_layer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Affine, Padding, Topology};
    use crate::reference::Reference;

    fn conv(channels: usize, filters: usize, padding: Padding) -> Layer {
        Layer::Conv2d { channels, filters, kernel: [3, 3], stride: [1, 1], padding }
    }

    fn wave(len: usize, phase: f32) -> Vec<f32> {
        (0..len).map(|i| (i as f32 * 0.71 + phase).sin()).collect()
    }

    /// Two convolutions; the first one's filter 1 is constant.
    fn network(second: Padding, bias: f32) -> FloatNetwork {
        let layers = vec![
            conv(1, 3, Padding::Valid),
            Layer::Relu,
            conv(3, 2, second),
            Layer::Flatten,
            Layer::Dense { inputs: if second == Padding::Same { 32 } else { 8 }, outputs: 2 },
        ];
        let mut first = Affine { weight: wave(27, 0.1), bias: vec![0.1, bias, -0.3] };
        first.weight[9..18].fill(0.0);
        let dense = if second == Padding::Same { 64 } else { 16 };
        FloatNetwork {
            topology: Topology { input: Shape::Image { height: 6, width: 6, channels: 1 }, layers },
            affine: vec![
                first,
                Affine { weight: wave(54, 0.5), bias: vec![0.2, -0.1] },
                Affine { weight: wave(dense, 0.9), bias: vec![0.0, 0.5] },
            ],
            norms: Vec::new(),
        }
    }

    fn same_logits(a: &FloatNetwork, b: &FloatNetwork) {
        let x = wave(36 * 3, 2.0);
        let a = Reference::new(a).unwrap().logits(&x).unwrap();
        let b = Reference::new(b).unwrap().logits(&x).unwrap();
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn a_constant_filter_moves_into_an_unpadded_convolution() {
        let net = network(Padding::Valid, 0.7);
        let folded = fold_constants(net.clone()).unwrap();
        assert_eq!(folded.network.topology.layers[0], conv(1, 2, Padding::Valid));
        assert!(folded.stuck.is_empty());
        same_logits(&net, &folded.network);
        let records = folded.steps[0].records(&Lineage::new(&net.topology));
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].group, records[0].reason), (1, Reason::Constant));
    }

    #[test]
    fn in_front_of_padding_it_stays_and_is_reported() {
        let net = network(Padding::Same, 0.7);
        let folded = fold_constants(net.clone()).unwrap();
        assert_eq!(folded.network, net);
        assert_eq!(folded.stuck, vec![GroupId { layer: 0, group: 1 }]);
    }

    #[test]
    fn a_constant_zero_goes_even_in_front_of_padding() {
        let net = network(Padding::Same, -0.7);
        let folded = fold_constants(net.clone()).unwrap();
        assert_eq!(folded.network.topology.layers[0], conv(1, 2, Padding::Valid));
        same_logits(&net, &folded.network);
    }

    #[test]
    fn a_dead_end_folds_all_the_way_and_no_layer_is_empty() {
        let mut net = network(Padding::Valid, 0.7);
        net.affine[1].weight.fill(0.0);
        let folded = fold_constants(net.clone()).unwrap();
        assert_eq!(folded.network.affine[2].weight.len(), 2);
        same_logits(&net, &folded.network);
    }
}
