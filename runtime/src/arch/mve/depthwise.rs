//! Depthwise convolutions: eight taps of a channel at once.
//!
//! Taps of a channel lie next to each other as weights, and are gathered from pixels, whose channels do: the
//! distances of taps are in vectors and alike for all channels and positions. A channel takes three
//! instructions for eight taps and one more, four of them 13 to become outputs: 10.75 instructions an output
//! of 3 × 3 taps. There is nothing to arrange but the parameters of some channels, once.
//!
//! At the image's edge, taps beyond it are masked and replaced by the zero point, six instructions more;
//! windows of more than sixteen taps, and rows that shift to the left, go tap vector by tap vector.

use core::mem::MaybeUninit;
use core::ops::Range;

use super::parameters::{Quad, hold};
use super::taps::{edge_any, edge_parted, edge_right, inside_1, inside_2};
use super::windows::{copy_rows, fill};
use super::{QUAD, sums_w8};
use crate::arch::{Finish, Matrix, Sight};
use crate::format::Fields;
use crate::ops::{Axis, Image, Layer};

/// Taps of a vector.
const LANES: usize = 8;
/// Most vectors of a window: 7 × 7 taps.
const VECTORS: usize = 7;
/// Most channels at once, whose parameters are at hand.
const CHANNELS: usize = 64;
/// Most weights of them.
const WEIGHTS: usize = 1024;

/// Taps of a window, and which of them are inside the image: two bits each; kernels know the order.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
pub(super) struct Taps {
    /// Values from the first tap on.
    offsets: [u16; LANES],
    mask: u32,
}

impl Taps {
    const NONE: Self = Self { offsets: [0; LANES], mask: 0 };
}

/// The taps of a window at the edge, where up to eight are inside the image and up to eight aren't: kernels
/// know the order.
#[repr(C, align(4))]
pub(super) struct Edge {
    /// Values from the window's first tap on, of taps inside.
    offsets: [u16; LANES],
    /// Their weights' numbers, and those of the others. What is left over is a weight of 0.
    inside: [u16; LANES],
    outside: [u16; LANES],
}

/// What kernels are told; they know the order of the first three.
#[repr(C)]
pub(super) struct Task {
    pub(super) parameters: *const Quad,
    pub(super) weights: *const u8,
    pub(super) quads: usize,
    /// Of the first position; kernels move them on by `next` at each of so many positions.
    pub(super) x: *const i8,
    pub(super) y: *mut i8,
    pub(super) next: [usize; 2],
    pub(super) count: usize,
    pub(super) taps: Range<*const Taps>,
    pub(super) edge: *const Edge,
    /// The input's.
    pub(super) outside: i32,
    pub(super) zero_point: i32,
    pub(super) min: i32,
    pub(super) max: i32,
}

/// Parameters of some channels, as far as they are held.
struct Room {
    weights: [MaybeUninit<u8>; WEIGHTS],
    quads: [MaybeUninit<Quad>; CHANNELS / QUAD],
}

/// A kernel that makes outputs.
type Kernel = unsafe extern "C" fn(&mut Task);

/// The outputs of as many filters as there are channels, or `None` where these kernels don't take the layer.
#[inline(never)]
pub(super) fn depthwise(
    sight: &Sight<'_>,
    matrix: &Matrix<'_>,
    finish: &Finish<'_>,
    output: &mut [i8],
) -> Option<()> {
    let Sight { values, zero_point, channels, folded, .. } = *sight;
    let ([h, w], [kh, kw], [oh, ow]) = (sight.input, sight.size, sight.output);
    let ([down, right], [top, left], [dh, dw]) = (sight.stride, sight.padding, sight.dilation);
    let rows = Axis { size: kh, stride: down, padding: top, dilation: dh, input: h, output: oh };
    let columns =
        Axis { size: kw, stride: right, padding: left, dilation: dw, input: w, output: ow };
    let image = &Image { values, zero_point, axes: [rows, columns], channels };
    let layer = &Layer { matrix: *matrix, folded, finish: *finish };
    let (mut room, mut taps) = (Room::new(), [Taps::NONE; VECTORS]);
    let mut sweep = Sweep::new(image, layer, &mut room, &mut taps)?;
    let mut start = 0;
    while start < image.channels {
        // The last ones may have been there already.
        start = start.min(image.channels.checked_sub(QUAD)?);
        let most =
            CHANNELS.min(WEIGHTS.checked_div(sweep.row)?).min(image.channels.wrapping_sub(start));
        let channels = start..start.wrapping_add(most & !(QUAD - 1));
        sweep.hold(channels.clone())?;
        sweep.run(&channels, output)?;
        start = channels.end;
    }
    Some(())
}

/// A layer over an image.
struct Sweep<'a> {
    image: &'a Image<'a>,
    layer: &'a Layer<'a>,
    room: &'a mut Room,
    taps: &'a mut [Taps],
    /// Weights of a channel in [`Room`], whole vectors of them.
    row: usize,
    are_right: bool,
}

