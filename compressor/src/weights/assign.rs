//! Given tensors into the layers of a network.
//!
//! `[network.names]` says which module of the file a layer is, or which tensor its `weight`, `bias`,
//! … are. The layers that it doesn't name take the modules that are left: those of their kind in
//! order, or where the order doesn't fit, the only module that has their shape.
//!
//! PyTorch's layouts become ours: convolutions go from O·I·H·W to O·H·W·I, and the columns of the
//! first dense layer behind a flatten from channels × height × width to height × width × channels.

use std::collections::BTreeMap;

use super::NamedTensor;
use super::error::AssignError;
use super::modules::{Kind, modules, tensor_name};
use crate::graph::ops::BatchNorm;
use crate::graph::{Affine, Graph, Groups, Node, Op, Site};
use crate::numbers::Shape;

/// A network with given weights.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// The network; batch normalisation not folded.
    pub network: Graph<Affine>,
    /// Each layer with the module that it got; an empty one where tensors have no module, or where
    /// `[network.names]` names each tensor.
    pub sources: Vec<(String, String)>,
}

/// Gives each layer of `structure` its parameters out of `tensors`.
///
/// # Errors
/// What is missing or has another shape, by layer and tensor.
pub fn assign(
    structure: &Graph<()>,
    tensors: &[NamedTensor],
    names: &BTreeMap<String, String>,
) -> Result<Assigned, AssignError> {
    structure.check_structure()?;
    let slots = slots(structure);
    let known: Vec<String> = slots.iter().map(|slot| slot.layer.clone()).collect();
    for key in names.keys() {
        let layer = key.split_once('.').map_or(key.as_str(), |(layer, _)| layer);
        if !known.iter().any(|known| known == layer) {
            return Err(AssignError::UnknownLayer { layer: key.clone(), known });
        }
    }
    let file = File { tensors, names };
    let mut modules = vec![None; slots.len()];
    for kind in Kind::ALL {
        file.choose(&slots, kind, &mut modules)?;
    }
    let mut network = structure.map(|_, ()| Affine::default());
    let nodes = network.nodes.iter_mut().filter(|node| node.parameters.is_some());
    for (node, (slot, module)) in nodes.zip(slots.iter().zip(&modules)) {
        if let Op::BatchNorm(norm) = &mut node.op {
            *norm = file.statistics(slot, module.as_deref())?;
        }
        node.parameters = Some(match slot.kind {
            Kind::BatchNorm => file.norm(slot, module.as_deref())?,
            Kind::Dense | Kind::Conv2d => file.affine(slot, module.as_deref())?,
        });
    }
    let modules = modules.into_iter().map(Option::unwrap_or_default);
    Ok(Assigned { network, sources: known.into_iter().zip(modules).collect() })
}

/// A layer that needs parameters.
struct Slot {
    layer: String,
    kind: Kind,
    /// Of its weights, as PyTorch has them.
    shape: Vec<usize>,
    /// Height and width before the flatten that it stands behind.
    image: Option<(usize, usize)>,
}

/// A slot for each node with parameters, in order.
fn slots(structure: &Graph<()>) -> Vec<Slot> {
    let mut image = None;
    let mut slots = Vec::new();
    for node in &structure.nodes {
        let site = structure.site(node);
        if let (Op::Reshape(_), Shape::Image { height, width, .. }) =
            (&node.op, Shape::of(&site.input().dims))
        {
            image = Some((height, width));
        }
        let Some((kind, shape)) = wanted(node, &site) else { continue };
        let image = if kind == Kind::BatchNorm { None } else { image.take() };
        slots.push(Slot { layer: node.name.clone(), kind, shape, image });
    }
    slots
}

/// What a node with parameters takes: of which kind of module, and the shape of its weights as PyTorch
/// has them.
fn wanted(node: &Node<()>, site: &Site<'_>) -> Option<(Kind, Vec<usize>)> {
    node.parameters?;
    let Some(weights) = node.op.weights(site) else {
        return Some((Kind::BatchNorm, vec![site.output.channels()]));
    };
    let kernel = match &node.op {
        Op::Conv2d(conv) => Some(conv.window.size),
        Op::DepthwiseConv2d(conv) => Some(conv.window.size),
        _ => None,
    };
    Some(match (weights.groups, kernel) {
        (Groups::Filters | Groups::Channels, Some([height, width])) => {
            (Kind::Conv2d, vec![weights.outputs, weights.inputs, height, width])
        }
        _ => (Kind::Dense, vec![weights.outputs, weights.inputs]),
    })
}

/// The tensors and the wishes.
struct File<'a> {
    tensors: &'a [NamedTensor],
    names: &'a BTreeMap<String, String>,
}

