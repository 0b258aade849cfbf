//! Depthwise convolutions: sixteen channels side by side, a row of outputs at a time.
//!
//! The rows under a kernel are interleaved, so that a lane's four bytes are a column of taps of its
//! channel; from there on, a channel's products are as a row's.

use std::vec::Vec;

use super::frame::Frame;
use super::plan::{Needs, Setting};
use super::worker::Scratch;
use crate::arch::host::{Job, KernelSet, LANES, Panel, Walk};
use crate::format::Tensor;
use crate::model::Step;
use crate::ops::{Axis, DepthwiseConv2d, RowSource, Rows, geometry, split};

/// Bytes of a group of taps.
const GROUP: usize = 4;
/// Positions that are made at once, where a row of outputs has fewer.
const POSITIONS: usize = 32;

/// A depthwise layer, prepared.
#[derive(Debug)]
pub(super) struct Channels {
    panel: Panel,
    /// Over as many rows of outputs as are made at once.
    walk: Walk,
    /// How many these are.
    at_once: usize,
    /// Positions of a row.
    positions: usize,
    frame: Frame,
    rows: Axis,
    /// Groups of taps, one below the other.
    groups: usize,
    /// Values of a row of outputs.
    output_row: usize,
}

impl Channels {
    pub(super) fn new<W: RowSource>(
        op: &DepthwiseConv2d<W>,
        previous: &Tensor,
        setting: &Setting<'_>,
    ) -> Option<Self> {
        let input = op.input.resolve(previous);
        let (axes, channels, outputs) = geometry(&op.window, op.dilation, input, &op.output)?;
        let [rows, columns] = axes;
        let taps = rows.size.checked_mul(columns.size)?;
        let weights = channels.checked_mul(taps.checked_add(LANES)?)?.checked_mul(2 * GROUP)?;
        if channels != outputs || channels == 0 || weights > setting.room {
            return None;
        }
        let zero_points = [input.zero_point, op.output.zero_point];
        let shape = Rows { count: outputs, columns: taps, lag: 1, listed: false };
        let layer = op.affine.expand(setting.section, shape, zero_points)?;
        let elements = setting.kernels.elements(layer.are_bytes());
        let frame = Frame::new(axes, channels, input.zero_point)?;
        let output_row = columns.output.checked_mul(channels)?;
        // Few channels of neighbouring pixels are neighbouring lanes.
        let fills = channels < LANES
            && LANES.is_multiple_of(channels)
            && columns.stride == 1
            && output_row >= LANES;
        let lanes = if fills { LANES } else { channels };
        let panel = Panel::of_channels(elements, &layer, [rows.size, columns.size], lanes);
        let (count, step) = if fills {
            (output_row.div_ceil(LANES), [LANES, LANES])
        } else {
            (columns.output, [columns.stride * channels, channels])
        };
        let groups = rows.size.div_ceil(elements.per_group());
        let at_once = (POSITIONS / count.max(1)).clamp(1, rows.output.max(1));
        let places = (0..at_once * count).map(|position| {
            let (row, position) = (position / count, position % count);
            let last = if fills { output_row - LANES } else { usize::MAX };
            let [from, to] = step.map(|step| (position * step).min(last));
            ((from + row * groups * frame.row()) * GROUP, to + row * output_row)
        });
        let tap = |group: usize, column: usize| {
            (group * frame.row() + column * columns.dilation * channels) * GROUP
        };
        let segments: Vec<_> = (0..groups)
            .flat_map(|group| (0..columns.size).map(move |column| (group, column)))
            .map(|(group, column)| tap(group, column))
            .collect();
        let walk = Walk::new(places, segments, 1);
        Some(Self { panel, walk, at_once, positions: count, frame, rows, groups, output_row })
    }

    /// Bytes of its weights.
    pub(super) fn weights_len(&self) -> usize {
        self.panel.weights_len()
    }

    pub(super) fn needs(&self) -> Needs {
        let image = (self.at_once * self.groups * self.frame.row() + LANES) * GROUP;
        Needs { image, ..Needs::default() }
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
        let some = (self.output_row * self.at_once).max(1);
        for (number, outputs) in output.chunks_mut(some).enumerate() {
            let rows = outputs.len() / self.output_row.max(1);
            let len = (self.groups * self.frame.row() * GROUP).max(1);
            for (row, image) in scratch.image.chunks_exact_mut(len).take(rows).enumerate() {
                self.interleave(kernels, values, number * self.at_once + row, image);
            }
            let count = rows * self.positions;
            let job = Job::of_channels(&self.panel, &self.walk, count, &scratch.image);
            if let Some(job) = job {
                kernels.channels(&job, outputs);
            }
        }
    }

    /// Lays out what a row of outputs reads.
    fn interleave(&self, kernels: KernelSet, values: &[i8], down: usize, image: &mut [u8]) {
        let elements = self.panel.elements();
        let padding = self.frame.padding();
        let [left, reached, _] = self.frame.parts();
        let lines = image.chunks_exact_mut((self.frame.row() * GROUP).max(1));
        for (group, line) in lines.enumerate() {
            let first = down * self.rows.stride + group * elements.per_group() * self.rows.dilation;
            let row = |tap| self.frame.image_row(values, first + tap * self.rows.dilation);
            let rows = [row(0), row(1), row(2), row(3)];
            let (before, rest) = line.split_at_mut_checked(left * GROUP).unwrap_or_default();
            let (inner, after) = rest.split_at_mut_checked(reached * GROUP).unwrap_or_default();
            kernels.interleave(elements, [padding; 4], before);
            kernels.interleave(elements, rows, inner);
            kernels.interleave(elements, [padding; 4], after);
        }
    }
}