impl Room {
    #[inline(always)] // else it is made elsewhere and copied
    const fn new() -> Self {
        Self {
            weights: [const { MaybeUninit::uninit() }; WEIGHTS],
            quads: [const { MaybeUninit::uninit() }; CHANNELS / QUAD],
        }
    }
}

impl<'a> Sweep<'a> {
    /// `None` where there are too many taps or they are too far from each other, or weights are wide.
    #[inline(always)]
    fn new(
        image: &'a Image<'a>,
        layer: &'a Layer<'a>,
        room: &'a mut Room,
        taps: &'a mut [Taps; VECTORS],
    ) -> Option<Self> {
        let [rows, columns] = image.axes;
        let count = rows.size.checked_mul(columns.size)?;
        let vectors = count.div_ceil(LANES);
        // Of a model that was only trusted: windows are then not where `Axis` says.
        if layer.matrix.bits() > 8 || rows.dilation == 0 || columns.dilation == 0 {
            return None;
        }
        let pixels = rows.input.checked_mul(columns.input)?;
        image.values.get(..pixels.checked_mul(image.channels)?)?;
        let taps = taps.get_mut(..vectors)?;
        let mut each = taps.iter_mut().flat_map(|taps| &mut taps.offsets);
        for (y, x) in (0..rows.size).flat_map(|y| (0..columns.size).map(move |x| (y, x))) {
            let pixel = y.wrapping_mul(rows.dilation).wrapping_mul(columns.input);
            let pixel = pixel.wrapping_add(x.wrapping_mul(columns.dilation));
            *each.next()? = u16::try_from(pixel.checked_mul(image.channels)?).ok()?;
        }
        drop(each);
        Some(Self { image, layer, room, taps, row: vectors.wrapping_mul(LANES), are_right: true })
    }

    /// Takes the parameters of some channels, whole fours of them.
    #[inline(never)]
    fn hold(&mut self, channels: Range<usize>) -> Option<()> {
        let Layer { matrix, finish, folded } = self.layer;
        let Room { weights, quads } = &mut *self.room;
        let offset = if *folded { 0 } else { -i32::from(self.image.zero_point) };
        let weights = weights.get_mut(..channels.len().checked_mul(self.row)?)?;
        fill(weights, 0); // what is left over of vectors
        // `max(1)` here and below: rows aren't empty, but the compiler can't know.
        let (from, len) = (matrix.bytes_from(channels.start), matrix.row_len);
        if matrix.bits() == 8 {
            copy_rows(from, weights, channels.len(), len, [len, self.row])?;
        } else {
            let rows = weights.chunks_exact_mut(self.row.max(1)).zip(from.chunks_exact(len.max(1)));
            for (to, bytes) in rows.take(channels.len()) {
                let mut fields = Fields::new(bytes, matrix.bits(), 0);
                for to in to.iter_mut().take(matrix.columns) {
                    to.write(fields.take() as u8);
                }
            }
        }
        let (quads, shift) = hold(quads, finish, channels.start, channels.len());
        self.are_right = shift < 0;
        if offset != 0 {
            let rows = weights.chunks_exact(self.row.wrapping_mul(QUAD).max(1));
            for (quad, rows) in quads.iter_mut().zip(rows).take(channels.len() / QUAD) {
                let mut sums = [0; QUAD];
                // SAFETY: `rows` are four of `row` bytes, which aren't none and are set, and `sums` is a live
                // array of four: `sums_w8`'s conditions.
                unsafe { sums_w8(rows.as_ptr().cast(), self.row, &mut sums) };
                for (bias, sum) in quad.bias.iter_mut().zip(sums) {
                    *bias = bias.wrapping_add(sum.wrapping_mul(offset));
                }
            }
        }
        Some(())
    }

