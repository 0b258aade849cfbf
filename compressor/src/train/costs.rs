//! What each group of a network costs the user's goal: bytes of the model file, or instructions of an
//! inference on the target.
//!
//! A network's cost is that of the file that the compiler makes of its structure, but for channels that are
//! known to be constant (stand-ins of two bits have rows of nothing but zeros), with weights and scales that stand in for those that aren't known yet: its bytes with weights packed at their expected
//! widths, and its predicted instructions with all weights in 8 bits, as the core takes them fastest, or
//! unpacked into the target's RAM for weights, whichever is less. What a group costs is what the network
//! loses of that without half of the layer's groups, shared among these: rows that leave, the columns behind
//! them that leave with them, and whatever becomes dearer, such as the selection of what is left. Half,
//! because kernels take rows by twos and fours, so that one group alone may cost nothing, or four. What the
//! outer row or column of an image costs is what the network loses of it without that.

use serde::{Deserialize, Serialize};

use super::quantized::start::Start;
use super::{TrainError, WeightBits};
use crate::compile::calibrate::plan;
use crate::compile::storage::Costing;
use crate::compile::widths::BitWidthConfig;
use crate::compile::{
    self, CompileError, CompileOptions, Costs, Head, InputQuantization, ModelInfo, RawInput,
    SerializeError, serialize,
};
use crate::cost::Core;
use crate::graph::{Affine, Graph, Quantization, Rows, Storage, lower};
use crate::numbers::largest;
use crate::posterior::Posterior;
use crate::prune::{
    Edge, PruneError, Shrinkage, Side, edges, posterior_mean, posterior_variance, ties,
};

/// `[variational] cost`: what a group is weighed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// By nothing: all groups alike.
    #[default]
    None,
    /// By the bytes of the model file that leave with it.
    Bytes,
    /// By the instructions of an inference on the target that leave with it.
    Instructions,
}

impl Cost {
    /// What counts of costs.
    pub(crate) fn of(self, costs: Costs) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Bytes => costs.bytes as f64,
            Self::Instructions => costs.instructions as f64,
        }
    }
}

/// What a job says that costs follow from.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Whose instructions count.
    pub core: Core,
    /// RAM that its program gives for weights.
    pub weights_ram_bytes: u64,
    /// What the model ends with.
    pub head: Head,
    /// Widths of the weights; where none are given, the posterior says.
    pub bits: WeightBits,
    /// Between which it does.
    pub limits: BitWidthConfig,
    /// Whether channels have steps of their own.
    pub per_channel: bool,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            core: Core::default(),
            weights_ram_bytes: 0,
            head: Head::default(),
            bits: WeightBits::POSTERIOR,
            limits: BitWidthConfig::default(),
            per_channel: false,
        }
    }
}

/// One layer of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerCost {
    /// Its groups.
    pub groups: usize,
    /// Layers whose groups go together with them, itself among them.
    pub members: usize,
    /// Bytes of the file that leave with a group and those that go together with it.
    pub bytes: f64,
    /// The same of instructions.
    pub instructions: f64,
}

/// The outer row or column of an image whose features a dense layer reads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EdgeCost {
    /// Which layer.
    pub layer: usize,
    /// Which side of the image.
    pub side: Side,
    /// What leaves with it.
    pub costs: Costs,
}

/// What a network costs, and what its groups do of that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupCosts {
    /// All of it.
    pub whole: Costs,
    /// By layer.
    pub layers: Vec<LayerCost>,
    /// Of what dense layers read of images.
    pub edges: Vec<EdgeCost>,
}

impl LayerCost {
    /// What leaves with a group.
    pub(crate) fn saved(&self, cost: Cost) -> f64 {
        match cost {
            Cost::None => 0.0,
            Cost::Bytes => self.bytes,
            Cost::Instructions => self.instructions,
        }
    }
}

impl GroupCosts {
    /// What the network costs.
    pub(crate) fn total(&self, cost: Cost) -> f64 {
        cost.of(self.whole)
    }

    /// What leaves with an edge.
    pub(crate) fn edge(&self, edge: &Edge) -> Costs {
        let same = |of: &&EdgeCost| of.layer == edge.layer && of.side == edge.side;
        self.edges.iter().find(same).map_or_else(Costs::default, |of| of.costs)
    }

