//! Dense layers and convolutions: each position's inputs meet all rows.

use std::vec::Vec;

use super::frame::Frame;
use super::plan::{Needs, Plan, Setting};
use super::pool::{Fold, Pooling};
use super::worker::Scratch;
use crate::arch::host::{Job, KernelSet, LANES, Panel, Walk};
use crate::format::{Tensor, Window};
use crate::model::Step;
use crate::ops::{
    Axis, Conv2d, Conv2dMaxPool2d, Dense, DepthwiseConv2d, RowSource, Rows, geometry, split,
};

/// A layer with fewer positions takes several examples at once.
const JOINT_BELOW: usize = 24;
/// What kernels may read beyond an image: a group.
const SLACK: usize = 8;

/// A layer of rows, prepared.
#[derive(Debug)]
pub(super) struct Product {
    panel: Panel,
    walk: Walk,
    frame: Frame,
    /// Bytes from an example's frame to the next one's.
    frame_len: usize,
    /// Positions of an example.
    positions: usize,
    is_joint: bool,
    /// The pooling behind it.
    pooling: Option<Pooling>,
}

/// How a kernel moves over an image.
struct Geometry {
    axes: [Axis; 2],
    channels: usize,
    filters: usize,
}

impl Product {
    pub(super) fn dense<W: RowSource>(
        op: &Dense<W>,
        previous: &Tensor,
        setting: &Setting<'_>,
    ) -> Option<Self> {
        let input = op.input.resolve(previous);
        let one = Window { size: [1, 1], stride: [1, 1], padding: [0, 0] };
        let axes = Axis::both(&one, [1, 1], [1, 1], [1, 1]);
        let geometry = Geometry { axes, channels: input.len(), filters: op.output.len() };
        Self::new(&op.affine, 1, geometry, [input, &op.output], None, setting)
    }

    pub(super) fn conv2d<W: RowSource>(
        op: &Conv2d<W>,
        previous: &Tensor,
        setting: &Setting<'_>,
    ) -> Option<Self> {
        let input = op.input.resolve(previous);
        let (axes, channels, filters) = geometry(&op.window, op.dilation, input, &op.output)?;
        let geometry = Geometry { axes, channels, filters };
        Self::new(&op.affine, channels, geometry, [input, &op.output], None, setting)
    }

    /// A depthwise convolution of one channel.
    pub(super) fn of_one_channel<W: RowSource>(
        op: &DepthwiseConv2d<W>,
        previous: &Tensor,
        setting: &Setting<'_>,
    ) -> Option<Self> {
        let input = op.input.resolve(previous);
        let (axes, channels, filters) = geometry(&op.window, op.dilation, input, &op.output)?;
        let geometry = Geometry { axes, channels, filters };
        Self::new(&op.affine, 1, geometry, [input, &op.output], None, setting)
    }

    pub(super) fn pooled(
        op: &Conv2dMaxPool2d,
        previous: &Tensor,
        setting: &Setting<'_>,
    ) -> Option<Self> {
        let input = op.input.resolve(previous);
        let [h, w, channels] = input.shape.image()?;
        let [oh, ow, filters] = op.output.shape.image()?;
        let positions = op.positions.map(usize::from);
        let axes = Axis::both(&op.window, op.dilation, [h, w], positions);
        let pool = Axis::both(&op.pool, [1, 1], positions, [oh, ow]);
        let pooling = Pooling::of_axes(pool, filters, Fold::Largest);
        let geometry = Geometry { axes, channels, filters };
        Self::new(&op.affine, channels, geometry, [input, &op.output], Some(pooling), setting)
    }