    /// The outputs of the channels that are held, at all positions.
    #[inline(never)]
    fn run(&mut self, channels: &Range<usize>, output: &mut [i8]) -> Option<()> {
        let Image { values, axes: [rows, columns], channels: all, zero_point } = *self.image;
        let finish = &self.layer.finish;
        let positions = rows.output.checked_mul(columns.output)?;
        // All outputs are there, and all pixels (`new`): what follows stays inside.
        output.get(..positions.checked_mul(all)?)?;
        let Room { weights, quads } = &*self.room;
        let mut task = Task {
            parameters: quads.as_ptr().cast(),
            weights: weights.as_ptr().cast(),
            quads: channels.len() / QUAD,
            x: values.as_ptr(),
            y: output.as_mut_ptr(),
            next: [0; 2],
            count: 1,
            taps: self.taps.as_ptr_range(),
            edge: core::ptr::null(),
            outside: zero_point.into(),
            zero_point: finish.zero_point.into(),
            min: finish.clamp.min.into(),
            max: finish.clamp.max.into(),
        };
        let (x, y) = (task.x.wrapping_add(channels.start), task.y.wrapping_add(channels.start));
        for (down, row_run) in rows.runs() {
            for (right, column_run) in columns.runs() {
                let taps = [row_run.taps.clone(), column_run.taps.clone()];
                let (kernel, edge) =
                    kernel(self.taps, self.are_right, [rows.size, columns.size], &taps);
                task.edge = edge.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
                // The longer side of the positions that have these taps is the inner loop's.
                let is_high = row_run.count > column_run.count;
                let [lines, count] = if is_high {
                    [column_run.count, row_run.count]
                } else {
                    [row_run.count, column_run.count]
                };
                let steps = [rows, columns].map(|axis| axis.stride);
                let down_step = [steps[0].wrapping_mul(columns.input), columns.output];
                let right_step = [steps[1], 1];
                let [line, next] =
                    if is_high { [right_step, down_step] } else { [down_step, right_step] };
                let mut pixel = begin(&rows, down).wrapping_mul(columns.input);
                pixel = pixel.wrapping_add(begin(&columns, right));
                let mut position = down.wrapping_mul(columns.output).wrapping_add(right);
                task.next = next.map(|next| next.wrapping_mul(all));
                for _ in 0..lines {
                    task.x = x.wrapping_add(pixel.wrapping_mul(all));
                    task.y = y.wrapping_add(position.wrapping_mul(all));
                    task.count = count;
                    // SAFETY: there are whole fours of channels, whose parameters are held, and positions. Taps
                    // that aren't masked lead to pixels, which the image has, from the channels' first value on:
                    // all of them where windows are inside, else those that are inside of all windows of the
                    // runs. Each position has its outputs.
                    unsafe { kernel(&mut task) };
                    pixel = pixel.wrapping_add(line[0]);
                    position = position.wrapping_add(line[1]);
                }
            }
        }
        Some(())
    }
}

/// The kernel for windows of this height and width, of which these rows and columns of taps are inside the image,
/// and their edge if it looks at one.
fn kernel(
    taps: &mut [Taps],
    are_right: bool,
    [height, width]: [usize; 2],
    inside: &[Range<usize>; 2],
) -> (Kernel, Option<Edge>) {
    let [rows, columns] = inside;
    let is_inside = rows.len() == height && columns.len() == width;
    match taps {
        [_] if are_right && is_inside => return (inside_1, None),
        [_, _] if are_right && is_inside => return (inside_2, None),
        [a, b] if are_right => {
            let edge = part([a.offsets, b.offsets], [height, width], inside);
            if edge.is_some() {
                return (edge_parted, edge);
            }
        }
        _ => {}
    }
    mask(taps, width, inside);
    (if are_right { edge_right } else { edge_any }, None)
}

/// Where a window begins, before the image as well, wrapping.
fn begin(axis: &Axis, index: usize) -> usize {
    index.wrapping_mul(axis.stride).wrapping_sub(axis.padding)
}

/// Masks all but these rows and columns of taps.
#[inline(never)]
fn mask(taps: &mut [Taps], width: usize, [rows, columns]: &[Range<usize>; 2]) {
    let ones = 1u64.wrapping_shl(columns.len() as u32).wrapping_sub(1);
    let first = rows.start.wrapping_mul(width).wrapping_add(columns.start);
    let mut row = ones.wrapping_shl(first as u32);
    let mut all = 0;
    for _ in rows.clone() {
        all |= row;
        row = row.wrapping_shl(width as u32);
    }
    for taps in taps {
        // Each bit twice.
        let mut bits = all as u32 & 0xFF;
        bits = (bits | bits << 4) & 0x0F0F;
        bits = (bits | bits << 2) & 0x3333;
        bits = (bits | bits << 1) & 0x5555;
        taps.mask = bits | bits << 1;
        all >>= LANES;
    }
}

/// The taps of a window of this height and width, of which these rows and columns are inside the image: those and
/// the others. `None` where they are too many for a vector, or no weight is left over.
#[inline(never)]
fn part(
    offsets: [[u16; LANES]; 2],
    [height, width]: [usize; 2],
    [rows, columns]: &[Range<usize>; 2],
) -> Option<Edge> {
    let count = height.wrapping_mul(width);
    let none = u16::try_from(count).ok().filter(|_| count < 2 * LANES)?;
    let offsets = offsets.as_flattened();
    let mut edge = Edge { offsets: [0; LANES], inside: [none; LANES], outside: [none; LANES] };
    let (mut number, mut inside, mut outside) = (0u16, 0usize, 0usize);
    for y in 0..height {
        let is_there = rows.contains(&y);
        for x in 0..width {
            if is_there && columns.contains(&x) {
                *edge.inside.get_mut(inside)? = number;
                *edge.offsets.get_mut(inside)? = *offsets.get(usize::from(number))?;
                inside = inside.wrapping_add(1);
            } else {
                *edge.outside.get_mut(outside)? = number;
                outside = outside.wrapping_add(1);
            }
            number = number.wrapping_add(1);
        }
    }
    // What is left over sees the first tap.
    let [first, ..] = edge.offsets;
    edge.offsets.iter_mut().skip(inside.max(1)).for_each(|to| *to = first);
    (inside > 0).then_some(edge)
}