    /// Instructions that leave with a group of a layer.
    pub(crate) fn instructions(&self, layer: usize) -> f64 {
        self.layers.get(layer).map_or(0.0, |of| of.instructions)
    }

    /// The share of the network's cost that leaves with a group of a layer.
    pub(crate) fn share(&self, cost: Cost, layer: usize) -> f64 {
        self.layers.get(layer).map_or(0.0, |of| of.saved(cost)) / self.total(cost).max(1.0)
    }

    /// Factors on the KL of each layer's scales: what a group costs, shared among the layers whose groups
    /// go together, over the mean of that over all groups. So the mean factor is 1, and the KL as a whole
    /// weighs what it would without costs. Where nothing can leave, all factors are 1.
    pub(crate) fn kl_factors(&self, cost: Cost) -> Vec<f32> {
        let each = |of: &LayerCost| of.saved(cost) / of.members.max(1) as f64;
        let sum: f64 = self.layers.iter().map(|of| of.groups as f64 * each(of)).sum();
        if sum <= 0.0 {
            return vec![1.0; self.layers.len()];
        }
        let groups: f64 = self.layers.iter().map(|of| of.groups as f64).sum();
        self.layers.iter().map(|of| (each(of) * groups / sum) as f32).collect()
    }
}

impl Target {
    /// What a network with this posterior costs, and its groups.
    ///
    /// # Errors
    /// When it has no integer form, or the posterior is broken.
    pub(crate) fn costs(&self, posterior: &Posterior) -> Result<GroupCosts, TrainError> {
        self.costs_of(&posterior.graph.structure(), &self.widths(posterior)?)
    }

    /// Width of each layer's weights.
    fn widths(&self, posterior: &Posterior) -> Result<Vec<u8>, PruneError> {
        if let Some(bits) = self.bits.given(posterior.graph.layers().count()) {
            return Ok(bits);
        }
        let (mean, variance) = (posterior_mean(posterior)?, posterior_variance(posterior)?);
        Ok(Start::from_posterior(&mean, &variance, &self.limits, 0, self.per_channel).bits)
    }

    /// What a network of this structure costs with weights of these widths, and its groups.
    fn costs_of(&self, structure: &Graph<()>, bits: &[u8]) -> Result<GroupCosts, TrainError> {
        let counts: Vec<usize> = structure.weights().iter().map(|w| w.group_count()).collect();
        let whole = self.network(structure, bits)?;
        let alone = |&groups: &usize| LayerCost { groups, members: 1, ..LayerCost::default() };
        let mut layers: Vec<LayerCost> = counts.iter().map(alone).collect();
        for tie in ties(structure)? {
            let members = tie.layers.len();
            tie.layers.iter().for_each(|&layer| layers[layer].members = members);
            let Some(&first) = tie.layers.first().filter(|_| tie.removable) else { continue };
            let mut dead: Vec<Vec<bool>> = counts.iter().map(|&n| vec![false; n]).collect();
            tie.layers.iter().for_each(|&layer| dead[layer] = half(counts[layer]));
            let step = Shrinkage::plan(structure, &dead)?;
            let gone = step.removed_groups(first).len();
            if gone == 0 {
                continue;
            }
            let left = self.network(step.structure(), bits)?;
            let each = |before: u64, after: u64| before.saturating_sub(after) as f64 / gone as f64;
            for &layer in &tie.layers {
                layers[layer].bytes = each(whole.bytes, left.bytes);
                layers[layer].instructions = each(whole.instructions, left.instructions);
            }
        }
        let mut of_edges = Vec::new();
        for edge in edges(structure)? {
            let step = Shrinkage::plan(structure, &edge.dead(&counts))?;
            let left = self.network(step.structure(), bits)?;
            let costs = Costs {
                bytes: whole.bytes.saturating_sub(left.bytes),
                instructions: whole.instructions.saturating_sub(left.instructions),
            };
            of_edges.push(EdgeCost { layer: edge.layer, side: edge.side, costs });
        }
        Ok(GroupCosts { whole, layers, edges: of_edges })
    }

