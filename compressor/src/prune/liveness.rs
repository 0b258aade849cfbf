//! Which channels and features still matter between the layers, propagated both ways.

use crate::network::{Layer, Shape, Topology};
use crate::shapes;

use super::PruneError;
use super::spaces::Spaces;

/// What is known to be dead at each affine layer, by its inputs (channels or features) and its
/// outputs (filters or neurons): `true` is dead.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dead {
    /// Per affine layer: inputs that need not be read.
    pub(super) inputs: Vec<Vec<bool>>,
    /// Per affine layer: outputs that contribute nothing.
    pub(super) outputs: Vec<Vec<bool>>,
}

/// An affine layer's place and sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AffineShape {
    /// Position among all layers.
    pub(super) position: usize,
    /// Neurons or filters.
    pub(super) outputs: usize,
    /// Features or channels.
    pub(super) inputs: usize,
    /// Kernel height × width; 1 for dense layers.
    pub(super) area: usize,
    /// Whether it is a dense layer (groups are inputs) or a convolution (groups are filters).
    pub(super) dense: bool,
    /// Whether it is a depthwise convolution: its channels are those that it reads, and each has one
    /// input of its own.
    pub(super) depthwise: bool,
}

impl AffineShape {
    pub(super) fn groups(&self) -> usize {
        if self.dense { self.inputs } else { self.outputs }
    }

    pub(super) fn weights(&self) -> usize {
        self.outputs * self.area * self.inputs
    }
}

/// The affine layers of a topology, in order.
pub(super) fn affine_shapes(topology: &Topology) -> Vec<AffineShape> {
    let affine = |(position, layer): (usize, &Layer)| match *layer {
        Layer::Dense { inputs, outputs } => {
            let (dense, depthwise) = (true, false);
            Some(AffineShape { position, outputs, inputs, area: 1, dense, depthwise })
        }
        Layer::Conv2d { channels, filters, kernel, .. } => {
            let (area, outputs, inputs) = (kernel[0] * kernel[1], filters, channels);
            let (dense, depthwise) = (false, false);
            Some(AffineShape { position, outputs, inputs, area, dense, depthwise })
        }
        Layer::DepthwiseConv2d { channels: outputs, kernel, .. } => {
            let (area, inputs, dense) = (kernel[0] * kernel[1], 1, false);
            Some(AffineShape { position, outputs, inputs, area, dense, depthwise: true })
        }
        Layer::BatchNorm { .. }
        | Layer::MaxPool2d { .. }
        | Layer::AvgPool2d { .. }
        | Layer::Crop { .. }
        | Layer::Relu
        | Layer::Relu6
        | Layer::Flatten
        | Layer::Select { .. }
        | Layer::Dropout { .. }
        | Layer::Mark { .. }
        | Layer::From { .. }
        | Layer::Add { .. } => None,
    };
    topology.layers.iter().enumerate().filter_map(affine).collect()
}

/// A topology with its shapes and spaces, walked by the propagation.
pub(super) struct Chain<'a> {
    pub(super) topology: &'a Topology,
    pub(super) shapes: Vec<Shape>,
    pub(super) affine: Vec<AffineShape>,
    pub(super) spaces: Spaces,
}

/// Where a unit comes from.
pub(super) struct Producers {
    /// Affine layers that write it or that it passes, and as which of their outputs.
    pub(super) layers: Vec<(usize, usize)>,
    /// Whether something else is added in: the network's input, or what a flatten made.
    pub(super) others: bool,
    /// Whether it takes no other way than from layer to layer.
    pub(super) straight: bool,
}

impl<'a> Chain<'a> {
    pub(super) fn new(topology: &'a Topology) -> Result<Self, PruneError> {
        let shapes = shapes::infer(topology)?;
        let (affine, spaces) = (affine_shapes(topology), Spaces::new(topology, &shapes));
        Ok(Self { topology, shapes, affine, spaces })
    }