    fn new<W: RowSource>(
        affine: &W,
        lag: usize,
        Geometry { axes, channels, filters }: Geometry,
        [input, output]: [&Tensor; 2],
        pooling: Option<Pooling>,
        setting: &Setting<'_>,
    ) -> Option<Self> {
        let [rows, columns] = axes;
        let count = rows.size.checked_mul(columns.size)?.checked_mul(channels)?;
        // Two bytes a weight, of whole lines.
        let weights = filters.next_multiple_of(LANES).checked_mul(count)?.checked_mul(2)?;
        if weights > setting.room {
            return None;
        }
        let zero_points = [input.zero_point, output.zero_point];
        let shape = Rows { count: filters, columns: count, lag, listed: false };
        let layer = affine.expand(setting.section, shape, zero_points)?;
        let elements = setting.kernels.elements(layer.are_bytes());
        let frame = Frame::new(axes, channels, input.zero_point)?;
        let bytes = elements.bytes();
        // Neighbouring taps are one segment.
        let (across, len) = match columns.dilation {
            1 => (1, columns.size * channels),
            _ => (columns.size, channels),
        };
        let segments = rows.size * across;
        let panel = Panel::of_rows(elements, &layer, segments);
        let at = |row: usize, column: usize| (row * frame.row() + column * channels) * bytes;
        let taps = (0..segments)
            .map(|tap| at(tap / across * rows.dilation, tap % across * columns.dilation));
        let groups = len.div_ceil(elements.per_group());
        let positions = rows.output.checked_mul(columns.output)?;
        let is_joint = pooling.is_none() && positions < JOINT_BELOW;
        let examples = if is_joint { setting.at_once } else { 1 };
        let frame_len = (frame.len() * bytes).next_multiple_of(SLACK) + SLACK;
        let begin = if is_joint { output.offset as usize } else { 0 };
        let places = (0..examples * positions).map(|position| {
            let (example, position) = (position / positions, position % positions);
            let (down, right) = (position / columns.output, position % columns.output);
            let from = at(down * rows.stride, right * columns.stride) + example * frame_len;
            (from, begin + example * setting.arena_len + position * filters)
        });
        let walk = Walk::new(places, taps.collect::<Vec<_>>(), groups);
        Some(Self { panel, walk, frame, frame_len, positions, is_joint, pooling })
    }

    /// Whether it takes several examples at once.
    pub(super) fn is_joint(&self) -> bool {
        self.is_joint
    }

    /// Bytes of its weights.
    pub(super) fn weights_len(&self) -> usize {
        self.panel.weights_len()
    }

    pub(super) fn needs(&self) -> Needs {
        let examples = self.walk.len() / self.positions.max(1);
        let image = self.frame_len * examples + SLACK;
        let Some(pooling) = &self.pooling else { return Needs { image, ..Needs::default() } };
        let needs = pooling.needs();
        let values = self.positions * self.panel.rows() + needs.values;
        Needs { image, values, ..needs }
    }

    /// The outputs of all examples.
    pub(super) fn run_jointly(
        &self,
        step: &Step,
        plan: &Plan<'_>,
        arenas: &mut [i8],
        scratch: &mut Scratch,
    ) {
        let Some(input) = step.inputs().next() else { return };
        let each = plan.arena_len.max(1);
        let mut examples = 0;
        let frames = scratch.image.chunks_exact_mut(self.frame_len);
        for (arena, image) in arenas.chunks_exact(each).zip(frames) {
            let values = arena.get(input.offset as usize..input.end()).unwrap_or_default();
            self.frame.fill(plan.kernels, self.panel.elements(), values, image);
            examples += 1;
        }
        let count = examples * self.positions;
        if let Some(job) = Job::of_rows(&self.panel, &self.walk, count, &scratch.image) {
            plan.kernels.multiply(&job, arenas);
        }
    }

    /// The output of one example.
    pub(super) fn run(
        &self,
        step: &Step,
        kernels: KernelSet,
        arena: &mut [i8],
        scratch: &mut Scratch,
    ) {
        let Some(input) = step.inputs().next() else { return };
        let (inputs, output) = split(arena, step.output());
        let values = inputs.get(input);
        self.frame.fill(kernels, self.panel.elements(), values, &mut scratch.image);
        let count = self.positions;
        let Some(job) = Job::of_rows(&self.panel, &self.walk, count, &scratch.image) else {
            return;
        };
        let Some(pooling) = &self.pooling else { return kernels.multiply(&job, output) };
        let len = self.positions * self.panel.rows();
        let (sums, line) = scratch.values.split_at_mut_checked(len).unwrap_or_default();
        kernels.multiply(&job, sums);
        pooling.largest(kernels, sums, output, line);
    }
}