    /// What a network costs.
    fn network(&self, structure: &Graph<()>, bits: &[u8]) -> Result<Costs, TrainError> {
        let mut costing = Costing::new(self.core, self.weights_ram_bytes);
        let mut of = |storage| -> Result<Costs, TrainError> {
            let bytes = self.written(structure, bits, storage)?;
            let costs = costing.of(&bytes).map_err(SerializeError::from);
            Ok(costs.map_err(CompileError::from)?)
        };
        let (packed, fastest) = (of(Storage::Packed)?, of(Storage::Fastest)?);
        let instructions = packed.instructions.min(fastest.instructions);
        Ok(Costs { bytes: packed.bytes, instructions })
    }

    /// The file of a network, with all weights stored so.
    fn written(
        &self,
        structure: &Graph<()>,
        bits: &[u8],
        storage: Storage,
    ) -> Result<Vec<u8>, TrainError> {
        let network = stand_in(structure);
        let input = InputQuantization { quantization: ANY, residual: 0.0, raw: RawInput::Nothing };
        let values = 0..network.values.len();
        let mut plan = plan(&network, values.map(|id| (id, ANY)).collect(), &input);
        for ((node, affine), &bits) in network.layers().zip(network.parameters()).zip(bits) {
            let steps = if self.per_channel { affine.bias.len() } else { 1 };
            plan.rows.insert(node.output, integers(&affine.weight, bits, steps));
        }
        let mut graph = lower(&network, &plan)?;
        compile::append_head(&mut graph, self.head);
        graph.layers_mut().for_each(|matrix| matrix.storage = storage);
        let options = CompileOptions { core: self.core, ..CompileOptions::default() };
        let compiled = compile::compile(graph, &input, &options)?;
        Ok(serialize(&compiled, &ModelInfo::default()).map_err(CompileError::from)?)
    }
}

/// What stands in for the scale of any value; as behind a ReLU, all integers are at or above the zero point.
const ANY: Quantization = Quantization { scale: 1.0 / 16.0, zero_point: -128 };

/// The structure with weights and biases of nothing in particular; the integers that count are
/// [`integers`].
fn stand_in(structure: &Graph<()>) -> Graph<Affine> {
    let sizes = structure.weights();
    structure.map(|layer, ()| {
        let (len, outputs) = sizes.get(layer).map_or((0, 0), |sizes| (sizes.len(), sizes.outputs));
        Affine { weight: spread(len).collect(), bias: spread(outputs).collect() }
    })
}

/// So many numbers from −1 to 1, most of them small. Every other one is the negative of the one before, so
/// that what a row of weights adds up to is small.
fn spread(len: usize) -> impl Iterator<Item = f32> {
    (0..len).map(|at| {
        let size = ((at / 2 * 89 % 128) as f32 / 127.0).powi(3);
        if at.is_multiple_of(2) { size } else { -size }
    })
}

/// Integers of a layer's weights at a width, with a step for all rows or one for each.
fn integers(weight: &[f32], bits: u8, steps: usize) -> Rows {
    let most = f32::from(largest(bits));
    // Steps that are all the same would become one.
    let scales = (0..steps).map(|row| (1.0 + (row % 2) as f32 / 4.0) / most).collect();
    Rows { values: weight.iter().map(|w| (w * most).round() as i16).collect(), bits, scales }
}