    /// Nothing dead.
    pub(super) fn nothing_dead(&self) -> Dead {
        Dead {
            inputs: self.affine.iter().map(|a| vec![false; a.inputs]).collect(),
            outputs: self.affine.iter().map(|a| vec![false; a.outputs]).collect(),
        }
    }

    fn units(&self, boundary: usize) -> usize {
        match self.shapes[boundary] {
            Shape::Flat(n) => n,
            Shape::Image { channels, .. } => channels,
        }
    }

    /// What `unit` at `boundary` comes from.
    pub(super) fn producers(&self, boundary: usize, unit: usize) -> Producers {
        let (mut boundary, mut unit, mut straight) = (boundary, unit, true);
        loop {
            let space = self.spaces.of[boundary];
            let members = &self.spaces.members[space];
            straight &= self.spaces.straight[space];
            let source = self.spaces.source[space];
            match source.map(|at| (at, &self.topology.layers[at])) {
                Some((at, layer)) if members.is_empty() => {
                    unit = match layer {
                        Layer::Select { keep } => keep.get(unit).map_or(unit, |&k| k as usize),
                        _ => unit % self.units(at).max(1),
                    };
                    boundary = at;
                }
                source => {
                    let layers = members.iter().map(|&layer| (layer, unit)).collect();
                    let others = source.is_some() || space == self.spaces.of[0];
                    return Producers { layers, others, straight };
                }
            }
        }
    }

    /// Live units of every boundary: alive is what depends on something *and* is read by something.
    ///
    /// Deaths don't spread through affine layers, only between them, because a layer that keeps one
    /// output reads all its live inputs.
    pub(super) fn alive(&self, dead: &Dead) -> Vec<Vec<bool>> {
        let made = self.made(dead);
        let alive = self.read(dead, &made);
        self.spaces.of.iter().map(|&space| alive[space].clone()).collect()
    }

    /// One mask per space, all with the same value.
    fn masks(&self, value: bool) -> Vec<Vec<bool>> {
        let mut masks = vec![Vec::new(); self.shapes.len()];
        for (boundary, &space) in self.spaces.of.iter().enumerate() {
            masks[space] = vec![value; self.units(boundary)];
        }
        masks
    }

    /// Per space: units that a living filter or neuron, or the network's input, writes.
    fn made(&self, dead: &Dead) -> Vec<Vec<bool>> {
        let of = &self.spaces.of;
        let mut made = self.masks(false);
        made[of[0]].fill(true);
        for (shape, dead) in self.affine.iter().zip(&dead.outputs) {
            let units = made[of[shape.position + 1]].iter_mut();
            units.zip(dead).for_each(|(made, dead)| *made |= !dead);
        }
        for (made, _) in made.iter_mut().zip(&self.spaces.fixed).filter(|(_, fixed)| **fixed) {
            made.fill(true);
        }
        // What a flatten or a selection reads is made before it, or by a layer whose units above
        // are all in already.
        for (at, layer) in self.topology.layers.iter().enumerate() {
            let passed: Vec<bool> = match layer {
                Layer::Flatten if of[at] != of[at + 1] => self.per_position(at, &made[of[at]]),
                Layer::Select { keep } => keep.iter().map(|&k| made[of[at]][k as usize]).collect(),
                _ => continue,
            };
            made[of[at + 1]].iter_mut().zip(passed).for_each(|(made, passed)| *made |= passed);
        }
        made
    }

