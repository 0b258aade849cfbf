//! Which channels and features still matter between the layers, propagated both ways.

use crate::network::{Layer, Shape, Topology};
use crate::shapes;

use super::PruneError;

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
            Some(AffineShape { position, outputs, inputs, area: 1, dense: true })
        }
        Layer::Conv2d { channels, filters, kernel, .. } => {
            let area = kernel[0] * kernel[1];
            Some(AffineShape { position, outputs: filters, inputs: channels, area, dense: false })
        }
        Layer::BatchNorm { .. }
        | Layer::MaxPool2d { .. }
        | Layer::AvgPool2d { .. }
        | Layer::Relu
        | Layer::Relu6
        | Layer::Flatten
        | Layer::Select { .. }
        | Layer::Dropout { .. } => None,
    };
    topology.layers.iter().enumerate().filter_map(affine).collect()
}

/// A topology with its shapes, walked by the propagation.
pub(super) struct Chain<'a> {
    pub(super) topology: &'a Topology,
    pub(super) shapes: Vec<Shape>,
    pub(super) affine: Vec<AffineShape>,
    /// First boundary whose units may go: what lies before it is the network's own input.
    first_free: usize,
}

impl<'a> Chain<'a> {
    pub(super) fn new(topology: &'a Topology) -> Result<Self, PruneError> {
        let shapes = shapes::infer(topology)?;
        let affine = affine_shapes(topology);
        let first_affine = affine.first().map_or(0, |a| a.position);
        let image = |boundary: usize| matches!(shapes[boundary], Shape::Image { .. });
        let mut first_free = 0;
        while first_free <= first_affine && image(first_free) {
            first_free += 1;
        }
        Ok(Self { topology, shapes, affine, first_free })
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

    /// Which affine layer made `unit` at `boundary`, and as which of its outputs; `None` when the
    /// unit comes from the network's input.
    pub(super) fn producer(&self, boundary: usize, unit: usize) -> Option<(usize, usize)> {
        let mut unit = unit;
        for position in (0..boundary).rev() {
            match &self.topology.layers[position] {
                Layer::Dense { .. } | Layer::Conv2d { .. } => {
                    let layer = self.affine.iter().position(|a| a.position == position)?;
                    return Some((layer, unit));
                }
                Layer::Flatten => {
                    if let Shape::Image { channels, .. } = self.shapes[position] {
                        unit %= channels;
                    }
                }
                Layer::Select { keep } => unit = *keep.get(unit)? as usize,
                Layer::BatchNorm { .. }
                | Layer::MaxPool2d { .. }
                | Layer::AvgPool2d { .. }
                | Layer::Relu
                | Layer::Relu6
                | Layer::Dropout { .. } => {}
            }
        }
        None
    }

    /// Live units of every boundary: alive is what depends on something *and* is read by something.
    ///
    /// One pass in each direction reaches the fixpoint, because a layer that keeps one output reads
    /// all its live inputs: deaths don't spread through affine layers, only between them.
    pub(super) fn alive(&self, dead: &Dead) -> Vec<Vec<bool>> {
        let boundaries = self.shapes.len();
        let mut alive: Vec<Vec<bool>> =
            (0..boundaries).map(|b| vec![true; self.units(b)]).collect();
        let mut affine = 0;
        for position in 0..boundaries - 1 {
            let produced = self.forward(position, &alive[position], dead, &mut affine);
            alive[position + 1] = produced;
        }
        for position in (0..boundaries - 1).rev() {
            let read = self.backward(position, &alive[position + 1], dead, &mut affine);
            if position >= self.first_free {
                for (unit, read) in alive[position].iter_mut().zip(read) {
                    *unit &= read;
                }
            }
        }
        alive
    }

    fn forward(&self, at: usize, before: &[bool], dead: &Dead, affine: &mut usize) -> Vec<bool> {
        match &self.topology.layers[at] {
            Layer::Dense { .. } | Layer::Conv2d { .. } => {
                let layer = *affine;
                *affine += 1;
                // The network's outputs are never removed.
                let last = layer + 1 == self.affine.len();
                dead.outputs[layer].iter().map(|&dead| last || !dead).collect()
            }
            Layer::Flatten => self.per_position(at, before),
            Layer::Select { keep } => keep.iter().map(|&k| before[k as usize]).collect(),
            Layer::BatchNorm { .. }
            | Layer::MaxPool2d { .. }
            | Layer::AvgPool2d { .. }
            | Layer::Relu
            | Layer::Relu6
            | Layer::Dropout { .. } => before.to_vec(),
        }
    }

    fn backward(&self, at: usize, after: &[bool], dead: &Dead, affine: &mut usize) -> Vec<bool> {
        match &self.topology.layers[at] {
            Layer::Dense { .. } | Layer::Conv2d { .. } => {
                *affine -= 1;
                dead.inputs[*affine].iter().map(|&dead| !dead).collect()
            }
            Layer::Flatten => match self.shapes[at] {
                Shape::Flat(_) => after.to_vec(),
                Shape::Image { channels, .. } => {
                    let mut read = vec![false; channels];
                    for (index, &alive) in after.iter().enumerate() {
                        read[index % channels] |= alive;
                    }
                    read
                }
            },
            Layer::Select { keep } => {
                let mut read = vec![false; self.units(at)];
                for (&from, &alive) in keep.iter().zip(after) {
                    read[from as usize] = alive;
                }
                read
            }
            Layer::BatchNorm { .. }
            | Layer::MaxPool2d { .. }
            | Layer::AvgPool2d { .. }
            | Layer::Relu
            | Layer::Relu6
            | Layer::Dropout { .. } => after.to_vec(),
        }
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
                | Layer::Relu
                | Layer::Relu6
                | Layer::Dropout { .. } => layers.push(layer.clone()),
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