impl File<'_> {
    /// Chooses the modules of all layers of a kind; a layer whose tensors are named gets none.
    fn choose(
        &self,
        slots: &[Slot],
        kind: Kind,
        chosen: &mut [Option<String>],
    ) -> Result<(), AssignError> {
        let mut modules = modules(self.tensors, kind);
        let mut open = Vec::new();
        for (index, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.kind == kind) {
            match self.names.get(&slot.layer) {
                Some(module) => {
                    modules.retain(|other| other != module);
                    chosen[index] = Some(module.clone());
                }
                None if self.names.contains_key(&tensor_name(&slot.layer, kind.decider())) => {}
                None => open.push(index),
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        if open.len() != modules.len() {
            let layers = open.iter().map(|&index| slots[index].layer.clone()).collect();
            return Err(AssignError::Count { kind: kind.name(), layers, modules });
        }
        let fits = |index: usize, module: &String| self.fits(&slots[index], module);
        let in_order = open.iter().zip(&modules).all(|(&index, module)| fits(index, module));
        for (place, &index) in open.iter().enumerate() {
            let mut fitting = modules.iter().filter(|module| fits(index, module));
            let only = fitting.next().filter(|_| !in_order && fitting.next().is_none());
            // Where nothing fits, the order's module gives the error.
            let module = only.unwrap_or(&modules[place]);
            chosen[index] = Some(module.clone());
        }
        Ok(())
    }

    fn fits(&self, slot: &Slot, module: &str) -> bool {
        let name = tensor_name(module, slot.kind.decider());
        self.tensors.iter().any(|tensor| tensor.name == name && tensor.shape == slot.shape)
    }

    fn affine(&self, slot: &Slot, module: Option<&str>) -> Result<Affine, AssignError> {
        let outputs = slot.shape[0];
        let meaning = match slot.kind {
            Kind::Conv2d => "filters, channels, height, width",
            Kind::Dense | Kind::BatchNorm => "outputs, inputs",
        };
        let weight = self.required(slot, module, "weight", &slot.shape, meaning)?;
        let weight = match (slot.shape.as_slice(), slot.image) {
            ([_, channels, height, width], _) => channels_last(&weight, *channels, height * width),
            ([_, inputs], Some((height, width))) => {
                let area = (height * width).max(1);
                channels_last(&weight, inputs / area, area)
            }
            _ => weight,
        };
        let bias = self.optional(slot, module, "bias", outputs, 0.0)?;
        Ok(Affine { weight, bias })
    }

    /// γ and β of a batch normalisation.
    fn norm(&self, slot: &Slot, module: Option<&str>) -> Result<Affine, AssignError> {
        let channels = slot.shape[0];
        Ok(Affine {
            weight: self.optional(slot, module, "weight", channels, 1.0)?,
            bias: self.optional(slot, module, "bias", channels, 0.0)?,
        })
    }

    /// Its running mean and variance.
    fn statistics(&self, slot: &Slot, module: Option<&str>) -> Result<BatchNorm, AssignError> {
        Ok(BatchNorm {
            mean: self.required(slot, module, "running_mean", &slot.shape, "channels")?,
            variance: self.required(slot, module, "running_var", &slot.shape, "channels")?,
        })
    }

    /// The name of a part of a layer in the file, and whether the job states it.
    fn name(&self, slot: &Slot, module: Option<&str>, part: &str) -> (String, bool) {
        match self.names.get(&tensor_name(&slot.layer, part)) {
            Some(name) => (name.clone(), true),
            None => (tensor_name(module.unwrap_or(&slot.layer), part), false),
        }
    }

    fn find(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    fn required(
        &self,
        slot: &Slot,
        module: Option<&str>,
        part: &str,
        shape: &[usize],
        meaning: &'static str,
    ) -> Result<Vec<f32>, AssignError> {
        let (tensor, _) = self.name(slot, module, part);
        let layer = slot.layer.clone();
        let Some(found) = self.find(&tensor) else {
            let present = self.tensors.iter().map(|tensor| tensor.name.clone()).collect();
            return Err(AssignError::NoTensor { layer, tensor, present });
        };
        if found.shape != shape {
            let (expected, found) = (shape.to_vec(), found.shape.clone());
            return Err(AssignError::Shape { layer, tensor, meaning, expected, found });
        }
        Ok(found.values.clone())
    }

    /// `value` everywhere, if the file has no such tensor and the job names none.
    fn optional(
        &self,
        slot: &Slot,
        module: Option<&str>,
        part: &str,
        len: usize,
        value: f32,
    ) -> Result<Vec<f32>, AssignError> {
        let (name, stated) = self.name(slot, module, part);
        if !stated && self.find(&name).is_none() {
            return Ok(vec![value; len]);
        }
        self.required(slot, module, part, &[len], "outputs")
    }
}

/// Rows of channels × area become rows of area × channels.
fn channels_last(weight: &[f32], channels: usize, area: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(weight.len());
    for row in weight.chunks_exact((channels * area).max(1)) {
        for at in 0..area {
            out.extend(row[at..].iter().step_by(area));
        }
    }
    out
}