    /// Per space: units that are made and read.
    fn read(&self, dead: &Dead, made: &[Vec<bool>]) -> Vec<Vec<bool>> {
        let of = &self.spaces.of;
        let mut alive = self.masks(false);
        for (alive, _) in alive.iter_mut().zip(&self.spaces.fixed).filter(|(_, fixed)| **fixed) {
            alive.fill(true);
        }
        for (shape, dead) in self.affine.iter().zip(&dead.inputs).filter(|(a, _)| !a.depthwise) {
            let space = of[shape.position];
            let units = alive[space].iter_mut().zip(&made[space]).zip(dead);
            units.for_each(|((alive, made), dead)| *alive |= made & !dead);
        }
        for (at, layer) in self.topology.layers.iter().enumerate().rev() {
            let read: Vec<usize> = match layer {
                Layer::Flatten if of[at] != of[at + 1] => {
                    let channels = self.units(at).max(1);
                    (0..self.units(at + 1)).map(|unit| unit % channels).collect()
                }
                Layer::Select { keep } => keep.iter().map(|&k| k as usize).collect(),
                _ => continue,
            };
            for (to, from) in read.into_iter().enumerate() {
                let reads = alive[of[at + 1]][to] && made[of[at]][from];
                alive[of[at]][from] |= reads;
            }
        }
        alive
    }

    /// What a flatten at `at` makes of its channels: each repeated at every pixel.
    fn per_position(&self, at: usize, channels: &[bool]) -> Vec<bool> {
        let len = self.shapes[at].len();
        channels.iter().copied().cycle().take(len).collect()
    }

    /// The topology that is left when only the live units remain. Selections stand right behind
    /// what they select from, one at most in each place.
    pub(super) fn shrunk(&self, alive: &[Vec<bool>]) -> Topology {
        let mut layers = Vec::with_capacity(self.topology.layers.len() + 1);
        if matches!(self.topology.input, Shape::Flat(_)) {
            push_selection(&mut layers, &vec![true; alive[0].len()], &alive[0]);
        }
        for (at, layer) in self.topology.layers.iter().enumerate() {
            let (before, after) = (count(&alive[at]), count(&alive[at + 1]));
            match layer {
                Layer::Dense { .. } => layers.push(Layer::Dense { inputs: before, outputs: after }),
                Layer::Conv2d { kernel, stride, padding, .. } => layers.push(Layer::Conv2d {
                    channels: before,
                    filters: after,
                    kernel: *kernel,
                    stride: *stride,
                    padding: *padding,
                }),
                Layer::DepthwiseConv2d { kernel, stride, padding, .. } => {
                    layers.push(Layer::DepthwiseConv2d {
                        channels: after,
                        kernel: *kernel,
                        stride: *stride,
                        padding: *padding,
                    });
                }
                Layer::BatchNorm { .. } => layers.push(Layer::BatchNorm { channels: after }),
                Layer::Flatten => {
                    layers.push(Layer::Flatten);
                    if matches!(self.shapes[at], Shape::Image { .. }) {
                        let produced = self.per_position(at, &alive[at]);
                        push_selection(&mut layers, &produced, &alive[at + 1]);
                    }
                }
                // Its choice is contained in the selection behind the source, or in the shrunk
                // dense layer before it.
                Layer::Select { .. } => {}
                Layer::MaxPool2d { .. }
                | Layer::AvgPool2d { .. }
                | Layer::Crop { .. }
                | Layer::Relu
                | Layer::Relu6
                | Layer::Dropout { .. }
                | Layer::Mark { .. }
                | Layer::From { .. }
                | Layer::Add { .. } => layers.push(layer.clone()),
            }
        }
        Topology { input: self.topology.input, layers }
    }
}

/// Appends the selection of `wanted` among the units that `produced` leaves, unless it is all.
fn push_selection(layers: &mut Vec<Layer>, produced: &[bool], wanted: &[bool]) {
    let produced_and_wanted = produced.iter().zip(wanted).filter(|&(&produced, _)| produced);
    let keep: Vec<u32> = produced_and_wanted
        .enumerate()
        .filter(|&(_, (_, &wanted))| wanted)
        .map(|(index, _)| index as u32)
        .collect();
    if keep.len() < count(produced) {
        layers.push(Layer::Select { keep });
    }
}

pub(super) fn count(mask: &[bool]) -> usize {
    mask.iter().filter(|&&alive| alive).count()
}