/// Half of so many groups, rounded down, and not side by side, as the groups that go lie anywhere: those
/// that come first when all are shuffled by an odd constant (2^64/φ).
fn half(groups: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..groups).collect();
    order.sort_by_key(|&group| (group as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut dead = vec![false; groups];
    order.iter().take(groups / 2).for_each(|&group| dead[group] = true);
    dead
}

#[cfg(test)]
mod tests {
    use bitsback_runtime::format::{Bias, Layout, Requantization};
    use bitsback_runtime::{Model, Op};

    use super::*;
    use crate::graph::ops::{Add, Clip, Conv2d, Dense, Reshape};
    use crate::graph::{Padding, Window};

    /// For 4-bit weights on a core, without RAM for weights.
    fn target(core: Core) -> Target {
        Target { core, bits: WeightBits::Given(vec![4]), ..Target::default() }
    }

    /// 64 features, 32 neurons, 10 classes.
    fn dense() -> Graph<()> {
        let mut graph = Graph::of_input(vec![64]);
        let x = graph.push("dense_1", Dense {}, vec![0], vec![32], Some(()));
        let x = graph.push("relu_1", Clip::RELU, vec![x], vec![32], None);
        graph.push("dense_2", Dense {}, vec![x], vec![10], Some(()));
        graph
    }

    /// 4 filters of 3 × 3 on 6 × 6 positions, and 10 classes.
    fn convolution() -> Graph<()> {
        let mut graph = Graph::of_input(vec![8, 8, 1]);
        let rule = Window::with_rule([3; 2], [1; 2], [1; 2], Padding::Valid, [8; 2]);
        let conv = Conv2d { window: rule.unwrap().0 };
        let x = graph.push("conv2d_1", conv, vec![0], vec![6, 6, 4], Some(()));
        let x = graph.push("relu_1", Clip::RELU, vec![x], vec![6, 6, 4], None);
        let x = graph.push("reshape_1", Reshape {}, vec![x], vec![144], None);
        graph.push("dense_1", Dense {}, vec![x], vec![10], Some(()));
        graph
    }

    #[test]
    fn bytes_are_those_of_rows_and_of_the_columns_behind_them() {
        let costs = target(Core::CortexM4).costs_of(&dense(), &[4, 4]).unwrap();
        let [inputs, neurons] = costs.layers[..] else { panic!("{costs:?}") };
        assert_eq!((inputs.groups, neurons.groups), (64, 32));
        // Of 16 neurons: 16 rows of 64 weights and their biases, and 16 of each of 10 rows.
        let weights = (16.0 * 64.0 + 10.0 * 16.0) / 2.0;
        let bias = neurons.bytes - weights / 16.0;
        assert!((1.0..=4.0).contains(&bias), "{neurons:?}");
        // Of 32 inputs: a column of 32 weights each, less what tells which are read.
        assert!((12.0..16.0).contains(&inputs.bytes), "{inputs:?}");
        // Of all: 64 · 32 + 32 · 10 weights, biases, and the records of three operators.
        assert!((1_184..1_600).contains(&costs.whole.bytes), "{costs:?}");
    }

    #[test]
    fn wider_weights_cost_more_bytes() {
        let [narrow, wide] = [[4, 4], [8, 4]]
            .map(|bits| target(Core::CortexM4).costs_of(&dense(), &bits).unwrap().layers[1]);
        // Half a byte for each of the 64 that read the features.
        let more = wide.bytes - narrow.bytes;
        assert!((31.0..=34.0).contains(&more), "{wide:?} {narrow:?}");
    }

    #[test]
    fn instructions_follow_the_positions_that_a_group_is_used_at() {
        let costs = target(Core::CortexM4).costs_of(&convolution(), &[4, 4]).unwrap();
        let [filter, input] = costs.layers[..] else { panic!("{costs:?}") };
        // A filter makes 36 · 9 products, and 36 · 10 more are made of what it writes; an input 10.
        let products = filter.instructions / 684.0;
        assert!((0.5..4.0).contains(&products), "{costs:?}");
        assert!(filter.instructions > 20.0 * input.instructions, "{costs:?}");
        assert!(4.0 * filter.instructions < costs.whole.instructions as f64, "{costs:?}");
        // A core without products of pairs takes more.
        let slower = target(Core::CortexM0).costs_of(&convolution(), &[4, 4]).unwrap();
        assert!(slower.layers[0].instructions > filter.instructions, "{slower:?}");
    }

    #[test]
    fn ram_for_weights_makes_narrow_ones_fast() {
        let ram = Target { weights_ram_bytes: 1 << 16, ..target(Core::CortexM4) };
        let [without, with] = [target(Core::CortexM4), ram].map(|target| {
            let bytes = target.written(&convolution(), &[4, 4], Storage::Packed).unwrap();
            Costing::new(target.core, target.weights_ram_bytes).of(&bytes).unwrap()
        });
        assert_eq!(without.bytes, with.bytes);
        assert!(with.instructions < without.instructions, "{with:?} {without:?}");
    }

    #[test]
    fn layers_whose_groups_go_together_share_what_these_cost() {
        let mut graph = Graph::of_input(vec![8, 8, 1]);
        let conv = Conv2d { window: Window::ONE };
        let a = graph.push("conv2d_1", conv, vec![0], vec![8, 8, 4], Some(()));
        let b = graph.push("conv2d_2", conv, vec![0], vec![8, 8, 4], Some(()));
        let x = graph.push("add_1", Add {}, vec![a, b], vec![8, 8, 4], None);
        let x = graph.push("reshape_1", Reshape {}, vec![x], vec![256], None);
        graph.push("dense_1", Dense {}, vec![x], vec![40], Some(()));
        let costs = target(Core::CortexM4).costs_of(&graph, &[8; 3]).unwrap();
        let [a, b, inputs] = costs.layers[..] else { panic!("{costs:?}") };
        assert_eq!((a, a.members, inputs.members), (b, 2, 1));
        let factors = costs.kl_factors(Cost::Instructions);
        assert!(inputs.instructions > 0.0, "{costs:?}");
        let expected = a.instructions / (2.0 * inputs.instructions);
        assert!((f64::from(factors[0] / factors[2]) / expected - 1.0).abs() < 1e-5);
    }

    #[test]
    fn an_edge_costs_what_is_computed_for_it_alone() {
        let costs = target(Core::CortexM4).costs_of(&convolution(), &[4, 4]).unwrap();
        let edges = edges(&convolution()).unwrap();
        assert_eq!((edges.len(), costs.edges.len()), (4, 4));
        let [top, bottom, left, _] = edges.as_slice() else { panic!("{edges:?}") };
        for edge in [top, bottom] {
            // 6 of 36 positions of 4 filters of 9 weights, and 10 products for each of their values.
            let products = (6 * 4 * 9 + 24 * 10) as f64;
            let instructions = costs.edge(edge).instructions as f64 / products;
            assert!((0.5..4.0).contains(&instructions), "{edge:?} {costs:?}");
        }
        // Without the first column alone, what is read is copied.
        assert!(costs.edge(left).instructions < costs.edge(top).instructions, "{costs:?}");
        for edge in &edges {
            // 24 columns of 10 weights of 4 bits, less what says where the crop begins.
            assert!((90..=120).contains(&costs.edge(edge).bytes), "{edge:?} {costs:?}");
        }
    }

    #[test]
    fn the_mean_factor_is_one() {
        let layer =
            |groups, members, instructions| LayerCost { groups, members, instructions, bytes: 0.0 };
        let whole = Costs { bytes: 100, instructions: 400 };
        let layers = vec![layer(2, 1, 30.0), layer(6, 1, 10.0), layer(2, 2, 0.0)];
        let costs = GroupCosts { whole, layers, edges: Vec::new() };
        // (2 · 30 + 6 · 10) / 10 groups = 12.
        let factors = costs.kl_factors(Cost::Instructions);
        for (factor, expected) in factors.iter().zip([30.0 / 12.0, 10.0 / 12.0, 0.0]) {
            assert!((factor - expected).abs() < 1e-6, "{factors:?}");
        }
        let mean: f32 =
            [2.0, 6.0, 2.0].iter().zip(&factors).map(|(n, f)| n * f).sum::<f32>() / 10.0;
        assert!((mean - 1.0).abs() < 1e-6);
        assert_eq!(costs.share(Cost::Instructions, 0), 30.0 / 400.0);
        // Nothing would leave.
        assert_eq!(costs.kl_factors(Cost::Bytes), [1.0; 3]);
    }

    #[test]
    fn stand_ins_are_stored_as_trained_layers_are() {
        let bytes = target(Core::CortexM4).written(&dense(), &[8, 8], Storage::Fastest).unwrap();
        let model = Model::parse(&bytes).unwrap();
        for step in model.ops() {
            let Op::Dense(bitsback_runtime::ops::Dense { affine, .. }) = &step.op else {
                panic!("{step:?}")
            };
            assert_eq!(affine.weights.layout, Layout::Pairs);
            assert!(matches!(affine.bias, Bias::Folded(_)), "{affine:?}");
            assert!(matches!(affine.requantization, Requantization::PerTensor(_)), "{affine:?}");
        }
        let channels = Target { per_channel: true, ..target(Core::CortexM4) };
        let more = channels.written(&dense(), &[8, 8], Storage::Fastest).unwrap().len();
        assert!(more > bytes.len() + 5 * 32, "{more} {}", bytes.len());
    }

    #[test]
    fn half_of_the_groups_lie_anywhere() {
        for groups in 0..40 {
            assert_eq!(half(groups).iter().filter(|dead| **dead).count(), groups / 2);
        }
        let dead = half(64);
        assert!(dead[..32].contains(&true) && dead[..32].contains(&false));
        assert!(dead[32..].contains(&true) && dead[32..].contains(&false));
    }
}
